"""Defences that are measured beside a guard's own, and the views of an adaptive one."""

from __future__ import annotations

from dataclasses import replace

from blurvote.runtime.defense import Defense

__all__ = ["noisy_places", "plain"]


def plain(defense: Defense, passes: tuple[int, ...] | None = None) -> Defense:
    """The same views for every frame: the defence's quiet ones, or those of other passes.

    Without decision and thresholds, which are no matter of the views.
    """
    return replace(
        defense,
        passes=defense.passes if passes is None else passes,
        decision="majority",
        threshold=None,
        noisy_views=(),
        noisy_threshold=None,
    )


def noisy_places(defense: Defense) -> list[int]:
    """Where the V views of a noisy frame lie among its quiet views, followed by the denoised ones.

    Those that both sets have are quiet views there, and need no second inference.

    Args:
        defense: an adaptive one; the denoised views are those of its `denoised_kinds`.
    """
    return [
        len(defense.passes) + defense.denoised_kinds.index(kind)
        if kind.denoised
        else defense.passes.index(kind.passes)
        for kind in defense.kinds(noisy=True)
    ]
