"""Reads idx files, the format of MNIST and its likes (LeCun's page on MNIST describes it).

torchvision reads these files too, but not compressed ones, and it meets a truncated one with a
failed assertion.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.errors import SourceError

__all__ = ["find_idx", "read_idx"]

_UNSIGNED_BYTES = 0x08


def find_idx(folders: list[Path], name: str) -> Path | None:
    """The first file of that name, such as `train-images-idx3-ubyte`, plain or with `.gz`."""
    for folder in folders:
        for spelled in (name, name.replace("-idx", ".idx")):
            for path in (folder / spelled, folder / f"{spelled}.gz"):
                if path.is_file():
                    return path
    return None


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The array in an idx file of unsigned bytes, compressed by gzip or not.

    Raises:
        SourceError: it cannot be read, is cut short, or holds something else.
    """
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SourceError(f"{path} is cut short or damaged: {error}; get it again") from error
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error
    header = 4 + 4 * dimensions
    if data[:4] != bytes((0, 0, _UNSIGNED_BYTES, dimensions)):
        raise SourceError(
            f"{path} begins with {data[:4].hex(' ') or 'nothing'}; expected an idx file of bytes "
            f"in {dimensions} dimension(s), which begins with 00 00 08 {dimensions:02x}"
        )
    shape = tuple(int(n) for n in np.frombuffer(data[4:header], ">u4"))
    if len(shape) != dimensions or len(data) - header != math.prod(shape):
        raise SourceError(
            f"{path} is cut short or damaged: it has {max(0, len(data) - header)} bytes of "
            f"content, and its header states {'x'.join(map(str, shape)) or 'no size'}; get it again"
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)
