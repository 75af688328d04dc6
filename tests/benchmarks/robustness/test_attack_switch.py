"""`blurvote attack` on a guard that denoises noisy frames, and on its switch."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from blurvote.benchmarks.robustness.attack import cli
from blurvote.benchmarks.robustness.attack.cases import EVADED, Case, cases
from blurvote.benchmarks.robustness.attack.score import rows
from blurvote.benchmarks.robustness.degradations import Degradation
from blurvote.benchmarks.robustness.deployed import Deployed
from blurvote.runtime import BlurvoteError, GuardError
from tests.benchmarks.robustness.conftest import ADAPTIVE
from tests.conftest import ONE_THREAD

Make = Callable[..., Path]
LOW = 0.13  # of noise that is only just above the switch on these sizes
SENSITIVE = replace(ADAPTIVE, noise_switch=(0.03, 0.05))


def attack(*words: object) -> int:
    parser = ArgumentParser()
    cli.COMMAND.configure(parser)
    return cli.COMMAND.run(parser.parse_args([*map(str, words)]))


@pytest.fixture
def guard(conv_guard: Make) -> Path:
    return conv_guard("conv.onnx", SENSITIVE, classes=3)


@pytest.fixture
def pictures(tmp_path: Path, guard: Path) -> Path:
    """Two smooth pictures that the guard gets right."""
    asked, random, count = Deployed(guard, ONE_THREAD), np.random.default_rng(0), 0
    while count < 2:
        y, x = np.mgrid[:50, :56]
        waves = np.sin(x * random.uniform(0, 0.4) + y * random.uniform(0, 0.4))[..., None]
        pixels = random.integers(60, 200, 3) + random.integers(10, 50, 3) * waves
        frame = pixels.astype(np.uint8)
        answer = asked.answer(frame)
        label = asked.decide(answer.logits, answer.denoised).label
        if label < 0:
            continue
        folder = tmp_path / "pictures" / f"class {label}"
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{count}.png"), frame[..., ::-1])
        count += 1
    return tmp_path / "pictures"


def test_frames_are_forced_and_evade(guard: Path, pictures: Path, tmp_path: Path) -> None:
    """What is counted is what the deployed guard makes of the frames that are kept."""
    out = tmp_path / "out"
    words = ("--attack", "fgsm,force,evade", "--threats", "grey-box", "--noise", f"0,{LOW}")
    machine = ("--workers", 1, "--provider", "cpu", "--steps", "12", "--keep", 4)
    assert attack(guard, pictures, *words, "--epsilon", "24/255", *machine, "-o", out) == 0
    document: dict[str, Any] = json.loads((out / "conv" / "attack.json").read_text())
    found = {(row["attack"], row["noise"]): row for row in document["rows"]}
    assert set(found) == {
        *(("none", noise) for noise in (0, LOW)),
        *(("fgsm", noise) for noise in (0, LOW)),
        ("force", 0),
        ("evade", LOW),
    }
    assert found["none", 0]["denoised"]["successes"] == 0
    assert found["none", LOW]["denoised"]["successes"] >= 1
    # Amid 24 grey levels of 255 either way is open on such frames.
    assert found["force", 0]["switched"]["value"] == 1
    assert found["force", 0]["switched"]["trials"] == 2
    assert found["evade", LOW]["switched"]["value"] == 1
    assert found["fgsm", 0]["switched"] is None
    asked = Deployed(guard, ONE_THREAD)
    originals = sorted(pictures.rglob("*.png"))
    for name, noise in (("force", 0.0), ("evade", LOW)):
        row = found[name, noise]
        files = sorted((out / "conv" / "adversarial").glob(f"*/{name}-*.png"))
        assert len(files) == 2
        denoised = fooled = 0
        for file in files:
            frame = np.ascontiguousarray(cv2.imread(str(file))[..., ::-1])
            source = originals[int(file.parent.name)]
            picture = np.ascontiguousarray(cv2.imread(str(source))[..., ::-1])
            start = Degradation("gaussian", noise)
            begun = start.apply(picture, start.generator(0, int(file.parent.name)))
            assert np.abs(frame.astype(int) - begun).max() <= 24
            answer = asked.answer(frame)
            label = asked.decide(answer.logits, answer.denoised).label
            denoised += answer.denoised
            fooled += label not in (-1, int(source.parent.name.split()[1]))
        assert (row["denoised"]["successes"], row["fooled"]["successes"]) == (denoised, fooled)
    text = (out / "conv" / "attack.md").read_text()
    assert "## Noisy frames, per cent; switched" in text
    assert f"evade adaptive 24/255 on noise {LOW}" in text
    assert (out / "conv" / "card.md").stat().st_size > 0


def test_cases_of_the_switch() -> None:
    found = cases(("pgd", "force", "evade"), ("adaptive",), (8 / 255,), (), (5,))
    assert [(case.attack, case.noise) for case in found] == [
        ("none", 0), ("pgd", 0), ("force", 0), ("none", EVADED), ("evade", EVADED),
    ]  # fmt: skip
    found = cases(
        ("pgd", "force", "evade"), ("adaptive",), (8 / 255,), (), (5,), noises=(0, 0.1, 0.2)
    )
    assert [(case.attack, case.noise) for case in found] == [
        ("none", 0), ("pgd", 0), ("none", 0.1), ("pgd", 0.1), ("none", 0.2), ("pgd", 0.2),
        ("force", 0), ("evade", 0.1), ("evade", 0.2),
    ]  # fmt: skip
    assert found[3].name == "pgd adaptive 8/255 on noise 0.1"
    assert found[1].key == "pgd adaptive 8/255 5"  # as earlier versions called it
    assert len({case.key for case in found}) == len(found)


def test_switched_counts_those_that_read_otherwise_before() -> None:
    def record(before: bool, after: bool) -> dict[str, Any]:
        said = {
            "guard": 1, "undefended": 1, "log_odds": 0.0, "linf": 0.1, "l2": 1.0,
            "per_pixel": 0.1, "changed_1": 0.1, "changed_10": 0.0, "denoised": after,
        }  # fmt: skip
        return {
            "label": 0, "target": None, "seconds": 1.0, "gradients": 1, "queries": 0,
            "zero_gradients": 0, "ending": None,
            "before": {"guard": 0, "undefended": 0, "denoised": before},
            "at": {"5": said},
        }  # fmt: skip

    records = [
        record(*pair) for pair in ((False, True), (False, True), (False, False), (True, True))
    ]
    (forced,) = rows(Case("force", "adaptive", 0.1, (5,)), records)
    assert forced.switched is not None
    assert forced.denoised is not None
    assert (forced.switched.successes, forced.switched.trials) == (2, 3)
    assert (forced.denoised.successes, forced.denoised.trials) == (3, 4)
    (evaded,) = rows(Case("evade", "adaptive", 0.1, (5,), noise=0.1), records)
    assert evaded.switched is not None
    assert (evaded.switched.successes, evaded.switched.trials, evaded.noise) == (0, 1, 0.1)
    for one in records:
        del one["before"]["denoised"]
    (plain,) = rows(Case("pgd", "adaptive", 0.1, (5,)), records)
    assert (plain.denoised, plain.switched) == (None, None)


def test_a_guard_without_a_switch(conv_guard: Make, pictures: Path, tmp_path: Path) -> None:
    plain = conv_guard("plain.onnx", classes=3)
    start = (plain, pictures, "--workers", 1, "--steps", "2", "-o", tmp_path / "out")
    with pytest.raises(GuardError, match="no noise switch that force could attack; leave force"):
        attack(*start, "--attack", "pgd,force")
    with pytest.raises(BlurvoteError, match="noise '2' is no number from 0 to 1"):
        attack(*start, "--noise", "2")
