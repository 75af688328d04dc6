"""`blurvote attack` from the command line, end to end on a guard of two convolutions."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from blurvote.benchmarks.robustness.attack import cli, crafting
from blurvote.benchmarks.robustness.deployed import Deployed
from blurvote.runtime import Defense
from tests.conftest import ONE_THREAD

Make = Callable[..., Path]
EPSILON = "8/255"
QUICK = ("--workers", "1", "--provider", "cpu", "--steps", "2,4", "--epsilon", EPSILON)


def attack(*words: object) -> int:
    parser = ArgumentParser()
    cli.COMMAND.configure(parser)
    return cli.COMMAND.run(parser.parse_args([*map(str, words)]))


def read(out: Path, name: str = "conv") -> dict[str, Any]:
    return json.loads((out / name / "attack.json").read_text())


def comparable(document: dict[str, Any]) -> dict[str, Any]:
    """Without what two runs of the same differ in."""
    document = json.loads(json.dumps(document))
    del document["machine"]
    for row in document["rows"]:
        del row["cost"]["seconds"]
    return document


def count(document: dict[str, Any], attack: str, threat: str, steps: int) -> int:
    (row,) = (
        row
        for row in document["rows"]
        if (row["attack"], row["threat"], row["steps"]) == (attack, threat, steps)
    )
    return row["fooled"]["successes"]


@pytest.fixture
def guard(conv_guard: Make) -> Path:
    return conv_guard()


def folders(place: Path, guard: Path, each: int = 4) -> Path:
    """Class folders whose pictures the guard gets right, so that there is something to attack.

    Colour gratings of odd sizes; drawn until every class the guard uses has `each`.
    """
    asked, random = Deployed(guard, ONE_THREAD), np.random.default_rng(0)
    found: dict[int, int] = {}
    for n in range(2000):
        height, width = int(random.integers(21, 30)), int(random.integers(21, 34))
        y, x = np.mgrid[:height, :width]
        waves = random.uniform(-2, 2, (3, 2)), random.uniform(0, 6, 3)
        light = random.uniform(40, 210, 3)
        planes = [
            light[c] + 45 * np.sin(waves[0][c, 0] * y + waves[0][c, 1] * x + waves[1][c])
            for c in range(3)
        ]
        pixels = np.stack(planes, axis=2).clip(0, 255).astype(np.uint8)
        label = asked.decide(asked.logits(pixels)).label
        if label < 0 or found.get(label, 0) >= each:
            continue
        found[label] = found.get(label, 0) + 1
        folder = place / f"class {label}"
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{n}.png"), pixels[..., ::-1])
        if len(found) == 3 and min(found.values()) == each:
            break
    return place


@pytest.fixture
def pictures(tmp_path: Path, guard: Path) -> Path:
    return folders(tmp_path / "pictures", guard)


def test_everything_it_writes(
    guard: Path,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crafting, "MOST_STEPS", 6)  # this guard is never sure: 1000 take minutes
    out = tmp_path / "out"
    assert attack(guard, pictures, "--attack", "all", "--queries", 5, "-o", out, *QUICK) == 0
    found = read(out)
    assert found["schema"] == "blurvote.attack/1"
    images = {row["images"] for row in found["rows"]}
    assert images == {found["dataset"]["drawn"]}
    rows = {(row["attack"], row["threat"], row["steps"]): row for row in found["rows"]}
    for threat in ("grey-box", "adaptive"):
        assert {(name, threat, 4) for name in ("pgd", "pgd-l2", "sgd")} <= rows.keys()
        assert ("until-confident", threat, 6) in rows
    for row in found["rows"]:
        parts = [row[name]["successes"] for name in ("right", "fooled", "rejected")]
        assert sum(parts) == row["images"]
        if row["attack"] not in ("none", "pgd-l2", "random-l2", "until-confident"):
            assert row["linf"] <= 8 / 255 + 1e-6
        if row["attack"] in ("pgd-l2", "random-l2"):
            assert row["l2"] <= row["epsilon"] + 1e-4
    clean = rows["none", "none", 0]
    assert (clean["right"]["value"], clean["linf"], clean["alone"]) == (1, 0, None)
    for name in ("attack.md", "attack.png", "adversarial.png", "steps.png", "card.md", "card.png"):
        assert (out / "conv" / name).stat().st_size > 0
    text = capsys.readouterr().out
    # The main table is for a terminal of 160 columns, and says once what does not change.
    assert max(len(line) for line in text.splitlines() if line.startswith("|")) <= 160
    assert "Clean false rejects" in text
    whole = (out / "conv" / "attack.md").read_text()
    assert "random control" not in whole[whole.index("The perturbation alone") :]


def test_adaptive_is_no_weaker_than_grey_box(guard: Path, pictures: Path, tmp_path: Path) -> None:
    # Counted by the deployed guard, on its own 8-bit frames, at each number of steps.
    words = ("--attack", "fgsm,sgd,pgd", *QUICK, "--epsilon", "8/255,48/255")
    assert attack(guard, pictures, *words, "-o", tmp_path / "out") == 0
    fooled = {
        (row["attack"], row["radius"], row["steps"], row["threat"]): row["fooled"]["successes"]
        for row in read(tmp_path / "out")["rows"]
    }
    pairs = [key[:3] for key in fooled if key[3] == "grey-box"]
    assert len(pairs) == 2 * (1 + 3 + 2)  # sgd is also counted at its source's 30 steps
    for pair in pairs:
        assert fooled[(*pair, "adaptive")] >= fooled[(*pair, "grey-box")]
    # Neither none nor all, so that the comparison means something.
    assert fooled["pgd", "48/255", 4, "grey-box"] == 4
    assert fooled["pgd", "48/255", 4, "adaptive"] > 4


def test_the_frames_that_are_kept_are_what_was_counted(
    guard: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    attack(guard, pictures, "--attack", "pgd", "--keep", 100, "-o", out, *QUICK)
    asked, found = Deployed(guard, ONE_THREAD), read(out)
    files = sorted((out / "conv" / "adversarial").glob("*/pgd-adaptive-*.png"))
    assert len(files) == found["rows"][0]["images"]
    originals = sorted(pictures.rglob("*.png"))
    fooled = 0
    for file in files:
        frame = cv2.imread(str(file))[..., ::-1]
        source = originals[int(file.parent.name)]
        original = cv2.imread(str(source))[..., ::-1]
        assert frame.shape == original.shape
        assert np.abs(frame.astype(int) - original).max() <= 8
        label = asked.decide(asked.logits(np.ascontiguousarray(frame))).label
        fooled += label not in (-1, int(source.parent.name.split()[1]))
    assert fooled == count(found, "pgd", "adaptive", 4)


def test_workers_and_interruptions_change_nothing(
    guard: Path, pictures: Path, tmp_path: Path
) -> None:
    words = (guard, pictures, "--attack", "random,pgd", *QUICK)
    attack(*words, "-o", tmp_path / "one")
    attack(*words, "-o", tmp_path / "two", "--workers", 2)
    expected = comparable(read(tmp_path / "one"))
    assert comparable(read(tmp_path / "two")) == expected
    # What a run that was killed leaves: some lines, and half of one.
    journal = (tmp_path / "one" / "conv" / "attack.jsonl").read_bytes().splitlines(keepends=True)
    cut = tmp_path / "cut" / "conv" / "attack.jsonl"
    cut.parent.mkdir(parents=True)
    cut.write_bytes(b"".join(journal[:7]) + journal[7][:40])
    attack(*words, "-o", tmp_path / "cut")
    assert comparable(read(tmp_path / "cut")) == expected


def test_ctrl_c_and_the_same_command_again(guard: Path, pictures: Path, tmp_path: Path) -> None:
    words = [guard, pictures, "--attack", "random,pgd", *QUICK, "--steps", "2,40", "-o"]
    command = [sys.executable, "-m", "blurvote.runtime.cli", "attack", *map(str, words)]
    process = subprocess.Popen([*command, str(tmp_path / "cut")], stderr=subprocess.PIPE, text=True)
    journal = tmp_path / "cut" / "conv" / "attack.jsonl"
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        if journal.is_file() and journal.read_bytes().count(b"\n") > 3:
            process.send_signal(signal.SIGINT)
            break
        time.sleep(0.01)
    _, said = process.communicate(timeout=60)
    assert process.returncode in (0, 130)  # 0: it was faster than the signal
    assert "Traceback" not in said
    attack(*words, tmp_path / "cut")
    attack(*words, tmp_path / "whole")
    assert comparable(read(tmp_path / "cut")) == comparable(read(tmp_path / "whole"))


def test_more_attacks_join_the_table(
    guard: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (guard, pictures, *QUICK, "-o", tmp_path / "out", "--threats", "grey-box")
    attack(*words, "--attack", "pgd", "--limit", 5)
    first = read(tmp_path / "out")["rows"]
    attack(*words, "--attack", "fgsm", "--limit", 5)
    second = read(tmp_path / "out")["rows"]
    assert [row for row in second if row["attack"] != "fgsm"] == first
    assert [row["attack"] for row in second] == ["none", "fgsm", "pgd", "pgd"]
    # More pictures: what was not run on them is named, and the table is of one set of pictures.
    capsys.readouterr()
    attack(*words, "--attack", "fgsm", "--limit", 6)
    third = read(tmp_path / "out")
    assert {row["images"] for row in third["rows"]} == {6}
    assert third["partial"] == {"pgd grey-box 8/255": 5}
    assert "not run on all pictures: pgd grey-box 8/255 (5 of 6)" in capsys.readouterr().out


def test_json_alone_on_stdout(
    guard: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = guard.with_name("other.onnx")
    other.write_bytes(guard.read_bytes())
    words = (guard, other, pictures, "--attack", "random", "--limit", 2, "--keep", 0, "--json")
    assert attack(*words, *QUICK, "-o", tmp_path / "out") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == [read(tmp_path / "out"), read(tmp_path / "out", "other")]
    assert not list((tmp_path / "out").rglob("adversarial*"))
    assert "# Guards compared" in (tmp_path / "out" / "comparison.md").read_text()
    assert (tmp_path / "out" / "comparison.png").is_file()


@pytest.mark.parametrize(
    "defense",
    [
        Defense(resize=20, crop=(16, 16), decision="single"),
        Defense(resize=20, crop=(16, 16), decision="mean", threshold=0.4),
        Defense(resize=20, crop=(16, 16), passes=(1, 2)),  # the clean view is none of its views
    ],
)
def test_other_decisions(conv_guard: Make, tmp_path: Path, defense: Defense) -> None:
    guard = conv_guard(defense=defense)
    pictures = folders(tmp_path / "pictures", guard, 2)
    words = ("--attack", "random,pgd,square", "--queries", 4, "--targeted", "--keep", 1)
    assert attack(guard, pictures, *words, *QUICK, "-o", tmp_path / "out") == 0
    found = read(tmp_path / "out")
    rows = {(row["attack"], row["threat"], row["steps"]): row for row in found["rows"]}
    assert rows["pgd", "adaptive", 4]["reached"]["trials"] == found["rows"][0]["images"]
    assert rows["square", "black-box", 0]["reached"] is None
    if defense.decision == "single":
        assert all(row["rejected"]["successes"] == 0 for row in found["rows"])
    # The undefended column is the clean view's, whatever the guard looks at.
    clean = Defense(resize=20, crop=(16, 16), passes=(0,))
    asked = Deployed(guard, ONE_THREAD)
    right = 0
    for file in pictures.rglob("*.png"):
        pixels = np.ascontiguousarray(cv2.imread(str(file))[..., ::-1])
        right += int(asked.logits(pixels, clean).argmax()) == int(file.parent.name.split()[1])
    assert rows["none", "none", 0]["undefended_right"]["successes"] == right
    assert "targeted" in (tmp_path / "out" / "conv" / "attack.md").read_text()


def test_one_grey_class(guard: Path, tmp_path: Path) -> None:
    frames = [np.full((23, 27, 3), level, np.uint8) for level in (0, 90, 255)]
    # At least the second picture is right before, so that changes have a mean.
    folder = tmp_path / "grey" / str(int(Deployed(guard).logits(frames[1])[0].argmax()))
    folder.mkdir(parents=True)
    for n, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{n}.png"), frame)
    assert attack(guard, tmp_path / "grey", *QUICK, "-o", tmp_path / "out") == 0
    found = read(tmp_path / "out")
    assert found["rows"][0]["images"] == 3
    # A grey picture has one channel: a change of all three by 8 levels is one of 8 levels.
    assert max(row["per_pixel"] for row in found["rows"]) <= 8 / 255 + 1e-6


def test_transfer_from_another_crop(
    conv_guard: Make, guard: Path, pictures: Path, tmp_path: Path
) -> None:
    other = conv_guard("other.onnx", Defense(resize=14, crop=(11, 13)), seed=3)
    words = ("--attack", "pgd", "--threats", "transfer", "--surrogate", other)
    assert attack(guard, pictures, *words, *QUICK, "-o", tmp_path / "out") == 0
    row = read(tmp_path / "out")["rows"][-1]
    assert (row["threat"], row["surrogate"]) == ("transfer", "other")
