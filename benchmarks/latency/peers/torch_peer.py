"""Peers on torch: the blog's code, and what a torch user would make of it.

All run in inference mode with torch's default threads, on the guard's own weights (batch
normalisation folded into the convolutions, which is to the peers' advantage).
"""

from __future__ import annotations

import copy
import logging
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from blurvote.benchmarks.latency.peers import views_torch
from blurvote.benchmarks.latency.peers.needs import Progress, Skip, attempt
from blurvote.benchmarks.latency.peers.peer import Floats, Peer, Views
from blurvote.benchmarks.torch_module import torch_module
from blurvote.runtime.defense import Defense
from blurvote.runtime.errors import ProviderError

__all__ = ["load_blog", "load_torch"]


def load_blog(path: Path, defense: Defense, progress: Progress, skip: Skip | None) -> list[Peer]:
    """Sethi's code: one call of the model per view.

    Raises:
        ProviderError: a package is missing, or the model cannot be converted.
    """
    way = views_torch.from_frame(defense)
    progress("converting the guard to torch")
    module = torch_module(path, (1, 3, *defense.crop))
    infer = partial(_each, module)
    calls = f"{len(defense.passes)} calls of one view"
    return [_peer("the blog's code, torch eager", "blog", way, calls, infer)]


def load_torch(path: Path, defense: Defense, progress: Progress, skip: Skip | None) -> list[Peer]:
    """The blog's views with batched inference: eager, channels-last, compiled.

    Raises:
        ProviderError: a package is missing, the model cannot be converted, or (without `skip`)
            `torch.compile` fails.
    """
    way = views_torch.from_frame(defense)
    progress("converting the guard to torch")
    shape = (len(defense.passes), 3, *defense.crop)
    module = torch_module(path, shape)
    bring: dict[str, Callable[[], Any]] = {
        "torch eager": lambda: partial(_batch, module),
        "torch eager, channels last": lambda: _channels_last(module),
        "torch.compile": lambda: _compiled(module, shape, progress),
    }
    peers = []
    for name, load in bring.items():
        infer = attempt(name, load, skip)
        if infer is not None:
            peers.append(_peer(name, "torch", way, f"batch of {shape[0]}", infer))
    return peers


def _peer(name: str, family: str, way: Views, batch: str, infer: Any) -> Peer:
    layout = "NHWC in memory" if "channels last" in name else "contiguous NCHW"
    return Peer(
        f"{name}, {batch}",
        family,
        f"{way.layout}; inference on float32, {layout}, {batch}",
        way.threads,
        way,
        infer,
    )


def _each(module: Any, views: Floats) -> Floats:
    import torch

    with torch.inference_mode():
        logits = [module(torch.from_numpy(view[None])) for view in views]
        return np.asarray(torch.cat(logits))


def _batch(module: Any, views: Floats) -> Floats:
    import torch

    with torch.inference_mode():
        return np.asarray(module(torch.from_numpy(views)))


def _channels_last(module: Any) -> Any:
    import torch

    layout = torch.channels_last
    module = copy.deepcopy(module).to(memory_format=layout)

    def infer(views: Floats) -> Floats:
        with torch.inference_mode():
            return np.asarray(module(torch.from_numpy(views).contiguous(memory_format=layout)))

    return infer


def _compiled(module: Any, shape: tuple[int, ...], progress: Progress) -> Any:
    """The module through `torch.compile`, which compiles now and for this shape alone."""
    import torch

    progress("torch.compile: about half a minute")
    # It would warn that there is no GPU, each time.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    started = time.perf_counter()
    infer = partial(_batch, torch.compile(copy.deepcopy(module), fullgraph=True, dynamic=False))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own deprecations, none of the user's making
            infer(np.zeros(shape, np.float32))
    except Exception as error:  # the compiler's errors have no common base
        text = " ".join(str(error).split())[:300]
        raise ProviderError(
            f"torch.compile fails on this model or machine: {type(error).__name__}: {text}. "
            "It needs a C++ compiler (apt install g++)"
        ) from error
    progress(f"torch.compile took {time.perf_counter() - started:.0f} s")
    return infer
