"""Which source a URI opens, and what it may be asked for."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from blurvote.runtime import SourceError
from blurvote.runtime.sources import Script, SourceOptions, open_source, register_source, registry

PICTURE = np.full((4, 6, 3), 90, np.uint8)


def refusal(uri: str, **options: object) -> str:
    with pytest.raises(SourceError) as caught:
        open_source(uri, SourceOptions(**options)).close()  # type: ignore[arg-type]
    return str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for k in range(3):
        assert cv2.imwrite(str(tmp_path / f"{k}.png"), PICTURE + k)
    return tmp_path


def test_an_unknown_scheme_names_the_known_ones_and_no_password() -> None:
    assert refusal("foo://joe:secret@cam") == (
        "foo://joe:***@cam is of no known kind; expected csi:, gst:, http:, https:, rtsp:, rtsps:, "
        "synthetic:, v4l2: or a path"
    )


def test_a_scheme_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_OPENERS", dict(registry._OPENERS))
    script = Script([[PICTURE]])
    register_source("Fake", script.open)
    source = open_source("fake:7", SourceOptions(fps=5))
    got = source.read()
    assert got is not None
    assert (got.source, source.frames_per_second) == ("fake:7", 5)
    with pytest.raises(SourceError, match="is not a URI scheme"):
        register_source("1:", script.open)


def test_a_file_goes_before_a_scheme(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    Path("0.png").rename("gst:0.png")
    source = open_source("gst:0.png")
    got = source.read()
    assert got is not None
    np.testing.assert_array_equal(got.pixels, PICTURE)


def test_files_cannot_be_asked_for_what_they_are_not(folder: Path) -> None:
    name = str(folder)
    assert refusal(name, width=5, height=5) == (
        f"{name} cannot be asked for width: files come as they are"
    )
    assert refusal(name, fps=5).endswith("a file has no rate unless it is paced; add pace")
    assert refusal(name, pace=True) == (
        f"{name} has no frame rate of its own; pace needs fps, such as 10"
    )
    assert refusal("-", loop=True).endswith("stdin cannot be read twice")
    assert refusal("synthetic:?live=1", loop=True).endswith("cannot be asked for loop: it is live")
    assert refusal("rtsp://a/b", width=5, height=5, pace=True) == (
        "rtsp://a/b cannot be asked for width and pace: it sends what it sends"
    )
    assert "cannot be asked for fps" in refusal("http://a/b", fps=3)
    assert "cannot be asked for loop" in refusal("gst:appsink", loop=True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"width": 5}, "width and height go together"),
        ({"width": -1, "height": 5}, "width is -1"),
        ({"fps": float("nan")}, "fps is nan"),
        ({"timeout_s": 0}, "timeout_s is 0"),
        ({"codec": "h264x"}, "expected four characters"),
    ],
)
def test_options_that_cannot_be(options: dict[str, object], said: str) -> None:
    with pytest.raises(SourceError, match=said):
        SourceOptions(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["folder", "glob", "file"])
def test_loop_starts_over_and_counts_on(folder: Path, kind: str) -> None:
    uri = {"folder": str(folder), "glob": f"{folder}/*.png", "file": f"{folder}/0.png"}[kind]
    source = open_source(uri, SourceOptions(loop=True))
    assert source.total is None
    each = 1 if kind == "file" else 3
    for sequence in range(7):
        got = source.read()
        assert got is not None
        assert (got.sequence, int(got.pixels[0, 0, 0])) == (sequence, 90 + sequence % each)
    source.close()
    assert source.read() is None


def test_loop_over_nothing_readable_ends(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    source = open_source(str(tmp_path), SourceOptions(loop=True))
    with pytest.raises(SourceError, match="is empty"):
        source.read()
    with pytest.raises(SourceError, match="gave no frame in a whole round"):
        source.read()
    assert source.read() is None


def test_a_video_loops(tmp_path: Path) -> None:
    path = str(tmp_path / "a.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    for _ in range(5):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    source = open_source(path, SourceOptions(loop=True, pace=True, fps=500))
    assert source.frames_per_second == 500
    got = [source.read() for _ in range(12)]
    assert [f.sequence for f in got if f is not None] == list(range(12))
    source.close()


def test_paced_frames_are_due_at_even_times_and_never_early(folder: Path) -> None:
    source = open_source(str(folder), SourceOptions(loop=True, pace=True, fps=50))
    due = []
    for k in range(8):
        got = source.read()
        assert got is not None
        assert time.monotonic() >= got.captured_at
        due.append(got.captured_at)
        if k == 2:
            time.sleep(0.05)  # a slow reader gets every frame all the same, and no drift
    np.testing.assert_allclose(np.diff(due), 0.02, atol=1e-6)
    source.close()
