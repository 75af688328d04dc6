"""Where a guard may be written, and what is left when it cannot be."""

from __future__ import annotations

import contextlib
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from blurvote.export import export_guard
from blurvote.runtime import ExportError

QUICK: dict[str, Any] = {"kind": "frames", "frame_size": (60, 80)}


def no_folder(folder: Path) -> Path:
    return folder / "absent" / "guard.onnx"


def a_folder(folder: Path) -> Path:
    return folder


def a_text(folder: Path) -> Path:
    (folder / "notes.txt").write_text("mine")
    return folder / "notes.txt"


TARGETS: list[tuple[Callable[[Path], Path], str]] = [
    (no_folder, "cannot write {target}: there is no folder {target.parent}"),
    (a_folder, "{target} is a folder; name the file to write, such as {target}/guard.onnx"),
    (a_text, "{target} exists and is not a guard; --force replaces it"),
]


@pytest.mark.parametrize(("make", "text"), TARGETS, ids=[case[0].__name__ for case in TARGETS])
def test_targets_that_are_refused(
    save_model: Callable[..., Path], tmp_path: Path, make: Callable[[Path], Path], text: str
) -> None:
    target = make(tmp_path)
    with pytest.raises(ExportError) as caught:
        export_guard(save_model(), target)
    assert str(caught.value) == text.format(target=target)


def test_a_guard_is_replaced_and_other_files_only_with_overwrite(
    save_model: Callable[..., Path], tmp_path: Path
) -> None:
    target = a_text(tmp_path)
    first = export_guard(save_model(), target, overwrite=True, **QUICK)
    second = export_guard(save_model(), target, defense={"sigma": 2.0}, **QUICK)
    assert (first.metadata.defense.sigma, second.metadata.defense.sigma) == (1.0, 2.0)


@contextlib.contextmanager
def small_disk() -> Iterator[None]:
    """Lets no file grow beyond 2 kB, which fails as a full disk does.

    Not a fixture: until its teardown the limit would hold for the report that pytest writes, too.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_the_old_guard_and_nothing_else(
    save_model: Callable[..., Path], tmp_path: Path
) -> None:
    path, target = save_model(), tmp_path / "guard.onnx"
    export_guard(path, target, **QUICK)
    old = target.read_bytes()
    message = r"cannot write .*guard.onnx .0.1 MB.: File too large"
    with small_disk(), pytest.raises(ExportError, match=message):
        export_guard(path, target, defense={"sigma": 2.0}, **QUICK)
    assert target.read_bytes() == old
    assert sorted(file.name for file in tmp_path.iterdir()) == ["guard.onnx", "model.onnx"]
