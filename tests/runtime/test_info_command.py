"""`blurvote info`: a guard's description, for people and for machines."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from blurvote.runtime import Defense, GuardMetadata, ViewBuilder, cli
from blurvote.runtime.commands.info import frame_size
from tests.conftest import SMALL
from tests.runtime.adaptive import ADAPTIVE, write_adaptive_guard

MakeGuard = Callable[..., Path]
Info = Callable[..., str]


@pytest.fixture
def info(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Info:
    """What `blurvote info` prints."""
    monkeypatch.setenv("OPENCV_LOG_LEVEL", "OFF")  # main would set them for good
    monkeypatch.setenv("OPENCV_FFMPEG_LOGLEVEL", "-8")

    def call(*args: object) -> str:
        assert cli.main(["info", *map(str, args)]) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        return printed.out

    return call


def describe(path: Path, metadata: GuardMetadata) -> Path:
    """Gives the guard at `path` other metadata."""
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, metadata.to_map())
    onnx.save(model, str(path))
    return path


def effective_sigmas(height: int, width: int, defense: Defense) -> list[list[float]]:
    """Blur on the backbone's grid, from its definition, where the frame is landscape."""
    radius = defense.kernel_size // 2
    taps = [math.exp(-(d**2) / (2 * defense.sigma**2)) for d in range(-radius, radius + 1)]
    moment = sum(tap * (k - radius) ** 2 for k, tap in enumerate(taps)) / sum(taps)
    scales = defense.resize / height, int(defense.resize * width / height) / width
    return [[math.sqrt(passes * moment) * scale for scale in scales] for passes in defense.passes]


def test_json_holds_everything(info: Info, make_guard: MakeGuard) -> None:
    path = make_guard()
    said = json.loads(info(path, "--json"))
    assert said["path"] == str(path)
    assert (said["kind"], said["frame_size"]) == ("views", None)
    assert Defense(**said["defense"]) == SMALL
    assert said["labels"] == ["red", "green", "blue"]
    assert said["provenance"] == {"source": "test"}
    assert said["parity"] == {}
    assert list(said["effective_sigma_px"]) == ["480x640", "720x1280", "1080x1920"]
    for size, sigmas in said["effective_sigma_px"].items():
        height, width = map(int, size.split("x"))
        for got, expected in zip(sigmas, effective_sigmas(height, width, SMALL), strict=True):
            assert got == pytest.approx(expected)


def test_text_for_people(info: Info, make_guard: MakeGuard) -> None:
    path = make_guard()
    lines = info(path, "--frame-size", "40x60").splitlines()
    assert lines == [
        f"{path}: views guard (takes normalised views, frames of any size)",
        "  views      clean, single-blur, double-blur",
        "  blur       5 taps, sigma 1 px at the frame, border reflect",
        "  grid       crop to 16x16 from a short side of 20, bilinear, antialiased",
        "  normalise  mean [0.485, 0.456, 0.406], std [0.229, 0.224, 0.225]",
        "  decision   majority",
        "  labels     3 (red, green, blue)",
        "  precision  fp32",
        # 0.961 and 1.360 px of the frame, halved: (DESIGN.md, section 3)
        "  effective sigma on a 40x60 frame: 0.00, 0.48, 0.68 px of the grid",
        "  provenance",
        "    source: test",
    ]


STRETCH = replace(SMALL, fit="stretch", interpolation="bicubic", antialias=False, blur_at="model")
MEAN = replace(SMALL, decision="mean", threshold=0.5)
PARITY = {"views": 1e-6, "frames": [1, 2]}
VARIANTS: dict[str, tuple[GuardMetadata, list[str], list[str]]] = {
    "stretch": (
        GuardMetadata("views", STRETCH),
        [
            "  blur       5 taps, sigma 1 px at the model, border reflect",
            "  grid       stretch to 16x16, bicubic, no antialias",
            "  labels     0 (none: verdicts give numbers)",
            "  effective sigma on a 480x640 frame: 0.00, 0.96, 1.36 px of the grid",
        ],
        ["  provenance", "  parity"],
    ),
    "mean": (GuardMetadata("views", MEAN), ["  decision   mean, threshold 0.5000"], []),
    "single": (
        GuardMetadata("views", replace(SMALL, decision="single")),
        ["  views      single-blur", "  decision   single"],
        [],
    ),
    "many labels": (
        GuardMetadata("views", SMALL, tuple("abcdef")),
        ["  labels     6 (a, b, c, d, ...)"],
        [],
    ),
    "frames": (
        GuardMetadata("frames", SMALL, (), (30, 50), {}, PARITY),
        [
            "{path}: frames guard (takes uint8 frames, frames of 30x50)",
            "  effective sigma on a 30x50 frame: 0.00, 0.64, 0.90 px of the grid",
            "  parity",
            "    views: 1e-06",
        ],
        ["  effective sigma on a 480x640 frame: ", "    frames: "],
    ),
}


