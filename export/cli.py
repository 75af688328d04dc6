"""The subcommands `blurvote export` and `blurvote calibrate`; onnx and torch load when they run."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from blurvote.export.denoiser.arguments import configure_denoiser, denoiser_fields
from blurvote.export.precision.arguments import configure_precision, precision_options
from blurvote.runtime.command import Command

if TYPE_CHECKING:
    from blurvote.export.calibration import CalibrationReport

__all__ = ["CALIBRATE", "EXPORT"]


def _configure_export(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "model",
        metavar="MODEL",
        help="path of an ONNX classifier, torchvision:NAME, or "
        "package.module:factory (importable from here; returns a torch.nn.Module); with "
        "--precision also an fp32 guard, with --denoiser any guard",
    )
    add("-o", "--out", metavar="FILE", required=True, help="the guard to write")
    add("--force", action="store_true", help="replace FILE even if it is not a guard")
    add("--json", action="store_true", help="print the report as JSON")

    configure_precision(parser)
    configure_denoiser(parser)
    add = parser.add_argument_group("the guard").add_argument
    add(
        "--input",
        choices=("views", "frames"),
        default="views",
        help="what it takes: views that "
        "blurvote builds (default; best on CPUs), or uint8 frames (everything in the graph)",
    )
    add(
        "--frame-size",
        type=_frame_size,
        metavar="HxW|dynamic",
        help="size of the frames that a frames guard takes, in pixels, such as 1080x1920",
    )
    add("--decision", choices=("majority", "single", "mean"), help="default: majority")
    add(
        "--threshold",
        type=float,
        metavar="P",
        help="smallest mean softmax that --decision mean accepts; blurvote calibrate fits one",
    )

    add = parser.add_argument_group("the defence").add_argument
    add("--kernel-size", type=int, metavar="TAPS", help="taps of one Gaussian pass (default: 5)")
    add("--sigma", type=float, metavar="PX", help="of one pass, in pixels (default: 1)")
    add(
        "--passes",
        type=_integers,
        metavar="K,K,...",
        help="Gaussian passes of each view (default: 0,1,2)",
    )
    add(
        "--blur-at",
        choices=("frame", "model"),
        help="blur the frame as it comes (default), or "
        "the backbone's input grid, which no camera resolution dilutes",
    )

    add = parser.add_argument_group(
        "how the model was trained (default: what it says itself, else ImageNet's usual)"
    ).add_argument
    add("--resize", type=int, metavar="PX", help="short side before the crop")
    add("--crop", type=_crop, metavar="PX|HxW", help="size of the backbone's input")
    add(
        "--fit",
        choices=("crop", "stretch"),
        help="resize the short side and crop (default), or resize straight to the crop size",
    )
    add("--interpolation", choices=("bilinear", "bicubic"))
    add(
        "--no-antialias",
        action="store_const",
        const=False,
        dest="antialias",
        help="plain interpolation, as torchvision did on tensors before 0.17",
    )
    add(
        "--mean",
        type=_three,
        metavar="A,B,C",
        help="per channel, in the model's order, of pixels scaled to [0, 1]",
    )
    add("--std", type=_three, metavar="A,B,C", help="likewise")
    add("--channels", choices=("rgb", "bgr"), default="rgb", help="order that the model expects")
    add(
        "--weights",
        default="default",
        metavar="default|none|FILE",
        help="of a torchvision model: its default download, random, or a .pth state dict",
    )

    add = parser.add_argument_group("the model's graph (ONNX)").add_argument
    add("--layout", choices=("auto", "nchw", "nhwc"), default="auto", help="of its input")
    add(
        "--output",
        choices=("auto", "logits", "probabilities"),
        default="auto",
        help="what it ends in (default: looked at)",
    )
    add("--output-name", metavar="NAME", help="the output with the classes, where it has several")
    add("--labels", type=Path, metavar="FILE", help="class names: one per line, or a JSON list")


_DEFENSE_FIELDS = (
    "kernel_size",
    "sigma",
    "passes",
    "blur_at",
    "antialias",
    "interpolation",
    "fit",
    "resize",
    "crop",
    "mean",
    "std",
    "decision",
    "threshold",
)


def _run_export(args: argparse.Namespace) -> int:
    from blurvote.export import ModelOptions, export_guard
    from blurvote.export.export_text import export_json, export_text
    from blurvote.export.onnx_models import read_labels

    given = {name: getattr(args, name) for name in _DEFENSE_FIELDS}
    given |= denoiser_fields(args)
    report = export_guard(
        args.model,
        args.out,
        kind=args.input,
        frame_size=args.frame_size,
        options=ModelOptions(
            weights=args.weights,
            channels=args.channels,
            layout=args.layout,
            output=args.output,
            output_name=args.output_name,
            labels=read_labels(args.labels) if args.labels else None,
        ),
        defense={name: value for name, value in given.items() if value is not None},
        precision=precision_options(args),
        denoiser=args.denoiser,
        overwrite=args.force,
        progress=_progress,
    )
    print(json.dumps(export_json(report), indent=2) if args.json else export_text(report))
    return 0


def _configure_calibrate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("guard", metavar="GUARD", help="a guard of either kind")
    parser.add_argument("images", metavar="IMAGES", help="a folder of pictures like those to come")
    parser.add_argument(
        "--coverage",
        type=float,
        metavar="PART",
        help="part of the pictures to accept, such as 0.9, by mean softmax; needed but for a guard "
        "with a denoiser, whose noise switch can be fitted alone",
    )
    parser.add_argument(
        "--noisy-coverage",
        type=float,
        metavar="PART",
        help="the same of noisy frames, of a guard with a denoiser (default: as --coverage)",
    )
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="TSV",
        help="lines of file, tab, class index: report accuracies too",
    )
    parser.add_argument(
        "--held-out",
        type=Path,
        metavar="TSV",
        help="list the labelled pictures that had no part in the fit here, for blurvote evaluate",
    )
    parser.add_argument("-o", "--out", metavar="FILE", help="default: replaces GUARD")
    parser.add_argument("--seed", type=int, default=0, help="of the split (default: 0)")
    parser.add_argument(
        "--force", action="store_true", help="replace FILE even if it is not a guard"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def _run_calibrate(args: argparse.Namespace) -> int:
    from blurvote.export import calibrate

    report = calibrate(
        args.guard,
        args.images,
        args.coverage,
        noisy_coverage=args.noisy_coverage,
        labels=args.labels,
        held_out=args.held_out,
        output=args.out,
        seed=args.seed,
        overwrite=args.force,
        progress=_progress,
    )
    print(json.dumps(report.to_dict(), indent=2) if args.json else _calibrate_text(report))
    return 0


def _calibrate_text(report: CalibrationReport) -> str:
    from blurvote.export.noise_calibration import noise_lines

    lines = [f"wrote {report.path}"]
    split = f"fitted on {report.fitted_on} pictures, reported on {report.reported_on} others"
    if report.threshold is None:
        lines += [f"  {split} (seed {report.seed})"]
    else:
        lines = [
            f"wrote {report.path}: decides by mean softmax, threshold {report.threshold:.4f}",
            f"  fitted on    {report.fitted_on} pictures, accepts {report.fitted_coverage:.1%} "
            f"(target {report.target_coverage:.1%}, seed {report.seed})",
            f"  reported on  {report.reported_on} others, accepts {report.coverage:.1%}",
        ]
        if report.accuracy_accepted is not None and report.accuracy_all is not None:
            lines.append(
                f"  accuracy     {report.accuracy_accepted:.1%} of the accepted, "
                f"{report.accuracy_all:.1%} of all (rejected counts as wrong)"
            )
    if report.noise is not None:
        lines += noise_lines(report.noise)
    lines += [f"  skipped      {path}: {reason}" for path, reason in report.skipped.items()]
    return "\n".join(lines)


def _progress(line: str) -> None:
    print(f"... {line}", file=sys.stderr, flush=True)


def _frame_size(text: str) -> tuple[int, int] | str:
    return text if text == "dynamic" else _two(text, "HEIGHTxWIDTH such as 1080x1920, or dynamic")


def _crop(text: str) -> tuple[int, int]:
    return _two(f"{text}x{text}" if text.isdecimal() else text, "pixels, or HEIGHTxWIDTH", text)


def _two(text: str, expected: str, given: str | None = None) -> tuple[int, int]:
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"{given or text!r} is not {expected}")
    return int(parts[0]), int(parts[1])


def _three(text: str) -> tuple[float, float, float]:
    try:
        a, b, c = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not three numbers such as 0.485,0.456,0.406"
        ) from None
    return a, b, c


def _integers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not integers such as 0,1,2") from None


EXPORT = Command(
    name="export",
    help="turn a classifier into a guard",
    description="Turns a classifier into a guard: one ONNX file with the classifier, its defence "
    "and its labels.\nNothing is written unless the guard computes what the model computes. With "
    "--precision\nthat holds for the fp32 guard, and at most --max-loss may be lost from there.",
    examples="blurvote export model.onnx -o guard.onnx\n"
    "blurvote export torchvision:resnet50 -o guard.onnx\n"
    "blurvote export torchvision:resnet50 --weights resnet50.pth -o guard.onnx\n"
    "blurvote export mypackage.models:build -o guard.onnx --labels classes.txt\n"
    "blurvote export model.onnx -o guard.onnx --input frames --frame-size 1080x1920\n"
    "blurvote export keras.onnx -o guard.onnx --channels bgr --mean 0,0,0 --std 1,1,1 "
    "--fit stretch\n"
    "blurvote export guard.onnx -o half.onnx --precision fp16\n"
    "blurvote export model.onnx -o int8.onnx --precision int8 --calibrate pictures/ "
    "--truth truth.tsv\n"
    "blurvote export model.onnx -o guard.onnx --denoiser --noise-switch 0.02 0.025\n"
    "blurvote export guard.onnx -o denoising.onnx --denoiser denoiser.onnx",
    configure=_configure_export,
    run=_run_export,
)

CALIBRATE = Command(
    name="calibrate",
    help="fit a guard's rejection threshold, and its noise switch, to your pictures",
    description="Makes a guard decide by the mean softmax of its views, and fits the threshold "
    "below which\nit rejects: on one half of the pictures, reported on the other. In a guard with "
    "a denoiser it\nalso fits from which noise on frames are denoised, by adding noise to the "
    "pictures.",
    examples="blurvote calibrate guard.onnx pictures/ --coverage 0.9\n"
    "blurvote calibrate guard.onnx pictures/ --coverage 0.9 --labels truth.tsv -o calibrated.onnx\n"
    "blurvote calibrate denoising.onnx pictures/\n"
    "blurvote calibrate denoising.onnx pictures/ --coverage 0.95 --noisy-coverage 0.8",
    configure=_configure_calibrate,
    run=_run_calibrate,
)
