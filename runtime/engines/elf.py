"""Reads which shared libraries a shared library needs."""

from __future__ import annotations

import struct
from pathlib import Path

__all__ = ["dependencies"]

_LOAD, _DYNAMIC = 1, 2  # kinds of segments
_NEEDED, _TEXTS = 1, 5  # tags of the dynamic segment: a needed library, where the names are


def dependencies(library: Path) -> list[str]:
    """The `DT_NEEDED` entries of a 64-bit little-endian ELF file; empty for any other file.

    Format: https://refspecs.linuxfoundation.org/elf/gabi4+/ch5.dynamic.html
    """
    with library.open("rb") as file:
        header = file.read(64)
        if header[:6] != b"\x7fELF\x02\x01":
            return []
        (table,) = struct.unpack_from("<Q", header, 32)
        size, count = struct.unpack_from("<HH", header, 54)
        file.seek(table)
        rows = file.read(size * count)
        # Of each segment: kind, flags, offset in the file, address, physical address, bytes.
        segments = [struct.unpack_from("<IIQQQQ", rows, n * size) for n in range(count)]
        entries: list[tuple[int, int]] = []
        for kind, _, offset, _, _, length in segments:
            if kind == _DYNAMIC:
                file.seek(offset)
                entries = list(struct.iter_unpack("<qQ", file.read(length // 16 * 16)))
        address = dict(entries).get(_TEXTS, 0)
        for kind, _, offset, start, _, length in segments:
            if kind == _LOAD and start <= address < start + length:
                file.seek(offset + address - start)
                texts = file.read(length - (address - start))
                ends = [(at, texts.index(b"\0", at)) for tag, at in entries if tag == _NEEDED]
                return [texts[at:end].decode() for at, end in ends]
    return []
