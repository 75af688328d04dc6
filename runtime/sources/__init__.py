"""Where frames come from: cameras, streams, files, and whatever a user registers.

A source is one small class with `read()` and `close()`. `read()` returns the next `Frame`, None at
the end, and raises SourceError for a frame that cannot be read; it may be called again after that,
so that one broken picture does not end a folder.
"""

from blurvote.runtime.sources.av import AvSource
from blurvote.runtime.sources.camera import CameraSource
from blurvote.runtime.sources.fake import Script, ScriptedSource
from blurvote.runtime.sources.gstreamer import GStreamerSource
from blurvote.runtime.sources.mjpeg import MjpegSource
from blurvote.runtime.sources.network import NetworkSource
from blurvote.runtime.sources.pictures import IMAGE_SUFFIXES, ImageSource, read_image
from blurvote.runtime.sources.redact import without_password
from blurvote.runtime.sources.registry import Opener, names_file, open_source, register_source
from blurvote.runtime.sources.source import Source, SourceOptions
from blurvote.runtime.sources.synthetic import SyntheticSource
from blurvote.runtime.sources.video import VIDEO_SUFFIXES, VideoSource

__all__ = [
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "AvSource",
    "CameraSource",
    "GStreamerSource",
    "ImageSource",
    "MjpegSource",
    "NetworkSource",
    "Opener",
    "Script",
    "ScriptedSource",
    "Source",
    "SourceOptions",
    "SyntheticSource",
    "VideoSource",
    "names_file",
    "open_source",
    "read_image",
    "register_source",
    "without_password",
]
