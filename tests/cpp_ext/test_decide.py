"""C++ decides as Python does, on logits with ties and without sense."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from blurvote.runtime import Defense, DefenseError
from blurvote.runtime.decision import (
    Ballot,
    can_still_change,
    decide_majority,
    decide_mean,
    threshold_in_force,
)
from blurvote.runtime.vote import majority_vote

CONSUMER = Path(__file__).resolve().parent / "consumer"


@pytest.fixture(scope="module")
def decide(
    prefix: Path,
    sanitize: list[str],
    sh: Callable[..., str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    program = tmp_path_factory.mktemp("decide") / "decide"
    library = next(prefix.rglob("libblurvote_kernels.a"))
    flags = ("-std=c++17", *sanitize, f"-I{prefix / 'include'}")
    sh("c++", *flags, CONSUMER / "decide.cpp", library, "-pthread", "-o", program)
    return program


@pytest.mark.parametrize(
    "defense",
    [
        Defense(),
        Defense(passes=(0, 1, 2, 3, 4)),
        Defense(passes=(0, 1)),
        Defense(decision="single"),
        Defense(decision="mean", threshold=0.45),
        Defense(
            decision="mean",
            threshold=0.8,
            noisy_views=("denoised", "70%-denoised", "clean"),
            noisy_threshold=0.4,
        ),
    ],
    ids=lambda defense: (
        f"{defense.decision} of {len(defense.passes)}{', adaptive' * defense.adaptive}"
    ),
)
def test_decisions_agree(defense: Defense, decide: Path) -> None:
    random = np.random.default_rng(0)
    views, frames = len(defense.views), []
    for _ in range(400):
        # All views for the mean, which never stops early; else some of them, as a cascade has.
        ran = views if defense.decision == "mean" else int(random.integers(1, views + 1))
        logits = random.integers(0, 4, (ran, int(random.integers(1, 5)))).astype(np.float32)
        if defense.decision == "mean":  # where labels tie, its rounding decides
            logits += random.random(logits.shape, np.float32)
        odd = random.random(logits.shape) < 0.08
        logits[odd] = random.choice([np.nan, np.inf, -np.inf], odd.sum())
        frames.append(logits)
    text = [defense.to_json()]
    noisy = [k % 2 for k in range(len(frames))]
    text += [
        f"{len(x)} {x.shape[1]} {n} {' '.join(map(str, x.ravel()))}"
        for x, n in zip(frames, noisy, strict=True)
    ]
    printed = subprocess.run([decide], input="\n".join(text), capture_output=True, text=True)
    assert printed.returncode == 0, printed.stderr
    seen = set()
    for logits, is_noisy, line in zip(frames, noisy, printed.stdout.splitlines(), strict=True):
        label, reason, confidence, undecided = line.split()
        votes = majority_vote(logits[None], of=views)
        ballot = Ballot(
            logits,
            tuple(map(int, votes.view_labels[0])),
            int(votes.labels[0]),
            int(votes.counts[0]),
            views,
        )
        if defense.threshold is not None:
            threshold = threshold_in_force(defense, None, "it", noisy=bool(is_noisy))
            assert threshold is not None
            outcome = decide_mean(ballot, threshold)
        else:
            outcome = decide_majority(ballot)
            assert undecided == str(int(can_still_change(ballot)))
        assert (int(label), reason) == (outcome.label, outcome.reason or "-")
        # Python's softmax of the mean is in float32.
        expected = -1.0 if outcome.confidence is None else outcome.confidence
        assert float(confidence) == pytest.approx(expected, abs=1e-6)
        seen.add(reason)
    assert len(seen) >= 2


ADAPTIVE = Defense(noisy_views=("90%-denoised", "denoised-single-blur", "double-blur"))
VALUES = (
    *(None, True, 0, 1, -1, 2, 0.3, 1.5, "", "clean", "mean", [], {}, [0, 1, 2], [1, 2], [0, 1]),
    *([0.1, 0.2], [0.2, 0.1], [0.1], [0, 2], [-0.1, 0.2], ["a", "b"], [None, 0.1], [0.5, 0.5]),
    ["denoised", "denoised", "clean"],
    ["denoised", "100%-denoised", "clean"],
    ["denoised", "0%-denoised", "clean"],
    ["denoised", "07%-denoised", "clean"],
    ["denoised", "7%-denoised", "clean"],
    ["denoised", "+7%-denoised", "clean"],
    ["denoised", "99%-denoised-double-blur", "single-blur"],
    ["denoised", "denoised-clean", "clean"],
    ["denoised", "denoised-", "clean"],
    ["denoised", "-single-blur", "clean"],
    ["denoised", "denoised-2-blur", "clean"],
    ["denoised", "denoised-16-blur", "clean"],
    ["denoised", "denoised-17-blur", "clean"],
    ["denoised", "denoiseddenoised", "clean"],
    ["denoised", "3-blur", "clean"],
    ["clean", "single-blur", "double-blur"],
    ["denoised"],
    ["denoised", 1, "clean"],
)


def test_the_same_defences_are_refused(decide: Path) -> None:
    """Every field of an adaptive defence in turn takes values that fit it or another one."""
    good = json.loads(ADAPTIVE.to_json())
    mean = {**good, "decision": "mean", "threshold": 0.5}
    mutated = [good, mean, {**mean, "noisy_threshold": 0.5}, {**good, "schema_version": 3}]
    for base in (good, mean):
        mutated += [
            {**base, field: value}
            for field in ("noisy_views", "noise_switch", "noisy_threshold", "threshold", "passes")
            for value in VALUES
        ]
    quiet = {**mean, "noisy_views": []}
    mutated += [quiet, {**quiet, "noisy_threshold": 0.5}, {**quiet, "passes": [1, 2]}]
    mutated.append(json.loads(Defense().to_json()))
    refused = 0
    for values in mutated:
        text = json.dumps(values)
        done = subprocess.run([decide], input=text, capture_output=True, text=True)
        try:
            Defense.from_json(text)
        except DefenseError:
            refused += 1
            assert done.returncode != 0, text
            assert "terminate called" in done.stderr
            assert "invalid_argument" in done.stderr
        else:
            assert done.returncode == 0, (text, done.stderr)
    assert len(mutated) - refused > 15
    assert refused > 150
