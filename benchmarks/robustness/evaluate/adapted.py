"""What the views that judged the frames said, of a guard whose noisy frames have their own views.

For a quiet frame they are the quiet views, for a noisy one the denoised ones and what else is in
that set; the two may be mixed under one degradation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.robustness.evaluate.measure import NO_LEVEL

__all__ = ["Adapted", "adapted"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Adapted:
    """N frames under one degradation, as the views of V that judged each say.

    Attributes:
        view_labels, view_confidences: `(N, V)`.
        majority, votes, majority_confidence: `(N,)`; confidence is of the winner's mean softmax.
        mean_label, mean_confidence: `(N,)` of the mean softmax. Every confidence is the log-odds of
            a softmax, see `certainty`.
        noise: `(N,)` level read at the frame, in [0, 1] RGB units; NaN without an estimate.
        denoised: `(N,)` bool, whether the frame had the views of noisy frames.
    """

    view_labels: Ints
    view_confidences: Floats
    majority: Ints
    votes: Ints
    majority_confidence: Floats
    mean_label: Ints
    mean_confidence: Floats
    noise: Floats
    denoised: NDArray[np.bool_]


def adapted(part: Floats, views: int) -> Adapted:
    """From the numbers `(N, 2 V + 7)` of the frames, see `measure`."""
    whole, rest = part.astype(np.int64), 2 * views
    level = part[:, rest + 5]
    return Adapted(
        whole[:, :views],
        part[:, views:rest],
        whole[:, rest],
        whole[:, rest + 1],
        part[:, rest + 2],
        whole[:, rest + 3],
        part[:, rest + 4],
        np.where(level == NO_LEVEL, np.nan, level),
        part[:, rest + 6] > 0,
    )
