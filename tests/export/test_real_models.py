"""The real MobileNetV2 and ResNet50 on real pictures, beside kornia + torchvision + the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import kornia
import numpy as np
import onnxruntime
import pytest
import torch
import torchvision.transforms.functional as F
from numpy.typing import NDArray

from blurvote.export import export_guard
from blurvote.runtime import Guard

MODELS = ["mobilenet_v2_1.0_224_quant.onnx", "pqf_resnet50_large.onnx"]
KINDS: list[dict[str, Any]] = [
    {"kind": "views"},
    {"kind": "frames", "frame_size": (375, 500)},
    {"kind": "frames", "frame_size": "dynamic"},
]
PICTURES = 8


def blog_views(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    image = torch.from_numpy(frame).permute(2, 0, 1)[None].double() / 255
    views = []
    for passes in range(3):
        blurred = image
        for _ in range(passes):
            blurred = kornia.filters.gaussian_blur2d(blurred, (5, 5), (1.0, 1.0))
        view = F.center_crop(F.resize(blurred, 256, antialias=True), [224, 224])
        views.append(F.normalize(view, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    return np.asarray(torch.cat(views).float().numpy())


@pytest.mark.parametrize("kind", KINDS, ids=["views", "fixed", "dynamic"])
@pytest.mark.parametrize("name", MODELS)
def test_real_pictures(assets: Path, tmp_path: Path, name: str, kind: dict[str, Any]) -> None:
    model = assets / "models" / name
    export_guard(model, tmp_path / "guard.onnx", **kind)
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    with Guard(tmp_path / "guard.onnx", "cpu", plan="batched") as guard:
        compared = 0
        for path in sorted((assets / "images" / "imagenet-half").iterdir())[:: 500 // PICTURES]:
            frame = np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])
            if kind.get("frame_size") == (375, 500):
                frame = cv2.resize(frame, (500, 375))
            (logits,) = session.run(["logits"], {"input": blog_views(frame)})
            ordered = np.sort(logits, axis=1)
            clear = ordered[:, -1] - ordered[:, -2] > 1e-3 * np.ptp(logits)
            got = np.array(guard.classify(frame).view_labels)
            np.testing.assert_array_equal(got[clear], logits.argmax(axis=1)[clear])
            compared += int(clear.sum())
    assert compared > PICTURES
