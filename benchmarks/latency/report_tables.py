"""The tables of `report.md`: one function per section, each yielding its blocks of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from blurvote.benchmarks.latency.formatting import (
    ABSENT,
    aligned,
    bullets,
    grid,
    joined,
    number,
    times,
)
from blurvote.benchmarks.results import Results, Row
from blurvote.benchmarks.timing import Ratio

STAGES = ("views", "denoise", "copy in", "inference", "copy out", "vote", "rest")
UNSTABLE = "\u2020"
TAILS = ("p90 ms", "p95 ms", "p99 ms", "p99.9 ms")


def verdict(results: Results) -> Iterable[str]:
    for case, rows in cases(results.section("verdict")):
        cells = [
            [
                way_name(row),
                number(row.timing.median),
                *map(number, _tails(row)),
                number(row.timing.minimum),
                f"{(row.timing.p75 - row.timing.p25) / row.timing.median:.1%}",
                ratio_cell(row),
                "yes" if row.timing.stable else "no",
            ]
            for row in rows
            if not row.detail.get("peer")
        ]
        headers = ["way", "median ms", *TAILS, "min ms", "spread"]
        yield f"A frame of {case}:"
        yield aligned([*headers, ratio_header(rows), "stable"], cells)


def tail(results: Results) -> Iterable[str]:
    for case, rows in cases(results.section("tail")):
        cells = [
            [way_name(row), str(row.timing.calls), number(row.timing.median)]
            + [number(value) for value in _tails(row)]
            for row in rows
        ]
        yield f"Many calls, the first after each pause included, {case}:"
        yield aligned(["way", "calls", "median ms", *TAILS], cells)


def stages(results: Results) -> Iterable[str]:
    for case, rows in cases(results.section("verdict")):
        cells = []
        for row in rows:
            if stages := row.detail.get("stage_ms"):
                cells.append(
                    [way_name(row), *(number(stages.get(s)) for s in STAGES), *not_inference(row)]
                )
        if cells:
            yield f"A frame of {case}, medians per stage:"
            stages = [f"{stage} ms" for stage in STAGES]
            yield aligned(["way", *stages, "not inference ms", "share"], cells)
    if any(row.detail.get("stage_ms", {}).get("copy in") == 0 for row in results.rows):
        yield "Nothing is copied on the CPU: ONNX Runtime reads the views in place."


def cascade(results: Results) -> Iterable[str]:
    cells = []
    for case, facts in results.facts.get("cascade", {}).items():
        mean, tail = facts["mean_ms"], facts.get("p99_ms", {})
        parts = {
            way: {"mean_ms": mean[way], "p99_ms": tail.get(way), "mean_times_undefended": None}
            for way in mean
        }
        parts |= {f"cascade, views {w}": facts[w] for w in ("agree", "differ") if facts.get(w)}
        for way, part in parts.items():
            ratio = part.get("mean_times_undefended")
            if ratio is None and "undefended" in mean:
                ratio = part["mean_ms"] / mean["undefended"]
            over = ABSENT if ratio is None else f"{ratio:.2f}x"
            cells.append([case, way, number(part["mean_ms"]), over, number(part.get("p99_ms"))])
        said = []
        if "agreement_rate" in facts:  # not where one view decides
            said.append(f"the first two views agree on {facts['agreement_rate']:.1%}")
        if "denoised_rate" in facts:
            said.append(f"{facts['denoised_rate']:.1%} are denoised")
        yield f"{case}: of {facts['images']} images, {', and '.join(said)}."
    if cells:
        yield aligned(["images", "way", "mean ms", "mean, times undefended", "p99 ms"], cells, 2)


def peers(results: Results) -> Iterable[str]:
    layouts: dict[str, str] = {}
    for case, rows in cases(results.section("verdict")):
        found = sorted((row for row in rows if row.detail.get("peer")), key=_median)
        ours = list(dict.fromkeys(way for row in found for way in row.detail.get("times", {})))
        cells = [
            [
                way_name(row),
                *map(number, (row.timing.median, row.timing.p90)),
                ratio_cell(row),
                *(_against(row, way) for way in ours),
            ]
            for row in found
        ]
        if cells:
            yield f"A frame of {case}:"
            headers = ["way", "median ms", "p90 ms", ratio_header(rows)]
            yield aligned([*headers, *(f"times {way}" for way in ours)], cells)
        for row in found:
            layouts[row.way] = (
                f"- {row.way}: threads: {row.detail.get('threads')}; {row.detail.get('layout')}"
            )
            if checked := row.detail.get("checked"):
                same = f"{checked['labels_equal']} of {checked['frames']}"
                layouts[row.way] += f"; same label as the guard on {same} frames"
    if layouts:
        yield "\n".join(layouts.values())


def _against(row: Row, way: str) -> str:
    ratio = row.detail["times"].get(way)
    return ABSENT if ratio is None else times(Ratio(**ratio))


def cameras(results: Results) -> Iterable[str]:
    rows = results.section("cameras")
    cells = [
        [
            row.case,
            row.way + ("" if row.timing.stable else f" {UNSTABLE}"),
            number(row.frames_per_second),
            *map(number, (row.timing.median, row.timing.p90, row.timing.p99)),
        ]
        for case in dict.fromkeys(row.case for row in rows)
        for row in rows
        if row.case == case
    ]
    if cells:
        yield ("One call serves one frame of every camera; for the session alone, that many views.")
        yield aligned(
            ["way", "cameras", "frames per second", "median ms", "p90 ms", "p99 ms"], cells, 1
        )


def providers(results: Results) -> Iterable[str]:
    cells = [
        [
            row.case,
            way_name(row),
            *map(number, (row.timing.median, row.timing.p90)),
            ratio_cell(row),
        ]
        for row in results.section("providers")
    ]
    if cells:
        headers = ["plan", "guard, provider", "median ms", "p90 ms"]
        yield aligned([*headers, ratio_header(results.section("providers"))], cells, 2)


def views(results: Results) -> Iterable[str]:
    rows = results.section("views")
    if not rows:
        return
    yield from matrix(results, "views", "frame", transposed=True)
    cells = []
    for way in dict.fromkeys(row.way for row in rows):
        of_way = [row for row in rows if row.way == way]
        ratios = [row.ratio.median for row in of_way if row.ratio]
        errors = [row.detail["error"] for row in of_way if row.detail.get("error")]
        worst = [max((e[k] for e in errors), default=None) for k in ("largest", "mean")]
        span = f"{number(min(ratios))}x to {number(max(ratios))}x" if ratios else ABSENT
        cells.append([way, span, *map(number, worst)])
    headers = [f"{ratio_header(rows)}, over frames", "largest error, std", "mean error, std"]
    yield aligned(["way", *headers], cells)
    yield (
        "Errors are differences from the guard's own views at the worst frame size, in standard "
        "deviations (std) of the normalised input."
    )


def formats(results: Results) -> Iterable[str]:
    yield from matrix(results, "formats", "frame", transposed=True)
    for size, found in results.facts.get("formats", {}).items():
        yield f"Views of {size} frames beside those of OpenCV's RGB, in levels of 0..255:"
        yield grid("from", found)


def limits(results: Results) -> Iterable[str]:
    cells = []
    for what, fit in results.facts.get("growth", {}).items():
        name = fit.get("what") or f"views, growth with {what}"
        cells.append(_growth(name, fit["points"], fit.get("slope")))
        if fit.get("slope_from_720p") is not None:
            cells.append(_growth(f"{name}, from 720p", fit["points"][-3:], fit["slope_from_720p"]))
        if fit.get("floor_points"):
            cells.append(_growth("reading once", fit["floor_points"], fit.get("floor_slope")))
    if cells:
        yield aligned(["of", "from", "ms", "to", "ms", "slope"], cells)
        yield "Slope is of log time over log size: 1 grows in proportion, 0 not at all."
    compute = results.facts.get("compute", {})
    if found := bullets({k: v for k, v in compute.items() if k != "not_backbone"}):
        yield found


def _growth(name: str, points: Sequence[Sequence[float]], slope: float | None) -> list[str]:
    (x0, y0), (x1, y1) = points[0], points[-1]
    fitted = ABSENT if slope is None else f"{slope:.2f}"
    return [name, f"{x0:,.10g}", number(y0), f"{x1:,.10g}", number(y1), fitted]


def start(results: Results) -> Iterable[str]:
    for name, corner in (("start", "fresh process with"), ("load", "load of the machine at")):
        facts = results.facts.get(name, {})
        groups = {key: of for key, of in facts.items() if isinstance(of, Mapping)}
        if groups:
            yield grid(corner, groups)
        if plain := bullets({k: v for k, v in facts.items() if k not in groups}):
            yield plain


def small(results: Results) -> Iterable[str]:
    if vote := results.facts.get("vote"):
        yield bullets({"vote_us": vote.get("median_us", vote)})
    if planning := results.facts.get("planning"):
        yield f"Planning a frame size that is new: {number(planning['median'])} ms."
    if boxes := results.facts.get("boxes"):
        kinds = ("planning_ms", "views_in_place_ms", "views_of_a_copy_ms")
        said = [
            f"{kind.removesuffix('_ms').replace('_', ' ')} {number(boxes[kind]['p50'])} ms "
            f"(p99 {number(boxes[kind]['p99'])})"
            for kind in kinds
        ]
        yield f"{boxes['sizes']} boxes of different sizes, one thread: {', '.join(said)}."


def tuning(results: Results) -> Iterable[str]:
    if tuning := results.facts.get("tuning"):
        yield bullets(tuning)


def scenarios(results: Results) -> Iterable[str]:
    cells, notes = [], []
    for one in results.facts.get("scenarios", ()):
        tails = one.get("latency_ms") or one.get("percentiles_ms") or {}
        shown = [f"p{str(k).lstrip('p')} {number(v)} ms" for k, v in tails.items()]
        valid = {True: "yes", False: "**no**"}.get(one.get("valid"), ABSENT)
        metric = f"{number(one.get('value'))} ({one.get('metric')})"
        effort = [str(one.get("queries", ABSENT)), number(one.get("duration_s"))]
        names = [one["scenario"], one.get("harness", ABSENT)]
        cells.append([*names, valid, metric, joined(shown) or ABSENT, *effort])
        notes += [f"- {one['scenario']} is not valid: {why}" for why in one.get("reasons", ())]
        notes += [f"- {one[k]}" for k in ("note", "verification") if one.get(k)]
    if cells:
        headers = ["scenario", "harness", "valid", "value (metric)", "latency", "queries"]
        yield aligned([*headers, "duration s"], cells, 5)
        yield "\n".join(dict.fromkeys(notes))


def matrix(results: Results, section: str, down: str, transposed: bool = False) -> Iterable[str]:
    """Medians: a line per way, a column per case; or the other way round."""
    rows = {
        (row.way, row.case) if transposed else (row.case, row.way): row
        for row in results.section(section)
    }
    cases, ways = (list(dict.fromkeys(key[k] for key in rows)) for k in (0, 1))

    def cell(row: Row | None) -> str:
        return ABSENT if row is None else _marked(number(row.timing.median), row)

    if rows:
        cells = [[way, *(cell(rows.get((case, way))) for case in cases)] for way in ways]
        yield aligned([f"median ms by {down}", *cases], cells)


def cases(rows: Sequence[Row]) -> Iterable[tuple[str, list[Row]]]:
    for case in dict.fromkeys(row.case for row in rows):
        yield case, [row for row in rows if row.case == case]


def not_inference(row: Row) -> tuple[str, str]:
    """What is not inference: milliseconds, and its share."""
    stages = row.detail.get("stage_ms")
    if not stages:
        return ABSENT, ABSENT
    rest = sum(ms for stage, ms in stages.items() if stage != "inference")
    return number(rest), f"{rest / sum(stages.values()):.1%}"


def _tails(row: Row) -> tuple[float | None, ...]:
    timing = row.timing
    return timing.p90, timing.p95, timing.p99, timing.p999


def _median(row: Row) -> float:
    return row.timing.median


def _marked(text: str, row: Row) -> str:
    return text if row.timing.stable else f"{text} {UNSTABLE}"


def way_name(row: Row) -> str:
    return _marked(row.way, row)


def ratio_header(rows: Sequence[Row]) -> str:
    baseline = next((row.baseline for row in rows if row.baseline), None)
    return f"times {baseline}" if baseline else "ratio"


def ratio_cell(row: Row) -> str:
    return "1x" if row.ratio and row.way == row.baseline else times(row.ratio)
