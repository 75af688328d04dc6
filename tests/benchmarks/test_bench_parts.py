"""The parts of `blurvote bench` against independent oracles."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from blurvote.benchmarks.latency import gemm, tune
from blurvote.benchmarks.latency.flops import count_flops
from blurvote.benchmarks.latency.pictures import Pictures, at_size, natural_frame, noisy
from blurvote.benchmarks.latency.sections import vote
from blurvote.benchmarks.latency.sections.views import slope
from blurvote.benchmarks.latency.ways import OneByOne, agreeing_frame, differing_frame
from blurvote.runtime import Guard, SourceError, ViewBuilder, majority_vote
from blurvote.runtime.defense import Defense
from blurvote.runtime.undefended import Undefended


def test_arithmetic_agrees_with_torch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, stride=2, padding=1),
        torch.nn.BatchNorm2d(8),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 8, 3, groups=8),
        torch.nn.Conv2d(8, 16, 1),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(16, 10),
    ).eval()
    image = torch.randn(1, 3, 33, 41)
    path = tmp_path / "model.onnx"
    with warnings.catch_warnings():  # of the exporter's, about its own age
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (image,), path, dynamo=False, opset_version=17)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(image)
    assert count_flops(path, tuple(image.shape)) == counter.get_total_flops()


def test_arithmetic_of_a_known_model(assets: Path) -> None:
    """MobileNetV2's 300 million multiply-adds (Sandler et al. 2018, table 4), weights folded."""
    model = assets / "models" / "mobilenet_v2_1.0_224_quant.onnx"
    assert count_flops(model, (1, 3, 224, 224)) == pytest.approx(2 * 300e6, rel=0.02)


def test_products_multiply() -> None:
    random = np.random.default_rng(0)
    a, b = random.standard_normal((2, 24, 24), np.float32)
    u8 = random.integers(0, 256, (24, 24), dtype=np.uint8)
    s8 = random.integers(-64, 64, (24, 24), dtype=np.int8)
    for name, (kind, call) in gemm.products(threads=1, side=24).items():
        product = np.asarray(call()[0] if "ONNX" in name else call())
        expected = a @ b if kind == "fp32" else u8.astype(int) @ s8.astype(int)
        np.testing.assert_allclose(product, expected, rtol=1e-4, atol=1e-4)


def test_slopes() -> None:
    assert slope([(x, 3 * x**0.7) for x in (1.0, 10.0, 100.0)]) == pytest.approx(0.7)


def test_views_one_by_one_vote_like_a_batch(
    make_guard: Callable[..., Path], red_frame: np.ndarray
) -> None:
    path = make_guard()
    one_by_one = OneByOne(Undefended(path), range(3))
    with Guard(path, "cpu", plan="batched") as guard:
        for seed in range(5):
            frame = noisy(red_frame, 0.5, seed)
            assert one_by_one.classify(frame) == guard.classify(frame).label


def test_a_pair_of_frames(make_guard: Callable[..., Path]) -> None:
    """Grey noise: the colour that wins is chance, and a blur can turn it."""
    frames = [np.full((20, 20, 3), 128, np.uint8)]
    with Guard(make_guard(), "cpu", plan="batched") as guard:
        agree, differ = agreeing_frame([guard], frames), differing_frame(guard, frames)
        assert guard.classify(agree).disagreement is False
        assert differ is None or guard.classify(differ).disagreement is True


def test_the_kernel_is_faster_than_numpy_and_opencv_in_one_run() -> None:
    """Far below the targets, so that a busy machine passes; the benchmark has the figures."""
    from blurvote.benchmarks.latency import peers
    from blurvote.benchmarks.timing import Method, measure

    frame = natural_frame(720, 1280)
    defense = Defense()
    slow = {peer.name: peer.build for peer in peers.view_peers(defense, frame, lambda *_: None)}
    area = next(name for name in slow if "AREA" in name)
    ways = {
        "ours": lambda: ViewBuilder(defense).build(frame),
        "area": slow[area],
    }
    measured = measure(ways, Method(rounds=2, max_windows=3, warm_s=0.2))
    assert measured.ratio("area", "ours").median > 2


def test_pictures_of_a_folder(tmp_path: Path) -> None:
    for k in range(6):
        height, width = (20, 30) if k % 2 else (30, 20)
        picture = np.full((height, width, 3), 10 * k, np.uint8)
        assert cv2.imwrite(str(tmp_path / f"{k}.png"), picture)
    (tmp_path / "2.png").write_bytes(b"no picture")
    pictures = Pictures(str(tmp_path), limit=10)
    assert [int(image[0, 0, 0]) for image in pictures.images] == [0, 10, 30, 40, 50]
    frames = pictures.frames(60, 90, count=4)
    assert [int(frame[0, 0, 0]) for frame in frames] == [10, 30, 50, 10]  # the landscape ones
    assert {frame.shape for frame in frames} == {(60, 90, 3)}
    assert len(Pictures(str(tmp_path), limit=3).images) == 3
    with pytest.raises(SourceError):
        Pictures(str(tmp_path / "2.png"), limit=3)


def test_drawn_frames_where_there_is_no_folder() -> None:
    pictures = Pictures(None, limit=5)
    assert "no --images" in pictures.described
    assert len({image.tobytes() for image in pictures.images}) == len(pictures.images)
    small = at_size(pictures.images[0], 100, 120)
    assert small.shape == (100, 120, 3)
    assert 30 < small.std() < 100


def test_numpy_votes_as_we_do() -> None:
    logits = np.random.default_rng(0).normal(size=(50, 1, 3, 4)).astype(np.float32)
    for one in logits:
        assert vote.numpy_vote(one) == majority_vote(one).labels[0]


def setting(threads: int, spin: bool = True) -> tune.Setting:
    return tune.Setting(Path("guard.onnx"), "cpu", "cascade", threads, spin)


CHOICES = {
    "the fastest": ({setting(1): 20.0, setting(2): 10.0}, setting(2)),
    "fewer threads where they are as fast": ({setting(1): 10.2, setting(2): 10.0}, setting(1)),
    "no spinning where it is as fast": (
        {setting(2): 10.0, setting(2, spin=False): 10.1},
        setting(2, spin=False),
    ),
    "not when it costs more": (
        {setting(2): 10.0, setting(2, spin=False): 10.5},
        setting(2),
    ),
}


@pytest.mark.parametrize("case", CHOICES)
def test_the_choice_among_settings(case: str) -> None:
    means, expected = CHOICES[case]
    assert tune.choose(means) == expected
