"""Which source a URI names."""

from __future__ import annotations

import glob
import re
import sys
from collections.abc import Callable
from pathlib import Path

from blurvote.runtime.errors import SourceError
from blurvote.runtime.sources.camera import CameraSource, open_v4l2
from blurvote.runtime.sources.csi import open_csi
from blurvote.runtime.sources.gstreamer import open_gst
from blurvote.runtime.sources.looping import LoopedSource
from blurvote.runtime.sources.mjpeg import open_http
from blurvote.runtime.sources.network import open_stream
from blurvote.runtime.sources.pacing import PacedSource
from blurvote.runtime.sources.pictures import IMAGE_SUFFIXES, ImageSource
from blurvote.runtime.sources.redact import without_password
from blurvote.runtime.sources.source import Source, SourceOptions
from blurvote.runtime.sources.stdin import StdinLines
from blurvote.runtime.sources.synthetic import open_synthetic
from blurvote.runtime.sources.video import VIDEO_SUFFIXES, VideoSource

__all__ = ["Opener", "check_kind", "names_file", "open_source", "register_source", "scheme_of"]

Opener = Callable[[str, SourceOptions], Source]
"""Takes the whole URI and the options, returns an open source or raises SourceError."""

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):", re.IGNORECASE)
_OPENERS: dict[str, Opener] = {
    "csi": open_csi,
    "gst": open_gst,
    "http": open_http,
    "https": open_http,
    "rtsp": open_stream,
    "rtsps": open_stream,
    "synthetic": open_synthetic,
    "v4l2": open_v4l2,
}


def register_source(scheme: str, opener: Opener) -> None:
    """Makes `opener` the one for URIs that begin with `scheme:`, also in place of a built-in one.

    Raises:
        SourceError: `scheme` is no URI scheme (a letter, then letters, digits, `+`, `.` or `-`).
    """
    if not _SCHEME.fullmatch(f"{scheme}:"):
        raise SourceError(f"{scheme!r} is not a URI scheme; expected letters and digits, as 'rtsp'")
    _OPENERS[scheme.lower()] = opener


def scheme_of(uri: str) -> str | None:
    """The registered scheme that `uri` begins with, or None."""
    found = _SCHEME.match(uri)
    return found[1].lower() if found and found[1].lower() in _OPENERS else None


def names_file(uri: str) -> bool:
    """Whether it is a picture, video, folder, glob or `-`, and not a camera or stream."""
    return _is_there(uri) or not (uri.isdecimal() or scheme_of(uri))


def check_kind(uri: str) -> None:
    """Raises SourceError for a URI of a scheme that nobody registered."""
    if scheme_of(uri) or _is_there(uri):
        return
    if re.match(r"[a-z][a-z0-9+.-]+://", uri, re.IGNORECASE):
        known = ", ".join(f"{name}:" for name in sorted(_OPENERS))
        raise SourceError(
            f"{without_password(uri)} is of no known kind; expected {known} or a path"
        )


def open_source(uri: str, options: SourceOptions | None = None) -> Source:
    """The source that `uri` names.

    A number is a camera, `-` reads picture paths from stdin, a folder is its pictures in name
    order, a pattern with `*`, `?` or `[` is a glob, what begins with a scheme (`rtsp:`, `gst:`,
    those of `register_source` and others) has its opener, other names are files. A file that is
    there goes before a scheme.

    Raises:
        StreamLostError: a stream that is not there now, but may be later.
        SourceError: there is no such thing, it cannot be opened, or it cannot serve the options.
    """
    try:
        return _open(uri, options or SourceOptions())
    except OSError as error:
        name = without_password(uri)
        raise SourceError(f"{name} cannot be opened: {error.strerror or error}") from error
    except ValueError as error:  # a NUL in the name
        raise SourceError(f"{without_password(uri)!r} cannot be opened: {error}") from error


def _open(uri: str, options: SourceOptions) -> Source:
    scheme = scheme_of(uri)
    if scheme is not None and not _is_there(uri):
        return _OPENERS[scheme](uri, options)
    if uri.isdecimal():
        return CameraSource(int(uri), options)
    check_kind(uri)
    options.refuse(uri, "files come as they are", "width", "codec")
    if not options.pace:
        options.refuse(uri, "a file has no rate unless it is paced; add pace", "fps")
    if uri == "-":
        options.refuse(uri, "stdin cannot be read twice", "loop")
    opener = _file_opener(uri)
    source = LoopedSource(opener, uri) if options.loop else opener()
    return PacedSource(source, options.fps, uri) if options.pace else source


def _is_there(uri: str) -> bool:
    try:
        return Path(uri).exists()
    except (OSError, ValueError):  # such as a pipeline longer than a file name may be
        return False


def _file_opener(uri: str) -> Callable[[], Source]:
    """What opens the files that `uri` names; their names are looked up now."""
    if uri == "-":
        if sys.stdin is None:
            raise SourceError("- reads picture paths from stdin, which is closed")
        lines = StdinLines()
        return lambda: ImageSource(lines)
    path = Path(uri)
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        if not found:
            kinds = ", ".join(sorted(IMAGE_SUFFIXES))
            raise SourceError(f"the folder {uri} holds no pictures ({kinds})")
        return lambda: ImageSource([str(p) for p in found])
    if not path.exists() and glob.has_magic(uri):
        matches = sorted(glob.glob(uri, recursive=True))
        if not matches:
            raise SourceError(f"nothing matches {uri}")
        return lambda: ImageSource(matches)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return lambda: VideoSource(uri)
    return lambda: ImageSource([uri])
