"""The subcommands `blurvote export` and `blurvote calibrate`; onnx and torch load when they run."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blurvote.export.precision.arguments import configure_precision, precision_options
from blurvote.runtime.command import Command

if TYPE_CHECKING:
    from blurvote.export.calibration import CalibrationReport
    from blurvote.export.pipeline import ExportReport

__all__ = ["CALIBRATE", "EXPORT"]


def _configure_export(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "model",
        metavar="MODEL",
        help="path of an ONNX classifier, torchvision:NAME, or "
        "package.module:factory (importable from here; returns a torch.nn.Module); with "
        "--precision also an fp32 guard",
    )
    add("-o", "--out", metavar="FILE", required=True, help="the guard to write")
    add("--force", action="store_true", help="replace FILE even if it is not a guard")
    add("--json", action="store_true", help="print the report as JSON")

    configure_precision(parser)
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
    from blurvote.export.onnx_models import read_labels

    given = {name: getattr(args, name) for name in _DEFENSE_FIELDS}
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
        overwrite=args.force,
        progress=_progress,
    )
    print(json.dumps(_export_json(report), indent=2) if args.json else _export_text(report))
    return 0


def _export_json(report: ExportReport) -> dict[str, Any]:
    metadata = report.metadata
    return {
        "path": str(report.path),
        "size_bytes": report.size_bytes,
        "seconds": report.seconds,
        "kind": metadata.kind,
        "frame_size": metadata.frame_size,
        "opset": report.opset,
        "classes": report.classes,
        "named_classes": len(metadata.labels),
        "defense": json.loads(metadata.defense.to_json()),
        "provenance": dict(metadata.provenance),
        "adaptations": list(report.adaptations),
        "parity": dict(metadata.parity),
        "precision": {"name": metadata.precision, "report": dict(metadata.precision_report)},
    }


def _export_text(report: ExportReport) -> str:
    from blurvote.export.precision.report_text import cost_text

    metadata, defense = report.metadata, report.metadata.defense
    names = [defense.view_name(view) for view in defense.views]
    height, width = defense.crop
    fit = (
        f"short side to {defense.resize}, centre {width}x{height}"
        if defense.fit == "crop"
        else f"stretched to {width}x{height}"
    )
    size = metadata.frame_size
    frames = f" of {size[1]}x{size[0]} px" if size else " of any size"
    lines = []
    if report.parity.frames:
        lines += [
            f"parity {'of the fp32 guard ' if report.cost else ''}on drawn frames (largest "
            "differences; views in normalised units, logits as a part of their range)",
            report.parity.table(),
            "",
        ]
    if report.cost:
        lines += [cost_text(metadata.precision, metadata.precision_report), ""]
    lines += [
        f"wrote {report.path}: {report.size_bytes / 1e6:.2f} MB, opset {report.opset}, "
        f"{report.seconds:.1f} s",
        f"  takes    {metadata.kind}" + (frames if metadata.kind == "frames" else ""),
        f"  views    {', '.join(names)}: {defense.kernel_size} taps, sigma {defense.sigma:g}, "
        f"blurred at the {defense.blur_at}",
        f"  fit      {fit}, {'antialiased ' if defense.antialias else 'plain '}"
        f"{defense.interpolation}",
        f"  decides  {defense.decision}",
        f"  classes  {report.classes}" + ("" if metadata.labels else ", without names"),
    ]
    lines += [f"  adapted  {step}" for step in report.adaptations]
    if defense.decision == "mean" and defense.threshold is None:
        lines.append(
            f"next: blurvote calibrate {report.path} IMAGES --coverage 0.9 fits its threshold"
        )
    return "\n".join(lines)


def _configure_calibrate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("guard", metavar="GUARD", help="a guard of either kind")
    parser.add_argument("images", metavar="IMAGES", help="a folder of pictures like those to come")
    parser.add_argument(
        "--coverage",
        type=float,
        required=True,
        metavar="PART",
        help="part of the pictures to accept, such as 0.9",
    )
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="TSV",
        help="lines of file, tab, class index: report accuracies too",
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
        labels=args.labels,
        output=args.out,
        seed=args.seed,
        overwrite=args.force,
        progress=_progress,
    )
    print(json.dumps(report.to_dict(), indent=2) if args.json else _calibrate_text(report))
    return 0


def _calibrate_text(report: CalibrationReport) -> str:
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
    "--truth truth.tsv",
    configure=_configure_export,
    run=_run_export,
)

CALIBRATE = Command(
    name="calibrate",
    help="fit the rejection threshold of a guard that averages",
    description="Makes a guard decide by the mean softmax of its views, and fits the threshold "
    "below which\nit rejects: on one half of the pictures, reported on the other.",
    examples="blurvote calibrate guard.onnx pictures/ --coverage 0.9\n"
    "blurvote calibrate guard.onnx pictures/ --coverage 0.9 --labels truth.tsv -o calibrated.onnx",
    configure=_configure_calibrate,
    run=_run_calibrate,
)
