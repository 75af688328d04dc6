"""The attack table: in full as Markdown, and what of it fits a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from blurvote.benchmarks.report import table
from blurvote.benchmarks.robustness.attack.collected import Skipped
from blurvote.benchmarks.robustness.attack.score import Row
from blurvote.benchmarks.robustness.dataset import Dataset
from blurvote.benchmarks.robustness.evaluate.report import text_of as share_text
from blurvote.benchmarks.robustness.statistics import Share

__all__ = ["About", "percent", "summary_of", "text_of"]

_LISTED = 5  # pictures that could not be attacked, on a terminal
_SWITCH_TITLE = "Noisy frames, per cent; switched: of those that read otherwise before the attack"
_NOTE = (
    "* of the model without defence, accepting as many of the same frames by its own confidence. "
    "Grey-box frames aim at that model, adaptive ones at the guard: to compare the two, read the "
    "undefended model in the grey-box row and the guard in the adaptive one."
)


@dataclass(frozen=True)
class About:
    """What the table is of.

    Attributes:
        guard: file name.
        dataset: the pictures.
        twin: how it compares with the guard, in words.
        warnings, skipped: see the report.
        partial: attacks that earlier runs made on some of the pictures only, and on how many.
    """

    guard: str
    dataset: Dataset
    twin: str
    warnings: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    partial: Mapping[str, int]


def text_of(about: About, rows: Sequence[Row]) -> str:
    """The report of one guard, in Markdown."""
    attacks = [row for row in rows if row.attack != "none"]
    last = [row for row in attacks if _is_last(row, rows)]
    lines = [*_head(about, rows), "", _main(rows, full=True), "", *_notes(about, rows), ""]
    lines += _part(_SWITCH_TITLE, _switched(rows))
    lines += _part(
        "How far the frames were changed that the undefended model got right before, and the cost",
        _changes(attacks, rows),
    )
    targeted = [row for row in attacks if row.reached is not None]
    lines += _part(
        "Targeted: accepted as the class aimed at",
        [
            {"attack": row.case, "steps": row.steps or "-", "target reached": percent(row.reached)}
            for row in targeted
        ],
    )
    lines += _part("How iterate-until-confident ended, pictures", _endings(last))
    lines += _part(
        "The perturbation alone, shown as an image, to the undefended model",
        [
            {
                "attack": row.case,
                "called what the attacked frame is called": percent(row.alone),
                "mean confidence": f"{row.alone_confidence:.3f}",
            }
            for row in last
            if row.alone and row.threat != "control"
        ],
    )
    if about.skipped:
        lines += ["## Pictures that could not be attacked", ""]
        lines += [f"- {entry.key}: {entry.why}" for entry in about.skipped]
    return "\n".join(lines).rstrip() + "\n"


def summary_of(about: About, rows: Sequence[Row], folder: Path) -> str:
    """The same for a terminal of 160 columns: the main table, and what is to be known of it."""
    lines = [*_head(about, rows), "", _main(rows, full=False), "", *_notes(about, rows)]
    if switched := _part(_SWITCH_TITLE, _switched([row for row in rows if _is_last(row, rows)])):
        lines += ["", *switched]
    if about.skipped:
        lines.append(f"{len(about.skipped)} pictures could not be attacked:")
        lines += [f"- {entry.key}: {entry.why}" for entry in about.skipped[:_LISTED]]
        more = len(about.skipped) - _LISTED
        lines += [f"- and {more} more"] * (more > 0)
    lines.append(f"norms, costs, endings and perturbations: {folder / 'attack.md'}")
    return "\n".join(lines) + "\n"


def _head(about: About, rows: Sequence[Row]) -> list[str]:
    return [
        f"# Attacks on {about.guard}, {about.dataset.name}",
        "",
        f"{rows[0].images} pictures ({about.dataset.layout}), 8-bit frames of native size, judged "
        f"by the deployed guard. Gradients: {about.twin}.",
        "Fooled is wrong and accepted. Per cent of all pictures, with 95 % intervals.",
    ]


def _notes(about: About, rows: Sequence[Row]) -> list[str]:
    lines = [_NOTE]
    clean = next((row for row in rows if row.case == "none"), None)
    if clean:
        lines.append(
            f"Clean false rejects: of {clean.false_rejects.trials} untouched pictures that the "
            f"undefended model gets right, {percent(clean.false_rejects)} % are rejected."
        )
    if about.partial:
        named = ", ".join(
            f"{name} ({count} of {rows[0].images + len(about.skipped)})"
            for name, count in about.partial.items()
        )
        lines.append(f"Left out, as not run on all pictures: {named}.")
    return lines + [f"Warning, {warning}" for warning in about.warnings]


def _main(rows: Sequence[Row], full: bool) -> str:
    """The table; if not in full, checkpoints that say the same are one row."""
    headers = ["attack", "knows", "radius", "steps", "right", "fooled", "rejected"]
    headers += ["undefended right", "undefended fooled*", "fooled of right before"]
    merged: list[tuple[Row, list[str], list[int]]] = []
    for row in rows:
        cells = [
            percent(value)
            for value in (
                row.right,
                row.fooled,
                row.rejected,
                row.undefended_right,
                row.confidence_fooled,
                row.fooled_of_correct,
            )
        ]
        before = merged[-1] if merged and not full else None
        if before and before[0].case == row.case and before[1] == cells:
            before[2].append(row.steps)
        else:
            merged.append((row, cells, [row.steps]))
    return table(headers, [[*_identity(row, steps), *cells] for row, cells, steps in merged])


def _switched(rows: Sequence[Row]) -> list[Mapping[str, object]]:
    """Of an adaptive guard: which views judged the attacked frames."""
    return [
        {
            "attack": row.case,
            "steps": str(row.steps or "-"),
            "judged as noisy": percent(row.denoised),
            "switched": percent(row.switched),
            "right": percent(row.right),
            "fooled": percent(row.fooled),
            "rejected": percent(row.rejected),
        }
        for row in rows
        if row.denoised is not None
    ]


def _identity(row: Row, steps: Sequence[int]) -> list[str]:
    knows = f"{row.threat}, {row.surrogate}" if row.surrogate else row.threat
    spelled = ", ".join(map(str, steps)) if steps[0] else "-"
    return [f"{row.attack} {row.variant}".strip(), knows, row.radius, spelled]


def _part(title: str, rows: Sequence[Mapping[str, object]]) -> list[str]:
    if not rows:
        return []
    return [f"## {title}", "", table(list(rows[0]), [list(row.values()) for row in rows]), ""]


def _changes(attacks: Sequence[Row], rows: Sequence[Row]) -> list[Mapping[str, object]]:
    """Costs are those of the whole attack, so they stand in its last row."""

    def costs(row: Row) -> dict[str, object]:
        cost, last = row.cost, _is_last(row, rows)
        values = {
            "gradients": f"{cost.gradients:.1f}",
            "queries": f"{cost.queries:.1f}",
            "queries to fool": f"{cost.queries_to_fool:.0f}" if cost.queries_to_fool > 0 else "-",
            "zero gradients": f"{100 * cost.zero_gradients.value:.0f} %",
            "s per picture": f"{cost.seconds:.2f}",
        }
        return {name: value if last else "" for name, value in values.items()}

    return [
        {
            "attack": row.case,
            "steps": str(row.steps or "-"),
            "L-inf x 255": f"{255 * row.linf:.1f}",
            "L2": f"{row.l2:.2f}",
            "change per pixel": f"{row.per_pixel:.4f}",
            "pixels > 1 %": f"{100 * row.changed_1:.1f} %",
            "pixels > 10 %": f"{100 * row.changed_10:.1f} %",
            **costs(row),
        }
        for row in attacks
    ]


def _endings(rows: Sequence[Row]) -> list[Mapping[str, object]]:
    return [
        {
            "attack": row.case,
            "confident": int(row.endings["confident"]),
            "stalled": int(row.endings["stalled"]),
            "steps used up": int(row.endings["steps"]),
            "median steps": f"{row.endings['median_steps']:g}",
        }
        for row in rows
        if row.endings
    ]


def _is_last(row: Row, rows: Sequence[Row]) -> bool:
    return row.steps == max(other.steps for other in rows if other.case == row.case)


def percent(value: Share | None) -> str:
    """Per cent with its interval, or a dash where nothing was counted."""
    return "-" if value is None or math.isnan(value.value) else share_text(value)
