"""The pictures that a guard is calibrated on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.errors import ExportError

__all__ = ["Picture", "list_pictures", "read_picture", "write_list"]

_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"}


@dataclass(frozen=True)
class Picture:
    """A picture's file and its class index, None where it is not known."""

    path: Path
    truth: int | None


def list_pictures(folder: Path, labels: Path | None) -> list[Picture]:
    """The pictures in a folder and the folders inside, in the order of their paths.

    Args:
        labels: TSV of file (relative to `folder`, or a bare name) and class index.

    Raises:
        ExportError: there is no such folder or no picture in it, or `labels` has a line that is
            not a file and an index, or names no picture that is there.
    """
    if not folder.is_dir():
        raise ExportError(f"there is no folder of pictures at {folder}")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    if not paths:
        raise ExportError(f"{folder} holds no pictures; looked for {', '.join(sorted(_SUFFIXES))}")
    truths = _read_truths(labels) if labels else {}
    pictures = []
    for path in paths:
        relative = path.relative_to(folder).as_posix()
        pictures.append(Picture(path, truths.get(relative, truths.get(path.name))))
    if truths and all(picture.truth is None for picture in pictures):
        raise ExportError(
            f"no file that {labels} names is in {folder}; expected lines such as "
            f"{paths[0].relative_to(folder).as_posix()}<TAB>0"
        )
    return pictures


def read_picture(path: Path) -> NDArray[np.uint8]:
    """The picture as `(H, W, 3)` uint8, BGR, turned as its EXIF orientation says.

    Raises:
        ExportError: it cannot be read.
    """
    import cv2

    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
        pixels = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except (OSError, cv2.error) as error:
        raise ExportError(f"cannot be read: {error}") from error
    if pixels is None:
        raise ExportError("cannot be decoded as a picture")
    return np.asarray(pixels, np.uint8)


def write_list(pictures: list[Picture], path: Path) -> None:
    """Those whose class is known as lines of file and class index, for `blurvote evaluate`.

    Raises:
        ExportError: the file cannot be written.
    """
    lines = [f"{p.path.resolve()}\t{p.truth}\n" for p in pictures if p.truth is not None]
    try:
        path.write_text("".join(["file\tclass_index\n", *lines]), encoding="utf-8")
    except OSError as error:
        raise ExportError(f"cannot write the list of held-out pictures {path}: {error}") from error


def _read_truths(path: Path) -> dict[str, int]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"cannot read the labels in {path}: {error}") from error
    truths = {}
    for number, line in enumerate(lines, start=1):
        fields = line.split("\t")
        if not line.strip() or line.startswith("#"):
            continue
        if len(fields) >= 2 and fields[1].strip().isdecimal():
            truths[fields[0].strip()] = int(fields[1])
        elif number > 1:  # the first line may be a heading
            raise ExportError(
                f"line {number} of {path} is {line!r}; expected a file, a tab and a class index"
            )
    if not truths:
        raise ExportError(f"{path} holds no labels; expected lines of file, tab, class index")
    return truths
