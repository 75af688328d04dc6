"""Comparing two runs: what counts as a change, what else differs, and what a build sees of it."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blurvote.benchmarks.latency.cautions import cautions
from blurvote.benchmarks.latency.compare import (
    FAIL_ON,
    Change,
    compare,
    noise_share,
    run,
    text,
    to_dict,
)
from blurvote.benchmarks.results import Results, Row
from blurvote.benchmarks.timing import Ratio, Timing
from blurvote.runtime import SourceError

MACHINE = {"cpu": "fast", "usable_cores": 2, "versions": {"onnxruntime": "1.31", "torch": None}}


def timing(
    median: float,
    interval: float,
    quartiles: float,
    stable: bool = True,
    windows: tuple[float, ...] = (),
) -> Timing:
    """Half widths of the median's interval and of the range between the quartiles, in ms."""
    low, high = median - quartiles, median + quartiles
    return Timing(
        median, low, median, low, high, high, None, None, None,
        median - interval, median + interval, 50, stable, windows or (median,),
    )  # fmt: skip


def row(way: str = "batched", median: float = 10.0, interval: float = 0.1, **more: Any) -> Row:
    stable, quartiles = more.pop("stable", True), more.pop("quartiles", 0.2)
    found = timing(median, interval, quartiles, stable, more.pop("windows", ()))
    return Row("verdict", "640x480", way, found, **more)


def results(*rows: Row, **facts: Any) -> Results:
    made = Results(["bench"], dict(MACHINE), {"rounds": 6}, [{"sha256": "ab" * 32}])
    made.rows, made.facts, made.complete = list(rows), facts, True
    return made


