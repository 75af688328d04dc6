"""The maps of one frame, per view and for the vote, by one method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.robustness.explain.cases import Case
from blurvote.benchmarks.robustness.explain.maps import plane, read_window
from blurvote.benchmarks.robustness.explain.methods import (
    Attribution,
    MethodName,
    Settings,
    attribute,
)
from blurvote.benchmarks.robustness.explain.quantity import Quantity, ViewScore, counted_views
from blurvote.benchmarks.robustness.twin import Twin
from blurvote.runtime.defense import Defense

__all__ = ["VOTE", "Explained", "explain"]

VOTE = "vote"


@dataclass(frozen=True, eq=False)
class Explained:
    """What one method found in one frame.

    Attributes:
        case: the frame.
        attributions: per view's name, then for `VOTE`: the mean over the counted views.
        planes: the same as `(H, W)` float32 maps, see `maps.plane`.
        counted: names of the views whose mean stands for the vote.
    """

    case: Case
    attributions: Mapping[str, Attribution]
    planes: Mapping[str, NDArray[np.float32]]
    counted: tuple[str, ...]


def explain(
    method: MethodName,
    case: Case,
    views: Sequence[Twin],
    defense: Defense,
    settings: Settings,
    quantity: Quantity = "log-odds",
    done: Callable[[int], None] = lambda frames: None,
) -> Explained:
    """Explains one frame.

    Args:
        method: how.
        case: the frame, with the class to explain.
        views: the guard's twin, split by `quantity.split`.
        defense: of the guard.
        settings: of the methods.
        quantity: what is explained, see `quantity`.
        done: told how many frames were evaluated.

    Raises:
        ProviderError: captum is missing.
        SourceError: a baseline cannot be read.
    """
    window = read_window(defense, *case.pixels.shape[:2])
    frame = case.planes
    found = {}
    for view, twin in enumerate(views):
        score = ViewScore(twin, case.target, quantity, done)
        found[defense.view_name(view)] = attribute(method, score, frame, window, settings)
    counted = tuple(
        defense.view_name(view) for view in counted_views(defense, case.view_labels, case.target)
    )
    found[VOTE] = mean([found[name] for name in counted])
    planes = {name: plane(method, attribution.values) for name, attribution in found.items()}
    return Explained(case, found, planes, counted)


def mean(parts: list[Attribution]) -> Attribution:
    """The attribution of a mean of scores, for a method that is linear in what it explains."""

    def of(values: list[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if known else None

    return Attribution(
        np.mean([part.values for part in parts], axis=0, dtype=np.float32),
        sum(part.score for part in parts) / len(parts),
        of([part.baseline_score for part in parts]),
        of([part.delta for part in parts]),
    )
