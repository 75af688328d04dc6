"""The tables of `blurvote engines`, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from blurvote.benchmarks.engines.accuracy import Accuracy
from blurvote.benchmarks.engines.candidates import Candidate
from blurvote.benchmarks.engines.latency import CandidateTimes, Latency
from blurvote.benchmarks.latency.formatting import ABSENT, aligned, number
from blurvote.benchmarks.robustness.evaluate.report import text_of
from blurvote.benchmarks.timing import Ratio

__all__ = ["mean_verdict_ms", "text"]


def mean_verdict_ms(times: CandidateTimes, differing: float) -> float:
    """Milliseconds of a verdict by the cheaper plan, where that share of frames differs."""
    if times.differ is None:
        return times.batched.median
    cascade = times.agree.median + differing * (times.differ.median - times.agree.median)
    return min(cascade, times.batched.median)


def text(
    candidates: Sequence[Candidate],
    latency: Latency | None,
    accuracies: Mapping[str, Sequence[Accuracy]],
    skipped: Sequence[tuple[str, str]],
) -> str:
    """Everything that was found."""
    parts = [f"# {candidates[0].model.path.name} on this machine's engines", ""]
    if latency is not None:
        parts += _times(candidates, latency, accuracies)
    if accuracies:
        parts += _accuracies(candidates, accuracies)
    if skipped:
        parts += ["Left out:", "", *(f"- {name}: {why}" for name, why in skipped), ""]
    return "\n".join(parts).rstrip() + "\n"


def _times(
    candidates: Sequence[Candidate],
    latency: Latency,
    accuracies: Mapping[str, Sequence[Accuracy]],
) -> list[str]:
    height, width = latency.frame
    unstable = False
    counts = sorted({n for times in latency.times.values() for n in times.inference})
    headers = ["file", "engine", "views", *(f"{n} inferred" for n in counts), "undefended"]
    headers += ["batched", "cascade, agree", "cascade, differ", "mean, clean frames", "auto takes"]
    if latency.fastest:
        headers += ["batched / fastest peer", "agree / fastest peer", "agree / own file's peer"]
    rows = []
    for candidate in candidates:
        times = latency.times[candidate.name]
        judged = accuracies.get(candidate.name)
        mean = number(mean_verdict_ms(times, judged[0].differing)) if judged else ABSENT
        timings = (times.undefended, times.batched, times.agree, times.differ)
        cells = []
        for timing in timings:
            mark = "" if timing is None or timing.stable else "*"
            unstable |= bool(mark)
            cells.append(ABSENT if timing is None else f"{number(timing.median)}{mark}")
        row = [candidate.model.path.name, candidate.engine, number(times.views)]
        row += [number(times.inference.get(n)) for n in counts] + cells + [mean, times.auto]
        if latency.fastest:
            row += [_ratio(times.ratios.get(way)) for way in ("batched", "agree")]
            row += [_ratio(times.own_ratios.get("agree"))]
        rows.append(row)
    parts = [
        f"Milliseconds, medians of one interleaved run, from a frame of {width}x{height} px; "
        "ratios with quartiles over the rounds. 'Mean' is of the cheaper plan at the share of "
        "undisturbed pictures whose first two views differ.",
        "",
        aligned(headers, rows, words=2),
        "",
    ]
    if latency.peers:
        peers = []
        for name, peer in latency.peers.items():
            mark = "" if peer.timing.stable else "*"
            unstable |= bool(mark)
            equal, of = peer.checked["labels_equal"], peer.checked["frames"]
            best = "fastest" if name == latency.fastest else ""
            peers.append([name, f"{number(peer.timing.median)}{mark}", f"{equal}/{of}", best])
        parts += [aligned(["peer", "ms", "labels as ours", ""], peers), ""]
    if unstable:
        parts += ["\\* unstable: the windows of this alternative did not agree.", ""]
    return parts


def _accuracies(
    candidates: Sequence[Candidate], accuracies: Mapping[str, Sequence[Accuracy]]
) -> list[str]:
    reference = candidates[0].name
    headers = ["degradation", "file", "engine", "clean view", "accepted", "all", "rejected"]
    headers += ["views as reference's", "verdicts as reference's"]
    headers += ["clean view, difference", "accepted, difference", "rejected, difference"]
    rows = []
    for n in range(len(accuracies[reference])):
        for candidate in candidates:
            judged = accuracies[candidate.name][n]
            row, against = judged.row, judged.against
            clean = row.views[min(row.views)]
            cells = [row.degradation, candidate.model.path.name, candidate.engine]
            cells += [text_of(one) for one in (clean, row.accepted, row.over_all, row.rejected)]
            if against is None:
                cells += [ABSENT] * 5
            else:
                cells += [" ".join(f"{100 * view.value:.1f}" for view in against.views)]
                cells += [f"{100 * against.verdicts.value:.1f}"]
                cells += [text_of(one) for one in (against.clean, against.accepted)]
                cells += [text_of(against.rejected)]
            rows.append(cells)
    pictures = accuracies[reference][0].row.images
    return [
        f"Accuracy on {pictures} pictures in per cent, with 95 % intervals (± is the longer arm); "
        f"the reference is {reference}, differences are paired.",
        "",
        aligned(headers, rows, words=3),
        "",
    ]


def _ratio(ratio: Ratio | None) -> str:
    if ratio is None:
        return ABSENT
    return f"{number(ratio.median)} ({number(ratio.p25)}\u2013{number(ratio.p75)})"
