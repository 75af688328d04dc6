"""Writes a file all or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(path: Path, data: bytes | str, mode: int = 0o666) -> None:
    """Writes beside `path` first, then moves it there: readers never see half a file.

    A crash, Ctrl-C or a full disk leaves what was at `path` before, and nothing else.

    Args:
        path: where the file will be.
        data: text is written as UTF-8.
        mode: its permissions, of which the umask takes some.

    Raises:
        OSError: the folder is missing or not writable, or its disk is full.
    """
    if isinstance(data, str):
        data = data.encode()
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode & ~_umask())  # mkstemp's files are for their owner alone
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
