"""`blurvote run`: verdicts, summary, annotated output and exit status."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest

from blurvote.runtime import Defense, cli, tuning
from tests.conftest import SMALL

MakeGuard = Callable[..., Path]
LINE = re.compile(
    r"(?P<source>.+)#(?P<sequence>\d+)  (?P<said>.+)  \[(?P<votes>.+)\]  (?P<ms>\d+\.\d) ms"
)
BGR = {"red": (20, 20, 220), "green": (20, 220, 20), "blue": (220, 20, 20)}
BGR["grey"] = (104, 116, 124)  # near zero in every channel once normalised


class Ran(NamedTuple):
    status: int
    lines: list[str]
    errors: list[str]

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Runs `blurvote run` in this process."""
    monkeypatch.setenv("OPENCV_LOG_LEVEL", "OFF")  # main would set them for good
    monkeypatch.setenv("OPENCV_FFMPEG_LOGLEVEL", "-8")

    def call(*args: object) -> Ran:
        status = cli.main(["run", *map(str, args)])
        printed = capsys.readouterr()
        return Ran(status, printed.out.splitlines(), printed.err.splitlines())

    return call


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of a plain picture per colour: blue, green, grey, red, in name order."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, colour in BGR.items():
        assert cv2.imwrite(str(folder / f"{name}.png"), np.full((30, 40, 3), colour, np.uint8))
    return folder


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Twelve frames at 25 a second: four red, four green, four blue."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    for name in ("red", "green", "blue"):
        for _ in range(4):
            writer.write(np.full((48, 64, 3), BGR[name], np.uint8))
    writer.release()
    return path


# ---- what is printed ----


def test_lines_for_people(run: Callable[..., Ran], make_guard: MakeGuard, pictures: Path) -> None:
    ran = run(make_guard(), pictures / "red.png", pictures / "blue.png", "--plan", "batched")
    assert (ran.status, ran.errors) == (0, [])
    for line, name in zip(ran.lines, ("red", "blue"), strict=False):
        match = LINE.fullmatch(line)
        assert match
        assert match["source"] == str(pictures / f"{name}.png")
        assert match["sequence"] == "0"
        assert match["said"] == f"{name} 1.000"
        assert match["votes"] == f"{name}, {name}, {name}"
    assert ran.lines[2] == ("2 frames: 2 accepted, 0 rejected; first two views disagree on 0.0%")
    assert ran.lines[-1] == "  plan batched, provider cpu"


def test_lines_for_machines(run: Callable[..., Ran], make_guard: MakeGuard, video: Path) -> None:
    ran = run(make_guard(), video, "--json", "--provider", "cpu", "--threads", 1, "--no-spin")
    assert (ran.status, ran.errors) == (0, [])
    *verdicts, summary = ran.objects
    assert [one["name"] for one in verdicts] == ["red"] * 4 + ["green"] * 4 + ["blue"] * 4
    for sequence, one in enumerate(verdicts):
        assert one["type"] == "verdict"
        assert (one["source"], one["sequence"]) == (str(video), sequence)
        assert one["accepted"] is True
        assert set(one["stage_ms"]) == {"views", "denoise", "inference", "vote"}
    assert summary["type"] == "summary"
    assert (summary["frames"], summary["accepted"], summary["rejected"]) == (12, 12, 0)
    assert summary["plan"] in ("batched", "cascade")
    assert summary["provider"] == "cpu"
    assert set(summary["stage_ms"]) == {"wait", "views", "denoise", "inference", "vote", "total"}


def test_quiet_leaves_the_summary(
    run: Callable[..., Ran], make_guard: MakeGuard, pictures: Path
) -> None:
    guard = make_guard()
    ran = run(guard, pictures, "--quiet")
    assert ran.lines[0].startswith("4 frames: ")
    (summary,) = run(guard, pictures, "--quiet", "--json").objects
    assert (summary["type"], summary["frames"]) == ("summary", 4)


