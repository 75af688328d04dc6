"""Labelled pictures in the layouts that people have them in.

- ImageNet and its relatives: folders, or files of one folder, whose names start with a WordNet id
  (`n02101006/...`, `n02101006_Gordon_setter.JPEG`), for guards of ImageNet's 1000 classes.
- Class folders: named like the guard's labels (case and punctuation aside, and of `tench, Tinca
  tinca` the first name will do), or by class index (`7`, `7_horse`).
- A TSV of file and class index; files are looked for beside it and in the folder of its name.

Only names are read here; pictures are read one by one, so that 50,000 cost no memory.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.robustness import imagenet
from blurvote.runtime.errors import SourceError
from blurvote.runtime.sources import read_image

__all__ = ["OUTSIDE", "Dataset", "Sample", "is_grey", "open_dataset"]

OUTSIDE = -1  # label of a picture that shows none of the classes
SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
_WNID = re.compile(r"n\d{8}")
_INDEX = re.compile(r"(\d+)(?:$|[_ .-])")


@dataclass(frozen=True)
class Sample:
    """One labelled picture.

    Attributes:
        index: its place in the data set; seeds are drawn from it.
        key: its path inside the data set, which names it in results; no two are equal.
        label: class index, or `OUTSIDE`.
        path: where it lies.
    """

    index: int
    key: str
    label: int
    path: str

    def read(self) -> NDArray[np.uint8]:
        """Its `(H, W, 3)` uint8 RGB pixels, turned upright by its EXIF orientation.

        Raises:
            SourceError: missing, truncated, or not a picture.
        """
        return np.ascontiguousarray(read_image(self.path)[..., ::-1])


@dataclass(frozen=True)
class Dataset:
    """Labelled pictures.

    Attributes:
        name: of the folder or file that was opened.
        layout: how its labels were found, in words.
        samples: in the order of folders and files, or of the TSV's lines.
    """

    name: str
    layout: str
    samples: tuple[Sample, ...]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over keys, labels and file sizes: equal for equal data sets wherever they lie.

        The pictures themselves are not read; other pictures hardly ever have the same sizes.
        """
        digest = hashlib.sha256()
        for sample in self.samples:
            try:
                size = Path(sample.path).stat().st_size
            except OSError:  # reported when it is read
                size = -1
            line = f"{sample.key}\t{sample.label}\t{size}\n"
            digest.update(line.encode(errors="surrogateescape"))  # names need not be UTF-8
        return digest.hexdigest()

    def some(self, limit: int | None, seed: int) -> tuple[Sample, ...]:
        """`limit` samples drawn by `seed`, in order; a larger limit keeps those of a smaller one.

        The first ones instead would be those of the first classes.
        """
        if limit is None or limit >= len(self.samples):
            return self.samples
        drawn = np.random.default_rng([seed, 4]).permutation(len(self.samples))[:limit]
        return tuple(self.samples[n] for n in sorted(drawn))


