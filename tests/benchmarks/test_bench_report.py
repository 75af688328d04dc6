"""The report and the pictures: all that was measured is there, with units, and nothing invented."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from blurvote.benchmarks.latency.figures import figures
from blurvote.benchmarks.latency.formatting import number
from blurvote.benchmarks.latency.report_md import markdown, terminal
from tests.benchmarks.realistic import VERDICT, empty, realistic, row


def cells(text: str, start: str) -> list[str]:
    """The cells of the table line that begins with `start`."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {start} "))
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_numbers_keep_three_digits() -> None:
    shown = [number(v) for v in (1234.6, 39.44, 4.7, 0.3126, 0.00512, 1.2e-6, 0.0, None)]
    assert shown == ["1235", "39.4", "4.70", "0.313", "0.00512", "1.2e-06", "0", "\u2013"]


def test_the_report_has_what_was_measured() -> None:
    text = markdown(realistic(), {"stages": "stages.png"})
    assert cells(text, "batched")[0] == "batched"
    line = cells(text, "batched")
    assert line[1] == "114"
    assert line[8].startswith("2.89x (2.86")
    assert line[9] == "yes"
    assert "![Where the time goes](stages.png)" in text
    for part in (
        "AMD EPYC 9B14, 2 usable cores",
        "onnxruntime 1.31.0",
        "clean: of 100 images, the first two views agree on 90.0%.",
        "**Caution:** the governor",
        "achieved: one view 104 GFLOP/s",
        "8.13 (completed_qps)",
        "p99 121 ms",
        "Server is not valid: too few queries",
        "unverified: no",
        "no such provider \\| CPU only",
        "blurvote bench guard.onnx --against all -o 'out folder'",
    ):
        assert part in text
    assert "torch None" not in text


def test_tables_are_whole() -> None:
    """Every line of a table has as many cells as its header, so that Markdown renders it."""
    for block in markdown(realistic(), {}).split("\n\n"):
        if block.startswith("|"):
            lines = [len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()]
            assert len(set(lines)) == 1
            assert len({len(line) for line in block.splitlines()}) == 1  # lined up as text, too


def test_every_column_of_times_has_a_unit() -> None:
    for block in markdown(realistic(), {}).split("\n\n"):
        header = block.splitlines()[0]
        for name in header.strip("|").split(" | ") if block.startswith("|") else ():
            if re.search(r"median|p9|min|mean", name) and "times" not in name:
                assert re.search(r"\bms\b|\bstd\b|per second", name), name


def test_unstable_rows_are_marked_and_explained() -> None:
    text = markdown(realistic(), {})
    assert cells(text, "auto \u2020")[-1] == "no"
    assert "\u2020 unstable: the medians of its last windows lie more than 5% apart." in text
    calm = realistic()
    calm.rows = [one for one in calm.rows if one.timing.stable]
    assert "\u2020" not in markdown(calm, {})
    assert "\u2020" not in terminal(calm)


def test_a_percentile_without_samples_is_a_dash() -> None:
    results = empty()
    results.rows.append(row("verdict", "8x8", "batched", 2.0, calls=50))
    line = cells(markdown(results, {}), "batched")
    assert line[2] != "\u2013"  # p90
    assert line[3] != "\u2013"  # p95
    assert line[4:6] == ["\u2013", "\u2013"]  # p99, p99.9


def test_peers_are_compared_with_the_guard() -> None:
    """Sorted by time, with ratios to the guard's own ways and their spread."""
    found = realistic()
    found.rows = [
        replace(r, detail={**r.detail, "times": {"batched": {"median": 2.5, "p25": 2, "p75": 3}}})
        if r.detail.get("peer")
        else r
        for r in found.section("verdict", "1920x1080")
    ]
    text = markdown(found, {}).split("## Beside what others would use")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    names = [line.split(" | ")[0].strip("| \u2020") for line in lines[2:]]
    peers = [name for name, (_, peer) in VERDICT.items() if peer]
    assert names == sorted(peers, key=lambda name: VERDICT[name][0])
    assert "times batched" in lines[0]
    assert all(line.endswith(" 2.50x (2.00\u20133.00) |") for line in lines[2:])
    assert all(f"- {name}: threads: " in text for name in names)


def test_the_terminal_shows_the_headline() -> None:
    text = terminal(realistic())
    assert text.count("frame to verdict") == 2
    assert cells(text, "undefended")[4] == "1x"
    assert cells(text, "the blog's code, torch eager")[1] == "250"
    rest = 0.0066 * 114 + 0.11 + 0.01 + 0.005 + 0.06
    assert float(cells(text, "batched")[5]) == pytest.approx(rest, abs=5e-4)
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("left", [*sorted({one.section for one in realistic().rows}), None])
def test_any_section_may_be_missing(left: str | None) -> None:
    results = realistic()
    results.rows = [one for one in results.rows if one.section == left]
    results.facts, results.skipped, results.complete = {}, [], False
    text = markdown(results, {})
    assert "incomplete" in text
    assert text.count("\n## ") >= (2 if left else 1)
    terminal(results)
    figures(results)


def test_every_fact_alone() -> None:
    for name, fact in realistic().facts.items():
        results = empty()
        results.facts = {name: fact}
        assert len(markdown(results, {})) > len(markdown(empty(), {}))
        figures(results)


def test_the_terminal_shows_what_was_measured_instead_of_the_headline() -> None:
    found = realistic()
    assert "from Python" not in terminal(found)
    found.rows = [row for row in found.rows if row.section != "verdict"]
    found.facts["vote"] = {"median_us": {"from Python": 2.9}}
    assert "from Python 2.90 us" in terminal(found)
    assert "completed_qps" in terminal(found)
