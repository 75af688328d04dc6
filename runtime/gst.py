"""GStreamer for Python, loaded so that it shares a process with OpenCV and ONNX Runtime."""

from __future__ import annotations

import contextlib
import ctypes
from typing import Any

from blurvote.runtime.errors import BlurvoteError

__all__ = ["load_gstreamer"]


def load_gstreamer(error: type[BlurvoteError]) -> tuple[Any, Any]:
    """The modules `Gst` and `GstVideo`, ready to use.

    Args:
        error: what to raise.

    Raises:
        BlurvoteError: of type `error`, if PyGObject or GStreamer's typelibs are not installed.
    """
    # PyGObject loads libgstreamer for all to see, and with it libunwind, whose _Unwind_* functions
    # then stand in for libgcc's: the next C++ exception of OpenCV or ONNX Runtime, such as that of
    # a model which cannot be loaded, ends the process. Whoever is first in the global scope wins.
    with contextlib.suppress(OSError):
        ctypes.CDLL("libgcc_s.so.1", mode=ctypes.RTLD_GLOBAL)
    try:
        import gi
    except ImportError as missing:
        raise error(
            "gst: needs PyGObject; pip install 'blurvote[gst]' (on Debian 12 after "
            "apt-get install libgirepository1.0-dev libcairo2-dev)"
        ) from missing
    try:
        gi.require_version("Gst", "1.0")
        gi.require_version("GstApp", "1.0")
        gi.require_version("GstVideo", "1.0")
        # GstApp gives appsrc and appsink their methods.
        from gi.repository import Gst, GstApp, GstVideo  # noqa: F401
    except (ImportError, ValueError) as missing:
        raise error(
            f"gst: needs GStreamer ({missing}); apt-get install gir1.2-gst-plugins-base-1.0 "
            "gstreamer1.0-plugins-good"
        ) from missing
    Gst.init(None)
    return Gst, GstVideo
