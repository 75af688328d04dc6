"""Frames with their verdicts drawn below, handed to a writer of pictures."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.annotate import annotate
from blurvote.runtime.errors import SinkError
from blurvote.runtime.observation import Event, Observation
from blurvote.runtime.sinks.sink import SinkContext

__all__ = ["CAMERA", "AnnotatedSink", "PerCameraSink", "PictureWriter", "draw"]

CAMERA = "{camera}"
"""In a name, stands for the camera's."""


class PictureWriter(Protocol):
    """Takes pictures, one after the other."""

    def write(self, picture: NDArray[np.uint8], name: str) -> None:
        """Stores one `(H, W, 3)` uint8 BGR picture; `name` is its source.

        Raises:
            SinkError: it cannot be stored.
        """

    def close(self) -> None:
        """Finishes the output.

        Raises:
            SinkError: the output is not complete.
        """


def draw(observation: Observation, context: SinkContext) -> NDArray[np.uint8]:
    """The frame with its verdict below, `(H + bar, W, 3)` uint8 BGR."""
    return annotate(observation.frame, observation.verdict, context.defense, context.labels)


class AnnotatedSink:
    """Draws each verdict onto its frame."""

    holds_pictures = True

    def __init__(self, writer: PictureWriter, context: SinkContext) -> None:
        self._writer = writer
        self._context = context

    def write(self, observation: Observation) -> None:
        self._writer.write(draw(observation, self._context), observation.frame.source)

    def tell(self, event: Event) -> None:
        """Pictures have no place for events."""

    def close(self) -> None:
        self._writer.close()


class PerCameraSink:
    """An `AnnotatedSink` for each camera, opened with its first frame.

    Args:
        name: with `{camera}` in it.
        open_writer: takes the name with the camera's in that place.
        context: of the run.
    """

    holds_pictures = True

    def __init__(
        self, name: str, open_writer: Callable[[str], PictureWriter], context: SinkContext
    ) -> None:
        self._name = name
        self._open_writer = open_writer
        self._context = context
        self._sinks: dict[str, AnnotatedSink] = {}
        self._taken: set[str] = set()

    def write(self, observation: Observation) -> None:
        sink = self._sinks.get(observation.camera)
        if sink is None:
            name = self._name.replace(CAMERA, self._part_of_a_name(observation.camera))
            sink = AnnotatedSink(self._open_writer(name), self._context)
            self._sinks[observation.camera] = sink
            self._taken.add(self._part_of_a_name(observation.camera))
        sink.write(observation)

    def _part_of_a_name(self, camera: str) -> str:
        """The camera's name without characters that mean something in paths, made unique."""
        plain = re.sub(r"[^\w.@=+-]+", "_", camera).strip("._") or "camera"
        unique, count = plain, 1
        while unique in self._taken:
            count += 1
            unique = f"{plain}_{count}"
        return unique

    def tell(self, event: Event) -> None:
        """Pictures have no place for events."""

    def close(self) -> None:
        errors = []
        for sink in self._sinks.values():
            try:
                sink.close()
            except SinkError as error:
                errors.append(str(error))
        self._sinks.clear()
        if errors:
            raise SinkError("; ".join(errors))
