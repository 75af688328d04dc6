"""ImageNet-A and ImageNet-O in their published layouts, with a tiny guard of 1000 classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from blurvote.benchmarks.robustness import imagenet
from blurvote.benchmarks.robustness.deployed import Deployed
from blurvote.runtime import cli
from blurvote.runtime.sources import read_image
from tests.conftest import ONE_THREAD

Guards = Callable[..., Path]


def evaluate(*arguments: object) -> int:
    return cli.main(["evaluate", *map(str, arguments)])


def fill(folder: Path, wnids: tuple[str, ...], each: int, seed: int) -> None:
    """`folder/<wnid>/<name>.jpg`, as the published archives unpack."""
    random = np.random.default_rng(seed)
    for wnid in wnids:
        (folder / wnid).mkdir(parents=True)
        for n in range(each):
            pixels = random.integers(0, 256, (6, 7, 3)).astype(np.uint8)
            pixels = cv2.resize(pixels, (33, 29), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(folder / wnid / f"0.00{n}_{wnid}.jpg"), pixels)


def clean_logits(guard: Path, files: list[Path]) -> np.ndarray:
    deployed = Deployed(guard, ONE_THREAD)
    return np.stack([deployed.logits(read_image(str(f))[..., ::-1].copy())[0] for f in files])


def read(out: Path, name: str) -> Any:
    return json.loads((out / "thousand" / f"{name}.json").read_text())


@pytest.fixture
def guard(conv_guard: Guards) -> Path:
    return conv_guard("thousand.onnx", classes=1000, labels=())


def test_imagenet_a_counts_its_200_classes_only(guard: Path, tmp_path: Path) -> None:
    wnids = imagenet.subset_wnids("a")[:5]
    fill(tmp_path / "imagenet-a", wnids, 3, 0)
    out = tmp_path / "out"
    arguments = ("--protocol", "imagenet-a", "--workers", 1, "-o", out)
    assert evaluate(guard, tmp_path / "imagenet-a", *arguments) == 0
    files = sorted((tmp_path / "imagenet-a").rglob("*.jpg"))
    indices = [imagenet.wnids().index(wnid) for wnid in imagenet.subset_wnids("a")]
    restricted = clean_logits(guard, files)[:, indices].argmax(axis=1)
    right = sum(
        imagenet.subset_wnids("a")[label] == file.parent.name
        for label, file in zip(restricted, files, strict=True)
    )
    (row,) = read(out, "imagenet-a")["rows"]
    assert (row["views"]["0"]["successes"], row["views"]["0"]["trials"]) == (right, 15)
    assert not (out / "thousand" / "noise.png").exists()


def test_imagenet_a_refuses_other_classes(
    guard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strange = next(w for w in imagenet.wnids() if w not in imagenet.subset_wnids("a"))
    fill(tmp_path / "val", (strange,), 1, 0)
    assert evaluate(guard, tmp_path / "val", "--protocol", "imagenet-a") == 2
    assert "none of ImageNet-A's 200" in capsys.readouterr().err


def test_imagenet_o_by_the_published_rule(
    guard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wnids = imagenet.subset_wnids("o")
    other = next(w for w in imagenet.wnids() if w not in wnids)
    fill(tmp_path / "imagenet-o", wnids[:4], 2, 1)
    fill(tmp_path / "val", (*wnids[:6], other), 3, 2)
    out = tmp_path / "out"
    arguments = ("--protocol", "imagenet-o", "--in-distribution", tmp_path / "val")
    assert evaluate(guard, tmp_path / "imagenet-o", *arguments, "--workers", 1, "-o", out) == 0
    found = read(out, "imagenet-o")
    (row,) = found["rows"]
    assert (row["outside"], row["inside"]) == (8, 18)
    assert found["in_distribution"]["of_other_classes"] == 3

    indices = [imagenet.wnids().index(wnid) for wnid in wnids]
    scores = []
    for name in ("imagenet-o", "val"):
        files = sorted(f for f in (tmp_path / name).rglob("*.jpg") if f.parent.name != other)
        logits = clean_logits(guard, files)[:, indices].astype(float)
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        scores.append(-shares.max(axis=1).round(6))
    expected = average_precision_score([1] * 8 + [0] * 18, np.concatenate(scores))
    area = row["areas"]["undefended confidence"]
    assert area["value"] == pytest.approx(expected)
    assert area["low"] <= area["value"] <= area["high"]
    assert row["rejected_outside"]["trials"] == row["confidence_outside"]["trials"] == 8
    assert row["rejected_inside"]["trials"] == 18

    text = capsys.readouterr().out
    assert text == (out / "thousand" / "imagenet-o.md").read_text() + "\n"
    assert "a score of pure chance has 30.8" in text
    assert "(3 of other classes were left out)" in text


def test_imagenet_o_lists_what_it_cannot_read_and_draws_by_the_limit(
    guard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wnids = imagenet.subset_wnids("o")
    fill(tmp_path / "imagenet-o", wnids[:3], 2, 1)
    fill(tmp_path / "val", wnids[:3], 2, 2)
    (tmp_path / "val" / wnids[0] / "broken.jpg").write_bytes(b"no")
    out = tmp_path / "out"
    arguments = ("--protocol", "imagenet-o", "--in-distribution", tmp_path / "val", "--json")
    assert evaluate(guard, tmp_path / "imagenet-o", *arguments, "--workers", 1, "-o", out) == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed == read(out, "imagenet-o")
    assert [entry["key"] for entry in printed["skipped"]] == [f"{wnids[0]}/broken.jpg"]
    (tmp_path / "val" / wnids[0] / "broken.jpg").unlink()
    arguments = (*arguments, "--limit", 4, "--fresh", "--workers", 1)
    arguments = (*arguments, "--short-side", 24)
    assert evaluate(guard, tmp_path / "imagenet-o", *arguments, "-o", out) == 0
    report = (out / "thousand" / "imagenet-o.md").read_text()
    assert "(0 of other classes were left out), resized to a short side of 24 px (" in report
    assert (read(out, "imagenet-o")["rows"][0]["outside"]) == 4


def test_imagenet_o_needs_known_pictures(
    guard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wnids = imagenet.subset_wnids("o")
    fill(tmp_path / "imagenet-o", wnids[:1], 1, 1)
    start = (guard, tmp_path / "imagenet-o", "--protocol", "imagenet-o")
    assert evaluate(*start) == 2
    assert "give pictures of known classes too" in capsys.readouterr().err
    assert evaluate(*start, "--smoothing", "denoiser.onnx") == 2
    assert "--smoothing and --protocol imagenet-o" in capsys.readouterr().err
    strange = next(w for w in imagenet.wnids() if w not in wnids)
    fill(tmp_path / "val", (strange,), 2, 0)
    assert evaluate(*start, "--in-distribution", tmp_path / "val") == 2
    assert "val has 2 pictures, none of ImageNet-O's 200 classes" in capsys.readouterr().err
