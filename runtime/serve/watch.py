"""What the pipeline says, asked once for all viewers."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Executor
from typing import Any

from blurvote.runtime.serve.replies import readable, to_json
from blurvote.runtime.serve.watched import Watched

__all__ = ["Watch"]

_EVENTS = 100


class Watch:
    """Asks a pipeline at most every `fresh_s`, on threads of its own.

    Its methods belong to one event loop.
    """

    def __init__(self, watched: Watched, executor: Executor, fresh_s: float = 0.4) -> None:
        self._watched = watched
        self._executor = executor
        self._fresh_s = fresh_s
        self._asking: asyncio.Future[None] | None = None
        self._asked_at = -1e9
        self._seen: tuple[Any, ...] = ()
        self._names: dict[str, str] = {}
        self.snapshot: dict[str, Any] = {}
        self.snapshot_json = b""
        self.events_json = b"[]"
        self.version = 0
        """Changes with the events."""

    async def refresh(self) -> None:
        """Brings the attributes up to date; what the pipeline raises comes through."""
        if self._asking is None or self._asking.done():
            if time.monotonic() - self._asked_at < self._fresh_s:
                return
            self._asking = asyncio.ensure_future(self._renew())
        # One question at a time, whoever gives up waiting: a stuck pipeline is not asked again.
        await asyncio.shield(self._asking)

    async def _renew(self) -> None:
        loop = asyncio.get_running_loop()
        snapshot, events, text = await loop.run_in_executor(self._executor, self._ask)
        self.snapshot, self.snapshot_json = snapshot, text
        self._names = {readable(c["name"]): c["name"] for c in snapshot["cameras"]}
        seen = tuple((event.at, event.kind, event.camera, event.text) for event in events)
        if seen != self._seen:
            self._seen = seen
            self.events_json = to_json([event.to_dict() for event in events])
            self.version += 1
        self._asked_at = time.monotonic()

    def _ask(self) -> tuple[dict[str, Any], list[Any], bytes]:
        snapshot = self._watched.snapshot()
        return snapshot, self._watched.events()[-_EVENTS:], to_json(snapshot)

    async def camera(self, asked: str) -> str | None:
        """The camera of that name, as the pipeline writes it; None where there is none."""
        await self.refresh()
        return self._names.get(asked)

    @property
    def cameras(self) -> set[str]:
        """Names of all cameras."""
        return set(self._names.values())

    async def history(self, camera: str) -> dict[str, Any]:
        """The camera's counts over time."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._watched.history, camera)
