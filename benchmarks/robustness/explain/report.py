"""The results as a table for the terminal."""

from __future__ import annotations

from pathlib import Path

from blurvote.benchmarks.robustness.explain.explaining import VOTE
from blurvote.benchmarks.robustness.explain.results import Results

__all__ = ["table"]

_INCOMPLETE = 0.05  # share of the score's difference that a map may miss


def table(results: Results, file: Path) -> str:
    """A few lines per picture, and where the rest is."""
    lines = []
    for picture in dict.fromkeys(case["picture"] for case in results.cases):
        lines.append(picture)
        for case in (case for case in results.cases if case["picture"] == picture):
            verdict = case["name"] if case["accepted"] else f"rejected ({case['reason']})"
            votes = ", ".join(f"{view['view']} {view['name']}" for view in case["views"])
            lines.append(f"  {case['row']:<9} {verdict}   ({votes})")
        for method in dict.fromkeys(entry["method"] for entry in results.maps):
            lines += _method_lines(results, picture, method)
    if results.check:
        lines.append(results.check["in_words"])
    lines.append(f"wrote {len(results.figures)} figures and {file}")
    return "\n".join(lines)


def _method_lines(results: Results, picture: str, method: str) -> list[str]:
    def of(entries: list[dict[str, object]]) -> list[dict[str, object]]:
        return [e for e in entries if e["picture"] == picture and e["method"] == method]

    lines = []
    for entry in of(results.maps):
        if entry["view"] != VOTE:
            continue
        parts = [f"  {method}, {entry['row']}, vote for {entry['explained_name']}:"]
        if isinstance(share := entry["top_tenth_share"], float):
            parts.append(f"strongest tenth of the pixels holds {share:.0%}")
        if isinstance(delta := entry["relative_delta"], float):
            more = ", raise --ig-steps" if delta > _INCOMPLETE else ""
            parts.append(f"; incomplete by {delta:.1%}{more}")
        lines.append(" ".join(parts).replace(" ;", ";"))
    for entry in of(results.correlations):
        between = entry["between"]
        rank = entry["spearman"]
        if isinstance(between, list) and between[0] == f"clean {VOTE}" and isinstance(rank, float):
            same = "" if entry["same_class"] else ", of different classes"
            lines.append(f"  {method}, clean against attacked: rank correlation {rank:.2f}{same}")
    return lines
