"""Sources: what is read, in which form, and what is said of what cannot be read."""

from __future__ import annotations

import io
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from blurvote.runtime import SourceError, sources
from blurvote.runtime.sources import open_source, read_image

FRAMES, FPS = 40, 25


def frame(shade: int = 0) -> np.ndarray:
    """A (48, 64, 3) uint8 BGR picture: red on the left, blue on the right, black at the bottom."""
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:40, :32, 2] = 200 + shade
    picture[:40, 32:, 0] = 200 + shade
    return picture


def save(path: Path, pixels: np.ndarray | None = None, **options: Any) -> Path:
    """Writes a BGR picture with Pillow, which is not what reads it."""
    pixels = frame() if pixels is None else pixels
    order = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    Image.fromarray(np.ascontiguousarray(order)).save(path, **options)
    return path


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with FRAMES frames each in an MP4, one with its index in front, and an AVI."""
    folder = tmp_path_factory.mktemp("videos")
    for name, codec in (("clip.mp4", "mp4v"), ("clip.avi", "MJPG")):
        writer = cv2.VideoWriter(str(folder / name), cv2.VideoWriter.fourcc(*codec), FPS, (64, 48))
        assert writer.isOpened()
        noise = np.random.default_rng(0)
        for _ in range(FRAMES):
            writer.write(frame() + noise.integers(0, 50, (48, 64, 3), dtype=np.uint8))
        writer.release()
    (folder / "index_first.mp4").write_bytes(index_first((folder / "clip.mp4").read_bytes()))
    return folder


def index_first(data: bytes) -> bytes:
    """The MP4 with its `moov` box moved before its `mdat` box, as streaming services store it."""
    boxes, at = {}, 0
    while at < len(data):
        size, name = struct.unpack(">I4s", data[at : at + 8])
        boxes[name] = data[at : at + size]
        at += size
    index = bytearray(boxes[b"moov"])
    table = index.find(b"stco") + 8
    for k in range(struct.unpack(">I", index[table : table + 4])[0]):
        place = slice(table + 4 + 4 * k, table + 8 + 4 * k)
        index[place] = struct.pack(">I", struct.unpack(">I", index[place])[0] + len(index))
    return b"".join([boxes[b"ftyp"], boxes[b"free"], bytes(index), boxes[b"mdat"]])


def refusal(read: Callable[[], Any]) -> str:
    with pytest.raises(SourceError) as caught:
        read()
    return str(caught.value)


# ---- pictures ----


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [("a.png", 0), ("a.bmp", 0), ("a.tiff", 0), ("a.ppm", 0), ("a.jpg", 12), ("A.JPEG", 12)],
)
def test_formats(tmp_path: Path, name: str, tolerance: int) -> None:
    options = {"quality": 95, "subsampling": 0} if tolerance else {}
    pixels = read_image(str(save(tmp_path / name, **options)))
    assert (pixels.shape, pixels.dtype) == ((48, 64, 3), np.uint8)
    assert np.abs(pixels.astype(int) - frame()).max() <= tolerance


GREY = frame()[..., 2]
DEPTHS: dict[str, tuple[Any, np.ndarray]] = {
    "grey": (GREY, np.dstack([GREY] * 3)),
    "grey, 16 bits": (GREY.astype(np.uint16) * 257, np.dstack([GREY] * 3)),
    "colour, 16 bits": (frame().astype(np.uint16) * 257, frame()),
    "with alpha": (np.dstack([frame(), GREY]), frame()),
}


@pytest.mark.parametrize(("stored", "expected"), DEPTHS.values(), ids=DEPTHS.keys())
def test_every_depth_comes_out_as_three_bytes(
    tmp_path: Path, stored: np.ndarray, expected: np.ndarray
) -> None:
    path = str(tmp_path / "a.png")
    assert cv2.imwrite(path, stored)  # Pillow has no 16-bit colour
    pixels = read_image(path)
    assert (pixels.shape, pixels.dtype) == ((48, 64, 3), np.uint8)
    # 16 bits are cut to the upper 8.
    np.testing.assert_allclose(pixels.astype(int), expected, atol=1)


# What turns a stored picture upright, per EXIF orientation.
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
    8: lambda p: np.rot90(p),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.jpg", exif=exif, quality=95, subsampling=0)
    upright = UPRIGHT[orientation](frame())
    pixels = read_image(str(path))
    assert pixels.shape == upright.shape
    assert np.abs(pixels.astype(int) - upright).mean() < 3


def jpeg(**options: Any) -> bytes:
    """A JPEG of some texture."""
    target = io.BytesIO()
    texture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(texture).save(target, "JPEG", **options)
    return target.getvalue()


def with_thumbnail() -> bytes:
    """A JPEG whose first segment holds a whole JPEG, as cameras store their previews."""
    thumbnail, picture = jpeg(quality=30), jpeg()
    payload = b"Exif\0\0" + thumbnail
    return picture[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + picture[2:]


JPEGS = {
    "baseline": jpeg(),
    "progressive": jpeg(progressive=True),
    "restarts": jpeg(restart_marker_blocks=1),
    "thumbnail": with_thumbnail(),
    # Phones append a video, whose bytes look like any marker.
    "motion photo": jpeg() + b"\0\0\0\x18ftypmp42" + b"\xff\xda\0\x0c" * 9,
}


@pytest.mark.parametrize("data", JPEGS.values(), ids=JPEGS.keys())
def test_whole_jpegs_are_read(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    assert read_image(str(tmp_path / "a.jpg")).shape == (48, 64, 3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(kind=st.sampled_from(["baseline", "progressive", "restarts", "thumbnail"]), data=st.data())
def test_a_jpeg_cut_anywhere_is_refused(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    whole = JPEGS[kind]
    path = tmp_path / "cut.jpg"
    path.write_bytes(whole[: data.draw(st.integers(3, len(whole) - 1))])
    said = refusal(lambda: read_image(str(path)))
    assert said == f"{path} is truncated: its JPEG data has no end marker"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(part=st.floats(0, 1))
def test_a_png_cut_anywhere_is_refused(tmp_path: Path, part: float) -> None:
    data = save(tmp_path / "a.png").read_bytes()
    path = tmp_path / "cut.png"
    path.write_bytes(data[: 8 + int(part * (len(data) - 9))])
    assert refusal(lambda: read_image(str(path))) == (
        f"{path} is truncated: its PNG data has no end chunk"
    )


NO_PICTURE = "is not a picture that OpenCV can decode, or is damaged"
BAD_FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "text": (b"Not a picture.\n" * 50, NO_PICTURE),
    "start of a JPEG": (b"\xff\xd8", NO_PICTURE),
    "JPEG markers alone": (b"\xff\xd8\xff\xe0\0\x04ab\xff\xd9", NO_PICTURE),
    "cut BMP": (b"BM\x36\x24", NO_PICTURE),
}


@pytest.mark.parametrize(("data", "said"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_files_that_are_no_pictures(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    assert refusal(lambda: read_image(str(path))) == f"{path} {said}"


def test_missing_and_impossible_paths(tmp_path: Path) -> None:
    missing = tmp_path / "no.jpg"
    assert refusal(lambda: read_image(str(missing))) == (
        f"{missing} cannot be read: No such file or directory"
    )
    assert refusal(lambda: read_image(str(tmp_path))).endswith("cannot be read: Is a directory")
    assert refusal(lambda: read_image("a\0b")).startswith("'a\\x00b' cannot be read: embedded null")


def test_a_picture_that_opencv_refuses_to_decode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        error = cv2.error("x")
        error.err = "too many pixels"
        raise error

    monkeypatch.setattr(cv2, "imdecode", fail)
    path = save(tmp_path / "a.png")
    assert refusal(lambda: read_image(str(path))) == f"{path} cannot be decoded: too many pixels"


# ---- what a name stands for ----


def drain(uri: str) -> list[str]:
    """The names, or the errors, of all that a source delivers; checks the numbering too."""
    source = open_source(uri)
    said, count = [], 0
    while True:
        try:
            got = source.read()
        except SourceError as error:
            said.append(str(error))
            continue
        if got is None:
            break
        count += 1
        said.append(Path(got.source).name)
        assert got.colour == "bgr"
    assert source.read() is None
    source.close()
    return said


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures b.png and A.JPG, a broken c.jpg, and a text."""
    place = tmp_path / "pictures"
    place.mkdir()
    save(place / "b.png")
    save(place / "A.JPG")
    (place / "c.jpg").write_bytes(b"")
    (place / "notes.txt").write_text("not asked for")
    return place


