"""How much a frame was changed: norms, and the two measures of Shanker (2021).

*Measuring Robustness of Image Classification Models*, section 2.1: the average change per pixel
(absolute; in RGB the channels' differences are summed), and the number of pixels that changed by
more than a threshold (10 percent for MNIST, 1 percent for CIFAR). The source does not say how the
threshold reads three channels. It counts pixels (1024 for CIFAR), not values, and its change of an
RGB pixel is the sum over the channels, so that sum is what is compared here, with the threshold
as a share of one channel's range: 1 percent is a sum of more than 2.55 grey levels. The maximum
over the channels would let a pixel pass that changed by 2 levels in each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.errors import BlurvoteError, FrameError

__all__ = ["THRESHOLD", "THRESHOLD_MNIST", "Change", "Channels", "measure_change"]

Channels = Literal["sum", "mean"]

THRESHOLD = 0.01
THRESHOLD_MNIST = 0.10


@dataclass(frozen=True)
class Change:
    """The change between two 8-bit frames.

    Attributes:
        linf: largest absolute change of a value, pixels in [0, 1].
        l2: Euclidean norm over all values, pixels in [0, 1].
        per_pixel: absolute change of a pixel, averaged over the pixels; in [0, 1] per channel, so
            at most 3 for summed RGB.
        changed: number of pixels that changed by more than `threshold`.
        changed_share: that number over all pixels.
        threshold: share of one channel's range.
    """

    linf: float
    l2: float
    per_pixel: float
    changed: int
    changed_share: float
    threshold: float


def measure_change(
    original: NDArray[np.uint8],
    adversarial: NDArray[np.uint8],
    threshold: float = THRESHOLD,
    channels: Channels = "sum",
) -> Change:
    """The change from one frame to another.

    Args:
        original, adversarial: `(H, W, 3)`, `(H, W, 1)` or `(H, W)` uint8.
        threshold: share of one channel's range that a pixel's change has to exceed, in [0, 1).
        channels: how the channels of a pixel become one change: `"sum"`, or `"mean"` for grey
            pictures held as three equal channels, which a sum would count three times.

    Raises:
        FrameError: the frames are not two 8-bit frames of one shape.
        BlurvoteError: threshold or channels out of range.
    """
    _check(original, adversarial)
    if not 0 <= threshold < 1:
        raise BlurvoteError(
            f"threshold is {threshold!r}; expected a share of the range in [0, 1), such as 0.01"
        )
    if channels not in ("sum", "mean"):
        raise BlurvoteError(f"channels is {channels!r}; expected 'sum' or 'mean'")
    difference = np.abs(adversarial.astype(np.int64) - original)
    planes = difference.reshape(*difference.shape[:2], -1)
    # In whole grey levels times channels: a change of exactly the threshold is not above it.
    summed = planes.sum(axis=2)
    divisor = planes.shape[2] if channels == "mean" else 1
    changed = int(np.count_nonzero(summed > 255 * threshold * divisor + 1e-9))
    return Change(
        linf=float(difference.max() / 255),
        l2=float(np.sqrt((difference**2).sum()) / 255),
        per_pixel=float(summed.mean() / 255 / divisor),
        changed=changed,
        changed_share=changed / summed.size,
        threshold=threshold,
    )


def _check(original: Any, adversarial: Any) -> None:
    for name, frame in (("original", original), ("adversarial", adversarial)):
        if frame.dtype != np.uint8 or frame.ndim not in (2, 3) or 0 in frame.shape:
            raise FrameError(
                f"{name} is {frame.shape} {frame.dtype}; expected (H, W, 3), (H, W, 1) or (H, W) "
                f"uint8"
            )
    if original.shape != adversarial.shape:
        raise FrameError(
            f"original is {original.shape} and adversarial {adversarial.shape}; expected one shape"
        )
