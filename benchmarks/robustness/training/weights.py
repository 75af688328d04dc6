"""Loads weights from a file into a net, and says what does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from blurvote.runtime.errors import SourceError

__all__ = ["load_weights"]

_SHOWN = 4


def load_weights(module: nn.Module, path: Path, net: str, classes: int) -> None:
    """Fills the net from a state dict.

    Args:
        module: changed in place.
        path: what `torch.save` wrote: a state dict, or a dict with one as `"state_dict"`. A prefix
            `module.`, which `DataParallel` leaves, is taken off.
        net: what to call the net in messages.
        classes: how many the net has.

    Raises:
        SourceError: the file cannot be read, or its weights are those of another net.
    """
    state = _read(path)
    wanted = module.state_dict()
    # BatchNorm's count of batches came with torch 0.4.1; older files lack it, and nothing uses it.
    for name in wanted:
        if name.endswith("num_batches_tracked") and name not in state:
            state[name] = wanted[name]
    missing = [name for name in wanted if name not in state]
    foreign = [name for name in state if name not in wanted]
    if missing or foreign:
        found = (("lacks", missing), ("has", foreign))
        told = [f"{what} {_some(names)}" for what, names in found if names]
        raise SourceError(
            f"{path} does not fit the net {net}: it {' and '.join(told)}; choose the --net that it "
            "was trained as"
        )
    last = list(wanted)[-1]
    if state[last].shape != wanted[last].shape:
        raise SourceError(
            f"{path} has {state[last].shape[0]} classes ({last}); the data set has {classes}"
        )
    other = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in wanted
        if state[name].shape != wanted[name].shape
    ]
    if other:
        raise SourceError(f"{path} does not fit the net {net}: it has {_some(other)}")
    module.load_state_dict(state)


def _read(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise SourceError(f"there is no weights file at {path}")
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever unpickling says, the file is not what it should be
        reason = " ".join(str(error).split())[:120]
        raise SourceError(f"{path} is no state dict that torch can load: {reason}") from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise SourceError(
            f"{path} is no state dict; expected names and tensors, as torch saves them"
        )
    return {str(name).removeprefix("module."): tensor for name, tensor in state.items()}


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
