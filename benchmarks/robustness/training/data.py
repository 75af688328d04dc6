"""Finds and reads a data set wherever it lies: idx files, torchvision's folders, class folders."""

from __future__ import annotations

import pickle
import tarfile
import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.optional import require
from blurvote.benchmarks.robustness.training.catalogue import DatasetKind
from blurvote.benchmarks.robustness.training.class_folders import read_class_folders
from blurvote.benchmarks.robustness.training.idx import find_idx, read_idx
from blurvote.benchmarks.robustness.training.pictures import SPLIT_SEED, Data, Pictures, split
from blurvote.runtime.errors import SinkError, SourceError

__all__ = ["load_data"]

_IDX_PREFIX = {"train": "train", "test": "t10k"}


def load_data(kind: DatasetKind, path: Path, *, download: bool = False) -> Data:
    """The data set in `path`, with its own split, or with a fixed one where only a part is there.

    Args:
        kind: what is expected there.
        path: a folder with idx files (`.gz` or not), with what `torchvision.datasets` downloads,
            with class folders, or with one tar file of those; or that tar file.
        download: fetch what is missing, through torchvision, into the folder.

    Raises:
        SourceError: there is no such data, it is broken, or the download fails.
        SinkError: the folder cannot be made.
        ProviderError: torchvision is missing, and a download or torchvision's CIFAR-10 is wanted.
    """
    if download:
        _download(kind, path)
    if not path.exists():
        raise SourceError(
            f"there is nothing at {path}; --data names a folder with {kind.name}, and --download "
            "fetches it into that folder"
        )
    found = _read(kind, path)
    for part, pictures in found.items():
        _check(pictures, kind, f"{path} ({part or 'pictures'})")
    if {"train", "test"} <= set(found):
        return Data(found["train"], found["test"], "train and test as published")
    (part, pictures), *others = found.items()
    if others:
        raise SourceError(
            f"{path} has class folders below {part or 'its top'} and others elsewhere; expected "
            "train and test, or one set of class folders"
        )
    train, test = split(pictures)
    which = f"only the {part} pictures are there" if part else "one set of pictures"
    return Data(train, test, f"{which}: split 4 to 1 within each class, seed {SPLIT_SEED}")


def _read(kind: DatasetKind, path: Path) -> dict[str, Pictures]:
    if path.is_file():
        return _class_folders(kind, path)
    found = _idx_parts(kind, path)
    if found:
        return found
    if kind.name == "cifar10" and (path / "cifar-10-batches-py").is_dir():
        return {part: _torchvision_cifar(kind, path, part == "train") for part in _IDX_PREFIX}
    tars = sorted(file for file in path.iterdir() if file.suffix in (".tar", ".tgz"))
    return _class_folders(kind, tars[0] if len(tars) == 1 else path)


def _class_folders(kind: DatasetKind, path: Path) -> dict[str, Pictures]:
    if path.is_file() and not tarfile.is_tarfile(path):
        raise SourceError(
            f"{path} is no tar file (or is cut short); --data names a folder or a tar"
        )
    found = read_class_folders(path, kind)
    if not found:
        what = "class folders" if kind.channels == 3 else "idx files and no class folders"
        raise SourceError(f"{path} holds no {what} of {kind.name}; --download fetches it there")
    return found


def _idx_parts(kind: DatasetKind, path: Path) -> dict[str, Pictures]:
    """The parts whose images and labels are both there."""
    if kind.channels != 1:
        return {}
    folders = [path, path / "raw", path / kind.torchvision / "raw"]
    found = {}
    for part, prefix in _IDX_PREFIX.items():
        images = find_idx(folders, f"{prefix}-images-idx3-ubyte")
        labels = find_idx(folders, f"{prefix}-labels-idx1-ubyte")
        if images is None and labels is None:
            continue
        if images is None or labels is None:
            there, missing = (labels, "images") if images is None else (images, "labels")
            raise SourceError(f"{there} is there, but not the {missing} that belong to it")
        pixels, truth = read_idx(images, 3), read_idx(labels, 1)
        if len(pixels) != len(truth):
            raise SourceError(f"{images} has {len(pixels)} pictures, and {labels} {len(truth)}")
        found[part] = Pictures(pixels[:, None], truth.astype(np.int64), np.arange(len(truth)))
    return found


def _torchvision_cifar(kind: DatasetKind, path: Path, train: bool) -> Pictures:
    datasets = _datasets()
    try:
        stored: Any = getattr(datasets, kind.torchvision)(str(path), train=train, download=False)
    except (RuntimeError, OSError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise SourceError(f"{path}/cifar-10-batches-py cannot be read: {error}") from error
    pixels: NDArray[np.uint8] = stored.data.transpose(0, 3, 1, 2)
    labels = np.asarray(stored.targets, np.int64)
    return Pictures(np.ascontiguousarray(pixels), labels, np.arange(len(labels)))


def _check(pictures: Pictures, kind: DatasetKind, where: str) -> None:
    if not len(pictures):
        raise SourceError(f"{where} holds no pictures")
    shape = pictures.pixels.shape[1:]
    if shape != (kind.channels, kind.side, kind.side):
        raise SourceError(
            f"{where} holds pictures of shape {shape}; {kind.name} has "
            f"{(kind.channels, kind.side, kind.side)} (channels, height, width)"
        )
    highest = int(pictures.labels.max())
    if highest >= len(kind.classes):
        raise SourceError(
            f"{where} has a label of {highest}; {kind.name} has {len(kind.classes)} classes"
        )


def _download(kind: DatasetKind, path: Path) -> None:
    datasets = _datasets()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"{path} cannot be made a folder: {error.strerror}") from error
    try:
        for train in (True, False):
            getattr(datasets, kind.torchvision)(str(path), train=train, download=True)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise SourceError(
            f"cannot download {kind.name} into {path}: {reason}. Without a network, put its files "
            "there by hand and leave --download out"
        ) from error


def _datasets() -> Any:
    return require("training on this data set", ["torchvision.datasets"], "torch torchvision")[0]
