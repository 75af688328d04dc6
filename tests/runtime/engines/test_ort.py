"""ONNX Runtime's engines: they run where they were asked to, or say why not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from blurvote.runtime import Guard, GuardError, ProviderError, machine
from blurvote.runtime.engines import ort
from blurvote.runtime.engines.protocol import EngineSettings
from blurvote.runtime.engines.registry import open_engine
from tests.conftest import colour_classifier

MakeGuard = Callable[..., Path]
CPU_ONLY = EngineSettings("cpu")
CPU, CUDA, TENSORRT = (f"{name}ExecutionProvider" for name in ("CPU", "CUDA", "Tensorrt"))


def test_a_loaded_model(make_guard: MakeGuard) -> None:
    loaded = open_engine(make_guard())
    assert loaded.provider in ("cpu", "cuda")
    assert loaded.threads == machine.usable_cores()
    assert loaded.input_name == "views"
    assert loaded.output_names == ["logits"]
    assert '"views"' in loaded.metadata["blurvote.kind"]
    batch = np.ones((2, 3, 16, 16), np.float32)
    (all_outputs,) = loaded.run(batch)
    (logits,) = loaded.run(batch, ["logits"])
    np.testing.assert_allclose(logits, np.full((2, 3), 50), rtol=1e-6)
    np.testing.assert_array_equal(all_outputs, logits)


# ---- files ----


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "no.onnx", tmp_path):
        with pytest.raises(GuardError) as caught:
            open_engine(path)
        assert str(caught.value) == (
            f"{path} is not a file; expected an ONNX file written by blurvote export"
        )


@pytest.mark.parametrize("kept", [0, 1, 0.1, 0.4, 0.7, 0.95, "all but one byte", "text"])
def test_a_file_that_is_no_model(make_guard: MakeGuard, kept: Any) -> None:
    path = make_guard()
    data = path.read_bytes()
    if kept == "text":
        data = b"These are not the weights you are looking for.\n" * 9
    elif kept == "all but one byte":
        data = data[:-1]
    else:
        data = data[: kept if isinstance(kept, int) else int(len(data) * kept)]
    path.write_bytes(data)
    with pytest.raises(GuardError) as caught:
        open_engine(path, CPU_ONLY)
    said = str(caught.value)
    assert said.startswith(f"{path} cannot be loaded as an ONNX model (")
    assert said.endswith(". Is it truncated, or not an ONNX file? Export it again")
    assert "\n" not in said


def test_a_model_that_is_no_guard(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    model = onnx.helper.make_model(
        colour_classifier(), opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10
    )
    onnx.save(model, str(path))
    with pytest.raises(GuardError) as caught:
        Guard(path)
    assert str(caught.value) == (
        f"{path} is not a guard: its ONNX metadata has no blurvote.defense entry. "
        f"Turn the model into a guard first: blurvote export {path} -o guard.onnx"
    )


@pytest.mark.parametrize(
    "batch", [np.zeros((1, 3, 5, 5), np.float32), np.zeros((1, 3, 16, 16), np.uint8)]
)
def test_a_run_that_fails_names_the_file_and_the_shape(
    make_guard: MakeGuard, batch: np.ndarray
) -> None:
    path = make_guard()
    loaded = open_engine(path, CPU_ONLY)
    with pytest.raises(GuardError) as caught:
        loaded.run(batch)
    assert str(caught.value).startswith(f"{path} failed on an input of shape {batch.shape}: ")


def test_an_inference_in_steps_is_the_same_inference(make_guard: MakeGuard) -> None:
    loaded = open_engine(make_guard(), CPU_ONLY)
    views = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)
    (logits,), steps = loaded.run_in_steps(views)
    np.testing.assert_array_equal(logits, loaded.run(views)[0])
    assert min(steps.copy_in, steps.inference, steps.copy_out) > 0
    with pytest.raises(GuardError, match=r"failed on an input of shape \(2, 5\)"):
        loaded.run_in_steps(views[0, 0, :2, :5].copy())


# ---- settings ----


@pytest.mark.parametrize(("threads", "spin"), [(1, True), (2, False), (None, True)])
def test_settings_reach_the_session(
    make_guard: MakeGuard, monkeypatch: pytest.MonkeyPatch, threads: int | None, spin: bool
) -> None:
    created: list[Any] = []
    real = onnxruntime.InferenceSession

    def record(path: str, options: Any, **how: Any) -> Any:
        created.append(options)
        return real(path, options, **how)

    monkeypatch.setattr(onnxruntime, "InferenceSession", record)
    open_engine(make_guard(), EngineSettings("cpu", threads=threads, spin=spin))
    (options,) = created
    assert options.intra_op_num_threads == (threads or machine.usable_cores())
    assert options.inter_op_num_threads == 1
    entry = options.get_session_config_entry
    assert entry("session.intra_op.allow_spinning") == ("1" if spin else "0")
    assert entry("session.force_spinning_stop") == "1"


# ---- wheels and providers ----


@pytest.mark.parametrize(
    ("jetson", "advice"),
    [
        (False, "pip install onnxruntime"),
        (True, "on a Jetson install NVIDIA's onnxruntime-gpu"),
    ],
)
def test_without_onnxruntime_the_wheel_is_named(
    make_guard: MakeGuard, monkeypatch: pytest.MonkeyPatch, jetson: bool, advice: str
) -> None:
    monkeypatch.setattr(machine, "is_jetson", lambda: jetson)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ProviderError) as caught:
        open_engine(make_guard())
    assert str(caught.value).startswith("onnxruntime cannot be imported (")
    assert f"); {advice}" in str(caught.value)


class FakeRuntime:
    """An onnxruntime whose wheel has `available` providers; sessions run on `runs`, or fail."""

    __version__ = "9.9"
    __file__ = onnxruntime.__file__
    SessionOptions = onnxruntime.SessionOptions

    def __init__(self, available: list[str], runs: list[str], fails_on: dict[str, str]) -> None:
        self.available, self.runs, self.fails_on = available, runs, fails_on
        self.asked: list[list[Any]] = []

    def get_available_providers(self) -> list[str]:
        return self.available

    def InferenceSession(
        self, path: str, options: Any, providers: list[Any], enable_fallback: int
    ) -> Any:
        assert not enable_fallback
        self.asked.append(providers)
        first = providers[0] if isinstance(providers[0], str) else providers[0][0]
        if first in self.fails_on:
            raise RuntimeError(self.fails_on[first])
        nothing = SimpleNamespace(name="x")
        return SimpleNamespace(
            get_providers=lambda: [*self.runs] if self.runs else [first],
            get_modelmeta=lambda: SimpleNamespace(custom_metadata_map={}),
            get_inputs=lambda: [nothing],
            get_outputs=lambda: [nothing],
        )


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeRuntime]:
    """Puts a FakeRuntime in the place of onnxruntime."""

    def install(
        available: list[str], runs: Sequence[str] = (), fails_on: dict[str, str] | None = None
    ) -> FakeRuntime:
        fake = FakeRuntime(available, list(runs), fails_on or {})
        monkeypatch.setattr(ort, "import_onnxruntime", lambda: fake)
        monkeypatch.setattr(machine, "is_jetson", lambda: False)
        monkeypatch.setattr("platform.machine", lambda: "x86_64")
        return fake

    return install


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_wheel_without_the_provider(
    make_guard: MakeGuard, pretend: Callable[..., FakeRuntime], provider: Any
) -> None:
    pretend([CPU])
    with pytest.raises(ProviderError) as caught:
        open_engine(make_guard(), EngineSettings(provider))
    assert str(caught.value) == (
        f"provider {provider!r} was asked for, but onnxruntime 9.9 here only has {CPU}; "
        "pip uninstall onnxruntime; pip install onnxruntime-gpu"
    )


def test_a_silent_fallback_is_noticed(
    make_guard: MakeGuard, pretend: Callable[..., FakeRuntime]
) -> None:
    pretend([CUDA, CPU], runs=[CPU])
    with pytest.raises(ProviderError) as caught:
        open_engine(make_guard(), EngineSettings("cuda"))
    assert str(caught.value) == (
        f"provider 'cuda' was asked for, but {CPU} is what would run: its driver or "
        "libraries are missing; see blurvote doctor"
    )


def test_a_broken_file_is_not_blamed_on_the_provider(
    make_guard: MakeGuard, pretend: Callable[..., FakeRuntime]
) -> None:
    pretend([CUDA, CPU], fails_on={CUDA: "INVALID_PROTOBUF : Protobuf parsing failed."})
    with pytest.raises(GuardError, match="cannot be loaded as an ONNX model"):
        open_engine(make_guard(), EngineSettings("cuda"))


# Available providers, those that fail, what is asked for, what runs, the chains that were tried.
CHOICES: list[tuple[list[str], set[str], Any, str, list[list[Any]]]] = [
    ([CPU], set(), "auto", "cpu", [[CPU]]),
    ([CUDA, CPU], set(), "auto", "cuda", [[CUDA]]),
    ([CUDA, CPU], {CUDA}, "auto", "cpu", [[CUDA], [CPU]]),
    ([TENSORRT, CUDA, CPU], set(), "auto", "cuda", [[CUDA]]),
    ([TENSORRT, CUDA, CPU], set(), "cpu", "cpu", [[CPU]]),
]


@pytest.mark.parametrize(("available", "failing", "asked", "runs", "chains"), CHOICES)
def test_the_choice_of_a_provider(
    make_guard: MakeGuard,
    pretend: Callable[..., FakeRuntime],
    available: list[str],
    failing: set[str],
    asked: Any,
    runs: str,
    chains: list[list[Any]],
) -> None:
    fake = pretend(available, fails_on=dict.fromkeys(failing, "no driver"))
    assert open_engine(make_guard(), EngineSettings(asked)).provider == runs
    assert [[name for name, _ in chain] for chain in fake.asked] == chains