MEAN = replace(SMALL, decision="mean", threshold=0.9)
WAYS: list[tuple[Defense, bool, list[str], str, str, str]] = [
    (SMALL, True, ["--plan", "cascade"], "red", "red 1.000", "red, red, -"),
    (SMALL, False, ["--plan", "batched"], "red", "class 0 1.000", "class 0, class 0, class 0"),
    (replace(SMALL, decision="single"), True, [], "green", "green 1.000", "green"),
    (MEAN, True, [], "red", "red 1.000", "red, red, red"),
    (MEAN, True, [], "grey", "REJECTED low_confidence", ""),
    (MEAN, True, ["--threshold", "0.1"], "grey", "", ""),
]


@pytest.mark.parametrize(("defense", "labels", "options", "picture", "said", "votes"), WAYS)
def test_ways_to_decide(
    run: Callable[..., Ran],
    make_guard: MakeGuard,
    pictures: Path,
    defense: Defense,
    labels: bool,
    options: list[str],
    picture: str,
    said: str,
    votes: str,
) -> None:
    guard = make_guard(defense=defense, labels=labels)
    ran = run(guard, pictures / f"{picture}.png", *options)
    match = LINE.fullmatch(ran.lines[0])
    assert match
    if said:
        assert match["said"] == said
    else:
        assert not match["said"].startswith("REJECTED")
    if votes:
        assert match["votes"] == votes


def test_names_that_are_no_text_are_printed(
    run: Callable[..., Ran], make_guard: MakeGuard, pictures: Path
) -> None:
    odd = pictures / os.fsdecode(b"r\xff.png")
    (pictures / "red.png").rename(odd)
    guard = make_guard()
    ran = run(guard, odd)
    assert ran.status == 0
    assert ran.lines[0].startswith(f"{pictures}/r\\udcff.png#0  red")
    verdict, _ = run(guard, odd, "--json").objects
    assert verdict["source"] == str(odd)


# ---- inputs ----


def test_a_broken_picture_is_told_and_skipped(
    run: Callable[..., Ran], make_guard: MakeGuard, pictures: Path
) -> None:
    data = (pictures / "green.png").read_bytes()
    (pictures / "green.png").write_bytes(data[:50])
    guard = make_guard()
    said = f"{pictures / 'green.png'} is truncated: its PNG data has no end chunk"
    ran = run(guard, pictures, "--json")
    assert ran.status == 1
    assert ran.errors == [f"blurvote: {said}"]
    blue, error, *others, summary = ran.objects
    assert blue["name"] == "blue"
    assert {**error, "type": "error", "source": str(pictures), "error": said} == error
    assert [Path(one["source"]).name for one in others] == ["grey.png", "red.png"]
    assert (summary["frames"], summary["broken"]) == (3, 1)
    ran = run(guard, pictures)
    assert (ran.status, ran.errors) == (1, [f"blurvote: {said}"])
    assert "; 1 inputs could not be read" in ran.lines[3]


def test_every_source_gets_its_turn(
    run: Callable[..., Ran], make_guard: MakeGuard, pictures: Path, video: Path
) -> None:
    ran = run(make_guard(), "no.jpg", f"{pictures}/*.gif", pictures, video, "--json")
    assert ran.status == 1
    assert ran.errors == [
        "blurvote: no.jpg cannot be read: No such file or directory",
        f"blurvote: nothing matches {pictures}/*.gif",
    ]
    assert ran.objects[-1]["frames"] == 4 + 12
    assert ran.objects[-1]["broken"] == 2


def test_a_frame_that_the_defence_cannot_serve(
    run: Callable[..., Ran], make_guard: MakeGuard, pictures: Path
) -> None:
    cv2.imwrite(str(pictures / "a.png"), np.zeros((2, 2, 3), np.uint8))
    ran = run(make_guard(), pictures, "--quiet")
    assert ran.status == 1
    (said,) = ran.errors
    assert said.startswith("blurvote: frames of 2x2 px: ")
    assert ran.lines[0].startswith("5 frames: 4 accepted, 1 rejected")


