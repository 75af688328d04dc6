"""Real models on real images: the plans agree on every frame, and the answers are right."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from blurvote.export import export_guard
from blurvote.runtime import Guard, Verdict


@pytest.fixture(scope="module")
def guard_file(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MobileNetV2 of the assets as a `views` guard."""
    path = tmp_path_factory.mktemp("guards") / "mobilenet.onnx"
    export_guard(assets / "models" / "mobilenet_v2_1.0_224_quant.onnx", path)
    return path


@pytest.mark.parametrize("noise", [0.0, 0.25])
def test_cascade_decides_as_batched_on_every_image(
    guard_file: Path, assets: Path, noise: float
) -> None:
    batched, cascade = Guard(guard_file, "cpu", "batched"), Guard(guard_file, "cpu", "cascade")
    files = sorted((assets / "images" / "imagenet-half").glob("*.JPEG"))
    assert len(files) == 500
    random = np.random.default_rng(0)
    left_out = 0
    for file in files:
        frame = cv2.imread(str(file))
        if noise:
            noisy = frame + random.normal(0, 255 * noise, frame.shape)
            frame = noisy.round().clip(0, 255).astype(np.uint8)
        whole, part = batched.classify(frame, "bgr"), cascade.classify(frame, "bgr")
        _same(whole, part, file.name)
        left_out += part.view_labels[2] is None
    # The share of frames that the first two views decide is what makes the cascade worth it.
    assert left_out > (400 if noise == 0 else 100)


def _same(whole: Verdict, part: Verdict, name: str) -> None:
    assert (part.label, part.reason) == (whole.label, whole.reason), name
    assert part.confidence == pytest.approx(whole.confidence, abs=1e-5), name
    ran = [k for k, vote in enumerate(part.view_labels) if vote is not None]
    assert [part.view_labels[k] for k in ran] == [whole.view_labels[k] for k in ran], name


def test_clean_images_are_mostly_right(guard_file: Path, assets: Path) -> None:
    """The assets' README says 870 of 975 colour images for the clean view (89 %)."""
    guard = Guard(guard_file, "cpu", "batched")
    lines = (assets / "images" / "imagenet-half.tsv").read_text().splitlines()[1:]
    rows = [line.split("\t") for line in lines if line.endswith("colour")]
    right = accepted_right = 0
    for name, label, _ in rows:
        frame = cv2.imread(str(assets / "images" / "imagenet-half" / name))
        verdict = guard.classify(frame, "bgr")
        right += verdict.view_labels[0] == int(label)
        accepted_right += verdict.label == int(label)
    assert right / len(rows) > 0.87
    assert accepted_right / len(rows) > 0.82


def test_a_batch_of_real_images_equals_one_by_one(guard_file: Path, assets: Path) -> None:
    files = sorted((assets / "images" / "imagenet-half").glob("*.JPEG"))[:24]
    frames = [cv2.imread(str(file)) for file in files]
    guard = Guard(guard_file, "cpu", "cascade")
    for n, together in enumerate(guard.classify_batch(frames, "bgr")):
        _same(guard.classify(frames[n], "bgr"), together, files[n].name)


def test_video(guard_file: Path, assets: Path) -> None:
    """All 377 frames are read, and every one gets a verdict."""
    from blurvote.runtime.sources import open_source

    guard = Guard(guard_file, "cpu", "cascade")
    source = open_source(str(assets / "video" / "car-detection.mp4"))
    assert source.total == 377
    seen = 0
    while frame := source.read():
        if frame.sequence % 20 == 0:
            assert guard.classify(frame).sequence == frame.sequence
        seen += 1
    source.close()
    assert seen == 377
