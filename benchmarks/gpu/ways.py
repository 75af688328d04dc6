"""Ways from one frame in host memory to a verdict on a device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.latency.ways import OneByOne
from blurvote.runtime.engines.protocol import EngineSettings
from blurvote.runtime.errors import BlurvoteError
from blurvote.runtime.guard import Guard
from blurvote.runtime.metadata import GuardMetadata
from blurvote.runtime.undefended import Undefended

__all__ = ["Ways", "open_ways"]

_GRAPHS = {"cuda": "enable_cuda_graph", "tensorrt": "trt_cuda_graph_enable"}


@dataclass
class Ways:
    """What was opened for a frame.

    Attributes:
        calls: name to a function that takes the frame to its verdict.
        guards: name to the guard behind it, where it is one.
        skipped: name to the reason why it is not there.
    """

    calls: dict[str, Callable[[], Any]] = field(default_factory=dict)
    guards: dict[str, Guard] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


@contextmanager
def open_ways(
    guards: dict[Path, GuardMetadata], settings: EngineSettings, frame: NDArray[np.uint8]
) -> Iterator[Ways]:
    """Opens every way that these guards have, and closes them at the end."""
    ways = Ways()
    with ExitStack() as stack:
        for path, metadata in guards.items():
            for name, make in _of(path, metadata, settings, stack):
                full = f"{path.name}: {name}"
                try:
                    made = make()
                    made.classify(frame)
                except BlurvoteError as error:
                    ways.skipped[full] = str(error)
                    continue
                ways.calls[full] = partial(made.classify, frame)
                if isinstance(made, Guard):
                    ways.guards[full] = made
        yield ways


def _of(
    path: Path, metadata: GuardMetadata, settings: EngineSettings, stack: ExitStack
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Names, and what opens each."""

    def guard(plan: Any, given: EngineSettings) -> Guard:
        opened = Guard(path, given.provider, plan, compute=given.compute, options=given.options)
        return stack.enter_context(opened)

    def undefended() -> Undefended:
        opened = Undefended(path, settings)
        stack.callback(opened.engine.close)
        return opened

    if metadata.kind == "views" and metadata.defense.passes[0] == 0:
        yield "undefended", undefended
        yield "one view after the other", lambda: OneByOne(undefended(), metadata.defense.views)
    yield "batched", partial(guard, "batched", settings)
    if metadata.kind == "views" and len(metadata.defense.views) > 2:
        yield "cascade", partial(guard, "cascade", settings)
    if settings.provider in _GRAPHS:
        options = {**settings.options, _GRAPHS[settings.provider]: True}
        yield "batched, CUDA graph", partial(guard, "batched", replace(settings, options=options))
