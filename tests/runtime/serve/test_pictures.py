"""Pictures show the views that voted."""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from blurvote.runtime import Frame, Guard
from blurvote.runtime.annotate import view_pixels
from blurvote.runtime.observation import Observation
from blurvote.runtime.serve.pictures import Pictures
from tests.runtime.adaptive import ADAPTIVE, grainy, write_adaptive_guard

NAMES = {
    False: ["clean", "single-blur", "double-blur"],
    True: ["denoised", "denoised-single-blur", "double-blur"],
}


@pytest.mark.parametrize("noisy", [False, True])
def test_views_and_names_are_those_that_voted(tmp_path: Path, noisy: bool) -> None:
    pixels = grainy(0, 0.2 if noisy else 0.01, colour=(150, 128, 100))
    with (
        Guard(write_adaptive_guard(tmp_path / "guard.onnx"), "cpu") as guard,
        ThreadPoolExecutor(1) as drawing,
    ):
        verdict = guard.classify(pixels)
        assert verdict.denoised is noisy
        seen = Observation("gate", Frame(pixels), verdict, time.time())
        made = Pictures(guard, lambda name: seen, drawing)
        picture = asyncio.run(made.get("gate", "views", 320))
        assert picture is not None
        sets = {kind: guard.views_of(pixels, kind) for kind in (False, True)}
    about = json.loads(picture.about)
    assert about["view_names"] == NAMES[noisy]
    assert about["verdict"]["denoised"] is noisy
    strips = {
        kind: np.concatenate([view_pixels(v, ADAPTIVE.mean, ADAPTIVE.std) for v in views], axis=1)
        for kind, views in sets.items()
    }
    assert np.abs(strips[True][:, :32].astype(int) - strips[False][:, :32]).mean() > 20
    _, jpeg = cv2.imencode(".jpg", strips[noisy], [cv2.IMWRITE_JPEG_QUALITY, 82])
    assert picture.jpeg == jpeg.tobytes()