@pytest.mark.parametrize(("metadata", "there", "absent"), VARIANTS.values(), ids=VARIANTS.keys())
def test_variants(
    info: Info, make_guard: MakeGuard, metadata: GuardMetadata, there: list[str], absent: list[str]
) -> None:
    path = describe(make_guard(), metadata)
    text = info(path)
    for line in there:
        assert line.format(path=path) in text.splitlines()
    for start in absent:
        assert f"\n{start}" not in text


def test_a_frame_size_that_cannot_be_served_is_explained(info: Info, make_guard: MakeGuard) -> None:
    path = make_guard()
    said = json.loads(info(path, "--frame-size", "2x2", "--json"))["effective_sigma_px"]["2x2"]
    assert said.startswith("frames of 2x2 px: ")
    assert f"  2x2: {said}" in info(path, "--frame-size", "2x2").splitlines()
    assert "  0x5: frames of 5x0 px: expected sides of 1 to 32768 px" in info(
        path, "--frame-size", "0x5"
    )


def test_a_model_that_is_no_guard(
    make_guard: MakeGuard, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENCV_LOG_LEVEL", "OFF")
    monkeypatch.setenv("OPENCV_FFMPEG_LOGLEVEL", "-8")
    path = make_guard()
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, {"author": "me"})
    onnx.save(model, str(path))
    assert cli.main(["info", str(path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        f"blurvote: error: {path} is not a guard: its ONNX metadata has no blurvote.defense entry. "
        f"Turn the model into a guard first: blurvote export {path} -o guard.onnx\n"
    )


def test_frame_sizes() -> None:
    assert frame_size("1080x1920") == frame_size("1080X1920") == (1080, 1920)
    bad: Any
    for bad in ("1080", "x", "1080x", "x1920", "1080x1920x3", "-1x5", "1.5x2", ""):
        with pytest.raises(argparse.ArgumentTypeError) as caught:
            frame_size(bad)
        assert str(caught.value) == f"{bad!r} is not HEIGHTxWIDTH, such as 1080x1920"


def test_what_is_done_about_noisy_frames(info: Info, tmp_path: Path) -> None:
    defense = replace(ADAPTIVE, noise_switch=(0.02, 0.03), decision="mean", noisy_threshold=0.25)
    path = write_adaptive_guard(tmp_path / "guard.onnx", defense)
    gain = ViewBuilder(defense).noise_gain(1080, 1920)
    at_frame = [level / gain for level in defense.noise_switch]
    lines = info(path, "--frame-size", "1080x1920").splitlines()
    assert lines[2:5] == [
        "  if noisy   denoised, denoised-single-blur, double-blur",
        "  noisy is   from 7.65 of 255 grey levels on the grid, in a stream until below 5.10",
        "  denoiser   marks (sha256 000000000000)",
    ]
    assert "  decision   mean, of noisy frames 0.2500" in lines
    assert (
        f"  a 1080x1920 frame is noisy from {at_frame[1] * 255:.1f} of 255 grey levels, in a "
        f"stream until below {at_frame[0] * 255:.1f}"
    ) in lines
    said = json.loads(info(path, "--json"))
    assert said["denoiser"] == {"name": "marks", "sha256": "0" * 64}
    assert said["noise_switch_at_frame"]["1080x1920"] == pytest.approx(at_frame)
    assert Defense(**said["defense"]) == defense


def test_a_frames_guard_has_no_memory_of_a_stream(info: Info, make_guard: MakeGuard) -> None:
    defense = replace(ADAPTIVE, noise_switch=(0.02, 0.03))
    text = info(describe(make_guard(), GuardMetadata("frames", defense, (), (96, 128))))
    high = 0.03 / ViewBuilder(defense).noise_gain(96, 128)
    assert "  noisy is   from 7.65 of 255 grey levels on the grid" in text.splitlines()
    told = f"  a 96x128 frame is noisy from {high * 255:.1f} of 255 grey levels"
    assert told in text.splitlines()


def test_other_guards_say_nothing_of_it(info: Info, make_guard: MakeGuard) -> None:
    assert "nois" not in info(make_guard())
    said = json.loads(info(make_guard(), "--json"))
    assert (said["denoiser"], said["noise_switch_at_frame"]) == (None, {})
