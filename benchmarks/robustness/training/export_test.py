"""Writes the held-out pictures for the other commands: class folders of PNGs and a TSV."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np

from blurvote.benchmarks.robustness.training.catalogue import DatasetKind
from blurvote.benchmarks.robustness.training.pictures import Pictures
from blurvote.runtime.errors import SinkError
from blurvote.runtime.whole_file import write_whole

__all__ = ["LIST", "export_test"]

LIST = "labels.tsv"


def export_test(pictures: Pictures, kind: DatasetKind, folder: Path) -> Path:
    """Writes `<class index>_<name>/<number>.png` (RGB) into `folder`, and the TSV that lists them.

    The TSV has lines of file (relative to the folder), tab, class index, in the pictures' order.
    It is written last, so where it is there, all pictures are.

    Returns:
        The path of the TSV.

    Raises:
        SinkError: a file cannot be written.
    """
    lines = []
    try:
        for label, name in enumerate(kind.classes):
            (folder / _class_folder(label, name)).mkdir(parents=True, exist_ok=True)
        for planes, label, number in zip(
            pictures.pixels, pictures.labels.tolist(), pictures.numbers.tolist(), strict=True
        ):
            file = f"{_class_folder(label, kind.classes[label])}/{number:05d}.png"
            rgb = np.broadcast_to(planes, (3, *planes.shape[1:])).transpose(1, 2, 0)
            _, data = cv2.imencode(".png", rgb[..., ::-1])
            (folder / file).write_bytes(data.tobytes())
            lines.append(f"{file}\t{label}\n")
        write_whole(folder / LIST, "".join(lines))
    except OSError as error:
        raise SinkError(
            f"the test pictures cannot be written: {error.filename or folder}: {error.strerror}"
        ) from error
    return folder / LIST


def _class_folder(label: int, name: str) -> str:
    """A class's folder; names such as T-shirt/top have characters that file systems do not."""
    return f"{label}_{re.sub(r'[^A-Za-z0-9-]+', '-', name)}"
