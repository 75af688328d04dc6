"""C++ decides as Python does, on logits with ties and without sense."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from blurvote.runtime import Defense
from blurvote.runtime.decision import Ballot, can_still_change, decide_majority, decide_mean
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
    ],
    ids=lambda defense: f"{defense.decision} of {len(defense.passes)}",
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
    text += [f"{len(x)} {x.shape[1]} {' '.join(map(str, x.ravel()))}" for x in frames]
    printed = subprocess.run([decide], input="\n".join(text), capture_output=True, text=True)
    assert printed.returncode == 0, printed.stderr
    seen = set()
    for logits, line in zip(frames, printed.stdout.splitlines(), strict=True):
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
            outcome = decide_mean(ballot, defense.threshold)
        else:
            outcome = decide_majority(ballot)
            assert undecided == str(int(can_still_change(ballot)))
        assert (int(label), reason) == (outcome.label, outcome.reason or "-")
        # Python's softmax of the mean is in float32.
        expected = -1.0 if outcome.confidence is None else outcome.confidence
        assert float(confidence) == pytest.approx(expected, abs=1e-6)
        seen.add(reason)
    assert len(seen) >= 2
