"""The results of `blurvote bench` for people: `report.md`, and a short table for the terminal.

Every section is left out when the run did not measure it. Numbers keep three digits: more would be
noise. A missing one, such as a p99 of too few calls, prints as a dash.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping

from blurvote.benchmarks.latency import report_tables as tables
from blurvote.benchmarks.latency.formatting import aligned, joined, number
from blurvote.benchmarks.latency.sections import noise
from blurvote.benchmarks.results import Results

__all__ = ["markdown", "terminal"]


_OTHERS: tuple[Callable[[Results], Iterable[str]], ...] = (
    tables.tail,
    tables.cascade,
    tables.cameras,
    lambda results: tables.matrix(results, "sizes", "frame"),
    lambda results: tables.matrix(results, "threads", "threads"),
    tables.providers,
    tables.views,
    tables.formats,
    noise.table,
    tables.limits,
    tables.small,
    tables.start,
    tables.scenarios,
)


def markdown(results: Results, figures: Mapping[str, str]) -> str:
    """The report, from what was measured to how to measure it again.

    Args:
        results: of any sections, complete or not.
        figures: the names that `figures.draw` returned, with paths relative to the report.
    """
    sections: list[tuple[str, str | None, Callable[[Results], Iterable[str]]]] = [
        ("Frame to verdict", None, tables.verdict),
        ("The slowest calls", "distribution", tables.tail),
        ("Where the time goes", "stages", tables.stages),
        ("Cascade over many pictures", None, tables.cascade),
        ("Beside what others would use", "peers", tables.peers),
        ("Several cameras", "cameras", tables.cameras),
        ("Frame sizes", "sizes", lambda results: tables.matrix(results, "sizes", "frame")),
        ("Threads", None, lambda results: tables.matrix(results, "threads", "threads")),
        ("Providers and precisions", None, tables.providers),
        ("The three views alone", None, tables.views),
        ("Formats of cameras", None, tables.formats),
        ("The noise estimate", None, noise.table),
        ("Growth and limits", None, tables.limits),
        ("Small parts", None, tables.small),
        ("Start, memory and load", None, tables.start),
        ("Settings for this machine", None, tables.tuning),
        ("Scenarios", None, tables.scenarios),
        ("Not measured", None, _skipped),
        ("Run it again", None, _again),
    ]
    blocks = list(_top(results))
    for title, figure, section in sections:
        body = list(section(results))
        if figure is not None and figure in figures:
            body.insert(0, f"![{title}]({figures[figure]})")
        if body:
            blocks += [f"## {title}", *body]
    return "\n\n".join(blocks) + "\n"


def terminal(results: Results) -> str:
    """The headline of each frame size beside its peers, and what is not the backbone."""
    blocks = []
    for case, rows in tables.cases(results.section("verdict")):
        cells = []
        for row in rows:
            tail = (row.timing.median, row.timing.p90, row.timing.p99)
            rest = tables.not_inference(row)[0]
            cells.append([tables.way_name(row), *map(number, tail), tables.ratio_cell(row), rest])
        headers = ["way", "median ms", "p90 ms", "p99 ms", tables.ratio_header(rows)]
        text = aligned([*headers, "not inference ms"], cells)
        blocks.append(f"{case}, frame to verdict\n{text}")
    # Without the headline, what was measured instead is what was asked for.
    others = [tables.scenarios] if blocks else _OTHERS
    blocks += [block for section in others for block in section(results)]
    if any(not row.timing.stable for row in results.rows):
        blocks.append(_footnote(results))
    blocks += [f"caution: {warning}" for warning in results.facts.get("warnings", ())]
    if results.skipped:
        blocks.append(f"not measured, with reasons in the report: {len(results.skipped)}")
    return "\n\n".join(blocks)


def _top(results: Results) -> Iterable[str]:
    yield "# What a guarded verdict costs"
    lines = []
    for guard in results.guards:
        source = guard.get("source") and f"from {guard['source']}"
        sha256 = guard.get("sha256") and f"SHA-256 {guard['sha256'][:12]}"
        parts = [f"`{guard.get('path')}`", f"kind {guard.get('kind')}", source, sha256]
        lines.append("- Guard: " + joined(parts))
    machine = results.machine
    cores = machine.get("usable_cores") and f"{machine['usable_cores']} usable cores"
    sets = machine.get("instruction_sets") and f"kernels for {machine['instruction_sets'][0]}"
    gpus = [gpu.get("name") for gpu in machine.get("gpus") or ()]
    board = (machine.get("jetson") or {}).get("model")
    parts = [machine.get("cpu"), cores, sets, board, *gpus, machine.get("platform")]
    lines.append("- Machine: " + joined(parts))
    versions = {"Python": machine.get("python"), **(machine.get("versions") or {})}
    lines.append("- Software: " + joined(f"{k} {v}" for k, v in versions.items() if v))
    if session := results.facts.get("session"):
        lines.append("- Session: " + joined(f"{k} {v}" for k, v in session.items()))
    if pictures := results.facts.get("pictures"):
        lines.append(f"- Frames: {pictures}")
    took = f"- Run: {results.started}, {number(results.seconds)} s"
    lines.append(took if results.complete else took + ", **incomplete: see what was not measured**")
    yield "\n".join(lines)
    if warnings := results.facts.get("warnings"):
        yield "\n".join(f"> **Caution:** {warning}" for warning in warnings)
    yield (
        "Times are of single calls, with the alternatives of a table taking turns in one process. "
        "Ratios compare calls of the same round, with their quartiles in brackets. Spread is the "
        "range between the quartiles over the median. A percentile without enough calls is a dash."
    )
    if any(not row.timing.stable for row in results.rows):
        yield _footnote(results)


def _footnote(results: Results) -> str:
    tolerance = results.method.get("tolerance")
    apart = f"more than {tolerance:.0%}" if tolerance else "too far"
    return f"{tables.UNSTABLE} unstable: the medians of its last windows lie {apart} apart."


def _skipped(results: Results) -> Iterable[str]:
    if results.skipped:
        cells = [[one["section"], one["what"], one["reason"]] for one in results.skipped]
        yield aligned(["section", "what", "why"], cells, 3)


def _again(results: Results) -> Iterable[str]:
    arguments = [str(argument) for argument in results.command]
    prefix = [word for word in ("blurvote", "bench") if word not in arguments[:2]]
    yield f"```\n{shlex.join([*prefix, *arguments])}\n```"
    yield "To see what a change did: `blurvote bench compare BEFORE AFTER`, two `results.json`."
