"""The majority vote over the views of each frame, counted by the C++ kernel."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from blurvote.runtime import _kernels
from blurvote.runtime.errors import FrameError

__all__ = ["REJECTED", "Votes", "majority_vote"]

REJECTED = -1


class Votes(NamedTuple):
    """Votes of N frames with V views each.

    Attributes:
        labels: `(N,)` int64, the label of each frame; `REJECTED` where none has a majority.
        counts: `(N,)` int64, votes for the label that got most, rejected or not.
        view_labels: `(N, V)` int64, the label each view voted for; `REJECTED` where it cast none.
    """

    labels: NDArray[np.int64]
    counts: NDArray[np.int64]
    view_labels: NDArray[np.int64]


def majority_vote(logits: NDArray[Any], of: int | None = None) -> Votes:
    """The label that more than half of a frame's views agree on.

    A view votes for its largest logit, the first where several are equal. A view whose logits
    hold NaN, or nothing but -inf, casts no vote but still counts as a view.

    Args:
        logits: `(N, V, C)` float32 or float16; copied first unless C-contiguous.
        of: number of views that a majority is counted of, at least V; None means V. A cascade that
            has run two of three views asks with `of=3` whether the third can still matter.

    Raises:
        FrameError: `logits` has another shape or dtype, or `of` is less than V.
    """
    if not isinstance(logits, np.ndarray) or logits.ndim != 3 or 0 in logits.shape[1:]:
        given = getattr(logits, "shape", type(logits).__qualname__)
        raise FrameError(f"logits are {given}; expected a numpy array (N, V, C) with V, C >= 1")
    frames, views, _ = logits.shape
    if of is None:
        of = views
    elif of < views:
        raise FrameError(f"of is {of!r}; expected at least the {views} views of the logits")
    votes = Votes(
        np.empty(frames, np.int64), np.empty(frames, np.int64), np.empty((frames, views), np.int64)
    )
    if not logits.flags.c_contiguous:
        logits = np.ascontiguousarray(logits)
    if logits.dtype == np.float32:
        _kernels.majority_vote(logits, of, *votes)
    elif logits.dtype == np.float16:
        _kernels.majority_vote_half(logits.view(np.uint16), of, *votes)
    else:
        raise FrameError(f"logits have dtype {logits.dtype}; expected float32 or float16")
    return votes
