"""H.264 films: drawn ones, and their pictures with damage."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from blurvote.benchmarks.soak.outcome import Skipped
from blurvote.benchmarks.soak.setup import Setup

__all__ = ["damage_file", "draw_film", "film_of"]

_PREFIX_BYTES = 4  # length of a NAL unit, before it in an MP4
_SPARED = 8  # bytes after it: the headers of unit and slice
_SLICES = frozenset({1, 5})  # NAL unit types that hold pictures


def draw_film(path: Path, frames: int = 250, size: tuple[int, int] = (320, 240)) -> Path:
    """Writes an MP4 whose every picture differs everywhere from the one before, at 25 per second.

    Raises:
        Skipped: GStreamer cannot write it.
    """
    width, height = size
    _run(
        f"videotestsrc num-buffers={frames} pattern=zone-plate kx2=20 ky2=20 kt=3 "
        f"! video/x-raw,format=I420,width={width},height={height},framerate=25/1 "
        "! x264enc tune=zerolatency sliced-threads=false threads=1 speed-preset=ultrafast "
        "key-int-max=25 bitrate=600 ! h264parse ! mp4mux "
        f'! filesink location="{path}"'
    )
    return path


def film_of(setup: Setup) -> Path:
    """The video given, or a drawn one."""
    if setup.video is not None:
        return setup.video
    return draw_film(setup.folder / "film.mp4", 75 if setup.short else 250)


def damage_file(source: Path, target: Path, share: float, seed: int = 0) -> int:
    """Copies an MP4 with bytes flipped in the payload of that share of its pictures' NAL units.

    Returns:
        How many were damaged.

    Raises:
        Skipped: GStreamer cannot copy it.
    """
    _run(
        f'filesrc location="{source}" ! qtdemux ! h264parse '
        "! video/x-h264,stream-format=avc,alignment=au ! mp4mux "
        f'! filesink location="{target}"'
    )
    data = bytearray(target.read_bytes())
    chance = random.Random(seed)
    at, end = _media(data)
    damaged = 0
    while at + _PREFIX_BYTES < end:
        size = int.from_bytes(data[at : at + _PREFIX_BYTES], "big")
        at += _PREFIX_BYTES
        if size <= 0 or at + size > end:
            break
        if data[at] & 0x1F in _SLICES and size > 3 * _SPARED and chance.random() < share:
            damaged += 1
            for _ in range(max(1, size // 500)):
                data[chance.randrange(at + _SPARED, at + size)] ^= 1 << chance.randrange(8)
        at += size
    target.write_bytes(data)
    return damaged


def _media(data: bytearray) -> tuple[int, int]:
    """Where the payload of the MP4's `mdat` box begins and ends."""
    at = 0
    while at + 8 <= len(data):
        size, kind, header = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if size == 1:
            size, header = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        if kind == b"mdat":
            return at + header, at + size if size else len(data)
        if size < 8:
            break
        at += size
    raise Skipped("the video could not be copied: no media data in it")


def _run(line: str) -> None:
    """Runs a GStreamer pipeline to its end."""
    from blurvote.runtime.errors import SourceError
    from blurvote.runtime.gst import load_gstreamer

    gst: Any = load_gstreamer(SourceError)[0]
    pipeline = gst.parse_launch(line)
    pipeline.set_state(gst.State.PLAYING)
    kinds = gst.MessageType.EOS | gst.MessageType.ERROR
    message = pipeline.get_bus().timed_pop_filtered(120 * gst.SECOND, kinds)
    pipeline.set_state(gst.State.NULL)
    if message is None or message.type != gst.MessageType.EOS:
        raise Skipped(f"GStreamer could not write a film: {line}")
