"""JPEGs one after the other over HTTP, as network cameras and many small servers send them."""

from __future__ import annotations

import http.client
import threading
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import unquote, urlsplit

from blurvote.runtime.errors import SourceError, StreamLostError
from blurvote.runtime.frame import Frame
from blurvote.runtime.sources.network import open_stream
from blurvote.runtime.sources.pictures import decode_image
from blurvote.runtime.sources.redact import without_password
from blurvote.runtime.sources.source import Source, SourceOptions

__all__ = ["MjpegSource", "open_http"]

_LARGEST = 64 << 20  # bytes of one picture
_LONGEST_LINE = 1 << 16
_BROKEN = (OSError, http.client.HTTPException, ValueError)


def open_http(uri: str, options: SourceOptions) -> Source:
    """The stream at `http://...` or `https://...`: an `MjpegSource`, or what FFmpeg makes of it.

    A user name and password in the address are used for basic or digest authentication.

    Raises:
        StreamLostError: nobody answers, or the server refuses (a camera that starts up may).
        SourceError: it sends a single picture.
    """
    name = without_password(uri.partition("#")[0])
    options.refuse(name, "it sends what it sends", "width", "fps", "codec", "loop", "pace")
    try:
        response = _request(uri.partition("#")[0], options.timeout_s)
    except urllib.error.HTTPError as error:
        error.close()
        raise StreamLostError(
            f"{name} cannot be opened: the server says {error.code} {error.reason}"
        ) from None
    except _BROKEN as error:
        reason = getattr(error, "reason", None) or error
        raise StreamLostError(f"{name} cannot be opened: {without_password(str(reason))}") from None
    kind = response.headers.get_content_type()
    if response.headers.get_content_maintype() == "multipart":
        return MjpegSource(response, name, options.timeout_s)
    response.close()
    if kind.startswith(("image/", "text/html")):
        what = "a web page" if kind == "text/html" else "one picture"
        raise SourceError(f"{name} is {what} ({kind}); expected a stream")
    return open_stream(uri, options)


def _request(address: str, timeout_s: float) -> Any:
    parts = urlsplit(address)
    _ = parts.port  # ValueError where that is no number
    handlers: list[urllib.request.BaseHandler] = []
    if parts.username is not None:
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2])
        address = bare.geturl()
        passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        passwords.add_password(
            None, address, unquote(parts.username), unquote(parts.password or "")
        )
        handlers = [
            _Basic(passwords),
            _Digest(passwords),
        ]
    return urllib.request.build_opener(*handlers).open(address, timeout=timeout_s)


class _ClosesRefusals:
    """Closes the refusal that a second try with the password follows; urllib leaves it open."""

    def http_error_401(self, req: Any, fp: Any, *rest: Any) -> Any:
        again: Any = None
        failed = True
        try:
            again = super().http_error_401(req, fp, *rest)  # type: ignore[misc]
            failed = False
        finally:
            if failed or again is not None:
                fp.close()
        return again


class _Basic(_ClosesRefusals, urllib.request.HTTPBasicAuthHandler):
    pass


class _Digest(_ClosesRefusals, urllib.request.HTTPDigestAuthHandler):
    pass


class MjpegSource:
    """The JPEGs of a `multipart/x-mixed-replace` response, each checked for its end.

    A decoder fills damage inside of a JPEG, and that goes unnoticed.

    Args:
        response: as of `urllib`, open, with a timeout of its own for each piece.
        name: the frames' `source`.
        timeout_s: for a whole picture.
    """

    total: int | None = None
    frames_per_second: float | None = None
    live = True

    def __init__(self, response: Any, name: str, timeout_s: float) -> None:
        self._response = response
        self._name = name
        self._timeout_s = timeout_s
        boundary = response.headers.get_param("boundary") or ""
        # Some servers write the dashes before the boundary into its name.
        self._boundary = b"--" + str(boundary).encode("latin-1", "replace").lstrip(b"-")
        self._deadline = 0.0
        self._sequence = 0
        self._closed = False
        self._lock = threading.Lock()

    def read(self) -> Frame | None:
        """The next picture; None once closed.

        Raises:
            StreamLostError: the stream broke off, or no picture came within the timeout.
            SourceError: this picture is cut short or no picture; the next call goes on.
        """
        with self._lock:
            if self._closed:
                return None
            self._deadline = time.monotonic() + self._timeout_s
            try:
                data, came_at = self._part()
            except TimeoutError:
                self._give_up()
                raise StreamLostError(
                    f"{self._name} delivered no picture for {self._timeout_s:g} s"
                ) from None
            except _BROKEN:
                self._give_up()
                raise StreamLostError(
                    f"{self._name} broke off after {self._sequence} frames"
                ) from None
        self._sequence += 1
        pixels = decode_image(data, f"{self._name}: frame {self._sequence - 1}")
        return Frame(pixels, "bgr", self._name, self._sequence - 1, came_at)

    def _part(self) -> tuple[bytes, float]:
        """The bytes of the next picture and when they began to come."""
        while not self._line().startswith(self._boundary):
            pass
        came_at = time.monotonic()
        length = None
        while line := self._line().strip():
            key, _, value = line.partition(b":")
            if key.strip().lower() == b"content-length":
                length = int(value)
        if length is None:
            return self._until_boundary(), came_at
        if not 0 <= length <= _LARGEST:
            raise ValueError("no length that a picture has")
        return self._exactly(length), came_at

    def _exactly(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            piece = self._response.read1(min(length - len(data), 1 << 16))
            self._check(piece)
            data += piece
        return bytes(data)

    def _until_boundary(self) -> bytes:
        data = bytearray()
        while len(data) <= _LARGEST:
            line = self._line()
            if line.startswith(self._boundary):
                self._left = line
                return bytes(data).removesuffix(b"\n").removesuffix(b"\r")
            data += line
        raise ValueError("no end of the picture")

    _left = b""

    def _line(self) -> bytes:
        line, self._left = self._left, b""
        if not line:
            line = self._response.readline(_LONGEST_LINE)
            self._check(line)
        return bytes(line)

    def _check(self, piece: bytes) -> None:
        if not piece:
            raise ConnectionError("the server closed")
        if time.monotonic() > self._deadline:
            raise TimeoutError

    def _give_up(self) -> None:
        self._closed = True
        self._response.close()

    def close(self) -> None:
        """Ends the stream; waits for a `read` of another thread, which its timeout bounds."""
        with self._lock:
            self._give_up()
