"""The routes of the live page."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from blurvote.runtime.errors import BlurvoteError
from blurvote.runtime.serve.metrics import Metrics
from blurvote.runtime.serve.pictures import WIDTHS, Kind, Pictures
from blurvote.runtime.serve.replies import json_reply, reply, text_reply
from blurvote.runtime.serve.streams import Stream, Viewers
from blurvote.runtime.serve.watch import Watch
from blurvote.runtime.serve.watched import Watched

if TYPE_CHECKING:
    if sys.version_info >= (3, 11):
        from importlib.resources.abc import Traversable
    else:
        from importlib.abc import Traversable

    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.types import ASGIApp

    Endpoint = Callable[[Request], Awaitable[ASGIApp]]

__all__ = ["App"]

_LOG = logging.getLogger("blurvote.serve")
_ANSWER_S = 5.0  # a pipeline that takes longer to say how it stands does not work
_AWAY = frozenset({"connecting", "lost", "failed"})
_MEDIA_TYPES = {
    "css": "text/css",
    "html": "text/html",
    "js": "text/javascript",
    "svg": "image/svg+xml",
}


class App:
    """Answers requests about one pipeline; lives on one event loop.

    Args:
        watched: the pipeline.
        asking: threads that ask it.
        drawing: threads that draw and encode pictures.
    """

    def __init__(self, watched: Watched, asking: Executor, drawing: Executor) -> None:
        self.viewers = Viewers()
        self.watch = Watch(watched, asking)
        self.pictures = Pictures(watched.guard, watched.latest, drawing)
        self._metrics = Metrics()
        self._static = dict(_static_files(files("blurvote.runtime.serve") / "static"))

    def starlette(self) -> Starlette:
        """The ASGI application."""
        from starlette.applications import Starlette
        from starlette.routing import Route

        routes: dict[str, Endpoint] = {
            "/": self._page,
            "/static/{name:path}": self._file,
            "/api/snapshot": self._snapshot,
            "/api/events": self._events,
            "/api/history": self._history,
            "/api/stream": self._stream,
            "/camera/picture": self._one_picture("annotated"),
            "/camera/sheet": self._one_picture("sheet"),
            "/camera/views": self._one_picture("views"),
            "/camera/stream": self._moving_pictures,
            "/metrics": self._metrics_page,
            "/healthz": self._health,
            "/readyz": self._ready,
        }
        app = Starlette(routes=[Route(path, endpoint) for path, endpoint in routes.items()])
        app.add_exception_handler(Exception, _broken)
        return app

    async def _page(self, request: Request) -> ASGIApp:
        return self._static_file("index.html")

    async def _file(self, request: Request) -> ASGIApp:
        return self._static_file(request.path_params["name"])

    def _static_file(self, name: str) -> ASGIApp:
        if name not in self._static:
            return text_reply("no such file", 404)
        return reply(self._static[name], _MEDIA_TYPES[name.rpartition(".")[2]])

    async def _snapshot(self, request: Request) -> ASGIApp:
        await self.watch.refresh()
        return reply(self.watch.snapshot_json, "application/json")

    async def _events(self, request: Request) -> ASGIApp:
        await self.watch.refresh()
        return reply(self.watch.events_json, "application/json")

    async def _history(self, request: Request) -> ASGIApp:
        camera = await self.watch.camera(request.query_params.get("camera", ""))
        if camera is None:
            return _no_camera()
        found = await self.watch.history(camera)
        span = request.query_params.get("span")
        if span is not None and span not in found:
            return text_reply("span is 'seconds' or 'minutes'; without it both come", 400)
        return json_reply(found[span] if span else found)

    async def _stream(self, request: Request) -> ASGIApp:
        version = -1

        async def chunk() -> bytes:
            nonlocal version
            await self.watch.refresh()
            parts = [b"event: snapshot\ndata: ", self.watch.snapshot_json, b"\n\n"]
            if version != self.watch.version:
                version = self.watch.version
                parts += [b"event: events\ndata: ", self.watch.events_json, b"\n\n"]
            return b"".join(parts)

        return Stream("text/event-stream", chunk, 0.5, self.viewers)

    def _one_picture(self, kind: Kind) -> Endpoint:
        async def answer(request: Request) -> ASGIApp:
            camera = await self.watch.camera(request.query_params.get("camera", ""))
            if camera is None:
                return _no_camera()
            self.pictures.forget_all_but(self.watch.cameras)
            try:
                picture = await self.pictures.get(camera, kind, _width(request))
            except BlurvoteError as error:
                return text_reply(str(error), 409)
            if picture is None:
                return text_reply("", 204)  # no picture yet
            headers = {"etag": f'"{picture.tag}"', "x-blurvote": picture.about}
            if request.headers.get("if-none-match") == headers["etag"]:
                return reply(b"", "image/jpeg", 304, headers)
            return reply(picture.jpeg, "image/jpeg", headers=headers)

        return answer

    async def _moving_pictures(self, request: Request) -> ASGIApp:
        camera = await self.watch.camera(request.query_params.get("camera", ""))
        if camera is None:
            return _no_camera()
        try:
            rate = min(30.0, max(0.2, float(request.query_params.get("fps", "10"))))
        except ValueError:
            return text_reply("fps is a number from 0.2 to 30", 400)
        width, tag = _width(request), ""

        async def chunk() -> bytes | None:
            nonlocal tag
            picture = await self.pictures.get(camera, "annotated", width)
            if picture is None or picture.tag == tag:
                return None
            # A browser shows a part once the next boundary has come, so it ends this one.
            opening = b"" if tag else b"--frame\r\n"
            head = b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(picture.jpeg)
            tag = picture.tag
            return opening + head + picture.jpeg + b"\r\n--frame\r\n"

        kind = "multipart/x-mixed-replace; boundary=frame"
        return Stream(kind, chunk, 1 / rate, self.viewers)

    async def _metrics_page(self, request: Request) -> ASGIApp:
        await self.watch.refresh()
        page, kind = self._metrics.page(self.watch.snapshot)
        return reply(page, kind)

    async def _health(self, request: Request) -> ASGIApp:
        try:
            await asyncio.wait_for(self.watch.refresh(), _ANSWER_S)
        except asyncio.TimeoutError:
            return text_reply(f"the pipeline has not answered for {_ANSWER_S:g} s", 503)
        return text_reply("ok")

    async def _ready(self, request: Request) -> ASGIApp:
        await self.watch.refresh()
        states = [camera["state"] for camera in self.watch.snapshot["cameras"]]
        if not self.watch.snapshot["ready"]:
            return text_reply("not ready yet", 503)
        if states and all(state in _AWAY for state in states):
            return text_reply(f"no camera delivers: {', '.join(sorted(set(states)))}", 503)
        return text_reply("ready")


def _static_files(folder: Traversable, above: str = "") -> Iterator[tuple[str, bytes]]:
    """Every file of a known type below `folder`, by its path."""
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _static_files(entry, f"{above}{entry.name}/")
        elif entry.name.rpartition(".")[2] in _MEDIA_TYPES:
            yield above + entry.name, entry.read_bytes()


def _width(request: Request) -> int:
    """The width of picture to make for a request: the next of those that are shared."""
    asked = request.query_params.get("width", "")
    wanted = int(asked) if asked.isascii() and asked.isdecimal() and len(asked) < 6 else WIDTHS[-1]
    return next((width for width in WIDTHS if width >= wanted), WIDTHS[-1])


def _no_camera() -> ASGIApp:
    return text_reply("no such camera; ?camera=NAME takes a name from /api/snapshot", 404)


async def _broken(request: Request, error: Exception) -> Any:
    _LOG.error("the live page failed at %s: %s: %s", request.url.path, type(error).__name__, error)
    return text_reply(f"blurvote failed to answer: {type(error).__name__}: {error}", 500)
