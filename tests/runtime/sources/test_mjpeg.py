"""JPEGs over HTTP, from a small server that can misbehave."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np
import pytest

from blurvote.runtime import SourceError, StreamLostError
from blurvote.runtime.sources import MjpegSource, SourceOptions, open_source

TIMEOUT_S = 0.5


def jpeg(shade: int, width: int = 64) -> bytes:
    done, data = cv2.imencode(".jpg", np.full((48, width, 3), shade, np.uint8))
    assert done
    return data.tobytes()


def part(data: bytes, length: bool = True) -> bytes:
    head = b"--frame\r\nContent-Type: image/jpeg\r\n"
    if length:
        head += b"Content-Length: %d\r\n" % len(data)
    return head + b"\r\n" + data + b"\r\n"


class Handler(BaseHTTPRequestHandler):
    """Serves what the test has put under the path."""

    pages: dict[str, Callable[[Handler], None]]
    done: threading.Event

    def do_GET(self) -> None:
        self.pages[self.path](self)

    def log_message(self, *_: Any) -> None:
        pass

    def start(self, kind: str = "multipart/x-mixed-replace; boundary=frame") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()

    def send(self, *pieces: bytes, stay: bool = True) -> None:
        for piece in pieces:
            self.wfile.write(piece)
        if stay:
            self.done.wait(60)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Serves a function of the handler; returns its address."""
    monkeypatch.setenv("no_proxy", "*")
    handler = type("Page", (Handler,), {"pages": {}, "done": threading.Event()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()

    def put(page: Callable[[Handler], None], user: str = "") -> str:
        handler.pages["/video"] = page  # type: ignore[attr-defined]
        return f"http://{user}127.0.0.1:{server.server_port}/video"

    yield put
    handler.done.set()  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()
    thread.join()


def camera(uri: str, timeout_s: float = TIMEOUT_S) -> Any:
    return open_source(uri, SourceOptions(timeout_s=timeout_s))


def page(*pieces: bytes, stay: bool = True, kind: str = "") -> Callable[[Handler], None]:
    def answer(handler: Handler) -> None:
        handler.start(*([kind] if kind else []))
        handler.send(*pieces, stay=stay)

    return answer


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("boundary", ["frame", '"--frame"'])
def test_pictures_come_one_by_one(serve: Callable[..., str], length: bool, boundary: str) -> None:
    pictures = [part(jpeg(shade, width), length) for shade, width in ((50, 64), (150, 64), (9, 80))]
    # Without lengths a picture ends where the next begins.
    kind = f"multipart/x-mixed-replace;boundary={boundary}"
    uri = serve(page(b"\r\n", *pictures, b"--frame\r\n", kind=kind))
    source = camera(uri, 30)
    assert isinstance(source, MjpegSource)
    assert source.live
    for sequence, (shade, width) in enumerate(((50, 64), (150, 64), (9, 80))):
        got = source.read()
        assert (got.sequence, got.source, got.colour) == (sequence, uri, "bgr")
        assert got.pixels.shape == (48, width, 3)
        assert abs(int(got.pixels[9, 9, 0]) - shade) < 4
        assert got.captured_at <= time.monotonic()
    source.close()
    source.close()
    assert source.read() is None


def test_a_truncated_picture_is_noticed_and_the_next_is_read(serve: Callable[..., str]) -> None:
    cut = jpeg(50)[:-40]
    source = camera(serve(page(part(cut), part(b"no picture"), part(b""), part(jpeg(60)))))
    with pytest.raises(SourceError, match=r"frame 0 is truncated: its JPEG data has no end marker"):
        source.read()
    with pytest.raises(SourceError, match="frame 1 is not a picture"):
        source.read()
    with pytest.raises(SourceError, match="frame 2 is empty"):
        source.read()
    assert source.read().sequence == 3
    source.close()


@pytest.mark.parametrize("left", [0, 100])
def test_a_stall(serve: Callable[..., str], left: int) -> None:
    """Between two pictures, and within one."""
    source = camera(serve(page(part(jpeg(50)), part(jpeg(60))[:left])))
    assert source.read() is not None
    with pytest.raises(StreamLostError, match=r"delivered no picture for 0\.5 s"):
        source.read()
    assert source.read() is None


def test_a_trickle_is_a_stall_too(serve: Callable[..., str]) -> None:
    def trickle(handler: Handler) -> None:
        handler.start()
        for byte in part(jpeg(50)):
            if handler.done.wait(0.05):
                break
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()

    source = camera(serve(trickle))
    with pytest.raises(StreamLostError, match="delivered no picture"):
        source.read()


def test_the_end_is_a_loss(serve: Callable[..., str]) -> None:
    source = camera(serve(page(part(jpeg(50)), part(jpeg(60))[:-100], stay=False)), 30)
    assert source.read() is not None
    with pytest.raises(StreamLostError, match="broke off after 1 frames"):
        source.read()


def test_a_length_that_no_picture_has(serve: Callable[..., str]) -> None:
    source = camera(serve(page(b"--frame\r\nContent-Length: -5\r\n\r\n")), 30)
    with pytest.raises(StreamLostError, match="broke off"):
        source.read()


def test_basic_authentication(serve: Callable[..., str]) -> None:
    def guarded(handler: Handler) -> None:
        expected = "Basic " + base64.b64encode(b"joe:p@ss").decode()
        if handler.headers.get("Authorization") == expected:
            handler.start()
            handler.send(part(jpeg(50)))
        else:
            handler.send_response(401)
            handler.send_header("WWW-Authenticate", 'Basic realm="cam"')
            handler.end_headers()

    source = camera(serve(guarded, "joe:p%40ss@"))
    assert "joe:***@" in source.read().source
    source.close()
    with pytest.raises(SourceError, match="the server says 401") as caught:
        camera(serve(guarded, "joe:wrong@"))
    assert "wrong" not in str(caught.value)


def test_digest_authentication(serve: Callable[..., str]) -> None:
    def guarded(handler: Handler) -> None:
        if (handler.headers.get("Authorization") or "").startswith('Digest username="joe"'):
            handler.start()
            handler.send(part(jpeg(50)))
        else:
            handler.send_response(401)
            handler.send_header("WWW-Authenticate", 'Digest realm="cam", nonce="n", qop="auth"')
            handler.end_headers()

    source = camera(serve(guarded, "joe:pass@"))
    assert source.read() is not None
    source.close()


@pytest.mark.parametrize(
    ("kind", "said"),
    [("image/jpeg", r"is one picture \(image/jpeg\)"), ("text/html", "is a web page")],
)
def test_what_is_no_stream(serve: Callable[..., str], kind: str, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        camera(serve(page(jpeg(50), stay=False, kind=kind)))


def test_no_server() -> None:
    with pytest.raises(SourceError, match=r"cannot be opened: .*refused"):
        camera("http://127.0.0.1:1/video")
    with pytest.raises(SourceError, match="cannot be opened"):
        camera("http://127.0.0.1:port/video")
