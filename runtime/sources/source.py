"""What a source of frames is, and what can be asked of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from blurvote.runtime.errors import SourceError
from blurvote.runtime.frame import Frame

__all__ = ["Source", "SourceOptions"]


@dataclass(frozen=True)
class SourceOptions:
    """What to ask a source for. A source that cannot serve what is asked for raises SourceError.

    Attributes:
        width, height: of the frames in pixels; None takes what the source delivers.
        fps: frames per second; None takes what the source delivers.
        codec: of a camera, as the four characters that its driver knows, such as `MJPG`.
        loop: a file starts over at its end.
        pace: a file's frames come at its own rate (or `fps`) instead of as fast as they are read.
        timeout_s: how long a live source may take to open, and to deliver a frame, in seconds.

    Raises:
        SourceError: a number is not above 0, width comes without height, or the codec has not four
            characters.
    """

    width: int | None = None
    height: int | None = None
    fps: float | None = None
    codec: str | None = None
    loop: bool = False
    pace: bool = False
    timeout_s: float = 5.0

    def __post_init__(self) -> None:
        for name in ("width", "height", "fps", "timeout_s"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise SourceError(f"{name} is {value!r}; expected a number above 0")
        if (self.width is None) != (self.height is None):
            raise SourceError("width and height go together; give both or neither")
        if self.codec is not None and not (len(self.codec) == 4 and self.codec.isascii()):
            raise SourceError(f"codec is {self.codec!r}; expected four characters, such as MJPG")

    def refuse(self, uri: str, why: str, *names: str) -> None:
        """Raises SourceError if any of the options called `names` is set."""
        asked = [name for name in names if getattr(self, name) not in (None, False)]
        if asked:
            raise SourceError(f"{uri} cannot be asked for {' and '.join(asked)}: {why}")


class Source(Protocol):
    """One stream of frames.

    Attributes:
        total: how many frames to expect; None where nobody knows.
        frames_per_second: the rate at which they were taken; None where there is none.
        live: whether frames come when they like (a camera) and not when they are read (a file).
    """

    total: int | None
    frames_per_second: float | None
    live: bool

    def read(self) -> Frame | None:
        """The next frame; None at the end.

        A live source returns or raises within its timeout, and a Frame's `captured_at` is as near
        to the exposure as the source can tell.

        Raises:
            StreamLostError: a live stream broke off; only opening it again may help.
            SourceError: this frame cannot be read; the next call goes on.
        """

    def close(self) -> None:
        """Gives back the file or device; may be called twice, and from another thread."""
