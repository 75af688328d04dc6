"""A guard's denoiser is opened with it, and one that does not fit is refused then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray

from blurvote.runtime import Guard, GuardError, PlanError, ProviderError
from blurvote.runtime.denoising import open_denoiser_engine
from blurvote.runtime.engines import registry
from blurvote.runtime.engines.model_bytes import ModelBytes
from blurvote.runtime.engines.ort import OnnxRuntimeEngine
from blurvote.runtime.engines.protocol import EngineSettings
from blurvote.runtime.metadata import DenoiserEntry, GuardMetadata
from tests.runtime.adaptive import ADAPTIVE, denoiser_model, grainy, write_adaptive_guard


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_adaptive_guard(tmp_path / "guard.onnx")


def test_denoised_views_without_a_denoiser(tmp_path: Path) -> None:
    for options in ({"entry": False}, {"denoiser": b""}):
        broken = write_adaptive_guard(tmp_path / "guard.onnx", **options)  # type: ignore[arg-type]
        with pytest.raises(GuardError) as caught:
            Guard(broken, "cpu")
        assert str(broken) in str(caught.value)


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_a_broken_denoiser(tmp_path: Path, provider: Any) -> None:
    if provider == "openvino":
        pytest.importorskip("openvino")
    data = denoiser_model(2, 16, 16)
    for broken in (data[:-40], b"no model at all, however long it is" * 9):
        path = write_adaptive_guard(tmp_path / "guard.onnx", denoiser=broken)
        with pytest.raises(GuardError) as caught:
            Guard(path, provider)
        said = str(caught.value)
        assert said.startswith(f"the denoiser of {path} cannot be loaded as an ONNX model (")
        assert said.endswith("Export it again")


def test_a_denoiser_of_another_kind(tmp_path: Path) -> None:
    from tests.runtime import adaptive

    graph = adaptive._bytes(adaptive.colour_classifier())
    path = write_adaptive_guard(tmp_path / "guard.onnx", denoiser=graph)
    with pytest.raises(GuardError, match="maps 'views' to 'logits'; expected 'noisy' to 'views'"):
        Guard(path, "cpu")
    path = write_adaptive_guard(tmp_path / "guard.onnx", denoiser=denoiser_model(3, 16, 16))
    with pytest.raises(GuardError) as caught:
        Guard(path, "cpu")
    assert str(caught.value) == (
        f"the denoiser of {path} makes float32 of shape (1, 3, 3, 16, 16); expected float32 of "
        "(1, 2, 3, 16, 16): it is not of this guard's defence. Export the guard again"
    )
    path = write_adaptive_guard(tmp_path / "guard.onnx", denoiser=denoiser_model(2, 8, 8))
    with pytest.raises(GuardError, match=r"denoiser of .* failed on an input of shape \(1, 4, 16"):
        Guard(path, "cpu")


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[Watched]:
    """The engines that are opened from now on, which tell what is done with them."""
    opened: list[Watched] = []

    def open_engine(model: Any, settings: EngineSettings) -> Watched:
        opened.append(Watched(model, settings))
        return opened[-1]

    monkeypatch.setattr(registry, "open_engine", open_engine)
    monkeypatch.setattr("blurvote.runtime.guard.open_engine", open_engine)
    return opened


class Watched(OnnxRuntimeEngine):
    def __init__(self, model: Any, settings: EngineSettings) -> None:
        super().__init__(model, settings)
        self.shapes: list[tuple[int, ...]] = []
        self.closed = False

    def run(self, batch: NDArray[Any], outputs: Any = None) -> list[NDArray[Any]]:
        self.shapes.append(batch.shape)
        return super().run(batch, outputs)

    def close(self) -> None:
        self.closed = True
        super().close()


def test_the_denoiser_is_warm_before_the_first_noisy_frame(
    path: Path, engines: list[Watched]
) -> None:
    guard = Guard(path, "cpu", "batched")
    _, denoiser = engines
    assert denoiser.shapes == [(1, 4, 16, 16)]
    guard.classify(grainy(0, 0.2))
    guard.classify(grainy(0, 0.2), boxes=[[0, 0, 128, 96]], fit="stretch")
    guard.views_of(grainy(0, 0.2), denoised=True)
    assert len(denoiser.shapes) == 4, "not once for each way to use it"


@pytest.mark.parametrize("denoiser", [b"no model", denoiser_model(3, 16, 16)])
def test_a_guard_that_cannot_be_made_leaves_no_engine_open(
    tmp_path: Path, engines: list[Watched], denoiser: bytes
) -> None:
    with pytest.raises(GuardError):
        Guard(write_adaptive_guard(tmp_path / "guard.onnx", denoiser=denoiser), "cpu")
    assert engines
    assert all(engine.closed for engine in engines)


def test_nor_does_one_that_fails_after_both_were_opened(path: Path, engines: list[Watched]) -> None:
    with pytest.raises(PlanError):
        Guard(path, "cpu", plan="fastest")  # type: ignore[arg-type]
    assert [engine.closed for engine in engines] == [True, True]


def test_the_denoiser_runs_as_the_guard_does(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, EngineSettings]] = []

    def open_engine(model: Any, settings: EngineSettings) -> Any:
        asked.append((model, settings))
        raise ProviderError("cannot")

    monkeypatch.setattr(registry, "open_engine", open_engine)
    metadata = GuardMetadata("views", ADAPTIVE, denoiser=DenoiserEntry("marks", "0" * 64, b"x"))
    options: dict[str, str | int | bool] = {"max_frames": 4, "build": True}
    settings = EngineSettings("tensorrt", "fp16", 2, False, options)
    with pytest.raises(ProviderError, match="cannot"):
        open_denoiser_engine("guard.onnx", metadata, settings, "tensorrt")
    with pytest.raises(ProviderError, match="cannot"):
        open_denoiser_engine("guard.onnx", metadata, EngineSettings("auto", threads=3), "cpu")
    model = ModelBytes(Path("guard.onnx"), "denoiser", b"x", "noisy", (4, 16, 16))
    assert asked == [(model, settings), (model, EngineSettings("cpu", threads=3))]


def test_guards_that_denoise_nothing_or_within_their_graph_have_no_engine() -> None:
    plain = GuardMetadata("views", replace(ADAPTIVE, noisy_views=()))
    whole = GuardMetadata("frames", ADAPTIVE, denoiser=DenoiserEntry("marks", "0" * 64))
    for metadata in (plain, whole):
        assert open_denoiser_engine("x.onnx", metadata, EngineSettings("cpu"), "cpu") is None
