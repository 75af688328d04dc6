"""Results as files: JSON that others can read, written whole, and nothing foreign taken for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from blurvote.benchmarks.robustness import outputs
from blurvote.benchmarks.robustness.dataset import open_dataset
from blurvote.benchmarks.robustness.deployed import Deployed
from blurvote.benchmarks.robustness.outputs import (
    guard_facts,
    pictures_facts,
    plain,
    read_json,
    write_json,
    write_text,
)
from blurvote.runtime.errors import SinkError, SourceError
from tests.conftest import ONE_THREAD

NAN, INF = float("nan"), float("inf")


@dataclass(frozen=True)
class Inner:
    share: float
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Outer:
    inner: Inner
    table: Any
    views: dict[int, Inner]


def test_what_the_lab_holds_becomes_json() -> None:
    value = Outer(
        Inner(NAN, (1, 2)),
        np.array([[1.5, INF], [-INF, NAN]], np.float32),
        {0: Inner(0.5, ())},
    )
    found = plain(
        {
            "outer": value,
            "numbers": [np.float64(0.25), np.float32(NAN), np.int64(3), np.bool_(True), 7, -0.0],
            "point": np.array(2.5),
            "path": Path("a") / "b",
            "rest": (None, True, "text", [INF]),
        }
    )
    assert found == {
        "outer": {
            "inner": {"share": None, "counts": [1, 2]},
            "table": [[1.5, None], [None, None]],
            "views": {"0": {"share": 0.5, "counts": []}},
        },
        "numbers": [0.25, None, 3, True, 7, 0.0],
        "point": 2.5,
        "path": "a/b",
        "rest": [None, True, "text", [None]],
    }
    assert found["numbers"][3] is True
    json.dumps(found, allow_nan=False)


def test_results_come_back(tmp_path: Path) -> None:
    file = tmp_path / "new" / "folder" / "r.json"
    assert read_json(file, "blurvote.x/1") is None
    document = write_json(file, "blurvote.x/1", {"area": NAN, "curve": np.arange(3)})
    assert (document["schema"], document["area"], document["curve"]) == (
        "blurvote.x/1",
        None,
        [0, 1, 2],
    )
    assert "machine" in document
    assert read_json(file, "blurvote.x/1") == document == json.loads(file.read_text())
    assert [entry.name for entry in file.parent.iterdir()] == ["r.json"]


def test_names_that_are_not_utf8_can_be_written(tmp_path: Path) -> None:
    name = b"caf\xe9.png".decode(errors="surrogateescape")
    write_text(tmp_path / "card.md", f"- ü {name}\n")
    assert (tmp_path / "card.md").read_text("utf-8") == "- ü caf\\udce9.png\n"
    written = write_json(tmp_path / "r.json", "s", {"name": name})
    assert read_json(tmp_path / "r.json", "s") == written


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "card.md"
    write_text(file, "old")

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(SinkError) as caught:
        write_text(file, "new")
    assert str(caught.value) == f"{file} cannot be written: No space left on device"
    assert [entry.name for entry in tmp_path.iterdir()] == ["card.md"]
    assert file.read_text() == "old"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match=r"file/card\.md cannot be written: (File exi|Not a dir)"):
        write_text(tmp_path / "file" / "card.md", "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", r"is not JSON \(.*\); delete it and measure again"),
        (b"\xff\x00\xfe", r"is not JSON \(.*\); delete it and measure again"),
        (b"[]", r"is not of schema blurvote\.x/1; delete it and measure again"),
        (b'{"schema": "blurvote.x/2"}', r"is not of schema blurvote\.x/1; delete it and"),
    ],
)
def test_foreign_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "r.json"
    file.write_bytes(content)
    with pytest.raises(SourceError, match=message):
        read_json(file, "blurvote.x/1")


def test_facts_identify_guard_and_pictures(conv_guard: Callable[..., Path], tmp_path: Path) -> None:
    path = conv_guard(classes=4)
    (tmp_path / "set" / "2").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "set" / "2" / "a.png"), np.zeros((4, 5, 3), np.uint8))
    facts = guard_facts(Deployed(path, ONE_THREAD))
    assert (facts["file"], facts["kind"], facts["classes"]) == ("conv.onnx", "views", 4)
    assert (facts["provider"], facts["source"]) == ("cpu", "test")
    assert facts["defense"]["crop"] == [16, 16]
    assert facts["sha256"] != guard_facts(Deployed(conv_guard(seed=1), ONE_THREAD))["sha256"]
    assert facts["defense"]["kernel_size"] == 5
    dataset = open_dataset(tmp_path / "set", 4)
    assert pictures_facts(dataset) == {
        "name": "set",
        "layout": "folders named by class index",
        "pictures": 1,
        "fingerprint": dataset.fingerprint,
    }
    assert str(tmp_path) not in json.dumps([facts, pictures_facts(dataset)])


def test_all_that_is_exported_is_there() -> None:
    assert all(hasattr(outputs, name) for name in outputs.__all__)
