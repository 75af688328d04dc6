"""Reads class folders of pictures, in a folder or in a tar file.

The folder right above a picture names its class: by the class's name, by its index, or by
`<index>_<name>` as `--export-test` writes it. A `train` or `test` folder may stand above those.
"""

from __future__ import annotations

import re
import tarfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.robustness.training.catalogue import DatasetKind
from blurvote.benchmarks.robustness.training.pictures import Pictures
from blurvote.runtime.errors import SourceError
from blurvote.runtime.sources import IMAGE_SUFFIXES

__all__ = ["read_class_folders"]

_INDEX = re.compile(r"(\d+)(?:_.*)?")
_PARTS = ("train", "test")


@dataclass(frozen=True)
class _Entry:
    """One encoded picture; `part` is train, test or empty."""

    part: str
    name: str
    label: int
    data: bytes


def read_class_folders(path: Path, kind: DatasetKind) -> dict[str, Pictures]:
    """The pictures under `path`, by part: `"train"`, `"test"`, or `""` for those in neither.

    Classes take turns, so that the first pictures are not all of one class.

    Args:
        path: a folder or a tar file, compressed or not.
        kind: gives the classes, and the size that every picture must have.

    Raises:
        SourceError: it cannot be read, a folder names no class, or a picture is broken or of
            another size.
    """
    found: dict[str, dict[int, list[_Entry]]] = defaultdict(lambda: defaultdict(list))
    entries = _folder_entries(path, kind) if path.is_dir() else _tar_entries(path, kind)
    try:
        for entry in entries:
            found[entry.part][entry.label].append(entry)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise SourceError(f"{path} cannot be read: {error}; is it cut short?") from error
    return {part: _decode(classes, path, kind) for part, classes in found.items()}


def _folder_entries(path: Path, kind: DatasetKind) -> Iterator[_Entry]:
    for file in sorted(path.rglob("*")):
        name = PurePosixPath(file.relative_to(path).as_posix())
        if file.suffix.lower() in IMAGE_SUFFIXES and len(name.parts) > 1 and file.is_file():
            yield _entry(name, file.read_bytes(), kind)


def _tar_entries(path: Path, kind: DatasetKind) -> Iterator[_Entry]:
    with tarfile.open(path) as archive:
        for member in archive:
            name = PurePosixPath(member.name)
            if not member.isfile() or name.suffix.lower() not in IMAGE_SUFFIXES:
                continue
            content: Any = archive.extractfile(member)
            yield _entry(name, content.read(), kind)
        # Where a header is cut, tarfile takes it for the end; a whole file ends in blocks of zeros.
        source: Any = archive.fileobj
        source.seek(archive.offset)
        if source.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("it has no end mark")


def _entry(name: PurePosixPath, data: bytes, kind: DatasetKind) -> _Entry:
    parents = name.parts[:-1]
    part = next((parent for parent in parents[:-1] if parent in _PARTS), "")
    return _Entry(part, str(name), _label(parents[-1] if parents else "", name, kind), data)


def _label(folder: str, name: PurePosixPath, kind: DatasetKind) -> int:
    names = [label.casefold() for label in kind.classes]
    if folder.casefold() in names:
        return names.index(folder.casefold())
    match = _INDEX.fullmatch(folder)
    if match and int(match[1]) < len(names):
        return int(match[1])
    raise SourceError(
        f"the folder of {name} is no class of {kind.name}; expected a name ({', '.join(names)}), "
        f"an index from 0 to {len(names) - 1}, or both as in 3_{names[3]}"
    )


def _decode(classes: dict[int, list[_Entry]], path: Path, kind: DatasetKind) -> Pictures:
    ordered = sorted(
        (rank, label, entry)
        for label, members in classes.items()
        for rank, entry in enumerate(sorted(members, key=lambda entry: entry.name))
    )
    pixels = np.empty((len(ordered), kind.channels, kind.side, kind.side), np.uint8)
    for number, (_, _, entry) in enumerate(ordered):
        pixels[number] = _pixels(entry, path, kind)
    labels = np.array([label for _, label, _ in ordered], np.int64)
    return Pictures(pixels, labels, np.arange(len(ordered)))


def _pixels(entry: _Entry, path: Path, kind: DatasetKind) -> NDArray[np.uint8]:
    mode = cv2.IMREAD_GRAYSCALE if kind.channels == 1 else cv2.IMREAD_COLOR_RGB
    picture: Any = None
    if entry.data:
        picture = cv2.imdecode(np.frombuffer(entry.data, np.uint8), mode)
    if picture is None:
        raise SourceError(f"{entry.name} in {path} is no picture that OpenCV can decode")
    height, width = picture.shape[:2]
    if (height, width) != (kind.side, kind.side):
        raise SourceError(
            f"{entry.name} in {path} is {width}x{height} px; {kind.name} has pictures of "
            f"{kind.side}x{kind.side} px"
        )
    planes = picture[None] if kind.channels == 1 else picture.transpose(2, 0, 1)
    return np.asarray(planes, np.uint8)