def is_grey(pixels: NDArray[np.uint8]) -> bool:
    """Whether the three channels of `(H, W, 3)` pixels are equal; the blog left such out."""
    return bool(
        (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all()
    )


def open_dataset(
    path: str | Path, classes: int, labels: Sequence[str] = (), unlabelled: bool = False
) -> Dataset:
    """The labelled pictures at `path`, a folder or a TSV file.

    Args:
        path: see the layouts above.
        classes: number of the guard's classes.
        labels: the guard's class names, which class folders may be named by.
        unlabelled: the pictures show none of the classes (as ImageNet-O's); labels are `OUTSIDE`.

    Raises:
        SourceError: nothing there, no pictures, labels that cannot be found, or a class index that
            the guard does not have.
    """
    place = Path(path)
    if place.is_file():
        layout = "TSV of file and class index"
        root, found = _from_tsv(place)
        if unlabelled:
            found = [(file, OUTSIDE) for file, _ in found]
    elif place.is_dir():
        root, files = place, sorted(_pictures(place))
        if not files:
            raise SourceError(f"{path} holds no pictures ({', '.join(sorted(SUFFIXES))})")
        if unlabelled:
            layout, found = "pictures of no class", [(file, OUTSIDE) for file in files]
        else:
            layout, found = _from_names(place, files, classes, labels)
    else:
        raise SourceError(f"{path} is neither a folder of pictures nor a TSV file")
    samples = []
    for n, (file, label) in enumerate(found):
        if not OUTSIDE <= label < classes:
            raise SourceError(
                f"{file} has class index {label}, but the guard has {classes} classes "
                f"(0 to {classes - 1}); was the data set made for another model?"
            )
        samples.append(Sample(n, _key(file, root), label, str(file)))
    return Dataset(place.name or place.resolve().name, layout, tuple(samples))


def _pictures(place: Path) -> Iterator[Path]:
    """Pictures below a folder, but for hidden ones; folders that are links are followed."""

    def refuse(error: OSError) -> None:
        raise SourceError(f"{error.filename} cannot be read: {error.strerror}") from error

    for folder, folders, names in os.walk(place, followlinks=True, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                yield Path(folder) / name


def _key(file: Path, root: Path) -> str:
    # A TSV may name files elsewhere on the disk.
    return (file.relative_to(root) if file.is_relative_to(root) else file).as_posix()


def _from_tsv(path: Path) -> tuple[Path, list[tuple[Path, int]]]:
    """The folder that its names start from; file and class index of each line but a header."""
    try:
        # Excel starts UTF-8 with a byte order mark.
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(
            f"{path} cannot be read as a TSV of file and class index: {error}"
        ) from None
    found: dict[Path, tuple[int, int]] = {}
    for n, line in enumerate(lines, 1):
        name, *rest = line.split("\t")
        # A first line that names a picture is a line like any other, even if its index is wrong.
        header = n == 1 and rest and Path(name).suffix.lower() not in SUFFIXES
        if not line.strip() or (header and not rest[0].strip().isdecimal()):
            continue
        if not name.strip() or not rest or not rest[0].strip().isdecimal():
            raise SourceError(
                f"{path}, line {n} is {line[:80]!r}; expected file, tab, class index (0, 1, ...)"
            )
        if Path(name) in found:
            first = found[Path(name)][1]
            raise SourceError(
                f"{path}, line {n} names {name} a second time (line {first} does already); "
                "each picture counts once: remove one of the lines"
            )
        found[Path(name)] = int(rest[0]), n
    if not found:
        raise SourceError(f"{path} holds no lines of file, tab, class index")
    folders = [path.parent, path.with_suffix("")]
    # A few pictures may be missing: those are counted and listed when they are read.
    folder = next((f for f in folders if any((f / name).is_file() for name in found)), None)
    if folder is None:
        wanted = next(iter(found))
        places = " nor ".join(str(folder / wanted) for folder in folders)
        raise SourceError(
            f"{path} names {wanted}, but there is neither {places}; keep the TSV beside its "
            "pictures"
        )
    return folder, [(folder / name, label) for name, (label, _) in found.items()]


def _from_names(
    place: Path, files: list[Path], classes: int, labels: Sequence[str]
) -> tuple[str, list[tuple[Path, int]]]:
    if all(file.parent == place for file in files):
        if all(_WNID.match(file.name) for file in files):
            return "WordNet ids of files", _from_wnids(place, [(f, f.name) for f in files], classes)
        raise SourceError(
            f"{place} holds {len(files)} pictures and nothing that says what they show; expected "
            f"class folders, file names that start with a WordNet id, or a TSV of file and index"
        )
    named = [(file, file.relative_to(place).parts[0]) for file in files if file.parent != place]
    folders = sorted({name for _, name in named})
    stray = len(files) - len(named)
    note = f" ({stray} pictures outside of them left out)" if stray else ""
    wanted = _names(labels)
    if all(_plain(name) in wanted for name in folders):
        for name in folders:
            if len(meant := wanted[_plain(name)]) > 1:
                raise SourceError(
                    f"{place} has a folder {name!r}, which is the label of classes "
                    f"{' and '.join(map(str, meant))}; name such folders by class index instead"
                )
        return f"folders named by label{note}", [(f, wanted[_plain(name)][0]) for f, name in named]
    if all(_WNID.match(name) for name in folders):
        return f"WordNet ids of folders{note}", _from_wnids(place, named, classes)
    indices = {name: int(match[1]) for name in folders if (match := _INDEX.match(name))}
    if len(indices) == len(folders):
        return f"folders named by class index{note}", [(f, indices[name]) for f, name in named]
    strange = [
        name
        for name in folders
        if name not in indices and _plain(name) not in wanted and not _WNID.match(name)
    ]
    if not strange:
        raise SourceError(
            f"{place} has folders of several kinds ({folders[0]!r}, {folders[-1]!r}); name all by "
            "label, all by class index or all by WordNet id, or give a TSV of file and index"
        )
    raise SourceError(
        f"{place} has a folder {strange[0]!r}, which is no label of the guard"
        + (f" (such as {labels[0]!r})" if labels else " (it has no labels)")
        + ", no class index and no WordNet id; rename the folders, or give a TSV of file and index"
    )


def _names(labels: Sequence[str]) -> dict[str, list[int]]:
    """The classes that a folder's plain name may mean; first names only where no label is that."""
    whole: dict[str, list[int]] = {}
    first: dict[str, list[int]] = {}
    for n, label in enumerate(labels):
        whole.setdefault(_plain(label), []).append(n)
        first.setdefault(_plain(label.split(",")[0]), []).append(n)
    return first | whole


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", " ", name).strip().casefold()


def _from_wnids(place: Path, named: list[tuple[Path, str]], classes: int) -> list[tuple[Path, int]]:
    if classes != len(imagenet.wnids()):
        raise SourceError(
            f"{place} is labelled by WordNet ids, as ImageNet is, but the guard has {classes} "
            f"classes; expected {len(imagenet.wnids())}"
        )
    try:
        return [(file, imagenet.class_of(name[:9])) for file, name in named]
    except SourceError as error:
        raise SourceError(f"{place}: {error}") from None
