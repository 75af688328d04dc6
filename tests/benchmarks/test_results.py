"""`results.json`: what is saved comes back, a full disk spares the old one, mistakes are named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blurvote.benchmarks.results import SCHEMA, Results, Row, rows_of
from blurvote.benchmarks.timing import Measured, Ratio, summarise
from blurvote.runtime import SinkError, SourceError


def measured() -> Measured:
    samples = {"slow": [4.0, 6.0, 8.0], "quick": [1.0, 2.0, 2.0]}
    return Measured({name: summarise(ms) for name, ms in samples.items()}, samples, samples)


def some() -> Results:
    rows = rows_of(
        "verdict",
        "640x480",
        measured(),
        baseline="quick",
        frames={"slow": 4},
        detail={"slow": {"threads": 2, "stage_ms": {"views": 0.5}}},
    )
    results = Results(["bench", "guard.onnx"], {"cpu": "fast"}, {"rounds": 6}, [{"path": "g"}])
    results.rows = rows
    results.facts["start"] = {"load_ms": 12.5}
    results.skip("verdict", "auto", "no such plan")
    return results


def test_rows_of_a_measurement() -> None:
    slow, quick = some().rows
    assert slow.key == ("verdict", "640x480", "slow")
    assert slow.timing.median == 6
    assert slow.ratio == Ratio(4.0, 3.5, 4.0)  # of 4/1, 6/2 and 8/2
    assert quick.ratio == Ratio(1.0, 1.0, 1.0)
    assert slow.frames_per_second == pytest.approx(4 / 0.006)
    assert (slow.detail["threads"], quick.detail, quick.frames) == (2, {}, 1)
    assert all((row.ratio, row.baseline) == (None, None) for row in rows_of("s", "c", measured()))


def test_sections_and_cases() -> None:
    results = some()
    results.rows += rows_of("views", "8x8", measured()) + rows_of("views", "9x9", measured())
    assert len(results.section("views")) == 4
    assert [row.case for row in results.section("views", "9x9")] == ["9x9", "9x9"]
    assert results.section("cameras") == []


@pytest.mark.parametrize("name", ["", "results.json"])
def test_what_is_saved_comes_back(tmp_path: Path, name: str) -> None:
    """From the folder and from the file; all that was saved is there again."""
    results = some()
    file = results.save(tmp_path / "new" / "folder")
    assert file == tmp_path / "new" / "folder" / "results.json"
    assert Results.load(file.parent / name) == results
    assert [path.name for path in file.parent.iterdir()] == ["results.json"]
    document = json.loads(file.read_text())
    assert document["schema"] == SCHEMA
    assert document["complete"] is False
    assert document["rows"][0]["timing"]["p99"] is None
    assert document["skipped"] == [{"section": "verdict", "what": "auto", "reason": "no such plan"}]


def test_what_cannot_be_written_spares_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = some()
    file = results.save(tmp_path)
    before = file.read_bytes()
    results.facts["object"] = object()
    with pytest.raises(TypeError):
        results.save(tmp_path)
    del results.facts["object"]

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    results.complete = True
    with pytest.raises(SinkError, match=r"results\.json cannot be written: No space left"):
        results.save(tmp_path)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match=r"results\.json cannot be written: Not a directory"):
        some().save(tmp_path / "file" / "folder")


def edited(change: Callable[[dict[str, Any]], object]) -> str:
    document = some().to_dict()
    document["rows"] = json.loads(json.dumps(document["rows"]))
    change(document)
    return json.dumps(document)


BROKEN = {
    "truncated": (lambda: edited(lambda d: None)[:200], "is not JSON .*truncated"),
    "not text": (lambda: "\udcff", "is not JSON"),
    "a list": (lambda: "[1]", "has schema None; expected 'blurvote.bench/1'"),
    "a newer schema": (
        lambda: edited(lambda d: d.update(schema="blurvote.bench/2")),
        "has schema 'blurvote.bench/2'",
    ),
    "no rows": (lambda: edited(lambda d: d.pop("rows")), "no complete result.*rows"),
    "no machine": (lambda: edited(lambda d: d.pop("machine")), "no complete result.*machine"),
    "an unknown key": (lambda: edited(lambda d: d.update(mood=1)), "no complete result.*mood"),
    "a row of text": (lambda: edited(lambda d: d.update(rows=["x"])), "no complete result"),
    "rows of null": (lambda: edited(lambda d: d.update(rows=None)), "no complete result"),
    "a row without timing": (lambda: edited(lambda d: d["rows"][0].pop("timing")), "timing"),
    "a strange statistic": (
        lambda: edited(lambda d: d["rows"][0]["timing"].update(p42=1)),
        "no complete result.*p42",
    ),
    "half a ratio": (lambda: edited(lambda d: d["rows"][0].update(ratio={"p25": 1})), "median"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_result_is_explained(tmp_path: Path, name: str) -> None:
    write, message = BROKEN[name]
    file = tmp_path / "results.json"
    file.write_bytes(write().encode(errors="surrogateescape"))
    with pytest.raises(SourceError, match=message) as caught:
        Results.load(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"results\.json cannot be read: No such file"):
        Results.load(tmp_path)


def test_a_row_from_its_dictionary() -> None:
    row = some().rows[1]
    values = json.loads(json.dumps(some().to_dict()["rows"][1]))
    assert Row.from_dict(values) == row


def test_the_committed_result_is_whole_and_still_read() -> None:
    folder = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "mobilenetv2"
    found = Results.load(folder)
    assert found.complete
    assert {one["scenario"] for one in found.facts["scenarios"] if one["valid"]} == {
        "SingleStream",
        "MultiStream",
        "Offline",
        "Server",
    }
    text = json.dumps(found.to_dict())
    assert not any(f'"/{folder}' in text for folder in ("home", "root", "tmp", "work"))
