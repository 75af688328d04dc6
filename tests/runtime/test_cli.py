"""The command line as such: help, usage, errors, and the ends that a run can come to."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from blurvote.runtime import GuardError, cli
from blurvote.runtime.command import Command, positive_int

MakeGuard = Callable[..., Path]
COMMANDS = sorted(cli._parser()[1])
# A shell that runs tests in the background has children ignore Ctrl-C; this one does not.
BLURVOTE = [
    sys.executable,
    "-c",
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from blurvote.runtime.cli import main; sys.exit(main())",
]
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}


@pytest.fixture(autouse=True)
def _quiet_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `main` would set for the whole process, undone after the test."""
    monkeypatch.setenv("OPENCV_LOG_LEVEL", "OFF")
    monkeypatch.setenv("OPENCV_FFMPEG_LOGLEVEL", "-8")


@pytest.fixture
def picture(tmp_path: Path, red_frame: np.ndarray) -> Path:
    path = tmp_path / "red.png"
    assert cv2.imwrite(str(path), red_frame[..., ::-1])
    return path


@pytest.fixture
def doing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Makes `blurvote act` the only command, and it raises (or returns) what is given."""

    def install(outcome: Any) -> None:
        def run(_: argparse.Namespace) -> int:
            if isinstance(outcome, BaseException):
                raise outcome
            assert isinstance(outcome, int)
            return outcome

        command = Command("act", "h", "d", "blurvote act", lambda _: None, run)
        monkeypatch.setattr(cli, "_BUILT_IN", (command,))
        monkeypatch.setattr(cli, "_plugged_in", list)

    return install


# ---- help and usage ----


def test_the_commands() -> None:
    assert {"calibrate", "doctor", "export", "info", "run"} <= set(COMMANDS)


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(
    capsys: pytest.CaptureFixture[str], name: str, flag: str
) -> None:
    assert cli.main([name, flag]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"usage: blurvote {name} ")
    assert "\nexamples:\n  " in printed.out
    assert "--debug" in printed.out
    assert printed.err == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_can_be_typed(name: str) -> None:
    parser, commands = cli._parser()
    examples = commands[name].examples.strip().splitlines()
    assert examples
    for line in examples:
        program, *argv = shlex.split(line.rpartition("| ")[2])
        assert program == "blurvote"
        assert parser.parse_args(argv).command == name


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    for argv, status in (["--help"], 0), (["-h"], 0), ([], 2):
        assert cli.main(argv) == status
        printed = capsys.readouterr()
        listed = [line.split()[0] for line in printed.out.splitlines() if line[:4].isspace()]
        assert set(COMMANDS) <= set(listed)
        assert printed.err == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"blurvote {version('blurvote')}\n"


USAGE_ERRORS = {
    "--bogus": "unrecognized arguments: --bogus",
    "fly": "argument COMMAND: invalid choice: 'fly'",
    "run": "the following arguments are required: guard, SOURCE (or --config TOML)",
    "run g.onnx": "the following arguments are required: SOURCE (or --config TOML)",
    "run g.onnx 0 --check": "--check is for a config file; give --config TOML",
    "run g.onnx --config x.toml": "g.onnx was given beside --config, which says all of that",
    "run --config x.toml --quiet": "--quiet was given beside --config, which says all of that",
    "run g.onnx 0 --token abc": "--token is for the live page; add --serve",
    "run g.onnx a.jpg --bogus": "unrecognized arguments: --bogus",
    "run g.onnx a.jpg --js": "unrecognized arguments: --js",  # abbreviations would bind us
    "run g.onnx a.jpg --provider gpu": "argument --provider: invalid choice: 'gpu'",
    "run g.onnx a.jpg --plan fast": "argument --plan: invalid choice: 'fast'",
    "run g.onnx a.jpg --threads 0": "argument --threads: '0' is not an integer of at least 1",
    "run g.onnx a.jpg --max-frames x": "argument --max-frames: 'x' is not an integer of at least 1",
    "run g.onnx a.jpg --threshold x": "argument --threshold: invalid float value: 'x'",
    "info": "the following arguments are required: guard",
    "info g.onnx --frame-size 12": "argument --frame-size: '12' is not HEIGHTxWIDTH, such as",
}


@pytest.mark.parametrize(("line", "said"), USAGE_ERRORS.items())
def test_usage_errors(capsys: pytest.CaptureFixture[str], line: str, said: str) -> None:
    assert cli.main(shlex.split(line)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("usage: blurvote ")
    assert said in printed.err.splitlines()[-1]


def test_positive_int() -> None:
    assert positive_int("7") == 7
    for text in ("0", "-3", "1.5", "", "many"):
        with pytest.raises(argparse.ArgumentTypeError) as caught:
            positive_int(text)
        assert str(caught.value) == f"{text!r} is not an integer of at least 1"


# ---- how a command can end ----

ENDS: dict[str, tuple[Any, int, str]] = {
    "done": (0, 0, ""),
    "in part": (1, 1, ""),
    "error": (GuardError("g is no guard"), 2, "blurvote: error: g is no guard\n"),
    "Ctrl-C": (KeyboardInterrupt(), 130, "blurvote: interrupted\n"),
    "reader left": (BrokenPipeError(32, "Broken pipe"), 0, ""),
    "disk full": (
        OSError(28, "No space left on device"),
        2,
        "blurvote: error: the output cannot be written: No space left on device\n",
    ),
    "file": (
        PermissionError(13, "Permission denied", "a.txt"),
        2,
        "blurvote: error: a.txt: Permission denied\n",
    ),
}


@pytest.mark.parametrize(("outcome", "status", "said"), ENDS.values(), ids=ENDS.keys())
def test_ends(
    capsys: pytest.CaptureFixture[str],
    doing: Callable[[Any], None],
    outcome: Any,
    status: int,
    said: str,
) -> None:
    doing(outcome)
    assert cli.main(["act"]) == status
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("end", ["error", "disk full"])
def test_debug_shows_where_it_happened(doing: Callable[[Any], None], end: str) -> None:
    outcome = ENDS[end][0]
    doing(outcome)
    with pytest.raises(type(outcome)):
        cli.main(["act", "--debug"])


@pytest.mark.parametrize("bug", [ZeroDivisionError(), ModuleNotFoundError(name="blurvote.typo")])
def test_bugs_are_not_hidden(doing: Callable[[Any], None], bug: Exception) -> None:
    doing(bug)
    with pytest.raises(type(bug)):
        cli.main(["act"])


# ---- the real thing, in its own process ----


def blurvote(*args: object, **options: Any) -> subprocess.CompletedProcess[str]:
    settings = {"capture_output": True, "text": True, "env": ENVIRONMENT, "timeout": 120}
    return subprocess.run([*BLURVOTE, *map(str, args)], **{**settings, **options})


def test_an_error_is_one_line_and_debug_is_more(tmp_path: Path) -> None:
    missing = tmp_path / "no.onnx"
    line = f"{missing} is not a file; expected an ONNX file written by blurvote export\n"
    ran = blurvote("info", missing)
    assert (ran.returncode, ran.stdout, ran.stderr) == (2, "", f"blurvote: error: {line}")
    ran = blurvote("info", missing, "--debug")
    assert ran.returncode == 1
    assert ran.stderr.startswith("Traceback ")
    assert ran.stderr.endswith(f"GuardError: {line}")


def test_a_camera_that_is_not_there_is_one_line(make_guard: MakeGuard) -> None:
    ran = blurvote("run", make_guard(), 97, "--json")
    assert ran.returncode == 1
    said = (
        "camera 97 cannot be opened; is it plugged in and free? "
        "(ls /dev/video* lists cameras on Linux)"
    )
    assert ran.stderr == f"blurvote: {said}\n"
    first, summary = map(json.loads, ran.stdout.splitlines())
    assert {**first, "type": "error", "source": "97", "error": said} == first
    assert summary["broken"] == 1


@pytest.mark.parametrize(
    ("args", "unbuffered"),
    [
        ("run {guard} {picture} --json", ""),
        ("run {guard} {picture} --json", "1"),
        ("info {guard}", ""),
        ("--help", ""),
    ],
)
def test_a_full_disk_behind_stdout(
    make_guard: MakeGuard, picture: Path, args: str, unbuffered: str
) -> None:
    argv = args.format(guard=make_guard(), picture=picture).split()
    environment = {**ENVIRONMENT, "PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("w") as full:
        ran = blurvote(
            *argv, stdout=full, stderr=subprocess.PIPE, capture_output=False, env=environment
        )
    assert ran.stderr == (
        "blurvote: error: the output cannot be written: No space left on device\n"
    )
    assert ran.returncode == 2


def test_a_closed_stdout(make_guard: MakeGuard) -> None:
    line = shlex.join([*BLURVOTE, "info", str(make_guard())])
    ran = subprocess.run(
        ["sh", "-c", f"{line} >&-"], capture_output=True, text=True, env=ENVIRONMENT, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")


def start(*args: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*BLURVOTE, *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def test_a_reader_that_leaves_is_no_error(make_guard: MakeGuard, picture: Path) -> None:
    out = picture.with_name("out.avi")
    with start("run", make_guard(), *[picture] * 500, "--out", out) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(f"{picture}#0  red")
        process.stdout.close()  # as `| head -1` does
        assert process.stderr.read() == ""
    assert process.returncode == 0
    assert 0 < cv2.VideoCapture(str(out)).get(cv2.CAP_PROP_FRAME_COUNT) < 500


@pytest.mark.parametrize("waiting", [True, False], ids=["waiting for input", "at work"])
def test_ctrl_c_ends_with_the_summary(make_guard: MakeGuard, picture: Path, waiting: bool) -> None:
    out = picture.with_name("out.avi")
    names = ["-"] if waiting else [str(picture)] * 1500
    with start("run", make_guard(), *names, "--json", "--out", out) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        if waiting:
            process.stdin.write(f"{picture}\n" * 3)
            process.stdin.flush()
        lines = [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        lines += process.stdout.readlines()
        assert process.stderr.read() == ""
    assert process.returncode == 130
    *verdicts, summary = map(json.loads, lines)
    assert summary["type"] == "summary"
    assert 3 <= summary["frames"] < 1500
    # The interrupt may fall between a verdict's counting and its printing.
    assert len(verdicts) in (summary["frames"], summary["frames"] - 1)
    stored = cv2.VideoCapture(str(out)).get(cv2.CAP_PROP_FRAME_COUNT)
    assert len(verdicts) - 1 <= stored <= len(verdicts)
