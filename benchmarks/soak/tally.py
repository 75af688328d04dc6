"""Counts what sources deliver, independently of the pipeline that reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from blurvote.runtime.errors import StreamLostError
from blurvote.runtime.frame import Frame
from blurvote.runtime.sources import Source, SourceOptions, register_source
from blurvote.runtime.sources.gstreamer import open_gst
from blurvote.runtime.sources.network import open_stream
from blurvote.runtime.sources.synthetic import open_synthetic

__all__ = ["CountedSource", "Tallies", "Tally"]

Opener = Callable[[str, SourceOptions], Source]
Look = Callable[[Frame], None]


@dataclass
class Tally:
    """Of one URI: openings asked for, sources opened and closed, frames and errors delivered."""

    asked: int = 0
    opened: int = 0
    closed: int = 0
    frames: int = 0
    errors: int = 0


class CountedSource:
    """A source whose frames are counted on their way; one thread reads."""

    def __init__(self, source: Source, tally: Tally, look: Look | None = None) -> None:
        self._source = source
        self._tally = tally
        self._look = look
        self._closed = False
        self.total = source.total
        self.live = source.live
        self.frames_per_second = source.frames_per_second

    def read(self) -> Frame | None:
        """As the source."""
        try:
            frame = self._source.read()
        except StreamLostError:
            raise
        except Exception:
            self._tally.errors += 1
            raise
        if frame is not None:
            self._tally.frames += 1
            if self._look is not None:
                self._look(frame)
        return frame

    def close(self) -> None:
        """As the source; counts once."""
        if not self._closed:
            self._closed = True
            self._tally.closed += 1
        self._source.close()


class Tallies:
    """Counts for all sources that are opened from now on, by URI.

    It takes the place of blurvote's own openers, for the rest of this process.

    Attributes:
        look: called with every frame, in its reader's thread; None for nothing.
    """

    def __init__(self) -> None:
        self.look: Look | None = None
        self._of: dict[str, Tally] = {}
        self.watch("rtsp", open_stream)
        self.watch("gst", open_gst)
        self.watch("synthetic", open_synthetic)

    def of(self, uri: str) -> Tally:
        """The counts of a URI."""
        return self._of.setdefault(uri, Tally())

    def watch(self, scheme: str, opener: Opener) -> None:
        """Registers an opener whose sources are counted."""

        def open_counted(uri: str, options: SourceOptions) -> Source:
            tally = self.of(uri)
            tally.asked += 1
            source = opener(uri, options)
            tally.opened += 1
            return CountedSource(source, tally, self.look)

        register_source(scheme, open_counted)
