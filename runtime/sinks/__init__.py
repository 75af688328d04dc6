"""Where observations and events go: files, the screen, a broker, GStreamer, Python functions."""

from blurvote.runtime.sinks.annotated import AnnotatedSink, PerCameraSink, PictureWriter
from blurvote.runtime.sinks.callback import CallbackSink
from blurvote.runtime.sinks.encoding import to_json
from blurvote.runtime.sinks.gstreamer import GstSink
from blurvote.runtime.sinks.jsonl import JsonLinesSink, StdoutSink
from blurvote.runtime.sinks.mqtt import MqttSink
from blurvote.runtime.sinks.registry import Opener, open_sink, register_sink
from blurvote.runtime.sinks.segments import SegmentedVideoWriter
from blurvote.runtime.sinks.sink import Sink, SinkContext
from blurvote.runtime.sinks.window import WindowSink
from blurvote.runtime.sinks.writers import CODECS, FolderWriter, VideoFileWriter

__all__ = [
    "CODECS",
    "AnnotatedSink",
    "CallbackSink",
    "FolderWriter",
    "GstSink",
    "JsonLinesSink",
    "MqttSink",
    "Opener",
    "PerCameraSink",
    "PictureWriter",
    "SegmentedVideoWriter",
    "Sink",
    "SinkContext",
    "StdoutSink",
    "VideoFileWriter",
    "WindowSink",
    "open_sink",
    "register_sink",
    "to_json",
]
