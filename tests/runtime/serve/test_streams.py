"""Streams: what comes, slow viewers, too many of them, and the end."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from blurvote.runtime import SettingsError
from blurvote.runtime.serve import serve
from blurvote.runtime.serve.streams import MOST_VIEWERS
from tests.runtime.serve.browse import Client, until
from tests.runtime.serve.fake import FakeWatched

Start = Callable[..., Client]


@pytest.fixture
def viewers() -> Iterator[list[socket.socket]]:
    opened: list[socket.socket] = []
    yield opened
    for one in opened:
        one.close()


def read_until(viewer: socket.socket, what: bytes, times: int = 1) -> bytes:
    got = b""
    while got.count(what) < times:
        part = viewer.recv(65536)
        assert part, got[-200:]
        got += part
    return got


def test_events_flow(client: Client, watched: FakeWatched, viewers: list[socket.socket]) -> None:
    viewers.append(client.open("/api/stream"))
    first = read_until(viewers[0], b"event: events\n")
    assert b"text/event-stream" in first
    line = next(part for part in first.split(b"\n") if part.startswith(b"data: {"))
    assert [c["name"] for c in json.loads(line[6:])["cameras"]] == watched.names
    watched.tell("state", "gate", "lost for a moment")
    later = read_until(viewers[0], b"lost for a moment")
    assert later.count(b"event: events\n") == 1


def test_moving_pictures(
    client: Client, watched: FakeWatched, viewers: list[socket.socket]
) -> None:
    viewers.append(client.open("/camera/stream?camera=gate&fps=30"))
    head = read_until(viewers[0], b"--frame\r\n", 2)
    assert b"multipart/x-mixed-replace; boundary=frame" in head
    watched.run(0.05)
    body = head + read_until(viewers[0], b"--frame\r\n", 6)
    assert body.count(b"\xff\xd8\xff") >= 6
    assert client.get("/camera/stream", camera="gate", fps="fast").status == 400


def test_one_encoding_for_all_viewers(
    client: Client, watched: FakeWatched, viewers: list[socket.socket]
) -> None:
    for _ in range(4):
        viewers.append(client.open("/camera/stream?camera=gate&fps=30"))
    watched.step("gate")
    for viewer in viewers:
        read_until(viewer, b"--frame\r\n", 2)
    assert client.server._app.pictures.encoded <= 2


def test_a_slow_viewer_gets_fewer_pictures_and_harms_nobody(
    client: Client, watched: FakeWatched, viewers: list[socket.socket]
) -> None:
    watched.run(0.01)
    slow = client.open("/camera/stream?camera=gate&fps=30", receive_buffer=4096)
    fast = client.open("/camera/stream?camera=gate&fps=30")
    viewers += [slow, fast]
    seen = len(read_until(fast, b"--frame\r\n", 60))
    # What piled up for the slow one is bounded by the buffers of the two ends, not by time.
    slow.settimeout(0.5)
    piled = 0
    watched.stop()
    time.sleep(0.2)
    try:
        while part := slow.recv(65536):
            piled += len(part)
    except TimeoutError:
        pass
    assert 0 < piled < seen
    assert client.get("/healthz").status == 200


def test_too_many_viewers(client: Client, viewers: list[socket.socket]) -> None:
    for _ in range(MOST_VIEWERS):
        viewers.append(client.open("/api/stream"))
        read_until(viewers[-1], b"event: snapshot")
    for path in ("/api/stream", "/camera/stream?camera=gate"):
        reply = client.get(path)
        assert (reply.status, reply.text) == (
            503,
            "16 viewers are watching already; close one of their pages\n",
        )
    assert client.get("/api/snapshot").status == 200
    viewers.pop().close()
    until(lambda: client.server._app.viewers.count < MOST_VIEWERS, "a free place")
    viewers.append(client.open("/api/stream"))
    assert b"200 OK" in read_until(viewers[-1], b"event: snapshot")


def test_the_pipelines_threads_do_not_serve(client: Client, watched: FakeWatched) -> None:
    client.get("/api/snapshot")
    client.get("/camera/sheet", camera="gate")
    assert {name.split("_")[0] for name in watched.asked} <= {
        "blurvote-serve",
        "blurvote-serve-ask",
    }


@pytest.mark.parametrize("path", ["/api/stream", "/camera/stream?camera=gate"])
def test_close_ends_streams_and_frees_port_and_threads(
    watched: FakeWatched, viewers: list[socket.socket], path: str
) -> None:
    before = set(threading.enumerate())
    server = serve(watched, "127.0.0.1:0")
    client = Client(server)
    client.get("/camera/sheet", camera="gate")
    viewers.append(client.open(path))
    read_until(viewers[0], b"200 OK")
    server.close()
    server.close()
    assert set(threading.enumerate()) <= before
    while viewers[0].recv(65536):
        pass
    with serve(watched, f"127.0.0.1:{client.port}") as again:
        assert again.url == server.url
        assert Client(again).get("/healthz").status == 200
    with pytest.raises(ConnectionRefusedError):
        client.get("/healthz")


def test_a_port_in_use_is_told_at_once(start: Start) -> None:
    before = set(threading.enumerate())
    taken = start()
    running = set(threading.enumerate())
    with pytest.raises(SettingsError, match="Address already in use"):
        start(f"127.0.0.1:{taken.port}")
    with pytest.raises(SettingsError, match="needs a token"):
        start("0.0.0.0:0")
    assert set(threading.enumerate()) - before == running - before


def test_ipv6(start: Start) -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        client = start("[::1]:0")
    except SettingsError as error:
        pytest.skip(str(error))
    assert client.server.url.startswith("http://[::1]:")
    assert client.get("/").status == 200


def test_missing_packages_are_named(watched: FakeWatched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(SettingsError, match=r"needs uvicorn; pip install 'blurvote\[serve\]'"):
        serve(watched, "127.0.0.1:0")
