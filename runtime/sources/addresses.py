"""The settings that a URI carries."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl

from blurvote.runtime.errors import SourceError
from blurvote.runtime.sources.redact import without_password

__all__ = ["StreamAddress", "pixels_in", "settings_in"]

_KNOWN = {
    "transport": "tcp or udp",
    "threads": "1 to 64",
    "decoder": "av or opencv",
    "pixels": "bgr or nv12",
}


@dataclass(frozen=True)
class StreamAddress:
    """An address on the network and what follows its `#`, which no server ever sees.

    Attributes:
        url: as FFmpeg takes it, password and all.
        name: as it may be shown.
        rtsp: whether it is RTSP.
        transport: of RTSP, `tcp` or `udp`.
        threads: of the decoder.
        decoder: `av`, `opencv`, or empty for the better one that is installed.
        pixels: `bgr`, or `nv12`: the decoder's own luma and chroma, not converted.
    """

    url: str
    name: str
    rtsp: bool
    transport: str = "tcp"
    threads: int = 1
    decoder: str = ""
    pixels: str = "bgr"

    @classmethod
    def parse(cls, uri: str) -> StreamAddress:
        """Takes `rtsp://user:password@camera/stream#transport=udp&threads=2&decoder=opencv`.

        Raises:
            SourceError: a setting is not known or out of its range.
        """
        url, _, fragment = uri.partition("#")
        name = without_password(url)
        given = settings_in(fragment, name, _KNOWN)
        for key, expected in (
            ("transport", ("tcp", "udp")),
            ("decoder", ("av", "opencv")),
            ("pixels", ("bgr", "nv12")),
        ):
            if given.get(key, expected[0]) not in expected:
                raise SourceError(f"{name}: {key} is {given[key]!r}; expected {_KNOWN[key]}")
        threads = given.get("threads", "1")
        if not (threads.isdecimal() and 0 < int(threads) <= 64):
            raise SourceError(f"{name}: threads is {threads!r}; expected {_KNOWN['threads']}")
        scheme, colon, rest = url.partition(":")
        return cls(
            scheme.lower() + colon + rest,
            name,
            url.lower().startswith("rtsp"),
            given.get("transport", "tcp"),
            int(threads),
            given.get("decoder", ""),
            given.get("pixels", "bgr"),
        )


def pixels_in(uri: str, formats: tuple[str, ...]) -> tuple[str, str]:
    """The address of a camera and the first of `formats`, or that of `#pixels=` behind it.

    Raises:
        SourceError: another setting, or another format.
    """
    address, _, fragment = uri.partition("#")
    expected = f"{', '.join(formats[:-1])} or {formats[-1]}"
    pixels = settings_in(fragment, address, {"pixels": expected}).get("pixels", formats[0])
    if pixels not in formats:
        raise SourceError(f"{address}: pixels is {pixels!r}; expected {expected}")
    return address, pixels


def settings_in(text: str, uri: str, known: dict[str, str]) -> dict[str, str]:
    """The settings in `a=1&b=2`; `known` maps each possible name to what is expected of it.

    Raises:
        SourceError: one is not known, or has no value.
    """
    pairs = parse_qsl(text, keep_blank_values=True)
    for name, value in pairs:
        if name not in known:
            raise SourceError(f"{uri} sets {name!r}; expected {', '.join(known)}")
        if not value:
            raise SourceError(f"{uri} sets {name!r} to nothing; expected {known[name]}")
    return dict(pairs)