def test_paths_on_stdin(
    run: Callable[..., Ran], make_guard: MakeGuard, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"{pictures}/red.png\n\nno.jpg\n{pictures}/blue.png\n".encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    ran = run(make_guard(), "-", "--json")
    assert ran.status == 1
    red, error, blue, summary = ran.objects
    assert (red["name"], blue["name"], summary["broken"]) == ("red", "blue", 1)
    assert (red["sequence"], error["source"], blue["sequence"]) == (0, "-", 2)


def test_grey_deep_and_transparent_pictures(
    run: Callable[..., Ran], make_guard: MakeGuard, tmp_path: Path
) -> None:
    red = np.full((30, 40, 3), BGR["red"], np.uint8)
    cv2.imwrite(str(tmp_path / "1.png"), red[..., 0])
    cv2.imwrite(str(tmp_path / "2.png"), red.astype(np.uint16) * 257)
    cv2.imwrite(str(tmp_path / "3.png"), np.dstack([red, red[..., 0]]))
    ran = run(make_guard(), tmp_path, "--json")
    assert ran.status == 0
    assert [one["name"] for one in ran.objects[1:3]] == ["red", "red"]
    assert ran.objects[-1]["frames"] == 3


@pytest.mark.parametrize(("limit", "frames"), [(1, 1), (4, 4), (5, 5), (16, 16), (99, 16)])
def test_max_frames_counts_over_all_sources(
    run: Callable[..., Ran],
    make_guard: MakeGuard,
    pictures: Path,
    video: Path,
    limit: int,
    frames: int,
) -> None:
    ran = run(make_guard(), pictures, video, "--json", "--max-frames", limit)
    assert ran.status == 0
    assert ran.objects[-1]["frames"] == len(ran.objects) - 1 == frames


def test_no_source_is_opened_beyond_max_frames(
    run: Callable[..., Ran], make_guard: MakeGuard, pictures: Path
) -> None:
    ran = run(make_guard(), pictures, "no.mp4", "--max-frames", 4)
    assert (ran.status, ran.errors) == (0, [])


# ---- annotated output ----


def test_out_to_a_folder(run: Callable[..., Ran], make_guard: MakeGuard, pictures: Path) -> None:
    out = pictures.parent / "out"
    assert run(make_guard(), pictures, "--out", out, "--quiet").status == 0
    names = sorted(path.name for path in out.iterdir())
    assert names == ["000000_blue.jpg", "000001_green.jpg", "000002_grey.jpg", "000003_red.jpg"]
    for name, colour in zip(names, ("blue", "green", "grey", "red"), strict=True):
        stored = cv2.imread(str(out / name))
        assert stored is not None
        assert stored.shape[1] == 40
        assert stored.shape[0] > 30
        assert np.abs(stored[:20].astype(int) - BGR[colour]).max() < 40


@pytest.mark.parametrize(("source", "fps", "frames"), [("clip.avi", 25, 12), ("pictures", 10, 4)])
def test_out_to_a_video(
    run: Callable[..., Ran],
    make_guard: MakeGuard,
    pictures: Path,
    video: Path,
    source: str,
    fps: int,
    frames: int,
) -> None:
    out = pictures.parent / "out.mp4"
    assert run(make_guard(), video.with_name(source), "--out", out, "--quiet").status == 0
    stored = cv2.VideoCapture(str(out))
    assert stored.get(cv2.CAP_PROP_FRAME_COUNT) == frames
    assert stored.get(cv2.CAP_PROP_FPS) == fps


def test_a_video_may_be_annotated_onto_itself(
    run: Callable[..., Ran], make_guard: MakeGuard, video: Path
) -> None:
    assert run(make_guard(), video, "--out", video, "--quiet").status == 0
    stored = cv2.VideoCapture(str(video))
    assert stored.get(cv2.CAP_PROP_FRAME_COUNT) == 12
    assert stored.get(cv2.CAP_PROP_FRAME_HEIGHT) > 48


def test_pictures_are_not_written_among_their_sources(
    run: Callable[..., Ran], make_guard: MakeGuard, pictures: Path
) -> None:
    before = sorted(pictures.iterdir())
    ran = run(make_guard(), pictures, "--out", pictures)
    said = f"blurvote: error: {pictures} is a source; write pictures to another folder"
    assert (ran.status, ran.errors) == (2, [said])
    assert sorted(pictures.iterdir()) == before


def test_nothing_read_leaves_an_earlier_output_alone(
    run: Callable[..., Ran], make_guard: MakeGuard, tmp_path: Path
) -> None:
    out = tmp_path / "out.avi"
    out.write_bytes(b"mine")
    assert run(make_guard(), "no.jpg", "--out", out).status == 1
    assert out.read_bytes() == b"mine"


def test_an_output_that_fails_ends_the_run(
    run: Callable[..., Ran], make_guard: MakeGuard, pictures: Path
) -> None:
    (pictures.parent / "out").write_text("a file")
    ran = run(make_guard(), pictures, "--out", pictures.parent / "out", "--quiet")
    said = f"blurvote: error: {pictures.parent / 'out'} cannot be made a folder: File exists"
    assert (ran.status, ran.lines, ran.errors) == (2, [], [said])


# ---- guards that cannot serve ----


def test_guards_that_cannot_serve(
    run: Callable[..., Ran], make_guard: MakeGuard, pictures: Path, tmp_path: Path
) -> None:
    majority = make_guard("majority.onnx")
    mean = make_guard("mean.onnx", replace(SMALL, decision="mean"))
    for args, said in (
        ((tmp_path / "no.onnx",), "no.onnx is not a file; expected an ONNX file written by "),
        ((pictures / "red.png",), "red.png cannot be loaded as an ONNX model ("),
        ((majority, "--threshold", 0.5), "only the decision 'mean' has a threshold"),
        ((mean,), "decides by 'mean' but has no threshold; fit one with blurvote calibrate"),
        ((mean, "--threshold", 2), "threshold is 2; expected a number from 0 to 1"),
        ((mean, "--threshold", 0.5, "--plan", "cascade"), "cannot run as a cascade: the decision"),
        ((majority, "--threads", 999), "threads is 999; expected an integer from 1 to 256"),
    ):
        guard, *options = args
        ran = run(guard, pictures / "red.png", *options)
        assert (ran.status, ran.lines, len(ran.errors)) == (2, [], 1)
        assert ran.errors[0].startswith("blurvote: error: ")
        assert said in ran.errors[0]


# ---- the progress line ----


@pytest.mark.parametrize(
    ("stdout_is_terminal", "quiet", "shown"),
    [(False, False, True), (False, True, True), (True, True, True), (True, False, False)],
)
def test_progress_is_shown_where_it_is_in_nobodys_way(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    run: Callable[..., Ran],
    make_guard: MakeGuard,
    video: Path,
    stdout_is_terminal: bool,
    quiet: bool,
    shown: bool,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: stdout_is_terminal)
    status = cli.main(["run", str(make_guard()), str(video), *["--quiet"] * quiet])
    said = capsys.readouterr().err
    assert status == 0
    if not shown:
        assert said == ""
        return
    assert said.endswith("\n")
    steps = said.strip("\r\n").split("\r")
    assert len(steps) == 12
    for count, step in enumerate(steps, 1):
        assert re.fullmatch(rf"{re.escape(str(video))}: {count}/12, \d+\.\d/s ", step)


def test_tuned_settings(
    run: Callable[..., Ran],
    make_guard: MakeGuard,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    guard = make_guard()
    assert "no tuned settings" in run(guard, pictures, "--tuned").errors[-1]
    tuning.save_tuning(
        tuning.Tuning(
            "cpu", "cascade", 1, False, tuning.guard_sha256(guard), tuning.fingerprint(), 1.0, ""
        )
    )
    ran = run(guard, pictures / "red.png", "--tuned", "--json")
    assert (ran.status, ran.objects[0]["plan"]) == (0, "cascade")
    ran = run(guard, pictures, "--tuned", "--plan", "batched")
    assert ran.status == 2
    assert "leave out --provider, --compute, --option, --plan" in ran.errors[-1]
