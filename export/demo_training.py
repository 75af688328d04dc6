"""Train the classifier of ``blurvote demo`` on drawn scenes; seeded, about ten minutes.

    python -m blurvote.export.demo_training --out weights.pth

The training scenes carry only what a camera adds by itself: sensor noise up to sigma 0.025 and
blur from motion or focus. The noise of the demo (sigma 0.125 and more) is never trained on, nor
are the defence's blurred views, nor the scenery of the demo's clip.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from blurvote.export.demo_model import (
    CLASSES,
    CROP,
    RESIZE,
    build_model,
    normalised,
    prepare,
    shrink,
)
from blurvote.runtime.demo.scenes import add_noise, draw_scene

_TRAINING_STREAM, _CHECKING_STREAM = 1, 3
_MARGIN = (RESIZE - CROP) // 2


def draw_training_set(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw scenes, already resized: (count, 3, RESIZE, RESIZE) uint8 and (count,) int64 labels."""
    pictures = torch.empty((count, 3, RESIZE, RESIZE), dtype=torch.uint8)
    labels = torch.arange(count) % len(CLASSES)
    start = time.monotonic()
    for k in range(count):
        rng = np.random.default_rng([_TRAINING_STREAM, seed, k])
        frame = torch.from_numpy(draw_scene(int(labels[k]), rng))[None]
        small = shrink(frame)[0].round().to(torch.uint8)
        left = round((small.shape[2] - RESIZE) / 2)
        pictures[k] = small[:, :, left : left + RESIZE]
        if (k + 1) % 4000 == 0:
            print(f"drew {k + 1} of {count} scenes, {time.monotonic() - start:.0f} s", flush=True)
    return pictures, labels


def draw_checking_set(per_class: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw scenes of the held-out scenery: (n, H, W, 3) uint8 and (n,) int64 labels."""
    labels = np.repeat(np.arange(len(CLASSES)), per_class)
    frames = [
        draw_scene(
            int(label), np.random.default_rng([_CHECKING_STREAM, seed, k]), scenery="held_out"
        )
        for k, label in enumerate(labels)
    ]
    return torch.from_numpy(np.stack(frames)), torch.from_numpy(labels)


@torch.inference_mode()
def accuracy(model: nn.Module, frames: torch.Tensor, labels: torch.Tensor, sigma: float) -> float:
    """Measure the undefended accuracy under noise of ``sigma``; leaves the model in eval mode."""
    model.eval()
    rng = np.random.default_rng(7)
    right = 0
    for start in range(0, len(labels), 64):
        batch = frames[start : start + 64]
        noisy = torch.from_numpy(add_noise(batch.numpy(), sigma, rng)) if sigma else batch
        right += int((model(prepare(noisy)).argmax(1) == labels[start : start + 64]).sum())
    return right / len(labels)


def train_epoch(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    data: tuple[torch.Tensor, torch.Tensor],
    batch: int,
) -> float:
    """Pass once over the training set with shifted crops; returns the mean loss."""
    pictures, labels = data
    model.train()
    order = torch.randperm(len(labels))
    losses = []
    for start in range(0, len(order) - batch + 1, batch):
        chosen = order[start : start + batch]
        y, x = torch.randint(0, 2 * _MARGIN + 1, (2,)).tolist()
        planes = pictures[chosen, :, y : y + CROP, x : x + CROP].float()
        planes = planes.contiguous(memory_format=torch.channels_last)
        loss = functional.cross_entropy(
            model(normalised(planes)), labels[chosen], label_smoothing=0.05
        )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    return float(np.mean(losses))


def main() -> None:
    """Draw, train, report after every epoch, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="where the state_dict goes")
    parser.add_argument("--scenes", type=int, default=12000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    torch.manual_seed(args.seed)
    # Channels last trains a quarter faster on a CPU and changes no weight's meaning.
    model = build_model()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=3e-2)
    steps = args.epochs * (args.scenes // args.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=5e-3, total_steps=steps, pct_start=0.2
    )

    # An interrupted run goes on after its last full epoch.
    checkpoint, done = args.out.with_suffix(".partial"), 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        done = state["epochs"]

    data = draw_training_set(args.scenes, args.seed)
    frames, labels = draw_checking_set(per_class=12, seed=args.seed)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    for epoch in range(done, args.epochs):
        torch.manual_seed(1000 * args.seed + epoch + 1)
        loss = train_epoch(model, optimiser, schedule, data, args.batch)
        scores = " ".join(
            f"{sigma:g}:{accuracy(model, frames, labels, sigma):.3f}"
            for sigma in (0, 0.125, 0.25, 0.375)
        )
        print(
            f"epoch {epoch + 1}/{args.epochs} loss {loss:.3f} held-out accuracy at sigma {scores}"
            f" ({time.monotonic() - start:.0f} s)",
            flush=True,
        )
        torch.save(
            {
                "model": model.state_dict(),
                "optimiser": optimiser.state_dict(),
                "schedule": schedule.state_dict(),
                "epochs": epoch + 1,
            },
            checkpoint,
        )
    torch.save(model.state_dict(), args.out)
    checkpoint.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
