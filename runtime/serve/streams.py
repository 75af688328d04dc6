"""Replies that go on: server-sent events and moving pictures, for a bounded number of viewers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from blurvote.runtime.serve.replies import text_reply

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

__all__ = ["MOST_VIEWERS", "Stream", "Viewers"]

MOST_VIEWERS = 16
_STALLED_S = 30.0


class Viewers:
    """Counts who watches; one event loop's.

    Attributes:
        closing: set once all streams shall end.
        count: streams that are open.
    """

    def __init__(self) -> None:
        self.closing = asyncio.Event()
        self.count = 0


class Stream:
    """An ASGI reply that asks for a chunk every so often and sends it.

    The next chunk is made once the last one has left, so that a slow viewer gets fewer of them and
    nothing piles up. One that takes nothing for half a minute is let go.

    Args:
        media_type: of the whole.
        chunk: makes what is sent next; None where there is nothing new.
        period_s: time from chunk to chunk, at least.
        viewers: whom to count it among; with too many of them the reply is a 503.
    """

    def __init__(
        self,
        media_type: str,
        chunk: Callable[[], Awaitable[bytes | None]],
        period_s: float,
        viewers: Viewers,
    ) -> None:
        self._media_type = media_type
        self._chunk = chunk
        self._period_s = period_s
        self._viewers = viewers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        viewers = self._viewers
        if viewers.count >= MOST_VIEWERS:
            text = f"{MOST_VIEWERS} viewers are watching already; close one of their pages"
            await text_reply(text, 503)(scope, receive, send)
            return
        viewers.count += 1
        ends: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(_until_gone(receive)),
            asyncio.ensure_future(viewers.closing.wait()),
        ]
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": 200,
                    "headers": [(b"content-type", self._media_type.encode())],
                }
            )
            if scope["method"] != "HEAD":
                await self._flow(send, ends)
            await self._send(send, b"", more=False)
        except (OSError, asyncio.TimeoutError):
            pass  # the viewer left, or takes nothing any more
        finally:
            viewers.count -= 1
            for end in ends:
                end.cancel()

    async def _flow(self, send: Send, ends: list[asyncio.Future[Any]]) -> None:
        while not any(end.done() for end in ends):
            started = time.monotonic()
            chunk = await self._chunk()
            if chunk is not None:
                await self._send(send, chunk, more=True)
            left = max(0.001, self._period_s - (time.monotonic() - started))
            await asyncio.wait(ends, timeout=left, return_when=asyncio.FIRST_COMPLETED)

    async def _send(self, send: Send, body: bytes, more: bool) -> None:
        message = {"type": "http.response.body", "body": body, "more_body": more}
        await asyncio.wait_for(send(message), _STALLED_S)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
