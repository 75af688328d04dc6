"""What a user would deploy today instead of blurvote, each written as its own users would write it.

::

    for peer in load("torch", "guard.onnx", print):
        report = check(peer, frames, guard_views, guard_logits)
        if report["failed"] is None:
            measure({peer.name: partial(peer.classify, frame)})

Every peer reads its settings from the guard's defence and its weights from the guard's file, so
that its labels can be compared before anything is timed. Families: `blog` (Sethi's code), `torch`
(the same with batched inference, in three layouts), `opencv-ort` and `openvino`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from blurvote.benchmarks.latency.peers import (
    onnxruntime_peer,
    openvino_peer,
    torch_peer,
    views_art,
    views_opencv,
    views_torch,
)
from blurvote.benchmarks.latency.peers.comparison import check, view_error
from blurvote.benchmarks.latency.peers.needs import (
    Progress,
    Skip,
    attempt,
    require_blog_order,
    served_defense,
)
from blurvote.benchmarks.latency.peers.peer import Frame, Peer, Tolerance, ViewPeer, Views
from blurvote.runtime.defense import Defense
from blurvote.runtime.errors import ProviderError

__all__ = [
    "FAMILIES",
    "Peer",
    "Tolerance",
    "ViewPeer",
    "Views",
    "check",
    "load",
    "view_error",
    "view_peers",
]

_LOADERS: dict[str, Callable[[Path, Defense, Progress, Skip | None], list[Peer]]] = {
    "blog": torch_peer.load_blog,
    "torch": torch_peer.load_torch,
    "opencv-ort": onnxruntime_peer.load,
    "openvino": openvino_peer.load,
}
FAMILIES = tuple(_LOADERS)


def load(
    family: str, guard_path: str | Path, progress: Progress | None = None, skip: Skip | None = None
) -> list[Peer]:
    """The peers of a family, loaded, compiled and ready to classify.

    Args:
        family: one of `FAMILIES`.
        guard_path: a guard of kind `views` with the blog's order of work.
        progress: told what takes a while.
        skip: called with the name and the reason of a peer that does not come up while others of
            its family may; None raises that reason instead.

    Raises:
        ProviderError: unknown family, a package is missing (the message has the pip line), or the
            model cannot be run that way.
        PlanError: the guard's defence is not one that these peers can follow.
        GuardError: the file is missing, broken or not a guard.
    """
    if family not in _LOADERS:
        raise ProviderError(
            f"there are no peers of family {family!r}; expected one of {', '.join(FAMILIES)}"
        )
    path = Path(guard_path)
    defense = served_defense(path)
    return _LOADERS[family](path, defense, progress or (lambda text: None), skip)


def view_peers(defense: Defense, frame: Frame, skip: Skip | None = None) -> list[ViewPeer]:
    """Ways to make a defence's views alone, each holding `frame` in the layout that it starts from.

    Args:
        frame: `(H, W, 3)` uint8 RGB, contiguous.
        skip: as for `load`: without it a missing package raises.

    Raises:
        ProviderError, PlanError: as `load`.
    """
    require_blog_order(defense)
    peers: list[ViewPeer] = []
    for name, ways in (
        ("OpenCV", views_opencv.ways),
        ("kornia + torchvision", views_torch.ways),
        ("ART", views_art.ways),
    ):
        found = attempt(name, partial(ways, defense), skip)
        peers += [ViewPeer.of(way, frame) for way in found or ()]
    return peers
