"""A pipeline as an iterator, for `for` and for `async for`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from blurvote.runtime.errors import SourceError
from blurvote.runtime.observation import Observation

if TYPE_CHECKING:
    from blurvote.runtime.pipeline.pipeline import Pipeline

__all__ = ["iterate", "iterate_async"]

LOOK_S = 0.2


def iterate(pipeline: Pipeline) -> Iterator[Observation]:
    """Observations of a pipeline that is started and stopped here.

    Raises:
        SourceError: not one frame could be read, and something went wrong.
    """
    outlet = pipeline.outlet()
    if not pipeline.started:
        pipeline.start()
    try:
        while not outlet.finished:
            item = outlet.get(LOOK_S)
            if isinstance(item, Observation):
                yield item
    finally:
        outlet.close()
        pipeline.stop()
    _tell_of_nothing(pipeline)


async def iterate_async(pipeline: Pipeline) -> AsyncIterator[Observation]:
    """The same; waits and stops without blocking the event loop."""
    import asyncio

    loop = asyncio.get_running_loop()
    woken = asyncio.Event()

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed before the pipeline
            loop.call_soon_threadsafe(woken.set)

    outlet = pipeline.outlet()
    outlet.on_change(wake)
    if not pipeline.started:
        pipeline.start()
    try:
        while not outlet.finished:
            woken.clear()
            while (item := outlet.get(0)) is not None:
                if isinstance(item, Observation):
                    yield item
            if not outlet.finished:
                await woken.wait()
    finally:
        outlet.close()
        await loop.run_in_executor(None, pipeline.stop)
    _tell_of_nothing(pipeline)


def _tell_of_nothing(pipeline: Pipeline) -> None:
    """Without this, a typing error in a file's name would look like an empty file."""
    totals = pipeline.snapshot()["totals"]
    if totals["errors"] and not totals["frames"]:
        texts = [event.text for event in pipeline.events() if event.kind in ("error", "state")]
        raise SourceError(f"no source could be read: {texts[-1]}")
