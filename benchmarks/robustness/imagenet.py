"""ImageNet's classes by WordNet id, and the protocols of ImageNet-A and ImageNet-O.

Hendrycks et al. (2021, *Natural Adversarial Examples*, arXiv 1907.07174) publish two data sets in
folders named by WordNet id, 200 each, and evaluate them so:

- **ImageNet-A**: photographs of 200 ImageNet classes. The logits are cut down to those 200 classes
  (`restrict`) before the argmax and the softmax; accuracy is over all images.
- **ImageNet-O**: photographs of things that are no ImageNet class, each in the folder of a class
  that they are taken for. The in-distribution images are ImageNet's validation images of the same
  200 classes. Both are scored by minus the largest softmax over the logits cut down to these 200
  classes, and the figure is the area under the precision-recall curve with
  ImageNet-O as the positive class (`anomaly_aupr`), as scikit-learn's average precision. That area
  for a score of pure chance is the share of ImageNet-O among the images (2,000 of 12,000).

The 200 ids differ between the two sets; 1000 classes are in torchvision's order, the ids sorted.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.optional import require
from blurvote.runtime.errors import FrameError, SourceError

__all__ = [
    "Subset",
    "anomaly_aupr",
    "class_of",
    "restrict",
    "subset",
    "subset_wnids",
    "wnids",
]

Subset = Literal["a", "o"]

CLASSES = 1000


@lru_cache
def wnids() -> tuple[str, ...]:
    """The WordNet ids of the 1000 classes, such as `n01440764`, in torchvision's class order."""
    return _read("imagenet_wnids.txt")


@lru_cache
def subset_wnids(name: Subset) -> tuple[str, ...]:
    """The 200 ids of ImageNet-A (`"a"`) or ImageNet-O (`"o"`), sorted: their folders' names."""
    if name not in ("a", "o"):
        raise SourceError(f"subset {name!r} is unknown; expected 'a' (ImageNet-A) or 'o'")
    return _read(f"imagenet_{name}_wnids.txt")


def class_of(wnid: str) -> int:
    """The class index, 0 to 999, of a WordNet id.

    Raises:
        SourceError: it is none of the 1000.
    """
    index = _indices().get(wnid)
    if index is None:
        raise SourceError(
            f"{wnid!r} is no WordNet id of ImageNet's 1000 classes; expected one such as "
            f"{wnids()[0]!r}"
        )
    return index


def subset(name: Subset) -> NDArray[np.int64]:
    """The 200 class indices of ImageNet-A or ImageNet-O, ascending."""
    return np.array([class_of(wnid) for wnid in subset_wnids(name)], np.int64)


def restrict(logits: NDArray[Any], name: Subset) -> NDArray[Any]:
    """Logits `(..., 1000)` cut down to `(..., 200)`; column k is the class `subset(name)[k]`.

    Raises:
        FrameError: the logits are not of 1000 classes.
    """
    if logits.ndim < 1 or logits.shape[-1] != CLASSES:
        raise FrameError(
            f"logits of shape {logits.shape} were given; ImageNet-{name.upper()} needs a guard of "
            f"ImageNet's {CLASSES} classes in torchvision's order"
        )
    return np.asarray(logits[..., subset(name)])


def anomaly_aupr(in_scores: NDArray[np.floating], out_scores: NDArray[np.floating]) -> float:
    """Area under the precision-recall curve, ImageNet-O positive, as average precision.

    Args:
        in_scores: `(N,)` anomaly scores of ImageNet's validation images.
        out_scores: `(M,)` of ImageNet-O's images.

    Raises:
        SourceError: one of the two is empty or not finite.
        ProviderError: scikit-learn is not installed.
    """
    for scores, what in ((in_scores, "in-distribution images"), (out_scores, "ImageNet-O")):
        if scores.ndim != 1 or not scores.size or not np.isfinite(scores).all():
            raise SourceError(
                f"the anomaly scores of {what} are of shape {scores.shape}; expected at least one, "
                "all finite"
            )
    (metrics,) = require("the AUPR of ImageNet-O", ["sklearn.metrics"], "scikit-learn")
    truth = np.repeat([0, 1], [in_scores.size, out_scores.size])
    return float(metrics.average_precision_score(truth, np.concatenate([in_scores, out_scores])))


@lru_cache
def _indices() -> dict[str, int]:
    return {wnid: index for index, wnid in enumerate(wnids())}


def _read(name: str) -> tuple[str, ...]:
    path = files("blurvote.benchmarks.robustness") / "data" / name
    return tuple(path.read_text("ascii").split())