def test_a_folder_is_its_pictures_in_name_order(folder: Path) -> None:
    assert drain(str(folder)) == ["A.JPG", "b.png", f"{folder / 'c.jpg'} is empty"]
    assert open_source(str(folder)).total == 3


def test_a_glob(folder: Path) -> None:
    assert drain(f"{folder}/[Ab]*") == ["A.JPG", "b.png"]
    assert drain(f"{folder.parent}/**/*.png") == ["b.png"]


def test_a_file_whose_name_looks_like_a_glob(folder: Path) -> None:
    save(folder / "b[1].png")
    assert drain(f"{folder}/b[1].png") == ["b[1].png"]


def test_one_file(folder: Path) -> None:
    assert drain(str(folder / "b.png")) == ["b.png"]
    assert open_source(str(folder / "b.png")).frames_per_second is None


def test_numbers_count_up_over_broken_pictures(folder: Path) -> None:
    (folder / "A.JPG").write_bytes(b"")
    source = open_source(str(folder))
    with pytest.raises(SourceError):
        source.read()
    got = source.read()
    assert got is not None
    assert got.sequence == 1


def test_nothing_follows_close(folder: Path) -> None:
    source = open_source(str(folder))
    source.close()
    assert source.read() is None


def test_paths_on_stdin(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = folder / os.fsdecode(b"not-utf8-\xff.png")
    save(odd)
    lines = [folder / "b.png", Path(), folder / "none.png", odd, folder / "A.JPG"]
    text = b"".join(os.fsencode(line) + b"\n" for line in lines).replace(b"\n.\n", b"\n\n")
    text = text.replace(b"b.png\n", b"b.png\r\n")  # a list that was made on Windows
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text[:-1])))
    missing = f"{folder / 'none.png'} cannot be read: No such file or directory"
    assert drain("-") == ["b.png", missing, odd.name, "A.JPG"]


