"""One run of `blurvote explain`, from the files to the figures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.optional import require
from blurvote.benchmarks.robustness.deployed import Deployed
from blurvote.benchmarks.robustness.explain.attacked import attack_frame, read_attacked
from blurvote.benchmarks.robustness.explain.baselines import baseline
from blurvote.benchmarks.robustness.explain.cases import Case, class_index, open_case
from blurvote.benchmarks.robustness.explain.explaining import Explained, explain
from blurvote.benchmarks.robustness.explain.figure import draw
from blurvote.benchmarks.robustness.explain.maps import read_window, unsigned
from blurvote.benchmarks.robustness.explain.methods import (
    MethodName,
    Settings,
    evaluations,
)
from blurvote.benchmarks.robustness.explain.quantity import split
from blurvote.benchmarks.robustness.explain.report import table
from blurvote.benchmarks.robustness.explain.results import Results
from blurvote.benchmarks.robustness.sweep import Progress
from blurvote.benchmarks.robustness.twin import Twin
from blurvote.benchmarks.robustness.twin_check import TwinCheck, check_twin
from blurvote.runtime.engines.protocol import EngineSettings
from blurvote.runtime.errors import (
    DefenseError,
    GuardError,
    SinkError,
    SourceError,
)
from blurvote.runtime.sources import read_image
from blurvote.runtime.whole_file import write_whole

__all__ = ["run"]

_STEP = 3  # one attack step in forward passes


def run(args: argparse.Namespace) -> int:
    """Explains `args.images`; returns the exit status.

    Raises:
        GuardError: no guard, no such class, or a twin that is none.
        ProviderError: a package is missing.
        SourceError: none of the pictures can be read, or a baseline or `--attacked` cannot.
        SinkError: the output cannot be written.
    """
    if args.attacked and len(args.images) != 1:
        raise SourceError(f"--attacked goes with one IMAGE; got {len(args.images)}")
    require(
        "blurvote explain",
        ("torch", "onnx", "onnx2torch", "captum.attr", "matplotlib", "scipy"),
        "torch onnx onnx2torch captum matplotlib scipy",
    )
    return _Session(args).run()


class _Session:
    def __init__(self, args: argparse.Namespace) -> None:
        import torch

        self.args, self.out = args, Path(args.out)
        if args.threads:
            torch.set_num_threads(args.threads)
        self.deployed = Deployed(args.guard, EngineSettings("cpu", threads=args.threads))
        self.labels, self.defense = self.deployed.labels, self.deployed.defense
        if self.defense.adaptive:
            raise GuardError(
                f"{args.guard} has other views for noisy frames than for quiet ones, which explain "
                "cannot draw beside each other; give it the guard of the same model that was "
                "exported without a denoiser"
            )
        self.target = (
            None
            if args.target is None
            else class_index(args.target, self.labels, self.deployed.classes)
        )
        self.twin = Twin.load(Path(args.guard), args.twin and Path(args.twin), args.device)
        if self.twin.classes < 2:
            raise GuardError(f"{args.guard} has one class; there is nothing to explain it against")
        self.settings = Settings(
            args.baseline,
            args.ig_steps,
            args.occlusion_patch,
            args.occlusion_stride,
            args.occlusion_baseline,
        )
        self.views = split(self.twin)
        for name in (args.baseline, args.occlusion_baseline):
            baseline(name, np.zeros((3, 8, 8), np.float32))  # its mistake before minutes of work
        self.results = Results(
            command=sys.argv[1:],
            guard=str(args.guard),
            twin=str(self.twin.path),
            quantity=args.quantity,
            settings={"methods": list(args.method), **asdict(self.settings)},
            attack=self._attack(),
        )
        self.check: TwinCheck | None = None
        self.names: set[str] = set()

    def _attack(self) -> dict[str, Any]:
        args = self.args
        if args.attacked:
            return {"name": "file", "file": str(args.attacked)}
        if args.attack == "none":
            return {"name": "none"}
        return {
            "name": args.attack,
            "threat": "grey-box: on the undefended backbone",
            "norm": "L-inf",
            "epsilon": args.epsilon,
            "steps": args.attack_steps,
            "seed": args.seed,
        }

    def run(self) -> int:
        work = self._readable()
        if not work:
            self.results.save(self.out)
            raise SourceError(
                f"none of the {len(self.args.images)} pictures can be explained; the first: "
                f"{self.results.skipped[0]['reason']}"
            )
        progress = Progress("explain, model evaluations", sum(work.values()))
        finished = 0
        try:
            for path, cost in work.items():
                count = finished

                def done(frames: int) -> None:
                    nonlocal count
                    count += frames
                    if count < finished + cost:  # noqa: B023
                        progress.update(count)

                self._picture(path, done)
                finished += cost
                progress.update(finished)
                self.results.save(self.out)
        finally:
            progress.close()
        self.results.complete = True
        file = self.results.save(self.out)
        print(self.results.to_json() if self.args.json else table(self.results, file))
        return 1 if self.results.skipped else 0

    def _readable(self) -> dict[str, int]:
        """Each picture that can be explained, with what it costs; the others are reported at once.

        Decoding twice takes milliseconds, an explanation a minute.
        """
        found = {}
        for path in dict.fromkeys(self.args.images):
            try:
                window = read_window(self.defense, *read_image(path).shape[:2])
            except (SourceError, DefenseError) as error:
                self._skip(path, error)
                continue
            rows, views = 1 if self._alone else 2, len(self.defense.passes)
            each = sum(evaluations(method, window, self.settings) for method in self.args.method)
            attack = 0 if self._alone or self.args.attacked else _STEP * self.args.attack_steps
            found[path] = rows * views * each + attack
        return found

    @property
    def _alone(self) -> bool:
        return self.args.attack == "none" and not self.args.attacked

    def _skip(self, path: str, error: Exception) -> None:
        self.results.skipped.append({"picture": path, "reason": str(error)})
        print(f"blurvote: skipped: {error}", file=sys.stderr)

    def _picture(self, path: str, done: Callable[[int], None]) -> None:
        clean = open_case("clean", _pixels(path), self.deployed, self.target)
        self._check(clean.pixels)
        cases = [clean]
        if not self._alone:
            cases.append(self._attacked(clean, done))
        name = self._name(path)
        for case in cases:
            self.results.add_case(path, case, self.labels, self.defense)
        arrays: dict[str, Any] = {}
        for method in self.args.method:
            rows = [self._explain(method, case, done) for case in cases]
            self.results.add_maps(path, method, rows, self.labels, self.defense)
            file = self.out / f"{name}-{method}.png"
            draw(
                file, f"{Path(path).name}: {method.replace('-', ' ')}", method, rows, self.labels,
                self.defense, self._note(method),
            )  # fmt: skip
            self.results.figures.append(file.name)
            for row in rows:
                for view, found in row.attributions.items():
                    arrays[f"{method}/{row.case.row}/{view}"] = found.values
        if self.args.maps:
            self._write_arrays(name, arrays)

    def _explain(self, method: MethodName, case: Case, done: Callable[[int], None]) -> Explained:
        # A backward pass follows each forward pass of the gradient methods.
        weight = 1 if method == "occlusion" else 3
        return explain(
            method, case, self.views, self.defense, self.settings, self.args.quantity,
            lambda frames: done(weight * frames),
        )  # fmt: skip

    def _attacked(self, clean: Case, done: Callable[[int], None]) -> Case:
        args = self.args
        if args.attacked:
            pixels = read_attacked(args.attacked, clean.pixels)
        else:
            pixels = attack_frame(self.twin, clean, args.epsilon, args.attack_steps, args.seed)
            done(_STEP * args.attack_steps)
        target = clean.target if args.same_class else self.target
        return open_case("attacked", pixels, self.deployed, target)

    def _check(self, pixels: NDArray[np.uint8]) -> None:
        check = check_twin(self.twin, self.deployed, [pixels])
        self.check = check if self.check is None else self.check + check
        self.results.check = {**asdict(self.check), "in_words": self.check.in_words()}

    def _name(self, path: str) -> str:
        """A name for the picture's files; pictures of several folders may be called alike."""
        stem = name = Path(path).stem
        count = 1
        while name in self.names:
            count += 1
            name = f"{stem}-{count}"
        self.names.add(name)
        return name

    def _note(self, method: MethodName) -> str:
        what = {
            "gradient-x-input": "Bright: pixels whose relative change moves the score most; black "
            "pixels never show.",
            "integrated-gradients": "Blue: pixels that speak for the explained class, red: against "
            f"it, counted from the baseline ({Path(self.settings.baseline).name}).",
            "occlusion": "Blue: covering the place "
            f"({Path(self.settings.occlusion_baseline).name}) lowers the score, red: raises it.",
        }[method]
        note = (
            f"{what} Score: {self.args.quantity} of the explained class, which is named above the "
            "vote; the vote's is the mean over the views that voted for it, over all where none "
            "did. Orange: says another class, or is rejected. Dashed: the part that views read. "
            + (
                "Each panel is scaled to its own strongest pixels."
                if unsigned(method)
                else "All panels share one scale."
            )
        )
        if not self._alone:
            note += f" Attacked: {self._attack_in_words()}."
        if self.check is not None and self.check.quantised:
            note += " Attributions are of the float twin; labels are of the quantised guard."
        return note

    def _attack_in_words(self) -> str:
        args = self.args
        if args.attacked:
            return f"as read from {Path(args.attacked).name}"
        return (
            f"PGD, L-inf {255 * args.epsilon:g}/255, {args.attack_steps} steps, on the undefended "
            "backbone"
        )

    def _write_arrays(self, name: str, arrays: dict[str, Any]) -> None:
        import io

        data = io.BytesIO()
        np.savez_compressed(data, **arrays)
        file = self.out / f"{name}-maps.npz"
        try:
            write_whole(file, data.getvalue())
        except OSError as error:
            raise SinkError(f"{file} cannot be written: {error.strerror}") from error
        self.results.arrays.append(file.name)


def _pixels(path: str) -> NDArray[np.uint8]:
    return np.ascontiguousarray(read_image(path)[..., ::-1])
