"""Train the denoiser on dead-leaves images; seeded and resumable, hours on two cores.

    OPENBLAS_NUM_THREADS=1 python -m blurvote.export.denoiser.train --out denoiser.pt --threads 1 \
        --features mobilenetv2.onnx

One thread trains while another draws the next batches; NumPy's own threads would only be in their
way. `--features` is the classifier whose feature maps are compared; without it pixels alone are.

Interrupt it at any time: the same command goes on after the last checkpoint. The loss curve is
written beside the weights as lines of JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from blurvote.export.denoiser.features import FeatureLoss
from blurvote.export.denoiser.leaves import dead_leaves
from blurvote.export.denoiser.network import DenoisingNetwork
from blurvote.export.denoiser.samples import Batch, draw_batch
from blurvote.runtime.errors import ExportError

__all__ = ["main"]

_CHECK_STEPS = 12  # batches of the checking set, at each level
_CHECK_SIGMAS = (0.125, 0.25, 0.375)
_HELD_OUT = 1_000_000  # numbers of the checking images begin here
_SOFTENING = 0.05  # of the loss's weight, in noise levels
_AVERAGE = 0.999  # of the weights that are kept
_FEATURES = 10.0  # weight of the distance in feature maps, beside pixels


def draw_frames(seed: int, first: int, count: int) -> NDArray[np.uint8]:
    """Dead-leaves images `first` .. `first + count - 1`: `(count, 3, 512, 512)` uint8."""
    started = time.monotonic()
    frames = np.empty((count, 3, 512, 512), np.uint8)
    for k, frame in enumerate(frames):
        frame[:] = dead_leaves(seed, first + k)
        if (k + 1) % 50 == 0:
            print(f"drew {k + 1} of {count} images, {time.monotonic() - started:.0f} s", flush=True)
    return frames


@torch.inference_mode()
def check(network: DenoisingNetwork, frames: NDArray[np.uint8]) -> dict[str, float]:
    """PSNR in dB on held-out images, by the noise at the frame; `noisy` is before denoising."""
    scores = {}
    for sigma in _CHECK_SIGMAS:
        errors, noise = [], []
        for step in range(_CHECK_STEPS):
            noisy, levels, clean = draw_batch(frames, 1, step, 8, fixed=sigma)
            errors.append(functional.mse_loss(network(noisy, levels).clamp(0, 1), clean).item())
            noise.append(functional.mse_loss(noisy, clean).item())
        scores[f"{sigma:g}"] = -10 * float(np.log10(np.mean(errors)))
        scores[f"{sigma:g} noisy"] = -10 * float(np.log10(np.mean(noise)))
    return scores


def batches(
    frames: NDArray[np.uint8], seed: int, steps: range, count: int, features: FeatureLoss | None
) -> Iterator[tuple[Batch, list[torch.Tensor]]]:
    """The batches of these steps, each drawn while the one before is trained on.

    With `features`, each comes with its clean images' feature maps.
    """

    def draw(step: int) -> tuple[Batch, list[torch.Tensor]]:
        batch = draw_batch(frames, seed, step, count)
        with torch.no_grad():
            return batch, features.features(batch[2]) if features else []

    with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as drawer:
        ahead = [drawer.submit(draw, step) for step in steps[:2]]
        for step in steps:
            yield ahead.pop(0).result()
            if step + 2 < steps.stop:
                ahead.append(drawer.submit(draw, step + 2))


def rate(step: int, steps: int, peak: float) -> float:
    """Learning rate: 500 steps of warm-up, then level, then a quarter of the steps down to zero.

    A level part lets a run be made longer or shorter while it is going on, by another `--steps`.
    """
    return peak * min(1.0, (step + 1) / 500, 4 * (steps - step) / steps)


def _save(path: Path, state: dict[str, Any]) -> None:
    """Whole or not at all: a run that is killed here keeps its earlier checkpoint."""
    partial = path.with_name(path.name + ".writing")
    torch.save(state, partial)
    partial.replace(path)


def main() -> None:
    """Draw, train, report, and write the averaged weights."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        epilog="example: python -m blurvote.export.denoiser.train --out denoiser.pt --threads 1",
    )
    parser.add_argument("--out", type=Path, required=True, help="where the state_dict goes")
    parser.add_argument("--steps", type=int, default=31000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--features", type=Path, help="ONNX classifier to compare features in")
    parser.add_argument("--images", type=int, default=300, help="dead-leaves images to draw")
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--check", type=int, default=2000, help="steps between two checkpoints")
    args = parser.parse_args()
    try:
        features = FeatureLoss(args.features) if args.features else None
    except ExportError as error:
        parser.error(str(error))
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)

    network: Any = DenoisingNetwork()
    network.to(memory_format=torch.channels_last)
    averaged = DenoisingNetwork()
    averaged.load_state_dict(network.state_dict())
    optimiser = torch.optim.Adam(network.parameters(), lr=args.rate)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    checkpoint, done, spent = args.out.with_suffix(".partial"), 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(state["network"])
        averaged.load_state_dict(state["averaged"])
        optimiser.load_state_dict(state["optimiser"])
        done, spent = state["steps"], state["seconds"]
        print(f"going on after step {done}", flush=True)

    frames = draw_frames(args.seed, 0, args.images)
    held_out = draw_frames(args.seed, _HELD_OUT, 12)
    started, losses = time.monotonic() - spent, []
    todo = range(done, args.steps)
    drawn = batches(frames, args.seed, todo, args.batch, features)
    for step, ((noisy, levels, clean), maps) in zip(todo, drawn, strict=True):
        for group in optimiser.param_groups:
            group["lr"] = rate(step, args.steps, args.rate)
        noisy = noisy.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            denoised = network(noisy, levels).float()
        # Else the loudest noise would have most of the gradient.
        weights = 1 / (levels + _SOFTENING)
        parts = [(weights * (denoised - clean).abs().mean(dim=(2, 3))).mean()]
        if features:
            parts.append(_FEATURES * features(denoised, maps))
        loss: Any = torch.stack(parts).sum()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            keep = min(_AVERAGE, (step + 1) / (step + 10))
            for mean, now in zip(averaged.parameters(), network.parameters(), strict=True):
                mean.lerp_(now, 1 - keep)
        losses.append([part.item() for part in parts])
        if (step + 1) % args.check and step + 1 != args.steps:
            continue
        seconds = time.monotonic() - started
        line = {
            "step": step + 1,
            "seconds": round(seconds, 1),
            "loss": [round(float(part), 5) for part in np.mean(losses, axis=0)],
            "psnr_db": {name: round(db, 3) for name, db in check(averaged, held_out).items()},
        }
        losses = []
        print(json.dumps(line), flush=True)
        with args.out.with_suffix(".jsonl").open("a") as curve:
            curve.write(json.dumps(line) + "\n")
        _save(
            checkpoint,
            {
                "network": network.state_dict(),
                "averaged": averaged.state_dict(),
                "optimiser": optimiser.state_dict(),
                "steps": step + 1,
                "seconds": seconds,
            },
        )
    _save(args.out, averaged.state_dict())


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("interrupted; the same command goes on after the last checkpoint", flush=True)
        raise SystemExit(130) from None
