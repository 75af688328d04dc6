"""What a peer is: a way of making views, a way of running the model, and how far both may stray."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.errors import ProviderError
from blurvote.runtime.vote import majority_vote

__all__ = ["FLOAT32", "Floats", "Frame", "Peer", "Tolerance", "ViewPeer", "Views"]

Frame = NDArray[np.uint8]
Floats = NDArray[np.float32]
FLOAT32 = 1e-3  # of the logits' range: what the order of float32 sums may change


@dataclass(frozen=True)
class Tolerance:
    """How far views may lie from what they should be, in standard deviations.

    Attributes:
        largest: of any one value.
        mean: of the mean absolute difference.
    """

    largest: float
    mean: float


@dataclass(frozen=True)
class Views:
    """A way of making views.

    Attributes:
        name: as printed.
        layout: what it works on, in which precision.
        threads: what its library uses by default, as the library reports it.
        make: from what `prepare` returned to `(V, 3, h, w)` float32, an array or a CPU tensor.
        tolerance: how far its views may lie from `promise`.
        promise: from a frame to the views that this way's own mathematics gives, made by other
            code; None where that mathematics is the guard's.
        prepare: brings a frame into the layout that the way starts from; not timed.
    """

    name: str
    layout: str
    threads: str
    make: Callable[[Any], Any]
    tolerance: Tolerance
    promise: Callable[[Frame], NDArray[Any]] | None = None
    prepare: Callable[[Frame], Any] = lambda frame: frame

    def __call__(self, frame: Frame) -> Floats:
        """The `(V, 3, h, w)` float32 views of an `(H, W, 3)` uint8 RGB frame."""
        return np.asarray(self.make(self.prepare(frame)))


@dataclass(frozen=True)
class ViewPeer:
    """A way of making views that holds its frame, ready to be timed.

    Attributes:
        way: how.
        frame: `(H, W, 3)` uint8 RGB, contiguous.
        build: makes the views, from the frame in the layout that the way starts from.
    """

    way: Views
    frame: Frame
    build: Callable[[], Any]

    @classmethod
    def of(cls, way: Views, frame: Frame) -> ViewPeer:
        """The way with that frame."""
        ready = way.prepare(frame)
        return cls(way, frame, lambda: way.make(ready))

    @property
    def name(self) -> str:
        """As printed."""
        return self.way.name

    @property
    def layout(self) -> str:
        """What it works on, in which precision."""
        return self.way.layout

    @property
    def threads(self) -> str:
        """What its library uses by default, as the library reports it."""
        return self.way.threads


@dataclass
class Peer:
    """From a frame to a label, as a user of other libraries would get there.

    Attributes:
        name: as printed.
        family: which `load` brought it.
        layout: what the inference works on, in which precision; for the views see `way`.
        threads: what the inference uses by default, as its library reports it.
        way: how it makes the views.
        infer: from `(V, 3, h, w)` float32 views to `(V, C)` float32 logits.
        logits_tolerance: how far its logits may lie from the guard's on the same views, as a share
            of their range.
    """

    name: str
    family: str
    layout: str
    threads: str
    way: Views
    infer: Callable[[Floats], Floats]
    logits_tolerance: float = FLOAT32

    @property
    def exact(self) -> bool:
        """Whether it computes what the guard computes, to the rounding of float32."""
        return self.way.promise is None and self.logits_tolerance <= FLOAT32

    def views(self, frame: Frame) -> Floats:
        """The `(V, 3, h, w)` float32 views of an `(H, W, 3)` uint8 RGB frame."""
        return self.way(frame)

    def classify(self, frame: Frame) -> int:
        """The label that more than half of the views agree on, or -1."""
        return int(majority_vote(self.infer(self.views(frame))[None]).labels[0])

    def close(self) -> None:
        """Lets go of the model; a session that peers share ends with the last of them."""
        self.infer = partial(_closed, self.name)


def _closed(name: str, views: Floats) -> Floats:
    raise ProviderError(f"the peer {name!r} was closed; load it again to classify")
