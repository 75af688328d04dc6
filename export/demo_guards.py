"""Turns the trained sign classifier into the two guards that `blurvote demo` ships.

python -m blurvote.export.demo_guards weights.pth --folder runtime/demo
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from blurvote.export.classifier import ModelOptions
from blurvote.export.demo_model import CROP, MEAN, RESIZE, STD, build_model
from blurvote.export.pipeline import export_guard
from blurvote.runtime.demo.scenes import CLASSES, FRAME_HEIGHT, FRAME_WIDTH

__all__ = ["main"]


def main() -> None:
    """Writes `signs_views.onnx` and `signs_frames.onnx`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("weights", type=Path, help="state dict written by demo_training")
    parser.add_argument("--folder", type=Path, required=True, help="where the guards go")
    args = parser.parse_args()
    model = build_model()
    model.load_state_dict(torch.load(args.weights, weights_only=True))
    defense = {"resize": RESIZE, "crop": CROP, "mean": MEAN, "std": STD}
    options = ModelOptions(labels=tuple(CLASSES))
    for kind, size in (("views", None), ("frames", (FRAME_HEIGHT, FRAME_WIDTH))):
        report = export_guard(
            model,
            args.folder / f"signs_{kind}.onnx",
            kind=kind,  # type: ignore[arg-type]
            frame_size=size,
            options=options,
            defense=defense,
        )
        print(f"{report.path}: {report.size_bytes / 1e6:.2f} MB, {report.classes} classes")
        print(report.parity.table())


if __name__ == "__main__":
    main()
