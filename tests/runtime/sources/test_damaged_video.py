"""Video files that are damaged in their middle."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from blurvote.runtime import SourceError
from blurvote.runtime.sources import open_source

FRAMES = 40


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "a.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    noise = np.random.default_rng(0)
    for _ in range(FRAMES):
        writer.write(noise.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    writer.release()
    return path


def test_pictures_that_cannot_be_decoded_are_reported_and_the_rest_follows(video: Path) -> None:
    data = bytearray(video.read_bytes())
    at = -1
    for number in range(13):
        at = data.index(b"\xff\xd8\xff", at + 1)
        if number >= 10:  # three pictures lose their headers
            data[at : at + 400] = bytes(400)
    video.write_bytes(data)
    source = open_source(str(video))
    frames, errors = [], []
    while True:
        try:
            got = source.read()
        except SourceError as error:
            errors.append(str(error))
            continue
        if got is None:
            break
        frames.append(got)
    source.close()
    assert errors == [f"{video} is damaged: 3 pictures from number 10 on cannot be decoded"]
    numbers = [frame.sequence for frame in frames]
    assert numbers == [*range(10), *range(13, FRAMES)]
