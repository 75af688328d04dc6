"""One run of `blurvote train`, from the arguments to the files."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from blurvote.benchmarks.optional import require
from blurvote.benchmarks.robustness.training.augment import DEGREES, SHEAR, ZOOM, augmentation
from blurvote.benchmarks.robustness.training.catalogue import (
    DatasetKind,
    NetKind,
    check_fit,
    dataset_kind,
    net_kind,
)
from blurvote.benchmarks.robustness.training.data import load_data
from blurvote.benchmarks.robustness.training.export_test import export_test
from blurvote.benchmarks.robustness.training.files import Files, make_folder
from blurvote.benchmarks.robustness.training.gradient_sum import (
    GradientSum,
    draw_gradient_sum,
    write_gradient_sum,
)
from blurvote.benchmarks.robustness.training.loop import (
    Epoch,
    Recipe,
    Trainer,
    measure,
    normaliser,
)
from blurvote.benchmarks.robustness.training.nets import build_net, takes_rgb
from blurvote.benchmarks.robustness.training.pictures import Data
from blurvote.benchmarks.robustness.training.terminal import Terminal
from blurvote.benchmarks.robustness.training.weights import load_weights
from blurvote.export import ModelOptions, export_guard
from blurvote.export.writer import check_target
from blurvote.runtime.defense import Defense
from blurvote.runtime.errors import SinkError, SourceError

__all__ = ["SCHEMA", "run"]

SCHEMA = "blurvote.training/1"
LEARNING_RATES = {"adam": 0.005, "sgd": 0.1}


@dataclass(frozen=True)
class _Job:
    """The arguments, understood."""

    args: argparse.Namespace
    dataset: DatasetKind
    net: NetKind
    files: Files
    recipe: Recipe
    terminal: Terminal

    def augmentation(self) -> dict[str, Any]:
        """What is done to training pictures, for the record."""
        kind = self.args.augment
        if kind == "noise":
            return {"kind": kind, "sigma": self.args.noise_sigma}
        if kind == "geometric":
            flips = self.dataset.mirrored if self.args.flips is None else self.args.flips
            return {"kind": kind, "degrees": DEGREES, "shear": SHEAR, "zoom": ZOOM, "flips": flips}
        return {"kind": kind}


def run(args: argparse.Namespace) -> int:
    """Trains or wraps a net and writes it; exports the test pictures; both as asked for.

    Raises:
        SourceError, SinkError, ExportError: see the modules that do the work.
    """
    dataset = dataset_kind(args.dataset)
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.net is None and args.export_test is None:
        raise SourceError("there is nothing to do: give --net NET, --export-test FOLDER, or both")
    if args.data is None and (args.weights is None or args.export_test is not None):
        raise SourceError(f"--data PATH is missing: where {dataset.name} is, or is to be fetched")
    job = _job(args, dataset) if args.net is not None else None
    defense = _defense(args, job) if job else None
    data = load_data(dataset, args.data, download=args.download) if args.data else None
    if data is not None and args.export_test is not None:
        make_folder(args.export_test)
        listed = export_test(data.test, dataset, args.export_test)
        if not args.json:
            print(f"wrote {len(data.test)} test pictures, listed in {listed}")
    if job is None or defense is None:
        return 0
    record = _wrap(job, data) if args.weights else _train(job, data)
    net = record.pop("module")
    report = export_guard(
        takes_rgb(net, dataset.channels),
        job.files.guard,
        options=ModelOptions(labels=dataset.classes),
        defense=defense,
        progress=job.terminal.say,
    )
    record["guard"] = {
        "file": job.files.guard.name,
        "sha256": _digest(job.files.guard),
        "parity": report.parity.to_dict()["worst"],
    }
    job.files.save(net, record)
    print(json.dumps(record, indent=2) if args.json else _text(job, record))
    return 0


def _job(args: argparse.Namespace, dataset: DatasetKind) -> _Job:
    net = net_kind(args.net)
    check_fit(net, dataset)
    if args.out is None:
        raise SinkError("-o FOLDER is missing: where the guard, its weights and its record go")
    if args.weights is not None and args.gradient_samples:
        raise SourceError("--gradient-samples sums over training steps, and --weights has none")
    recipe = Recipe(
        args.epochs,
        args.batch_size,
        args.optimiser,
        args.learning_rate or LEARNING_RATES[args.optimiser],
        args.seed,
    )
    last = args.weights.stem if args.weights else args.augment
    files = Files(args.out, args.name or f"{dataset.name}-{net.name}-{last}")
    check_target(files.guard, overwrite=False)  # before the training, not after
    return _Job(args, dataset, net, files, recipe, Terminal(args.epochs))


def _defense(args: argparse.Namespace, job: _Job) -> Defense:
    return Defense(
        kernel_size=args.kernel_size,
        sigma=args.blur_sigma,
        blur_at=args.blur_at,
        resize=job.dataset.side,
        crop=(job.dataset.side, job.dataset.side),
        mean=job.net.mean,
        std=job.net.std,
    )


def _record(job: _Job, net: nn.Module, data: Data | None) -> dict[str, Any]:
    """What both ways of coming by a net say."""
    return {
        "schema": SCHEMA,
        "module": net,
        "name": job.files.name,
        "dataset": job.dataset.name,
        "data": None
        if data is None
        else {"train": len(data.train), "test": len(data.test), "origin": data.origin},
        "net": job.net.name,
        "parameters": sum(weights.numel() for weights in net.parameters()),
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
    }


def _wrap(job: _Job, data: Data | None) -> dict[str, Any]:
    path: Path = job.args.weights
    net = build_net(job.net, job.dataset, seed=0)
    load_weights(net, path, job.net.name, len(job.dataset.classes))
    net.eval()
    record = _record(job, net, data)
    record["weights"] = {"file": path.name, "sha256": _digest(path)}
    record["test_accuracy"] = None
    if data is not None:
        normalise = normaliser(job.net, job.dataset.channels)
        record["test_accuracy"] = measure(net, data.test, normalise)
    return record


def _train(job: _Job, data: Data | None) -> dict[str, Any]:
    assert data is not None
    args, files, say = job.args, job.files, job.terminal.say
    if args.gradient_samples:  # before the training, not after
        require("the figure of --gradient-samples", ["matplotlib"], "matplotlib")
    started = time.monotonic()
    net = build_net(job.net, job.dataset, job.recipe.seed)
    normalise = normaliser(job.net, job.dataset.channels)
    samples = data.test.take(np.arange(min(args.gradient_samples, len(data.test))))
    summed = GradientSum(samples, normalise) if len(samples) else None
    augment = augmentation(args.augment, job.dataset, args.noise_sigma, args.flips)
    watching = () if summed is None else (summed,)
    trainer = Trainer(net, data, job.recipe, normalise, augment, watching, job.terminal.progress)
    record = _record(job, net, data)
    record["augmentation"] = job.augmentation()
    record["recipe"] = asdict(job.recipe)
    # Through JSON, so that what is compared with a file holds lists where the record has tuples.
    told = {key: value for key, value in record.items() if key != "module"}
    settings = json.loads(json.dumps({**told, "gradient_samples": len(samples)}))
    before = 0.0
    state = files.load_partial(settings)
    if state is not None:
        trainer.resume(state)
        if summed is not None:
            summed.resume(state["gradients"])
        before = state["seconds"]
        say(f"going on after {len(trainer.epochs)} of {job.recipe.epochs} epochs")

    def after_epoch(epoch: Epoch) -> None:
        files.save_partial(
            {
                **trainer.state(),
                "settings": settings,
                "gradients": {} if summed is None else summed.state(),
                "seconds": before + time.monotonic() - started,
            }
        )
        say(
            f"epoch {epoch.epoch}/{job.recipe.epochs}: loss {epoch.loss:.4f}, accuracy "
            f"{epoch.train_accuracy:.4f} in training, {epoch.test_accuracy:.4f} on test "
            f"({epoch.seconds:.1f} s)"
        )

    try:
        trainer.run(after_epoch)
    except KeyboardInterrupt:
        done = len(trainer.epochs)
        say(
            f"{done} of {job.recipe.epochs} epochs are kept in {files.partial}; the same command "
            "goes on from there"
            if done
            else "stopped before the first epoch was done; nothing is kept"
        )
        raise
    record["epochs"] = [asdict(epoch) for epoch in trainer.epochs]
    record["test_accuracy"] = trainer.epochs[-1].test_accuracy
    record["seconds"] = round(before + time.monotonic() - started, 2)
    if summed is not None:
        record["gradient_sum"] = _write_gradients(job, summed)
    return record


def _write_gradients(job: _Job, summed: GradientSum) -> Mapping[str, Any]:
    path = job.files.gradients
    write_gradient_sum(summed, path)
    figure = path.with_suffix(".png")
    draw_gradient_sum(summed, job.dataset.classes, job.files.name, figure)
    return {
        "file": path.name,
        "figure": figure.name,
        "samples": len(summed.pictures),
        "steps": summed.steps,
    }


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _text(job: _Job, record: Mapping[str, Any]) -> str:
    files = job.files
    lines = [f"wrote {files.guard}, with {files.weights.name} and {files.record.name}"]
    if "gradient_sum" in record:
        written = record["gradient_sum"]
        lines.append(f"wrote {files.gradients} and {written['figure']}: {written['steps']} steps")
    lines.append(f"  net      {job.net.name}, {record['parameters']} parameters")
    if record["data"] is not None:
        data = record["data"]
        lines.append(f"  data     {data['train']} train, {data['test']} test; {data['origin']}")
        lines.append(f"  test     accuracy {record['test_accuracy']:.4f}, undefended and clean")
    lines.append(f"next: blurvote evaluate {files.guard} TEST (--export-test writes TEST)")
    return "\n".join(lines)
