"""What `blurvote explain` leaves behind: `explain.json`, written after every picture.

The file is one JSON object:

* `schema`: `"blurvote.explain/1"`; `command`: the arguments; `complete`: false after Ctrl-C or an
  error, with every picture that was finished before it;
* `guard`, `twin`: paths; `quantity`: what is explained; `vote`: how the vote is defined;
  `settings`: of the methods; `attack`;
* `check`: how the twin's answers compare with the guard's, and the same `in_words`;
* `cases`: one object per picture and row with the guard's verdict and votes;
* `maps`: one object per picture, method, row and view, see `map_entry`;
* `correlations`: Spearman's rank correlation of two maps over the pixels that the views read, clean
  with attacked (`same_class` says whether both explain the same class) and view with view;
* `figures`, `arrays`: the files beside this one; `skipped`: `picture` and `reason`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from blurvote.benchmarks.robustness.explain.cases import Case, name_of
from blurvote.benchmarks.robustness.explain.explaining import VOTE, Explained
from blurvote.benchmarks.robustness.explain.maps import read_window, spearman, top_share
from blurvote.benchmarks.robustness.explain.methods import MethodName
from blurvote.runtime.defense import Defense
from blurvote.runtime.errors import SinkError
from blurvote.runtime.whole_file import write_whole

__all__ = ["SCHEMA", "Results"]

SCHEMA = "blurvote.explain/1"
THE_VOTE = (
    "the mean of the explained number over the views that voted for the explained class (over all "
    "deciding views where none did, and for the decision 'mean')"
)


@dataclass
class Results:
    """Everything one run found; see the module's docstring for the file."""

    command: Sequence[str]
    guard: str
    twin: str
    quantity: str
    settings: Mapping[str, Any]
    attack: Mapping[str, Any]
    vote: str = THE_VOTE
    complete: bool = False
    check: dict[str, Any] = field(default_factory=dict)
    cases: list[dict[str, Any]] = field(default_factory=list)
    maps: list[dict[str, Any]] = field(default_factory=list)
    correlations: list[dict[str, Any]] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)
    arrays: list[str] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)

    def add_case(self, picture: str, case: Case, labels: Sequence[str], defense: Defense) -> None:
        """Takes in the guard's answer to a frame."""
        self.cases.append(
            {
                "picture": picture,
                "row": case.row,
                "accepted": case.outcome.reason is None,
                "label": case.outcome.label,
                "name": name_of(case.outcome.label, labels),
                "reason": case.outcome.reason,
                "confidence": case.outcome.confidence,
                "views": [
                    {
                        "view": defense.view_name(view),
                        "label": label,
                        "name": name_of(label, labels),
                        "confidence": case.confidences[view],
                    }
                    for view, label in enumerate(case.view_labels)
                ],
            }
        )

    def add_maps(
        self,
        picture: str,
        method: MethodName,
        rows: Sequence[Explained],
        labels: Sequence[str],
        defense: Defense,
    ) -> None:
        """Takes in a method's maps of the rows of one picture."""
        for row in rows:
            self.maps += [map_entry(picture, method, row, v, labels, defense) for v in row.planes]
            for a, b in itertools.combinations([v for v in row.planes if v != VOTE], 2):
                self._correlate(picture, method, (row, a), (row, b), defense)
        for first, second in itertools.pairwise(rows):
            for view in first.planes:
                self._correlate(picture, method, (first, view), (second, view), defense)

    def _correlate(
        self,
        picture: str,
        method: MethodName,
        first: tuple[Explained, str],
        second: tuple[Explained, str],
        defense: Defense,
    ) -> None:
        (a, view_a), (b, view_b) = first, second
        window = read_window(defense, *a.case.pixels.shape[:2])
        self.correlations.append(
            {
                "picture": picture,
                "method": method,
                "between": [f"{a.case.row} {view_a}", f"{b.case.row} {view_b}"],
                "same_class": a.case.target == b.case.target,
                "spearman": spearman(a.planes[view_a], b.planes[view_b], window),
            }
        )

    def save(self, folder: Path) -> Path:
        """Writes `explain.json` in one step.

        Raises:
            SinkError: it cannot be written.
        """
        file = folder / "explain.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(file, self.to_json())
        except OSError as error:
            raise SinkError(f"{file} cannot be written: {error.strerror}") from error
        return file

    def to_json(self) -> str:
        """The text of `explain.json`."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1) + "\n"


def map_entry(
    picture: str,
    method: MethodName,
    row: Explained,
    view: str,
    labels: Sequence[str],
    defense: Defense,
) -> dict[str, Any]:
    """One map in figures.

    `label` and `confidence` are the deployed guard's for that view (for the vote: its verdict's);
    `score` and `baseline_score` the twin's explained number at the frame and at the baseline of
    integrated gradients; `convergence_delta` by how much the attributions miss their difference,
    `relative_delta` the same as a share of it. `top_tenth_share`: of the absolute attribution, held
    by the strongest tenth of the pixels that the views read (0.1 is spread evenly).
    """
    case, attribution = row.case, row.attributions[view]
    if view == VOTE:
        label, confidence = case.outcome.label, case.outcome.confidence
    else:
        index = [defense.view_name(k) for k in range(len(defense.passes))].index(view)
        label, confidence = case.view_labels[index], case.confidences[index]
    relative = None
    if attribution.delta is not None and attribution.baseline_score is not None:
        gap = abs(attribution.score - attribution.baseline_score)
        relative = abs(attribution.delta) / gap if gap > 0 else None
    return {
        "picture": picture,
        "method": method,
        "row": case.row,
        "view": view,
        "explained_class": case.target,
        "explained_name": name_of(case.target, labels),
        "label": label,
        "name": name_of(label, labels),
        "confidence": confidence,
        "counted_views": list(row.counted) if view == VOTE else None,
        "score": attribution.score,
        "baseline_score": attribution.baseline_score,
        "convergence_delta": attribution.delta,
        "relative_delta": relative,
        "top_tenth_share": top_share(
            row.planes[view], read_window(defense, *case.pixels.shape[:2])
        ),
    }
