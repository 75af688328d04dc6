"""Writers of pictures: what is written can be read back, and nothing of the user's is lost."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blurvote.runtime.sinks import CODECS, FolderWriter, VideoFileWriter
from blurvote.runtime.sinks.fitting import fit
from tests.runtime.sinks.material import frames_of, picture, rate, refusal

# ---- videos ----


@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.parametrize(("height", "width"), [(48, 64), (47, 63), (47, 64), (33, 101)])
def test_a_video_is_read_back(tmp_path: Path, suffix: str, height: int, width: int) -> None:
    path = tmp_path / f"new folder/out{suffix.upper()}"
    sink = VideoFileWriter(str(path), rate(12.5))
    for shade in range(100, 250, 25):
        sink.write(picture(height, width, shade), "any")
    sink.close()
    frames = frames_of(path)
    assert len(frames) == 6
    assert frames[0].shape == (height + height % 2, width + width % 2, 3)
    for shade, stored in zip(range(100, 250, 25), frames, strict=True):
        middle = stored[10 : height - 10, 10 : width - 10].astype(int)
        assert np.abs(middle - (0, 0, shade)).max() < 25  # lossy
    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(12.5)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_other_sizes_are_fitted_into_the_first(tmp_path: Path) -> None:
    path = tmp_path / "out.avi"
    sink = VideoFileWriter(str(path), rate(10))
    for size in ((48, 64), (24, 32), (200, 64), (48, 640), (1, 1)):
        sink.write(picture(*size), "any")
    sink.close()
    same, half, tall, wide, dot = frames_of(path)
    for stored, (height, width) in (
        (same, (48, 64)),
        (half, (48, 64)),
        (tall, (48, 15)),
        (wide, (5, 64)),
        (dot, (48, 48)),
    ):
        assert stored.shape == (48, 64, 3)
        filled = stored[..., 2] > 100
        assert filled[: max(1, height - 3), : width - 3].all()
        assert not filled[height + 3 :].any()
        assert not filled[:, width + 3 :].any()


SIDE = st.integers(1, 90)


@settings(deadline=None)
@given(height=SIDE, width=SIDE, to_height=SIDE, to_width=SIDE)
def test_fitting_keeps_the_shape_of_things(
    height: int, width: int, to_height: int, to_width: int
) -> None:
    fitted = fit(picture(height, width), (to_width, to_height))
    assert fitted.shape == (to_height, to_width, 3)
    rows, columns = fitted[..., 2].any(axis=1).sum(), fitted[..., 2].any(axis=0).sum()
    scale = min(to_height / height, to_width / width)
    if 0 <= to_height - height <= 1 and 0 <= to_width - width <= 1:
        scale = 1  # only made even: not worth blurring
    assert abs(rows - max(1, height * scale)) <= 1
    assert abs(columns - max(1, width * scale)) <= 1


def test_a_video_that_the_encoder_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        fourcc = cv2.VideoWriter.fourcc

        def __init__(self, *_: Any) -> None:
            pass

        def isOpened(self) -> bool:
            return False

    monkeypatch.setattr(cv2, "VideoWriter", Closed)
    path = tmp_path / "out.mp4"
    path.write_bytes(b"mine")
    sink = VideoFileWriter(str(path), rate(10))
    assert refusal(lambda: sink.write(picture(), "any")) == (
        f"{path} cannot be written as a mp4v video: the folder is not writable, or this OpenCV "
        "lacks the encoder (then use .avi, or a folder)"
    )
    sink.close()
    assert path.read_bytes() == b"mine"


def test_an_earlier_video_is_replaced_only_by_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "out.avi"
    path.write_bytes(b"mine")
    VideoFileWriter(str(path), rate(10)).close()
    assert path.read_bytes() == b"mine"
    sink = VideoFileWriter(str(path), rate(10))
    sink.write(picture(), "any")
    assert path.read_bytes() == b"mine"
    sink.close()
    sink.close()
    assert len(frames_of(path)) == 1


def test_a_video_whose_place_is_taken_by_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "out.avi"
    path.mkdir()
    sink = VideoFileWriter(str(path), rate(10))
    sink.write(picture(), "any")
    assert refusal(sink.close) == (
        f"{path} cannot be written: Is a directory; the video is {tmp_path / 'out.part.avi'}"
    )
    assert len(frames_of(tmp_path / "out.part.avi")) == 1


# ---- folders ----


def test_pictures_are_numbered_and_named(tmp_path: Path) -> None:
    sink = FolderWriter(str(tmp_path / "deep/er"))
    assert isinstance(sink, FolderWriter)
    for name in ("a/b/cat.png", "cat.png", "camera:0", "", "x" * 300, "ü" * 100 + ".png"):
        sink.write(picture(), name)
    sink.close()
    found = sorted((tmp_path / "deep/er").iterdir())
    assert [path.name for path in found] == [
        "000000_cat.jpg",
        "000001_cat.jpg",
        "000002_camera:0.jpg",
        "000003_frame.jpg",
        f"000004_{'x' * 60}.jpg",
        f"000005_{'ü' * 60}.jpg",
    ]
    stored = cv2.imread(str(found[0]))
    assert stored is not None
    assert np.abs(stored.astype(int) - picture()).max() < 10


@pytest.mark.parametrize("name", ["taken", "taken/below", "taken/out.avi"])
def test_a_folder_that_cannot_be_made(tmp_path: Path, name: str) -> None:
    (tmp_path / "taken").write_text("a file")
    path = tmp_path / name
    video = name.endswith(".avi")
    said = refusal(
        lambda: VideoFileWriter(str(path), rate(10)) if video else FolderWriter(str(path))
    )
    reason = "File exists" if name != "taken/below" else "Not a directory"
    what = "cannot be written" if video else "cannot be made a folder"
    assert said == f"{path} {what}: {reason}"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_picture_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:10])
        raise OSError(number, "No luck")

    earlier = tmp_path / "000000_cat.jpg"
    earlier.write_bytes(b"mine")
    sink = FolderWriter(str(tmp_path))
    monkeypatch.setattr(Path, "write_bytes", fail)
    assert refusal(lambda: sink.write(picture(), "cat.png")) == (
        f"{earlier} cannot be written: No luck"
    )
    assert [path.name for path in tmp_path.iterdir()] == [earlier.name]
    assert earlier.read_bytes() == b"mine"


def test_only_so_many_pictures_are_kept(tmp_path: Path) -> None:
    mine = tmp_path / "mine.jpg"
    mine.write_bytes(b"mine")
    sink = FolderWriter(str(tmp_path), keep=3)
    for _ in range(5):
        sink.write(picture(), "cat.png")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["000002_cat.jpg", "000003_cat.jpg", "000004_cat.jpg", "mine.jpg"]
    (tmp_path / "000003_cat.jpg").unlink()
    again = FolderWriter(str(tmp_path), keep=2)  # numbers go on, those of before count
    for _ in range(2):
        again.write(picture(), "dog.png")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["000005_dog.jpg", "000006_dog.jpg", "mine.jpg"]


# ---- a full disk ----

# No file may grow beyond 4 KB, which fails a write as a full disk does.
WRITE_A_LOT = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
import numpy as np
from blurvote.runtime.sinks import FolderWriter, VideoFileWriter
noise = np.random.default_rng(0)
name = sys.argv[1]
sink = FolderWriter(name) if name.endswith("folder") else VideoFileWriter(name, lambda: 10)
try:
    for _ in range(40):
        sink.write(noise.integers(0, 256, (96, 128, 3), dtype=np.uint8), "cat.png")
    sink.close()
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("name", ["out.avi", "out.mp4", "out.mkv", "folder"])
def test_a_full_disk_is_told(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    ran = subprocess.run(
        [sys.executable, "-c", WRITE_A_LOT, str(path)],
        capture_output=True,
        text=True,
        errors="replace",  # FFmpeg's complaints are not all text
        check=True,
    )
    if name == "folder":
        expected = f"SinkError {path}/000000_cat.jpg cannot be written: File too large\n"
        assert ran.stdout == expected
        assert list(path.iterdir()) == []
        return
    assert not path.exists()
    partial = path.with_name(f"out.part{path.suffix}")
    assert ran.stdout.startswith(f"SinkError {partial} holds ")
    assert ran.stdout.endswith(" of 40 frames; is the disk full?\n")
