"""The camera at a Jetson's CSI connector."""

from __future__ import annotations

from blurvote.runtime.errors import SourceError
from blurvote.runtime.gst import load_gstreamer
from blurvote.runtime.sources.addresses import pixels_in
from blurvote.runtime.sources.gstreamer import GStreamerSource
from blurvote.runtime.sources.source import SourceOptions

__all__ = ["csi_pipeline", "open_csi"]

_SIZE, _FPS = (1920, 1080), 30.0  # a mode that all usual sensors have


def csi_pipeline(sensor: int, options: SourceOptions, pixels: str = "bgr") -> str:
    """The pipeline that takes a sensor's frames from the Jetson's own driver.

    Without a size or rate in the options they are 1920 x 1080 and 30 frames/s. They come as BGRx,
    or with `pixels="nv12"` as the sensor's own NV12: less than half the bytes to copy.
    """
    width, height = options.width or _SIZE[0], options.height or _SIZE[1]
    form = "NV12" if pixels == "nv12" else "BGRx"
    millihertz = round(1000 * (options.fps or _FPS))
    return (
        f"nvarguscamerasrc sensor-id={sensor} ! video/x-raw(memory:NVMM),format=NV12,"
        f"width={width},height={height},framerate={millihertz}/1000 ! nvvidconv "
        f"! video/x-raw,format={form} ! appsink{' caps=video/x-raw,format=NV12' * (form == 'NV12')}"
    )


def open_csi(uri: str, options: SourceOptions) -> GStreamerSource:
    """The source of `csi://0`, where 0 is the sensor's number; `csi://0#pixels=nv12` saves copies.

    Raises:
        SourceError: as `GStreamerSource`; the number is none; a setting is not known; this is no
            Jetson.
    """
    address, pixels = pixels_in(uri, ("bgr", "nv12"))
    number = address.partition(":")[2].removeprefix("//")
    if not number.isdecimal():
        raise SourceError(f"{uri} names no sensor; expected a number, such as csi://0")
    options.refuse(
        uri, "its driver delivers raw frames, live and without end", "codec", "loop", "pace"
    )
    gst, _ = load_gstreamer(SourceError)
    for element in ("nvarguscamerasrc", "nvvidconv"):
        if gst.ElementFactory.find(element) is None:
            raise SourceError(
                f"{uri} needs GStreamer's {element}, which only a Jetson with JetPack has; "
                "cameras elsewhere are v4l2:///dev/video0 or a number"
            )
    return GStreamerSource(csi_pipeline(int(number), options, pixels), uri, options.timeout_s)