def test_stdin_may_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    said = refusal(lambda: open_source("-"))
    assert said == "- reads picture paths from stdin, which is closed"


def test_sources_that_cannot_be_opened(tmp_path: Path) -> None:
    for uri, said in {
        str(tmp_path): f"the folder {tmp_path} holds no pictures (.bmp, .jp2, .jpeg, .jpg, .pgm, "
        ".png, .ppm, .tif, .tiff, .webp)",
        f"{tmp_path}/*.jpg": f"nothing matches {tmp_path}/*.jpg",
        f"{tmp_path}/a.mp4": f"{tmp_path}/a.mp4 cannot be read: no such file",
        "a" * 300 + ".mp4": "a" * 300 + ".mp4 cannot be opened: File name too long",
    }.items():
        assert refusal(lambda uri=uri: open_source(uri)) == said


def test_an_unreadable_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> Any:  # permissions do not stop root, which tests may run as
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)
    said = refusal(lambda: open_source(str(folder)))
    assert said == f"{folder} cannot be opened: Permission denied"


def test_a_name_with_nul(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> bool:  # as Python 3.10 to 3.13 do in some, not all, of their calls
        raise ValueError("embedded null byte")

    monkeypatch.setattr(Path, "is_dir", refuse)
    said = refusal(lambda: open_source("a\0.jpg"))
    assert said == "'a\\x00.jpg' cannot be opened: embedded null byte"


# ---- videos ----


@pytest.mark.parametrize("name", ["clip.mp4", "clip.avi", "index_first.mp4"])
def test_every_frame_of_a_video(videos: Path, name: str) -> None:
    source = open_source(str(videos / name))
    assert source.total == FRAMES
    assert source.frames_per_second == FPS
    for sequence in range(FRAMES):
        got = source.read()
        assert got is not None
        assert (got.sequence, got.source, got.colour) == (sequence, str(videos / name), "bgr")
        assert (got.pixels.shape, got.pixels.dtype) == ((48, 64, 3), np.uint8)
        assert got.pixels[20, 16].argmax() == 2
        assert got.pixels[20, 48].argmax() == 0
    assert source.read() is None
    assert source.read() is None
    source.close()


def test_frames_stay_as_they_were_when_the_next_is_read(videos: Path) -> None:
    source = open_source(str(videos / "clip.avi"))
    first = source.read()
    assert first is not None
    kept = first.pixels.copy()
    second = source.read()
    assert second is not None
    np.testing.assert_array_equal(first.pixels, kept)
    assert not np.array_equal(second.pixels, kept)
    source.close()
    assert source.read() is None


@pytest.mark.parametrize("name", ["clip.avi", "index_first.mp4"])
def test_a_video_cut_short_gives_its_frames_and_an_error(
    videos: Path, tmp_path: Path, name: str
) -> None:
    data = (videos / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: len(data) // 2])
    *frames, last = drain(str(path))
    assert 1 < len(frames) < FRAMES
    assert last == f"{path} ended after {len(frames)} of {FRAMES} frames: it is damaged"


@pytest.mark.parametrize("cut", ["no index", "empty", "text"])
def test_a_video_that_cannot_be_opened(videos: Path, tmp_path: Path, cut: str) -> None:
    data = (videos / "clip.mp4").read_bytes()
    path = tmp_path / "a.mp4"
    path.write_bytes({"no index": data[: len(data) // 2], "empty": b"", "text": b"film" * 99}[cut])
    assert refusal(lambda: open_source(str(path))) == (
        f"{path} is not a video that OpenCV can decode, or is truncated"
    )


# ---- cameras ----


class FakeCapture:
    """A camera that delivers two frames, then none."""

    def __init__(self, index: int, frames: int = 2, opened: bool = True) -> None:
        self.left, self.opened, self.released = frames, opened, False

    def isOpened(self) -> bool:
        return self.opened

    def get(self, _: int) -> float:
        return 0.0

    def set(self, number: int, value: float) -> bool:
        return True

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.left -= 1
        return (True, frame(self.left)) if self.left >= 0 else (False, None)

    def release(self) -> None:
        self.released = True


def test_a_camera_that_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    source = open_source("3")
    assert isinstance(source, sources.CameraSource)
    assert source.total is None
    assert source.frames_per_second is None
    for sequence in range(2):
        got = source.read()
        assert got is not None
        assert (got.source, got.sequence) == ("camera:3", sequence)
    assert refusal(source.read) == "camera:3 delivers no more frames after 2"
    assert source.read() is None
    source.close()
    assert source._capture._capture.released


@pytest.mark.parametrize("index", [3, 99, 100, 2**31, 10**20])
def test_a_camera_that_is_not_there(monkeypatch: pytest.MonkeyPatch, index: int) -> None:
    def closed(index: int) -> FakeCapture:
        assert index < 100, "OpenCV reads more than a number into it, or fails"
        return FakeCapture(index, opened=False)

    monkeypatch.setattr(cv2, "VideoCapture", closed)
    assert refusal(lambda: open_source(str(index))) == (
        f"camera {index} cannot be opened; is it plugged in and free? "
        "(ls /dev/video* lists cameras on Linux)"
    )
