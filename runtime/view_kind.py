"""What a view is made of, and the names of its kinds."""

from __future__ import annotations

import re
from dataclasses import dataclass

from blurvote.runtime.errors import DefenseError

__all__ = ["MAX_PASSES", "ViewKind", "view_kind"]

MAX_PASSES = 16
_BLURS = {0: "clean", 1: "single-blur", 2: "double-blur"}
_NAME = re.compile(
    r"(?P<clean>clean)|(?:(?:(?P<strength>[1-9]\d?)%-)?(?P<denoised>denoised))?-?"
    r"(?:(?P<blur>single|double|[3-9]|1\d)-blur)?"
)


@dataclass(frozen=True)
class ViewKind:
    """What is done to a frame to make one view of it.

    Attributes:
        passes: Gaussian passes.
        denoised: whether the view was denoised first, on the backbone's grid; its passes then
            blur that grid, too, whatever `blur_at` says.
        strength: of what the denoiser takes away, the part that is taken, in percent, 1 to 100.
            What is left of the noise hides what denoising has smoothed too much: classifiers do
            better on 50 to 90 than on 100 where there is much noise. 100 without denoising.
    """

    passes: int = 0
    denoised: bool = False
    strength: int = 100

    @property
    def name(self) -> str:
        """`clean`, `single-blur`, `double-blur`, `N-blur`; `denoised`, `denoised-single-blur`,
        `70%-denoised`, `70%-denoised-single-blur`..."""
        blur = _BLURS.get(self.passes, f"{self.passes}-blur")
        if not self.denoised:
            return blur
        denoised = "denoised" if self.strength == 100 else f"{self.strength}%-denoised"
        return f"{denoised}-{blur}" if self.passes else denoised


def view_kind(name: str) -> ViewKind:
    """The kind of a view by its name.

    Raises:
        DefenseError: no view is called so.
    """
    found = _NAME.fullmatch(name)
    if found:
        blur = found["blur"] or "0"
        kind = ViewKind(
            int({"single": "1", "double": "2"}.get(blur, blur)),
            found["denoised"] is not None,
            int(found["strength"] or 100),
        )
        if kind.name == name and kind.passes <= MAX_PASSES:
            return kind
    raise DefenseError(
        f"no view is called {name!r}; expected clean, single-blur, double-blur, 3-blur..., or "
        "denoised, 70%-denoised, denoised-single-blur, 70%-denoised-double-blur..."
    )
