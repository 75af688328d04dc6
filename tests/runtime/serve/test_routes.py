"""What each address answers."""

from __future__ import annotations

import json
import math
import threading
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from blurvote.runtime import ViewBuilder
from blurvote.runtime.serve import app
from tests.runtime.serve.browse import Client, Reply, until
from tests.runtime.serve.fake import FakeWatched

ODD = 'yard & <b>"2"</b> ü'


def decoded(reply: Reply) -> np.ndarray:
    assert (reply.status, reply.headers["content-type"]) == (200, "image/jpeg")
    picture = cv2.imdecode(np.frombuffer(reply.body, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(picture)


def test_the_page_and_its_files(client: Client) -> None:
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    kinds = {"page.js": "text/javascript", "page.css": "text/css", "icon.svg": "image/svg+xml"}
    for name, kind in {**kinds, "vendor/uPlot.iife.min.js": "text/javascript"}.items():
        reply = client.get(f"/static/{name}")
        assert (reply.status, reply.headers["content-type"].split(";")[0]) == (200, kind)


@pytest.mark.parametrize(
    "path", ["/static/", "/static/../app.py", "/static/%2e%2e/app.py", "/static//etc/passwd", "/x"]
)
def test_nothing_else_is_served(client: Client, path: str) -> None:
    assert client.get(path).status == 404


def test_snapshot_and_events(client: Client, watched: FakeWatched) -> None:
    watched.tell("alarm", ODD, "raised </script>")
    snapshot = client.get("/api/snapshot").json
    assert [camera["name"] for camera in snapshot["cameras"]] == ["gate", ODD]
    (event,) = client.get("/api/events").json
    assert (event["type"], event["camera"], event["text"]) == ("alarm", ODD, "raised </script>")


def test_numbers_that_json_lacks(
    client: Client, watched: FakeWatched, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = watched.snapshot()
    odd = {**real, "uptime_s": math.nan, "stage_ms": {"wait": {"p50": math.inf, "p99": 1.0}}}
    monkeypatch.setattr(watched, "snapshot", lambda: odd)
    found = json.loads(client.get("/api/snapshot").body, parse_constant=pytest.fail)
    assert (found["uptime_s"], found["stage_ms"]["wait"]["p50"]) == (None, None)


def test_names_that_are_no_text(client: Client, watched: FakeWatched) -> None:
    """A path with a byte that is no UTF-8, as Python reads it."""
    name = "dir/\udcff.mp4"
    watched.add(name)
    watched.step(name)
    until(lambda: client.get("/api/snapshot").json["cameras"][-1]["name"] == "dir/?.mp4")
    decoded(client.get("/camera/picture", camera="dir/?.mp4"))
    assert "dir/?.mp4" in client.get("/metrics").text


def test_history(client: Client) -> None:
    both = client.get("/api/history", camera=ODD).json
    assert set(both) == {"seconds", "minutes"}
    one = client.get("/api/history", camera="gate", span="minutes").json
    assert (one["step_s"], sum(one["verdicts"])) == (60, 1)
    assert client.get("/api/history", camera="gate", span="hours").status == 400


@pytest.mark.parametrize("path", ["/api/history", "/camera/picture", "/camera/stream"])
def test_cameras_that_are_not(client: Client, path: str) -> None:
    for query in ({}, {"camera": ""}, {"camera": "no"}):
        reply = client.get(path, **query)
        assert (reply.status, "no such camera" in reply.text) == (404, True)


def test_the_annotated_picture(client: Client, watched: FakeWatched) -> None:
    seen = watched.latest(ODD)
    assert seen is not None
    height, width = seen.frame.pixels.shape[:2]
    reply = client.get("/camera/picture", camera=ODD)
    picture = decoded(reply)
    assert picture.shape[1] == width
    assert picture.shape[0] > height  # the bar with the verdict
    assert np.abs(picture[:height].astype(int) - seen.frame.pixels[..., ::-1]).mean() < 6
    about = json.loads(reply.headers["x-blurvote"])
    assert about["verdict"]["name"] == seen.verdict.name
    small = decoded(client.get("/camera/picture", camera=ODD, width="100"))
    assert small.shape[1] == min(320, width)


def test_the_views_are_what_the_network_sees(client: Client, watched: FakeWatched) -> None:
    seen = watched.latest("gate")
    assert seen is not None
    defense = watched.guard.defense
    reply = client.get("/camera/views", camera="gate")
    strip = decoded(reply)
    boxes = json.loads(reply.headers["x-blurvote"])["views"]
    assert strip.shape == (defense.crop[0], 3 * defense.crop[1], 3)
    built = ViewBuilder(defense).build(seen.frame.pixels, None, seen.frame.colour)
    sharpness = []
    for view, (x, y, width, height) in zip(built, boxes, strict=True):
        shown = strip[y : y + height, x : x + width, ::-1].astype(float)
        mean, std = np.array(defense.mean), np.array(defense.std)
        expected = (view.transpose(1, 2, 0) * std + mean) * 255
        assert np.abs(shown - expected).mean() < 4
        sharpness.append(np.abs(np.diff(shown, axis=1)).mean())
    assert sharpness[0] > sharpness[1] > sharpness[2]


def test_the_sheet_has_the_frame_and_its_views(client: Client, watched: FakeWatched) -> None:
    reply = client.get("/camera/sheet", camera="gate", width="480")
    sheet, about = decoded(reply), json.loads(reply.headers["x-blurvote"])
    assert about["view_names"] == ["clean", "single-blur", "double-blur"]
    boxes = [about["picture"], *about["views"]]
    assert len(boxes) == 4
    for x, y, width, height in boxes:
        assert 0 <= x < x + width <= sheet.shape[1]
        assert 0 <= y < y + height <= sheet.shape[0]
        assert sheet[y : y + height, x : x + width].std() > 3
    spoken = {str(label) for label in about["verdict"]["view_labels"] if label is not None}
    assert spoken <= set(about["labels"])


def test_a_frame_too_small_for_views_has_a_picture(client: Client, watched: FakeWatched) -> None:
    watched._frames = [np.full((2, 2, 3), 90, np.uint8)]
    seen = watched.latest("gate")
    assert seen is not None
    tiny = replace(seen, frame=replace(seen.frame, pixels=watched._frames[0], captured_at=1.0))
    watched._latest["gate"] = tiny
    about = json.loads(client.get("/camera/sheet", camera="gate").headers["x-blurvote"])
    assert (about["views"], "2x2 px" in about["why"]) == ([], True)
    assert client.get("/camera/views", camera="gate").status == 409


def test_pictures_are_made_on_demand_and_shared(client: Client, watched: FakeWatched) -> None:
    pictures = client.server._app.pictures
    client.get("/api/snapshot")
    assert pictures.encoded == 0
    replies = [client.get("/camera/picture", camera="gate") for _ in range(5)]
    assert pictures.encoded == 1
    tag = replies[0].headers["etag"]
    again = client.get("/camera/picture", {"If-None-Match": tag}, camera="gate")
    assert (again.status, again.body) == (304, b"")
    watched.step("gate")
    newer = client.get("/camera/picture", {"If-None-Match": tag}, camera="gate")
    assert (newer.status, newer.headers["etag"] != tag, pictures.encoded) == (200, True, 2)


def test_no_picture_yet(client: Client, watched: FakeWatched) -> None:
    watched._latest.clear()
    reply = client.get("/camera/sheet", camera="gate")
    assert (reply.status, reply.body) == (204, b"")


def test_pictures_of_cameras_that_left_are_dropped(client: Client, watched: FakeWatched) -> None:
    client.get("/camera/picture", camera=ODD)
    assert {key[0] for key in client.server._app.pictures._slots} == {ODD}
    watched.names.remove(ODD)

    def left() -> bool:
        client.get("/camera/picture", camera="gate")
        return {key[0] for key in client.server._app.pictures._slots} == {"gate"}

    until(left)


@pytest.mark.parametrize(
    ("states", "status"),
    [
        (("live", "live"), 200),
        (("live", "lost"), 200),
        (("frozen", "lost"), 200),
        (("lost", "lost"), 503),
        (("connecting", "failed"), 503),
        (("ended", "ended"), 200),
    ],
)
def test_ready_while_a_camera_is_there(
    client: Client, watched: FakeWatched, states: tuple[str, str], status: int
) -> None:
    watched.states = dict(zip(watched.names, states, strict=True))
    assert client.get("/readyz").status == status
    assert client.get("/healthz").status == 200


def test_not_ready_yet(client: Client, watched: FakeWatched) -> None:
    watched.ready = False
    assert client.get("/readyz").status == 503


def test_a_pipeline_that_does_not_answer_is_not_healthy(
    client: Client, watched: FakeWatched, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    real = watched.snapshot

    def stuck() -> dict[str, Any]:
        gate.wait(30)
        return real()

    monkeypatch.setattr(app, "_ANSWER_S", 0.1)
    monkeypatch.setattr(watched, "snapshot", stuck)
    try:
        assert client.get("/healthz").status == 503
    finally:
        gate.set()
    until(lambda: client.get("/healthz").status == 200)


def test_a_pipeline_that_fails_is_told(
    client: Client, watched: FakeWatched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> dict[str, Any]:
        raise RuntimeError("no snapshot")

    monkeypatch.setattr(watched, "snapshot", broken)
    for path in ("/api/snapshot", "/healthz"):
        reply = client.get(path)
        assert (reply.status, "RuntimeError: no snapshot" in reply.text) == (500, True)
        assert "content-security-policy" in client.get("/").headers
