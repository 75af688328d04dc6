"""The comparison with the guard that a peer must pass before it is timed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.latency.peers.peer import Floats, Frame, Peer, ViewPeer
from blurvote.runtime.vote import majority_vote

__all__ = ["check", "view_error"]


def check(
    peer: Peer,
    frames: Sequence[Frame],
    guard_views: Callable[[Frame], Floats],
    guard_logits: Callable[[Floats], Floats],
) -> dict[str, Any]:
    """Compares a peer with the guard; nothing that fails is worth timing.

    Args:
        frames: at least one, each `(H, W, 3)` uint8 RGB.
        guard_views: the guard's own views of a frame, `(V, 3, h, w)`.
        guard_logits: the guard's own logits of such views, `(V, C)`.

    Returns:
        frames: how many were compared.
        views: `largest` and `mean` difference from the guard's views, in standard deviations.
        logits: largest difference *on the guard's views*, as a share of the logits' range.
        labels_equal: frames on which both give the same label, rejections included.
        exact: whether the peer claims the guard's mathematics.
        failed: why it must not be timed, or None.
    """
    views: list[dict[str, Any]] = []
    shares: list[float] = []
    equal = 0
    failed: str | None = None
    for frame in frames:
        ours = guard_views(frame)
        expected = guard_logits(ours)
        views.append(view_error(ViewPeer.of(peer.way, frame), ours))
        logits = peer.infer(ours)
        shares.append(_share(logits, expected))
        label = int(majority_vote(expected[None]).labels[0])
        equal += peer.classify(frame) == label
        failed = failed or views[-1]["failed"]
        if failed is None and not shares[-1] <= peer.logits_tolerance:
            failed = (
                f"on the same views its logits differ by {shares[-1]:.1e} of their range, more "
                f"than {peer.logits_tolerance:.0e}"
            )
    return {
        "frames": len(frames),
        "views": {
            "largest": max(error["largest"] for error in views),
            "mean": float(np.mean([error["mean"] for error in views])),
        },
        "logits": max(shares),
        "labels_equal": equal,
        "exact": peer.exact,
        "failed": failed,
    }


def view_error(peer: ViewPeer, ours: Floats) -> dict[str, Any]:
    """`largest` and `mean` difference from the guard's views, in standard deviations, and `failed`.

    `failed` says how the peer misses its own promise by more than its tolerance, or is None. A way
    that aliases or filters otherwise differs from ours by design; the promise, not that
    difference, tells whether it does what its name says.
    """
    made = np.asarray(peer.build())
    if made.shape != ours.shape or made.dtype != np.float32:
        return {
            "largest": np.inf,
            "mean": np.inf,
            "failed": f"its views are {made.dtype} {made.shape}; expected float32 {ours.shape}",
        }
    way = peer.way
    right = ours if way.promise is None else way.promise(peer.frame)
    largest, mean = _difference(made, right)
    failed = None
    if not (largest <= way.tolerance.largest and mean <= way.tolerance.mean):
        failed = (
            f"its views lie up to {largest:.1e} and on average {mean:.1e} standard deviations "
            f"from what it should compute, more than {way.tolerance.largest:.0e} or "
            f"{way.tolerance.mean:.0e}"
        )
    largest, mean = _difference(made, ours)
    return {"largest": largest, "mean": mean, "failed": failed}


def _difference(made: NDArray[Any], right: NDArray[Any]) -> tuple[float, float]:
    difference = np.abs(made - right)
    return float(difference.max()), float(difference.mean(dtype=np.float64))


def _share(logits: Floats, expected: Floats) -> float:
    if logits.shape != expected.shape:
        return float("inf")
    spread = max(float(np.ptp(expected)), 1e-6)
    return float(np.abs(logits - expected).max()) / spread