# Before: 10 ms. After: its median, interval, quartiles and stability; what must be said.
CASES = {
    "slower": (row(median=11.0), "slower", "beyond the noise floor"),
    "faster": (row(median=9.0), "faster", "beyond the noise floor"),
    "the same": (row(), "within noise", "inside the noise floor"),
    "a small change, however sure": (
        row(median=10.4, interval=0.001),
        "within noise",
        "inside the noise floor",
    ),
    "just inside, upwards": (row(median=10.49), "within noise", "inside"),
    "just inside, downwards": (row(median=9.53), "within noise", "inside"),
    "just beyond, upwards": (row(median=10.51), "slower", "beyond"),
    "just beyond, downwards": (row(median=9.51), "faster", "beyond"),
    "a large change of few calls": (
        row(median=12.0, interval=1.95),
        "within noise",
        "95 % intervals of the medians overlap",
    ),
    "unstable, quartiles overlap": (
        row(median=11.0, quartiles=0.9, stable=False),
        "within noise",
        "the quartile ranges overlap",
    ),
    "unstable, quartiles apart": (
        row(median=11.0, quartiles=0.7, stable=False),
        "slower",
        "and the quartile ranges are apart",
    ),
    "a machine of two speeds": (
        row(median=13.0, windows=(9.9, 13.0, 13.1)),
        "within noise",
        "medians of single windows overlap",
    ),
    "stable, quartiles overlap": (row(median=11.0, quartiles=0.9), "slower", "beyond"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_row(name: str) -> None:
    after, verdict, why = CASES[name]
    (change,) = compare(results(row()), results(after))
    assert change.verdict == verdict
    assert why in change.why
    assert change.key == ("verdict", "640x480", "batched")
    assert change.ratio == pytest.approx(after.timing.median / 10)


@pytest.mark.parametrize("name", CASES)
def test_turned_round_the_verdict_turns_round(name: str) -> None:
    after, verdict, _ = CASES[name]
    (change,) = compare(results(after), results(row()))
    opposite = {"slower": "faster", "faster": "slower"}
    assert change.verdict == opposite.get(verdict, verdict)


def test_an_unstable_run_before_counts_too() -> None:
    before = row(stable=False, quartiles=0.9)
    (change,) = compare(results(before), results(row(median=11.0)))
    assert change.verdict == "within noise"


def test_the_noise_floor_is_the_callers() -> None:
    before, after = results(row()), results(row(median=11.0))
    assert [compare(before, after, noise)[0].verdict for noise in (0.0, 0.09, 0.11)] == [
        "slower",
        "slower",
        "within noise",
    ]


def test_what_the_machine_did_is_no_change() -> None:
    """The baseline moved alike: only a ratio that moved, too, is the program's doing."""

    def both(base: float, batched: float) -> Results:
        ratio = Ratio(batched / base, batched / base * 0.98, batched / base * 1.02)
        one = Ratio(1, 1, 1)
        return results(
            row("undefended", base, baseline="undefended", ratio=one),
            row("batched", batched, baseline="undefended", ratio=ratio),
        )

    def verdicts(after: Results) -> dict[str, str]:
        return {c.key[2]: c.verdict for c in compare(both(4, 10), after)}

    assert verdicts(both(5, 12.5)) == {"undefended": "slower", "batched": "within noise"}
    assert verdicts(both(5, 15)) == {"undefended": "slower", "batched": "slower"}
    assert verdicts(both(4, 12.5)) == {"undefended": "within noise", "batched": "slower"}
    assert verdicts(both(3, 12.5)) == {"undefended": "faster", "batched": "slower"}


def test_rows_of_one_run_only() -> None:
    changes = compare(results(row("old"), row("both")), results(row("both"), row("new")))
    assert {change.key[2]: change.verdict for change in changes} == {
        "old": "only before",
        "new": "only after",
        "both": "within noise",
    }
    old = next(change for change in changes if change.key[2] == "old")
    assert (old.before, old.after, old.ratio) == (10, None, None)


def test_the_largest_change_comes_first() -> None:
    """Whichever its direction: a half is a larger change than 1.5 times."""
    before = results(row("calm"), row("gone"), row("a"), row("b"), row("c"))
    after = results(row("calm"), row("a", 11.0), row("b", 5.0, 0.1), row("c", 15.0))
    assert [change.key[2] for change in compare(before, after)] == ["b", "c", "a", "gone", "calm"]


def test_a_row_that_is_there_twice() -> None:
    with pytest.raises(SourceError, match="verdict / 640x480 / batched is there twice"):
        compare(results(row(), row()), results(row()))


def test_the_ratio_to_the_baseline_is_told() -> None:
    rows = [
        row(median=m, baseline="undefended", ratio=Ratio(r, r, r))
        for m, r in ((10, 2.9), (11, 2.91))
    ]
    (change,) = compare(results(rows[0]), results(rows[1]))
    assert change.why.endswith("times undefended: 2.90, 2.91")


def scenario(value: float, metric: str, valid: bool = True) -> dict[str, Any]:
    return {
        "scenario": "Server",
        "harness": "built-in",
        "metric": metric,
        "value": value,
        "valid": valid,
    }


@pytest.mark.parametrize(
    ("metric", "value", "verdict"),
    [
        ("completed_qps", 8.0, "slower"),
        ("completed_qps", 12.0, "faster"),
        ("completed_qps", 10.2, "within noise"),
        ("samples_per_second", 8.0, "slower"),
        ("latency_p90_ms", 8.0, "faster"),
        ("query_latency_p99_ms", 12.0, "slower"),
    ],
)
def test_scenarios_know_their_direction(metric: str, value: float, verdict: str) -> None:
    before, after = (results(scenarios=[scenario(v, metric)]) for v in (10.0, value))
    (change,) = compare(before, after)
    assert (change.verdict, change.unit) == (verdict, metric)
    assert change.ratio == pytest.approx(value / 10)


def test_an_invalid_scenario_shows_nothing() -> None:
    before = results(scenarios=[scenario(10.0, "completed_qps")])
    after = results(scenarios=[scenario(2.0, "completed_qps", valid=False)])
    (change,) = compare(before, after)
    assert change.verdict == "within noise"
    assert "not a valid run" in change.why


def test_a_scenario_of_one_run_only() -> None:
    (change,) = compare(results(scenarios=[scenario(10.0, "completed_qps")]), results())
    assert (change.verdict, change.before, change.after) == ("only before", 10, None)


DIFFERENCES: dict[str, tuple[dict[str, Any], str]] = {
    "CPU": ({"machine": {**MACHINE, "cpu": "slow"}}, "different CPU: fast, then slow"),
    "version": (
        {"machine": {**MACHINE, "versions": {"onnxruntime": "1.32", "torch": None}}},
        "different version of onnxruntime: 1.31, then 1.32",
    ),
    "a new package": (
        {"machine": {**MACHINE, "versions": {**MACHINE["versions"], "kornia": "0.9"}}},  # type: ignore[dict-item]
        "different version of kornia: unknown, then 0.9",
    ),
    "GPU": ({"machine": {**MACHINE, "gpus": [{"name": "H1"}]}}, "different GPUs: none, then H1"),
    "method": ({"method": {"rounds": 2}}, "different method, rounds: 6, then 2"),
    "guard": (
        {"guards": [{"sha256": "cd" * 32}]},
        "different guard files, by SHA-256: abababababab, then cdcdcdcdcdcd",
    ),
    "interrupted": ({"complete": False}, "the run after is incomplete"),
    "session": (
        {"facts": {"session": {"threads": 1}}},
        "different session: unknown, then threads 1",
    ),
    "threads": ({"rows": [row(detail={"threads": 1})]}, "different threads: 2, then 1"),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_what_else_differs(name: str) -> None:
    changed, expected = DIFFERENCES[name]
    before = results(row(detail={"threads": 2}))
    assert cautions(before, before) == []
    (found,) = cautions(before, replace(before, **changed))
    assert found.startswith(expected)


def test_a_baseline_that_moved() -> None:
    before = results(row("undefended"), row(baseline="undefended"))
    after = results(row("undefended", 12.0), row(baseline="undefended"))
    (found,) = cautions(before, after, compare(before, after))
    assert found.startswith("the baseline verdict / 640x480 / undefended itself is slower")


def test_text_ends_with_one_line_that_sums_up() -> None:
    before = results(row("a"), row("b"), row("calm"))
    after = results(row("a", 11.0), row("b", 5.0), row("calm"))
    shown = text(compare(before, after), ["different CPU: fast, then slow"])
    lines = shown.splitlines()
    assert lines[0] == "caution: different CPU: fast, then slow"
    assert "verdict / 640x480 / a" in shown
    assert "1.100x" in shown
    assert "calm" not in shown
    assert lines[-1] == (
        "3 compared: 1 slower, 1 faster, 0 only before, 0 only after, 1 within noise; "
        "most: verdict / 640x480 / b, 0.50x; cautions: 1"
    )
    assert text([]).startswith("0 compared")


def test_plain_values() -> None:
    changes = compare(results(row()), results(row(median=11.0)))
    document = json.loads(json.dumps(to_dict(changes, ["careful"])))
    assert document["counts"]["slower"] == 1
    assert document["cautions"] == ["careful"]
    assert document["changes"][0]["ratio"] == pytest.approx(1.1)


STATUS = [
    ("slower", 11.0, 1),
    ("slower", 9.0, 0),
    ("slower", 10.1, 0),
    ("slower", None, 0),
    ("missing", None, 1),
    ("missing", 11.0, 1),
    ("missing", 9.0, 0),
    ("never", 11.0, 0),
]


@pytest.mark.parametrize(("fail_on", "median", "status"), STATUS)
def test_exit_status(tmp_path: Path, fail_on: str, median: float | None, status: int) -> None:
    results(row()).save(tmp_path / "before")
    results(*([row(median=median)] if median else [])).save(tmp_path / "after")
    written: list[str] = []
    files = (tmp_path / "before", tmp_path / "after" / "results.json")
    assert fail_on in FAIL_ON
    assert run(*files, fail_on=fail_on, write=written.append) == status
    assert len(written) == 1


def test_run_prints_text_or_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results(row()).save(tmp_path)
    assert run(tmp_path, tmp_path) == 0
    assert capsys.readouterr().out.startswith("1 compared: 0 slower")
    assert run(tmp_path, tmp_path, as_json=True) == 0
    (change,) = json.loads(capsys.readouterr().out)["changes"]
    assert Change(**{**change, "key": tuple(change["key"])}).verdict == "within noise"
    with pytest.raises(SourceError, match="cannot be read"):
        run(tmp_path / "none.json", tmp_path)


def test_the_noise_argument() -> None:
    assert noise_share("0.03") == 0.03
    for wrong in ("five", "-0.1", "1", "nan", "5%"):
        with pytest.raises(argparse.ArgumentTypeError, match=r"share such as 0\.05"):
            noise_share(wrong)
