"""RTSP streams from a real server: size, loss, stall, damage."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from blurvote.runtime import SourceError, StreamLostError
from blurvote.runtime.sources import AvSource, NetworkSource, SourceOptions, open_source
from tests.runtime.rtsp import RtspServer, film, needs_gstreamer, pattern

pytestmark = needs_gstreamer

needs_av = pytest.mark.skipif(find_spec("av") is None, reason="no PyAV")
DECODERS = [pytest.param("av", marks=needs_av), "opencv"]
TIMEOUT_S = 4


@pytest.fixture(scope="module")
def server() -> Iterator[RtspServer]:
    with RtspServer({"a": pattern(160, 120), "jpeg": pattern(160, 120, codec="mjpeg")}) as running:
        yield running


def stream(uri: str, decoder: str = "opencv", more: str = "") -> Any:
    return open_source(f"{uri}#decoder={decoder}{more}", SourceOptions(timeout_s=TIMEOUT_S))


def until_lost(source: Any) -> str:
    """Reads on; what the StreamLostError says."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            assert source.read() is not None
        except StreamLostError as error:
            assert source.read() is None
            return str(error)
        except SourceError:
            pass
    raise AssertionError("not lost")


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_frames_come_and_the_password_stays(
    server: RtspServer, decoder: str, transport: str
) -> None:
    before = os.environ.get("OPENCV_FFMPEG_CAPTURE_OPTIONS")
    source = stream(server.url("a", "joe:s3cret"), decoder, f"&transport={transport}")
    assert os.environ.get("OPENCV_FFMPEG_CAPTURE_OPTIONS") == before
    assert isinstance(source, AvSource if decoder == "av" else NetworkSource)
    assert source.live
    assert source.total is None
    assert source.frames_per_second == 25
    for sequence in range(10):
        got = source.read()
        assert got.sequence == sequence
        assert got.source == server.url("a", "joe:***")
        assert got.pixels.shape == (120, 160, 3)
    bars = got.pixels[20, 10], got.pixels[20, 150]  # white and blue, in BGR
    assert bars[0].min() > 150
    assert bars[1].argmax() == 0
    source.close()
    source.close()
    assert source.read() is None


@needs_av
@pytest.mark.parametrize("mount", ["a", "jpeg"])
def test_a_size_that_changes_in_mid_stream(server: RtspServer, mount: str) -> None:
    source = stream(server.url(mount), "av")
    assert source.read().pixels.shape == (120, 160, 3)
    server.resize(mount, 96, 64)
    deadline = time.monotonic() + 30
    while source.read().pixels.shape != (64, 96, 3):
        assert time.monotonic() < deadline
    server.resize(mount, 160, 120)
    source.close()


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_stall_a_kill_and_a_restart(decoder: str) -> None:
    with RtspServer({"a": pattern(160, 120)}) as server:
        source = stream(server.url("a"), decoder)
        assert source.read() is not None
        server.stall("a")
        said = until_lost(source)
        assert said == f"{server.url('a')} delivered nothing for {TIMEOUT_S} s"
        source.close()
        server.flow("a")
        source = stream(server.url("a"), decoder)
        assert source.read() is not None
        server.kill()
        assert until_lost(source).startswith(f"{server.url('a')} broke off after")
        source.close()
        with pytest.raises(SourceError, match="cannot be opened") as caught:
            stream(server.url("a", "joe:s3cret"), decoder)
        assert "s3cret" not in str(caught.value)
        server.restart()
        source = stream(server.url("a"), decoder)
        assert source.read() is not None
        source.close()


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_server_that_stands_still_while_opening(server: RtspServer, decoder: str) -> None:
    server.pause()
    try:
        with pytest.raises(SourceError, match=r"(no answer for|within) 0\.5 s"):
            open_source(f"{server.url('a')}#decoder={decoder}", SourceOptions(timeout_s=0.5))
    finally:
        server.resume()


@needs_av
def test_damage_is_noticed_up_to_the_next_key_frame(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    write_film(path, frames=60)
    with RtspServer({"film": film(path)}) as server:
        source = stream(server.url("film"), "av")
        for _ in range(20):
            assert source.read() is not None
        server.corrupt("film", 1)
        bad = 0
        deadline = time.monotonic() + 60
        while bad < 10:
            assert time.monotonic() < deadline
            try:
                source.read()
            except SourceError:
                bad += 1
        server.corrupt("film", 0)
        good = 0
        while good < 20:  # after the next key frame all is well again
            assert time.monotonic() < deadline
            try:
                source.read()
                good += 1
            except SourceError:
                good = 0
        source.close()


def write_film(path: Path, frames: int) -> None:
    """Moving pictures as H.264, with a key frame every 15."""
    from gi.repository import Gst

    pipeline = Gst.parse_launch(
        f"videotestsrc pattern=ball num-buffers={frames} ! video/x-raw,width=320,height=240,"
        "framerate=25/1,format=I420 ! x264enc tune=zerolatency sliced-threads=false threads=1 "
        f"key-int-max=15 bitrate=3000 ! h264parse ! mp4mux ! filesink location={path}"
    )
    pipeline.set_state(Gst.State.PLAYING)
    ends = Gst.MessageType.EOS | Gst.MessageType.ERROR
    message = pipeline.get_bus().timed_pop_filtered(60 * Gst.SECOND, ends)
    pipeline.set_state(Gst.State.NULL)
    assert message is not None
    assert message.type == Gst.MessageType.EOS


@pytest.mark.parametrize(
    ("fragment", "said"),
    [
        ("transport=tpc", "transport is 'tpc'; expected tcp or udp"),
        ("decoder=gpu", "decoder is 'gpu'; expected av or opencv"),
        ("threads=0", "threads is '0'; expected 1 to 64"),
        ("colour=1", "sets 'colour'; expected transport, threads, decoder, pixels"),
        ("pixels=i420", "pixels is 'i420'; expected bgr or nv12"),
        ("pixels=nv12&decoder=opencv", "pixels=nv12 needs decoder=av"),
    ],
)
def test_settings_that_cannot_be(fragment: str, said: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(f"rtsp://joe:s3cret@127.0.0.1:1/x#{fragment}")
    assert said in str(caught.value)
    assert "s3cret" not in str(caught.value)
