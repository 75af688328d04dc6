"""PyAV's pictures as NV12: the planes as they are, and what the stream says of its colours."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blurvote.runtime import Frame, SourceError
from blurvote.runtime.frame import check_frame
from blurvote.runtime.sources.addresses import StreamAddress
from blurvote.runtime.sources.av import AvSource
from blurvote.runtime.sources.av_pixels import colours_of, nv12_of

av: Any = pytest.importorskip("av")


def decoded(kind: str, height: int, width: int) -> Any:
    """A picture of smooth colours."""
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([90 + x, 60 + y, 180 - x], -1).clip(0, 255).astype(np.uint8)
    return av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=kind)


@pytest.mark.parametrize(("height", "width"), [(48, 64), (46, 70), (47, 63), (2, 2), (1, 1)])
@pytest.mark.parametrize("kind", ["yuv420p", "yuvj420p", "nv12"])
def test_the_planes_are_left_as_they_are(kind: str, height: int, width: int) -> None:
    picture = decoded(kind, height, width)
    pixels, window = nv12_of(picture, "it")
    frame = Frame(pixels, "nv12", window=window)
    check_frame(frame)
    assert (frame.height, frame.width) == (height, width)
    planes = [np.frombuffer(p, np.uint8).reshape(-1, p.line_size) for p in picture.planes]
    np.testing.assert_array_equal(pixels[:height, :width], planes[0][:height, :width])
    half = (height + 1) // 2, (width + 1) // 2
    chroma = pixels[height + height % 2 :]
    if kind == "nv12":
        np.testing.assert_array_equal(chroma, planes[1][: half[0], : 2 * half[1]])
    else:
        np.testing.assert_array_equal(chroma[:, ::2], planes[1][: half[0], : half[1]])
        np.testing.assert_array_equal(chroma[:, 1::2], planes[2][: half[0], : half[1]])


def test_other_samplings_are_refused() -> None:
    with pytest.raises(SourceError, match=r"coded as yuv422p; pixels=nv12 takes 8-bit 4:2:0"):
        nv12_of(decoded("yuv422p", 8, 8), "it")


@pytest.mark.parametrize(
    ("space", "range_", "expected"),
    [
        (1, 1, ("bt709", "limited")),
        (5, 2, ("bt601", "full")),
        (6, 0, ("bt601", "limited")),
        (2, 0, ("bt601", "limited")),
    ],
)
def test_colours_are_the_streams_own(space: int, range_: int, expected: Any) -> None:
    picture = decoded("yuv420p", 8, 8)
    picture.colorspace, picture.color_range = space, range_
    assert colours_of(picture, "it") == expected
    picture.colorspace = 9
    with pytest.raises(SourceError, match=r"FFmpeg's space 9; pixels=nv12 takes BT\.601 and"):
        colours_of(picture, "it")
    assert colours_of(decoded("yuvj420p", 8, 8), "it")[1] == "full"


@pytest.mark.parametrize("space", [1, 5])
def test_a_stream_shows_the_same_as_converted(tmp_path: Path, space: int) -> None:
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=Fraction(10))
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 64, 48, "yuv420p", 4_000_000
        stream.codec_context.colorspace = space
        for _ in range(3):
            file.mux(stream.encode(decoded("yuv420p", 48, 64)))
        file.mux(stream.encode())
    seen: dict[str, Frame] = {}
    for kind in ("bgr", "nv12"):
        source = AvSource(StreamAddress(str(path), "film", False, pixels=kind))
        frame = source.read()
        source.close()
        assert frame is not None
        assert frame.colour == kind
        seen[kind] = frame
    assert seen["nv12"].matrix == ("bt709" if space == 1 else "bt601")
    apart = np.abs(seen["nv12"].as_bgr().astype(int) - seen["bgr"].pixels)
    assert apart.mean() < 2  # FFmpeg's scaler rounds otherwise, and may smooth chroma
