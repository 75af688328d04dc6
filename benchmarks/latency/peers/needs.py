"""What peers need before they come up: packages, and a guard whose defence they can follow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from blurvote.runtime.defense import Defense
from blurvote.runtime.engines.onnx_metadata import read_metadata
from blurvote.runtime.errors import BlurvoteError, PlanError
from blurvote.runtime.metadata import GuardMetadata

__all__ = ["Progress", "Skip", "attempt", "require_blog_order", "served_defense"]

Progress = Callable[[str], None]
Skip = Callable[[str, str], None]
T = TypeVar("T")


def attempt(name: str, bring: Callable[[], T], skip: Skip | None) -> T | None:
    """What `bring` returns; where it raises, None after telling `skip` (None: lets it raise)."""
    try:
        return bring()
    except BlurvoteError as error:
        if skip is None:
            raise
        skip(name, str(error))
        return None


def served_defense(path: Path) -> Defense:
    """The defence of a guard, if the peers can follow it.

    Raises:
        GuardError: the file is missing, broken or not a guard.
        PlanError: it is no `views` guard with the blog's order of work.
    """
    metadata = GuardMetadata.from_map(read_metadata(path), str(path))
    if metadata.kind != "views":
        raise PlanError(
            f"{path} is a guard of kind {metadata.kind!r}; peers make their own views and need the "
            "backbone alone: export the model once more with kind 'views'"
        )
    require_blog_order(metadata.defense)
    return metadata.defense


def require_blog_order(defense: Defense) -> None:
    """Refuses a defence that the peers' libraries have no plain way to follow.

    Raises:
        PlanError: naming the settings that differ.
    """
    served = {
        "blur_at": "frame",
        "fit": "crop",
        "interpolation": "bilinear",
        "border": "reflect",
        "decision": "majority",
    }
    other = [name for name, value in served.items() if getattr(defense, name) != value]
    if other:
        given = ", ".join(f"{name} = {getattr(defense, name)!r}" for name in other)
        wanted = ", ".join(f"{name} = {served[name]!r}" for name in other)
        raise PlanError(
            f"the guard has {given}; peers serve only guards with the blog's order (blur the "
            f"frame, resize, crop, vote): {wanted}"
        )
