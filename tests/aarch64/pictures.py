"""Draws the demo's road signs with noise and saves them without loss, to be classified elsewhere.

python tests/aarch64/pictures.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from blurvote.runtime.demo.scenes import draw_clip

SIGMA = 0.25 * 255


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for number, frame in enumerate(draw_clip(0, frames_per_sign=1)):
        noisy = frame.pixels + random.normal(0, SIGMA, frame.pixels.shape)
        rgb = noisy.round().clip(0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number:02}.png"), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
