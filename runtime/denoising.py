"""Runs a guard's denoiser: clean views in, denoised ones out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.batch_buffer import BatchBuffer
from blurvote.runtime.defense import Defense
from blurvote.runtime.engines import registry
from blurvote.runtime.engines.model_bytes import ModelBytes
from blurvote.runtime.engines.protocol import Engine, EngineSettings, Provider
from blurvote.runtime.errors import GuardError
from blurvote.runtime.metadata import GuardMetadata

__all__ = ["Denoiser", "open_denoiser_engine"]

_INPUT, _OUTPUT = "noisy", "views"


def open_denoiser_engine(
    path: str | Path, metadata: GuardMetadata, settings: EngineSettings, provider: Provider
) -> Engine | None:
    """The engine of the denoiser in a guard's metadata, set up as the guard's own is.

    It has run once: what it makes is known to fit, and no frame pays for its warm-up.

    Args:
        path: the guard.
        metadata: what is in it.
        settings: those of the guard's engine.
        provider: what the guard's engine runs on: where `settings` leave the choice, the denoiser
            must not end up elsewhere.

    Returns:
        None for a guard that denoises nothing, or within its own graph.

    Raises:
        GuardError: the guard has views to denoise but no denoiser, a broken one, or one that makes
            other views.
        ProviderError: the provider cannot run it.
    """
    defense, entry = metadata.defense, metadata.denoiser
    if not defense.adaptive or metadata.kind != "views":
        return None
    if entry is None or not entry.onnx:
        raise GuardError(
            f"{path} has denoised views ({', '.join(defense.noisy_views)}) but no denoiser to make "
            "them with; export it again"
        )
    height, width = defense.crop
    model = ModelBytes(Path(path), "denoiser", entry.onnx, _INPUT, (4, height, width))
    engine = registry.open_engine(model, replace(settings, provider=provider))
    try:
        if engine.input_name != _INPUT or _OUTPUT not in engine.output_names:
            found = f"{engine.input_name!r} to {', '.join(map(repr, engine.output_names))}"
            raise GuardError(
                f"{model} maps {found}; expected {_INPUT!r} to {_OUTPUT!r}. Export the guard again"
            )
        Denoiser(engine, defense, str(model)).try_out()
    except BaseException:
        engine.close()
        raise
    return engine


class Denoiser:
    """Makes all denoised views of several frames in one inference.

    May be shared by several threads, each of which has an input of its own.

    Args:
        engine: `(M, 4, h, w)` float32 in, `(M, K, 3, h, w)` float32 out; see `DenoiserEntry`.
        defense: whose `denoised_kinds` are the K views.
        name: what errors call it.
    """

    def __init__(self, engine: Engine, defense: Defense, name: str = "the denoiser") -> None:
        self.engine = engine
        self._name = name
        self._grid = defense.crop
        self._count = len(defense.denoised_kinds)
        self._buffer = BatchBuffer(engine, np.float32)

    def inputs(self, frames: int) -> NDArray[np.float32]:
        """`(frames, 4, h, w)` float32 to fill for `run`, good until this thread's next call.

        Channels 0 to 2 are for the clean view, normalised; channel 3 for the frame's noise level on
        the backbone's grid, in [0, 1] RGB units, at every pixel.
        """
        return self._buffer.take(frames, (4, *self._grid))

    def run(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """The denoised views `(M, K, 3, h, w)` float32, normalised, of what `inputs` gave.

        They are the caller's own: no later run writes into them.

        Raises:
            GuardError: the run failed, or the denoiser makes something else.
        """
        (views,) = self.engine.run(inputs, [_OUTPUT])
        expected = (len(inputs), self._count, 3, *self._grid)
        if views.shape != expected or views.dtype != np.float32:
            raise GuardError(
                f"{self._name} makes {views.dtype} of shape {views.shape}; expected float32 of "
                f"{expected}: it is not of this guard's defence. Export the guard again"
            )
        return views

    def try_out(self) -> None:
        """One run on a grey view, whose result is thrown away.

        Raises:
            GuardError: as `run`.
        """
        inputs = self.inputs(1)
        inputs[:, :3], inputs[:, 3] = 0, 0.1
        self.run(inputs)
