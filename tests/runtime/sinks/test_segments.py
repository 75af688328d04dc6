"""Videos in pieces: all frames are in one of them, and only so many pieces stay."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from blurvote.runtime.sinks import SegmentedVideoWriter, open_sink
from tests.runtime.sinks.material import context, frames_of, observation, picture, rate, refusal

WRITE_AND_DIE = """
import os, signal, sys
import numpy as np
from blurvote.runtime.sinks import SegmentedVideoWriter
writer = SegmentedVideoWriter(sys.argv[1], lambda: 10, 0.5, 3)
for _ in range(13):
    writer.write(np.zeros((48, 64, 3), np.uint8), "any")
os.kill(os.getpid(), signal.SIGKILL)
"""


def ours(folder: Path) -> list[Path]:
    return sorted(folder.glob("out_*.avi"), key=lambda path: path.stat().st_mtime_ns)


def test_all_frames_are_in_one_piece_or_another(tmp_path: Path) -> None:
    sink = open_sink(f"{tmp_path}/out.avi?segment_s=0.5", context(fps=10))
    for number in range(12):
        sink.write(observation(number))
    sink.close()
    sink.close()
    assert [len(frames_of(path)) for path in ours(tmp_path)] == [5, 5, 2]
    assert set(tmp_path.iterdir()) == set(ours(tmp_path))


def test_only_the_newest_pieces_stay(tmp_path: Path) -> None:
    others = [tmp_path / "out_mine.avi", tmp_path / "other_20260101-000000.avi"]
    for other in others:
        other.write_bytes(b"mine")
    for _ in range(2):  # pieces of an earlier run count
        writer = SegmentedVideoWriter(str(tmp_path / "out.avi"), rate(10), 0.2, keep=3)
        for shade in range(100, 200, 10):
            writer.write(picture(shade=shade), "any")
        writer.close()
        assert len([*tmp_path.iterdir()]) == 5
    assert all(other.read_bytes() == b"mine" for other in others)
    newest = frames_of(ours(tmp_path)[-1])
    assert abs(int(newest[-1][20, 20, 2]) - 190) < 25


def test_a_crash_costs_one_piece_and_restarts_do_not_fill_the_disk(tmp_path: Path) -> None:
    for _ in range(3):
        ran = subprocess.run([sys.executable, "-c", WRITE_AND_DIE, str(tmp_path / "out.avi")])
        assert ran.returncode == -9
        assert len([*tmp_path.iterdir()]) <= 4  # 3 and the one that it died in
    whole = [path for path in ours(tmp_path) if ".part" not in path.name]
    assert whole
    assert all(len(frames_of(path)) == 5 for path in whole)


def test_a_piece_that_cannot_be_finished_costs_no_later_one(tmp_path: Path) -> None:
    writer = SegmentedVideoWriter(str(tmp_path / "out.avi"), rate(10), 0.2)
    writer.write(picture(), "any")
    writer.write(picture(), "any")
    (partial,) = tmp_path.iterdir()
    os.truncate(partial, 100)
    partial.unlink()
    said = refusal(lambda: writer.write(picture(), "any"))
    assert said == f"{partial} holds 0 of 2 frames; is the disk full?"
    writer.write(picture(), "any")
    writer.close()
    assert [len(frames_of(path)) for path in ours(tmp_path)] == [1]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    path = f"{tmp_path}/taken/out.mp4"
    said = refusal(lambda: open_sink(f"{path}?segment_s=5", context()))
    assert said == f"{path} cannot be written: File exists"
