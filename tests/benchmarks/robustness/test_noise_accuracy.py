"""The tables of the noise estimate: what they print, and what they say of mistakes."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from blurvote.benchmarks.robustness import noise_table
from blurvote.benchmarks.robustness.noise_accuracy import main
from blurvote.export.parity_frames import draw_frame


def pictures(folder: Path, count: int, side: int = 60) -> Path:
    folder.mkdir()
    for seed in range(count):
        cv2.imwrite(str(folder / f"{seed}.png"), draw_frame(side, side + 20, seed))
    return folder


def test_photographs_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--images", str(pictures(tmp_path / "two", 2))]) == 0
    assert "1 other photographs: quantiles of the estimate" in capsys.readouterr().out


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, small = pictures(tmp_path / "one", 1), pictures(tmp_path / "small", 2, 16)
    for words, message in (
        ((), "nothing to estimate: give --images DIR or --video FILE"),
        (("--images", str(tmp_path / "absent")), "absent"),
        (("--images", str(one)), "holds 1 photographs; expected at least 2"),
        (("--images", str(small)), "a frame of 36x16 px, whose noise cannot be read"),
        (("--video", str(tmp_path / "absent.mp4")), "absent.mp4"),
    ):
        assert main(list(words)) == 2, words
        said = capsys.readouterr()
        assert said.err.startswith("error: ")
        assert message in said.err.splitlines()[0]
        assert said.out == ""


def test_numbers_that_cannot_be(capsys: pytest.CaptureFixture[str]) -> None:
    for command, words in (
        (main, ("--every", "0")),
        (noise_table.main, ("--segments", "0")),
        (noise_table.main, ("--seed", "-1")),
    ):
        with pytest.raises(SystemExit) as refused:
            command(list(words))
        assert refused.value.code == 2
        said = capsys.readouterr()
        assert f"argument {words[0]}: '{words[1]}' is not an integer" in said.err
        assert said.out == ""
