"""`blurvote run`: a guard on pictures, videos and cameras, once or for weeks."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from blurvote.runtime.command import Command, positive_float, positive_int
from blurvote.runtime.engines.arguments import add_engine_arguments
from blurvote.runtime.errors import PlanError, SettingsError

if TYPE_CHECKING:
    from blurvote.runtime.pipeline.backlog import Item
    from blurvote.runtime.pipeline.pipeline import Pipeline
    from blurvote.runtime.pipeline.settings import Smoothing
    from blurvote.runtime.service.settings import GuardSettings, RunSettings

__all__ = ["COMMAND"]

INPUT_BROKEN = 1
INTERRUPTED = 130
SOURCES = (
    "picture, folder, glob, video file, - for picture paths on stdin; camera: number, "
    "v4l2:///dev/video0, csi://0, rtsp://..., http://..., gst:PIPELINE, synthetic:; NAME=... gives "
    "a camera a name"
)


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "guard", nargs="?", help="guard file, written by blurvote export (unless --config names it)"
    )
    parser.add_argument("sources", nargs="*", metavar="SOURCE", help=SOURCES)
    _configure_guard(parser.add_argument_group("the guard"))
    _configure_sources(parser.add_argument_group("sources"))
    _configure_flow(parser.add_argument_group("many cameras"))
    _configure_output(parser.add_argument_group("output"))
    service = parser.add_argument_group("service")
    service.add_argument(
        "--config", metavar="TOML", help="take all of this from a file; SIGHUP reads it again"
    )
    service.add_argument(
        "--check", action="store_true", help="only check the config, and print what it says"
    )
    parser.set_defaults(parser=parser)


def _configure_guard(group: argparse._ArgumentGroup) -> None:
    add_engine_arguments(group)
    group.add_argument("--plan", default="auto", choices=("auto", "batched", "cascade"))
    group.add_argument("--threads", type=positive_int, help="default: the usable physical cores")
    group.add_argument(
        "--threshold",
        type=float,
        help="for guards that decide by mean softmax; of quiet frames and of noisy ones",
    )
    group.add_argument("--no-spin", action="store_true", help="idle threads sleep during a run")
    group.add_argument(
        "--tuned",
        action="store_true",
        help="provider, plan, threads and spinning as blurvote bench --tune found them here",
    )


def _configure_sources(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--width", type=positive_int, help="of the frames, where one can ask for it")
    group.add_argument("--height", type=positive_int)
    group.add_argument("--fps", type=positive_float, help="frames per second to ask for")
    group.add_argument("--codec", help="of a camera or stream, such as MJPG or h264")
    group.add_argument("--loop", action="store_true", help="files start over at their end")
    group.add_argument("--pace", action="store_true", help="files play at their own rate")
    group.add_argument(
        "--timeout",
        type=positive_float,
        default=5.0,
        metavar="S",
        help="for opening a camera and for each of its frames (default: 5)",
    )
    group.add_argument(
        "--reconnect", type=int, metavar="N", help="tries in a row; default: for ever"
    )


def _configure_flow(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--together",
        action="store_true",
        help="read files all at once, as cameras are, instead of one after the other",
    )
    group.add_argument(
        "--batch",
        type=positive_int,
        metavar="N",
        help="frames of different cameras in one inference, at most (default: 1 on a CPU, else 8)",
    )
    group.add_argument(
        "--batch-wait",
        type=float,
        default=2.0,
        metavar="MS",
        help="how long a frame may wait for others (default: 2)",
    )
    group.add_argument("--smooth", metavar="K/N", help="a label counts once K of N verdicts agree")
    group.add_argument("--alarm", action="store_true", help="tell when a stream looks manipulated")
    group.add_argument("--max-frames", type=positive_int, help="stop after this many frames")


def _configure_output(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--json", action="store_true", help="one JSON object per line on stdout")
    group.add_argument(
        "--out",
        action="append",
        default=[],
        metavar="SINK",
        help="annotated video (.mp4, .avi) or folder, .jsonl, mqtt://..., gst:..., window:; may be "
        "given more than once",
    )
    group.add_argument(
        "--serve",
        nargs="?",
        const="127.0.0.1:8080",
        metavar="ADDRESS",
        help="live page in the browser (default: 127.0.0.1:8080)",
    )
    group.add_argument("--token", help="what viewers of the live page must know")
    group.add_argument("--quiet", action="store_true", help="no line per verdict, only the summary")


def _run(args: argparse.Namespace) -> int:
    from blurvote.runtime.service.config import load_config

    _check_usage(args)
    if args.config is None:
        return _run_once(_from_arguments(args), args)
    settings = load_config(args.config)
    if args.check:
        print(json.dumps(settings.redacted(), indent=2))
        return 0
    return _run_service(settings, Path(args.config))


def _check_usage(args: argparse.Namespace) -> None:
    """Ends with a usage error where options do not go together."""
    fail = args.parser.error
    if args.config is None:
        if args.guard is None or not args.sources:
            missing = "SOURCE" if args.guard else "guard, SOURCE"
            fail(f"the following arguments are required: {missing} (or --config TOML)")
        if args.check:
            fail("--check is for a config file; give --config TOML")
        if args.token and not args.serve:
            fail("--token is for the live page; add --serve")
        return
    own = ("config", "check", "debug", "command", "parser")
    for name, value in vars(args).items():
        if name not in own and (value or None) != (args.parser.get_default(name) or None):
            given = value if name == "guard" else f"--{name.replace('_', '-')}"
            fail(f"{given} was given beside --config, which says all of that")


def _run_once(settings: RunSettings, args: argparse.Namespace) -> int:
    from blurvote.runtime.service.console import Console
    from blurvote.runtime.service.runner import Runner
    from blurvote.runtime.service.signals import Signals

    console = Console(args.json, args.quiet)
    runner = Runner(settings, console.show)
    with Signals() as signals:
        runner.run(signals)
        console.report(runner.pipeline)
    if signals.stop_signal == signal.SIGINT:
        return INTERRUPTED
    return INPUT_BROKEN if runner.pipeline.snapshot()["totals"]["errors"] else 0


def _run_service(settings: RunSettings, config: Path) -> int:
    from blurvote.runtime.observation import Event
    from blurvote.runtime.service import logs
    from blurvote.runtime.service.config import load_config
    from blurvote.runtime.service.console import report_lines
    from blurvote.runtime.service.runner import Runner
    from blurvote.runtime.service.signals import Signals
    from blurvote.runtime.service.waiting import open_when_built

    now = settings

    def say(text: str) -> None:
        logs.log_event(Event("service", None, text, time.time()))

    def show(item: Item, pipeline: Pipeline) -> None:
        if isinstance(item, Event):
            logs.log_event(item)
        elif now.log.verdicts:
            logs.log_observation(item)

    def took_over(new: RunSettings) -> None:
        nonlocal now
        now = new
        logs.set_up_logging(new.log)

    logs.set_up_logging(settings.log)
    try:
        for warning in settings.warnings:
            logs.log_event(Event("error", None, warning, time.time()))
        # A closed terminal ends what was started in it; a service has none and reloads.
        with Signals(reloads=not sys.stdin.isatty()) as signals:
            while True:
                make = partial(Runner, settings, show, config, took_over)
                runner = open_when_built(make, settings.serve, signals, say)
                if runner is not None:
                    break
                if signals.stop_requested:
                    return 0
                signals.take_reload()
                settings = load_config(config)
            runner.run(signals)
        for line in report_lines(runner.pipeline.snapshot(), runner.pipeline.summary):
            say(line.strip())
    finally:
        logs.close_log()
    broken = runner.pipeline.snapshot()["totals"]["errors"]
    return INPUT_BROKEN if broken and not signals.stop_requested else 0


def _from_arguments(args: argparse.Namespace) -> RunSettings:
    from blurvote.runtime.pipeline.alarm import AlarmOptions
    from blurvote.runtime.pipeline.settings import CameraSettings, Flow
    from blurvote.runtime.service.settings import RunSettings, ServeSettings
    from blurvote.runtime.sources import SourceOptions, names_file

    options = SourceOptions(
        args.width, args.height, args.fps, args.codec, args.loop, args.pace, args.timeout
    )
    # Of files and cameras together, each gets what it can be asked for; alone it refuses the rest.
    of_file = replace(options, width=None, height=None, codec=None)
    of_camera = replace(options, loop=False, pace=False)
    named = [_named(source) for source in args.sources]
    mixed = len({names_file(uri) for _, uri in named}) > 1
    cameras = [
        CameraSettings(
            uri,
            name,
            options=(of_file if names_file(uri) else of_camera) if mixed else options,
            smoothing=_smoothing(args.smooth),
            alarm=AlarmOptions() if args.alarm else None,
            reconnect=args.reconnect,
            patient=False,  # who types a command wants to know of a wrong name at once
        )
        for name, uri in named
    ]
    in_turn = not (args.together or args.pace) and all(names_file(c.uri) for c in cameras)
    flow = Flow(args.batch, args.batch_wait, in_turn, args.max_frames)
    serve = ServeSettings(args.serve, args.token) if args.serve else None
    return RunSettings(_guard(args), tuple(cameras), flow, tuple(args.out), serve)


def _named(source: str) -> tuple[str, str]:
    """The name and the URI of `gate=rtsp://10.0.0.7/live`; without a name, none and all of it."""
    from blurvote.runtime.sources.registry import scheme_of

    name, equals, uri = source.partition("=")
    found = scheme_of(uri) or uri.isdecimal() or os.path.exists(uri)  # noqa: PTH110  any length
    named = equals and found and not scheme_of(source) and not os.path.exists(source)  # noqa: PTH110
    return (name, uri) if named else ("", source)


def _guard(args: argparse.Namespace) -> GuardSettings:
    from blurvote.runtime.service.settings import GuardSettings

    given = args.provider, args.compute, args.options, args.plan, args.threads, not args.no_spin
    if args.tuned and given != ("auto", "fp32", [], "auto", None, True):
        raise PlanError(
            "--tuned sets the provider, plan, threads and spinning; leave out --provider, "
            "--compute, --option, --plan, --threads and --no-spin, or leave out --tuned"
        )
    return GuardSettings(
        Path(args.guard),
        args.provider,
        args.plan,
        args.threads,
        args.threshold,
        not args.no_spin,
        args.tuned,
        args.compute,
        dict(args.options),
    )


def _smoothing(text: str | None) -> Smoothing | None:
    from blurvote.runtime.pipeline.settings import Smoothing

    if text is None:
        return None
    k, slash, n = text.partition("/")
    if not (slash and k.isdecimal() and n.isdecimal()):
        raise SettingsError(f"--smooth is {text!r}; expected K/N, such as 3/5")
    return Smoothing(int(k), int(n))


COMMAND = Command(
    name="run",
    help="classify pictures, videos and cameras with a guard",
    description="Classifies the frames of the sources and prints a verdict for each, then a "
    "summary. Files are read one after the other, every frame; cameras all at once, the newest "
    "frame first, and opened again when they are lost. A guard with a denoiser judges noisy frames "
    "by views of their own, and the verdict says so. Exit status: 0 all read, 1 some inputs could "
    "not be read, 2 error, 130 Ctrl-C.",
    examples="""
blurvote run guard.onnx photo.jpg
blurvote run guard.onnx 'images/*.png' --json
blurvote run guard.onnx drive.mp4 --out annotated.mp4 --plan cascade
find . -name '*.jpg' | blurvote run guard.onnx - --quiet
blurvote run guard.onnx 0 --max-frames 100
blurvote run guard.onnx gate=rtsp://10.0.0.7/live yard=rtsp://10.0.0.8/live --quiet --serve
blurvote run guard.onnx 0 --quiet --out 'verdicts.jsonl?max_mb=100&keep=5' --out mqtt://broker/site
blurvote run guard.onnx 0 --quiet --out 'clips/{camera}.mp4?segment_s=600&keep=144'
blurvote run --config cameras.toml
""",
    configure=_configure,
    run=_run,
)
