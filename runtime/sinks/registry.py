"""Which sink a URI names."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from blurvote.runtime.errors import SinkError
from blurvote.runtime.sinks.annotated import CAMERA, AnnotatedSink, PerCameraSink, PictureWriter
from blurvote.runtime.sinks.gstreamer import GstSink
from blurvote.runtime.sinks.jsonl import JsonLinesSink, StdoutSink
from blurvote.runtime.sinks.mqtt import MqttSink
from blurvote.runtime.sinks.options import number, parse_options, split_options, whole_number
from blurvote.runtime.sinks.segments import SegmentedVideoWriter
from blurvote.runtime.sinks.sink import Sink, SinkContext
from blurvote.runtime.sinks.window import WindowSink
from blurvote.runtime.sinks.writers import CODECS, FolderWriter, VideoFileWriter
from blurvote.runtime.sources import IMAGE_SUFFIXES, VIDEO_SUFFIXES

__all__ = ["Opener", "check_kind", "open_sink", "register_sink"]

Opener = Callable[[str, SinkContext], Sink]
"""Takes the whole URI and the context, returns an open sink or raises SinkError."""

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):", re.IGNORECASE)


def register_sink(scheme: str, opener: Opener) -> None:
    """Makes `opener` the one for URIs that begin with `scheme:`, also in place of a built-in one.

    Raises:
        SinkError: `scheme` is no URI scheme (a letter, then letters, digits, `+`, `.` or `-`).
    """
    if not _SCHEME.fullmatch(f"{scheme}:"):
        raise SinkError(f"{scheme!r} is not a URI scheme; expected letters and digits, as 'mqtt'")
    _OPENERS[scheme.lower()] = opener


def open_sink(uri: str, context: SinkContext) -> Sink:
    """The sink that `uri` names.

    ::

        -  jsonl:-                              JSON lines to stdout
        out.jsonl?max_mb=100&keep=5  jsonl:NAME JSON lines to a file, see `JsonLinesSink`
        out.mp4?segment_s=600&keep=144          annotated video, see `SegmentedVideoWriter`
        folder?keep=1000                        annotated JPEGs, see `FolderWriter`
        window:  window:TITLE                   annotated pictures on the screen
        mqtt://...  mqtts://...                 JSON to a broker, see `MqttSink`
        gst:appsrc ! ...                        annotated pictures into GStreamer, see `GstSink`

    and any registered scheme. Without options all of a video is one file, and all pictures are
    kept. `{camera}` in the name of a video or folder gives each camera its own. An end of a file's
    name counts as options only if it reads like `?key=value`.

    Raises:
        SinkError: it cannot be created, an option is wrong, or it is a kind of video that cannot
            be written.
    """
    scheme = _SCHEME.match(uri)
    if scheme and scheme[1].lower() in _OPENERS:
        return _OPENERS[scheme[1].lower()](uri, context)
    check_kind(uri)
    name, options = split_options(uri)
    if name == "-" or name.lower().endswith(".jsonl"):
        return _open_lines(f"jsonl:{uri}", context)
    open_writer = _picture_writer(name, options, context)
    if CAMERA in name:
        return PerCameraSink(name, open_writer, context)
    return AnnotatedSink(open_writer(name), context)


def check_kind(uri: str) -> None:
    """Raises SinkError for a URI of a scheme that nobody registered, or a file of no such kind."""
    scheme = _SCHEME.match(uri)
    if scheme and scheme[1].lower() in _OPENERS:
        return
    if scheme and uri[scheme.end() :].startswith("//"):
        known = ", ".join(f"{name}:" for name in sorted(_OPENERS))
        raise SinkError(
            f"there is no sink for {scheme[1]}://; known are {known}, - (JSON lines to stdout), "
            "files (.jsonl, " + ", ".join(CODECS) + ") and folders"
        )
    name, _ = split_options(uri)
    suffix = Path(name).suffix.lower()
    if not name:
        raise SinkError("a sink has no name; expected a file, a folder or a URI")
    if suffix in VIDEO_SUFFIXES and suffix not in CODECS:
        raise SinkError(
            f"{name} is a {suffix} video, which cannot be written; use {', '.join(CODECS)} "
            "or a folder"
        )
    if suffix in (".json", ".txt", ".csv", *IMAGE_SUFFIXES) and not Path(name).is_dir():
        raise SinkError(
            f"{name} is no sink; verdicts go to a .jsonl file, pictures to a folder "
            f"({', '.join(CODECS)} are videos)"
        )


def _picture_writer(
    name: str, options: str, context: SinkContext
) -> Callable[[str], PictureWriter]:
    """What opens videos or folders of these options."""
    suffix = Path(name).suffix.lower()
    rate = context.frames_per_second
    if suffix in CODECS:
        given = parse_options(name, options, ("segment_s", "keep"))
        if "segment_s" not in given:
            if given:
                raise SinkError(f"{name}: keep needs segment_s, the length of a video in seconds")
            return lambda path: VideoFileWriter(path, rate)
        segment_s = number(name, given, "segment_s", 0)
        keep = whole_number(name, given, "keep", 0)
        return lambda path: SegmentedVideoWriter(path, rate, segment_s, keep)
    given = parse_options(name, options, ("keep",))
    kept = whole_number(name, given, "keep", 0) or None
    return lambda path: FolderWriter(path, kept)


def _open_lines(uri: str, context: SinkContext) -> Sink:
    name, options = split_options(uri.partition(":")[2])
    if name == "-":
        parse_options("-", options, ())
        return StdoutSink(context)
    if not name:
        raise SinkError("jsonl: needs a file's name, or - for stdout")
    return JsonLinesSink(name, options)


def _open_window(uri: str, context: SinkContext) -> Sink:
    return WindowSink(uri.partition(":")[2], context)


def _open_mqtt(uri: str, context: SinkContext) -> Sink:
    return MqttSink(uri)


def _open_gst(uri: str, context: SinkContext) -> Sink:
    return GstSink(uri.partition(":")[2].strip(), context)


_OPENERS: dict[str, Opener] = {
    "gst": _open_gst,
    "jsonl": _open_lines,
    "mqtt": _open_mqtt,
    "mqtts": _open_mqtt,
    "window": _open_window,
}
