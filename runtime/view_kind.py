"""What a view is made of, and the names of its kinds."""

from __future__ import annotations

from dataclasses import dataclass

from blurvote.runtime.errors import DefenseError

__all__ = ["MAX_PASSES", "ViewKind", "view_kind"]

MAX_PASSES = 16
_BLURS = {0: "clean", 1: "single-blur", 2: "double-blur"}


@dataclass(frozen=True)
class ViewKind:
    """What is done to a frame to make one view of it.

    Attributes:
        passes: Gaussian passes.
        denoised: whether the view was denoised first, on the backbone's grid; its passes then
            blur that grid, too, whatever `blur_at` says.
    """

    passes: int = 0
    denoised: bool = False

    @property
    def name(self) -> str:
        """`clean`, `single-blur`, `double-blur`, `N-blur`; `denoised`, `denoised-single-blur`..."""
        blur = _BLURS.get(self.passes, f"{self.passes}-blur")
        if not self.denoised:
            return blur
        return f"denoised-{blur}" if self.passes else "denoised"


def view_kind(name: str) -> ViewKind:
    """The kind of a view by its name.

    Raises:
        DefenseError: no view is called so.
    """
    for passes in range(MAX_PASSES + 1):
        for denoised in (False, True):
            kind = ViewKind(passes, denoised)
            if kind.name == name:
                return kind
    raise DefenseError(
        f"no view is called {name!r}; expected clean, single-blur, double-blur, 3-blur..., or "
        "denoised, denoised-single-blur, denoised-double-blur, denoised-3-blur..."
    )
