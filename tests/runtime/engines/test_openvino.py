"""OpenVINO gives the verdicts of ONNX Runtime within a stated tolerance, or says why it cannot."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from blurvote.runtime import Defense, Guard, GuardError, GuardMetadata, ProviderError, ViewBuilder
from blurvote.runtime.cli import main
from blurvote.runtime.demo import guard_path
from blurvote.runtime.demo.scenes import draw_clip
from blurvote.runtime.engines import openvino as module
from blurvote.runtime.engines.openvino import OpenVinoEngine
from blurvote.runtime.engines.protocol import Compute, Engine, EngineSettings
from blurvote.runtime.engines.registry import open_engine

openvino = pytest.importorskip("openvino")

MakeGuard = Callable[..., Path]
OPENVINO = EngineSettings("openvino", threads=1)
CPU = EngineSettings("cpu", threads=1)

# Largest difference of a logit from ONNX Runtime's, over the range of a view's logits. Measured on
# MobileNetV2 and ResNet50 over 300 views of real pictures each: 2e-6 in fp32 (sums in another
# order), 9e-2 in bf16 (8 bits of mantissa in every product).
TOLERANCES: dict[Compute, float] = {"fp32": 1e-5, "bf16": 0.1}


def has_bf16() -> bool:
    return "BF16" in module.shared_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.fixture(params=["fp32", "bf16"])
def compute(request: pytest.FixtureRequest) -> Compute:
    """Each arithmetic that this processor has."""
    if request.param == "bf16" and not has_bf16():
        pytest.skip("this processor has no bfloat16")
    found: Compute = request.param
    return found


def frames(count: int) -> list[NDArray[np.uint8]]:
    """Drawn road scenes, each another."""
    return [next(iter(draw_clip(seed=seed))).pixels for seed in range(count)]


def assert_like(got: NDArray[np.float32], expected: NDArray[np.float32], tolerance: float) -> int:
    """Logits `(N, C)` within the tolerance, labels equal wherever the margin is beyond it.

    Returns how many labels that were.
    """
    span = np.ptp(expected, axis=1)
    assert (np.abs(got - expected).max(axis=1) <= tolerance * span).all()
    ordered = np.sort(expected, axis=1)
    clear = ordered[:, -1] - ordered[:, -2] > tolerance * span
    np.testing.assert_array_equal(got.argmax(axis=1)[clear], expected.argmax(axis=1)[clear])
    return int(clear.sum())


# ---- the same numbers ----


def test_a_loaded_model(make_guard: MakeGuard) -> None:
    path = make_guard()
    loaded, expected = open_engine(path, OPENVINO), open_engine(path, CPU)
    assert (loaded.provider, loaded.compute, loaded.threads) == ("openvino", "fp32", 1)
    assert loaded.metadata == expected.metadata
    assert loaded.input_name == expected.input_name
    assert loaded.output_names == expected.output_names
    (device,) = loaded.provider_options.values()
    assert (device["INFERENCE_NUM_THREADS"], device["PERFORMANCE_HINT"]) == ("1", "LATENCY")
    batch = np.ones((2, 3, 16, 16), np.float32)
    (logits,) = loaded.run(batch, ["logits"])
    np.testing.assert_allclose(logits, np.full((2, 3), 50), rtol=1e-6)
    np.testing.assert_array_equal(loaded.run(batch)[0], logits)


@pytest.mark.parametrize("kind", ["views", "frames"])
def test_verdicts_on_the_shipped_guards(kind: Any, compute: Compute) -> None:
    path = guard_path(kind)
    with Guard(path, "openvino", "batched", 1, compute=compute) as ours, Guard(path, "cpu") as ort:
        assert (ours.provider, ours.compute) == ("openvino", compute)
        for frame in frames(12):
            got, expected = ours.classify(frame), ort.classify(frame)
            assert (got.label, got.reason) == (expected.label, expected.reason)
            if expected.confidence is not None:
                assert got.confidence == pytest.approx(
                    expected.confidence, abs=1e-5 if compute == "fp32" else 0.05
                )


@pytest.mark.parametrize("kind", ["views", "frames"])
def test_logits_of_the_shipped_guards(kind: Any, compute: Compute) -> None:
    path = guard_path(kind)
    ours, ort = (open_engine(path, settings) for settings in (
        EngineSettings("openvino", compute, 1), CPU
    ))  # fmt: skip
    builder = ViewBuilder(GuardMetadata.from_map(ort.metadata, str(path)).defense)
    compared = 0
    for frame in frames(6):
        batch = builder.build(frame) if kind == "views" else frame[None]
        got, expected = (engine.run(batch, ["logits"])[0] for engine in (ours, ort))
        classes = expected.shape[-1]
        tolerance = 1e-4 if (kind, compute) == ("frames", "fp32") else TOLERANCES[compute]
        compared += assert_like(got.reshape(-1, classes), expected.reshape(-1, classes), tolerance)
    assert compared >= 9


def test_a_cascade_decides_as_a_batch_does(compute: Compute) -> None:
    path = guard_path("views")
    settings: dict[str, Any] = {"provider": "openvino", "threads": 1, "compute": compute}
    noise = np.random.default_rng(0)
    agreed = set()
    batched, cascade = (Guard(path, plan=plan, **settings) for plan in ("batched", "cascade"))
    for frame in frames(16):
        noisy = (frame + noise.normal(0, 60, frame.shape)).clip(0, 255).astype(np.uint8)
        for pixels in (frame, noisy):
            whole, part = batched.classify(pixels), cascade.classify(pixels)
            assert (part.label, part.reason) == (whole.label, whole.reason)
            agreed.add(whole.disagreement)
    assert agreed == {True, False}, "frames of both kinds were meant"


@pytest.mark.parametrize("name", ["mobilenet_v2_1.0_224_quant.onnx", "pqf_resnet50_large.onnx"])
def test_real_models_and_pictures(assets: Path, tmp_path: Path, name: str) -> None:
    # The backbone is what an engine runs; that a guard's graph is it, the exporter's tests show.
    path = assets / "models" / name
    ort = open_engine(path, EngineSettings("cpu"))
    engines: dict[Compute, Engine] = {"fp32": open_engine(path, EngineSettings("openvino"))}
    if has_bf16():
        engines["bf16"] = open_engine(path, EngineSettings("openvino", "bf16"))
    builder = ViewBuilder(Defense())
    compared = dict.fromkeys(engines, 0)
    for picture in sorted((assets / "images" / "imagenet-half").iterdir())[::60]:
        views = builder.build(np.ascontiguousarray(cv2.imread(str(picture))[..., ::-1]))
        expected = ort.run(views, ["logits"])[0]
        for compute, engine in engines.items():
            got = engine.run(views, ["logits"])[0]
            compared[compute] += assert_like(got, expected, TOLERANCES[compute])
    assert compared["fp32"] >= 24
    assert compared.get("bf16", 9) >= 9


def quantised_guard(path: Path, precision: str) -> Path:
    """A `views` guard whose one convolution is int8 (static Q/DQ) or float16 inside."""
    random = np.random.default_rng(0)
    weights = random.normal(0, 0.2, (8, 3, 3, 3)).astype(np.float32)
    head = random.normal(0, 1, (8, 5)).astype(np.float32)
    constants: dict[str, NDArray[Any]] = {}
    if precision == "int8":
        scale = (np.abs(weights).max(axis=(1, 2, 3)) / 127).astype(np.float32)
        constants |= {
            "w8": np.round(weights / scale[:, None, None, None]).astype(np.int8),
            "ws": scale, "wz": np.zeros(8, np.int8), "head": head,
            "xs": np.array(0.05, np.float32), "xz": np.array(0, np.int8),
        }  # fmt: skip
        nodes = [
            helper.make_node("QuantizeLinear", ["views", "xs", "xz"], ["x8"]),
            helper.make_node("DequantizeLinear", ["x8", "xs", "xz"], ["x"]),
            helper.make_node("DequantizeLinear", ["w8", "ws", "wz"], ["w"], axis=0),
            helper.make_node("Conv", ["x", "w"], ["c"], strides=[2, 2]),
            helper.make_node("ReduceMean", ["c", "axes"], ["m"], keepdims=0),
            helper.make_node("MatMul", ["m", "head"], ["logits"]),
        ]
    else:
        constants |= {"w": weights.astype(np.float16), "head": head.astype(np.float16)}
        nodes = [
            helper.make_node("Cast", ["views"], ["x"], to=TensorProto.FLOAT16),
            helper.make_node("Conv", ["x", "w"], ["c"], strides=[2, 2]),
            helper.make_node("ReduceMean", ["c", "axes"], ["m"], keepdims=0),
            helper.make_node("MatMul", ["m", "head"], ["l"]),
            helper.make_node("Cast", ["l"], ["logits"], to=TensorProto.FLOAT),
        ]
    constants["axes"] = np.array([2, 3], np.int64)
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("views", TensorProto.FLOAT, ["B", 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", 5])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    metadata = GuardMetadata("views", Defense(resize=36, crop=(32, 32)), tuple("abcde"))
    for key, value in metadata.to_map().items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
    return path


# A float16 file runs in float32 here, and on ONNX Runtime's CPU with its own rounding between; of
# int8, both round the same inputs to the same steps.
@pytest.mark.parametrize(("precision", "tolerance"), [("int8", 1e-5), ("fp16", 5e-3)])
def test_guards_of_other_precisions(tmp_path: Path, precision: str, tolerance: float) -> None:
    path = quantised_guard(tmp_path / "guard.onnx", precision)
    views = np.random.default_rng(1).normal(0, 1, (6, 3, 32, 32)).astype(np.float32)
    got, expected = (open_engine(path, s).run(views)[0] for s in (OPENVINO, CPU))
    assert got.dtype == np.float32
    assert assert_like(got, expected, tolerance) > 3
    with Guard(path, "openvino", threads=1) as guard:
        assert guard.classify(np.full((40, 50, 3), 99, np.uint8)).accepted


def test_products_of_weights_stored_in_8_bits_stay_float(tmp_path: Path) -> None:
    """OpenVINO's default would round their inputs to 8 bits, too."""
    random = np.random.default_rng(0)
    weights = random.integers(-127, 128, (256, 64)).astype(np.int8)
    constants = {
        "w8": weights, "ws": np.full(64, 0.01, np.float32), "wz": np.zeros(64, np.int8)
    }  # fmt: skip
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["w8", "ws", "wz"], ["w"], axis=1),
            helper.make_node("MatMul", ["x", "w"], ["y"]),
        ],
        "weights",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", 256])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["B", 64])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, str(tmp_path / "model.onnx"))
    x = random.normal(0, 1, (4, 256)).astype(np.float32)
    got = open_engine(tmp_path / "model.onnx", OPENVINO).run(x)[0]
    exact = x.astype(np.float64) @ (weights * 0.01)
    assert np.abs(got - exact).max() < 1e-5 * np.ptp(exact)


# ---- runs ----


def test_an_inference_in_steps_is_the_same_inference(make_guard: MakeGuard) -> None:
    loaded = open_engine(make_guard(), OPENVINO)
    views = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)
    (logits,), steps = loaded.run_in_steps(views)
    np.testing.assert_array_equal(logits, loaded.run(views)[0])
    assert min(steps.copy_in, steps.inference, steps.copy_out) > 0


def test_results_are_the_callers_own(make_guard: MakeGuard) -> None:
    loaded = open_engine(make_guard(), OPENVINO)
    (first,) = loaded.run(np.ones((2, 3, 16, 16), np.float32))
    kept = first.copy()
    loaded.run(np.zeros((2, 3, 16, 16), np.float32))
    np.testing.assert_array_equal(first, kept)


def test_arrays_that_openvino_does_not_take_as_they_are(make_guard: MakeGuard) -> None:
    loaded = open_engine(make_guard(), OPENVINO)
    random = np.random.default_rng(0)
    whole = random.normal(size=(2, 3, 16, 32)).astype(np.float32)
    strided = whole[..., ::2]
    locked = strided.copy()
    locked.flags.writeable = False
    expected = loaded.run(strided.copy())[0]
    for batch in (strided, locked):
        np.testing.assert_array_equal(loaded.run(batch)[0], expected)


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "scene.png"
    cv2.imwrite(str(picture), np.ascontiguousarray(frames(1)[0][..., ::-1]))
    guard = str(guard_path("views"))
    engine = ["--provider", "openvino", "--option", "ENABLE_CPU_PINNING=false", "--threads", "1"]
    assert main(["run", guard, str(picture), "--json", *engine]) == 0
    verdict, *_, summary = map(json.loads, capsys.readouterr().out.splitlines())
    assert summary["provider"] == "openvino"
    with Guard(guard, "cpu", threads=1) as ort:
        assert verdict["name"] == ort.classify(frames(1)[0]).name

    assert main(["info", guard, "--json", *engine]) == 0
    here = json.loads(capsys.readouterr().out)["here"]
    assert (here["provider"], here["compute"], here["threads"]) == ("openvino", "fp32", 1)
    assert here["plan"] == here["auto_plan"]["choice"]
    assert main(["info", guard, *engine]) == 0
    assert "here       openvino, fp32, 1 threads, plan " in capsys.readouterr().out

    assert main(["run", guard, str(picture), "--compute", "bf16"]) == 2
    assert "compute 'bf16' is for one provider; name it" in capsys.readouterr().err


def test_threads_share_a_guard() -> None:
    pictures = frames(4)
    with Guard(guard_path("views"), "openvino", "cascade", 1) as guard:
        alone = [guard.classify(frame) for frame in pictures]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(guard.classify, pictures * 8))
    for got, expected in zip(together, alone * 8, strict=True):
        assert (got.label, got.confidence) == (expected.label, expected.confidence)


@pytest.mark.parametrize(
    "batch", [np.zeros((1, 3, 5, 5), np.float32), np.zeros((1, 3, 16, 16), np.uint8)]
)
def test_a_run_that_fails_names_the_file_and_the_shape(
    make_guard: MakeGuard, batch: NDArray[Any]
) -> None:
    path = make_guard()
    loaded = open_engine(path, OPENVINO)
    with pytest.raises(GuardError) as caught:
        loaded.run(batch)
    said = str(caught.value)
    assert said.startswith(f"{path} failed on an input of shape {batch.shape}: ")
    assert "Exception from" not in said


# ---- what is refused ----


def broken(data: bytes, kept: Any) -> bytes:
    if kept == "text":
        return b"These are not the weights you are looking for.\n" * 9
    return data[:kept] if isinstance(kept, int) else data[: int(len(data) * kept)]


@pytest.mark.parametrize("kept", [0, 1, 0.4, 0.95, -1, "text"])
def test_a_file_that_is_no_model(
    make_guard: MakeGuard, kept: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    path = make_guard()
    path.write_bytes(broken(path.read_bytes(), kept))
    with pytest.raises(GuardError) as caught:
        open_engine(path, OPENVINO)
    said = str(caught.value)
    assert said.startswith(f"{path} cannot be loaded as an ONNX model (")
    assert said.endswith(". Is it truncated, or not an ONNX file? Export it again")
    assert "\n" not in said
    assert capfd.readouterr().err == "", "it tried formats that were not asked for"


def test_a_graph_that_openvino_cannot_run(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Whirl", ["x"], ["y"], domain="somewhere.else")],
        "strange",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["B", 3])],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("somewhere.else", 1)]
    path = tmp_path / "strange.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), str(path))
    with pytest.raises(GuardError) as caught:
        open_engine(path, OPENVINO)
    said = str(caught.value)
    assert said.startswith(f"OpenVINO cannot run {path} (")
    assert "Whirl" in said
    assert said.endswith("provider 'cpu' is ONNX Runtime")


def test_a_model_that_is_no_guard(assets: Path) -> None:
    path = assets / "models" / "mobilenet_v2_1.0_224_quant.onnx"
    with pytest.raises(GuardError, match=r"its ONNX metadata has no blurvote\.defense entry"):
        Guard(path, "openvino")


OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"NO_SUCH": 1}, "provider 'openvino' has no option 'NO_SUCH'; it has CACHE_DIR, "),
    ({"FULL_DEVICE_NAME": "x"}, "provider 'openvino' has no option 'FULL_DEVICE_NAME'; it has "),
    (
        {"INFERENCE_PRECISION_HINT": "bf16"},
        "option 'INFERENCE_PRECISION_HINT' is what the setting 'compute' is for; use that",
    ),
    (
        {"INFERENCE_NUM_THREADS": 1},
        "option 'INFERENCE_NUM_THREADS' is what the setting 'threads' is for; use that",
    ),
    (
        {"ENABLE_CPU_PINNING": "maybe"},
        "option 'ENABLE_CPU_PINNING' is 'maybe', which OpenVINO ",
    ),
    ({"CACHE_DIR": "/proc/none"}, "option 'CACHE_DIR' is '/proc/none', which OpenVINO "),
]


@pytest.mark.parametrize(("options", "said"), OPTIONS)
def test_options_that_cannot_be(make_guard: MakeGuard, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ProviderError) as caught:
        open_engine(make_guard(), EngineSettings("openvino", options=options))
    assert str(caught.value).startswith(said)


def test_options_reach_openvino(make_guard: MakeGuard, tmp_path: Path) -> None:
    options = {"ENABLE_CPU_PINNING": False, "CACHE_DIR": str(tmp_path / "cache"), "NUM_STREAMS": 2}
    path = make_guard()
    loaded = open_engine(path, EngineSettings("openvino", threads=2, options=options))
    (device,) = loaded.provider_options.values()
    assert device["ENABLE_CPU_PINNING"] == "False"
    assert [file.suffix for file in (tmp_path / "cache").iterdir()] == [".blob"]
    # From the cache, the same.
    again = open_engine(path, EngineSettings("openvino", threads=2, options=options))
    assert again.metadata == loaded.metadata
    batch = np.ones((2, 3, 16, 16), np.float32)
    np.testing.assert_array_equal(again.run(batch)[0], loaded.run(batch)[0])


REAL = module.shared_core


class Processor:
    """OpenVINO's core on a processor with other capabilities; all else is the real one's."""

    def __init__(self, capabilities: list[str]) -> None:
        self.real, self.capabilities = REAL(), capabilities

    def get_property(self, device: str, name: str) -> Any:
        if name == "OPTIMIZATION_CAPABILITIES":
            return self.capabilities
        return self.real.get_property(device, name)

    def compile_model(self, model: Any, device: str, properties: dict[str, Any]) -> Any:
        return self.real.compile_model(model, device, properties)


def test_bf16_where_there_is_none(make_guard: MakeGuard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "shared_core", lambda: Processor(["FP32", "INT8"]))
    with pytest.raises(ProviderError) as caught:
        open_engine(make_guard(), EngineSettings("openvino", "bf16"))
    said = str(caught.value)
    assert said.startswith("this processor cannot compute in bf16: OpenVINO finds fp32 on it (")
    loaded = open_engine(make_guard(), OPENVINO)
    assert loaded.run(np.ones((1, 3, 16, 16), np.float32))[0].shape == (1, 3)


def test_a_precision_that_openvino_would_not_run(
    make_guard: MakeGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was compiled is asked what it runs in; here it was compiled behind the engine's back."""

    class Stubborn(Processor):
        def compile_model(self, model: Any, device: str, properties: dict[str, Any]) -> Any:
            return self.real.compile_model(
                model, device, {**properties, "INFERENCE_PRECISION_HINT": "f32"}
            )

    monkeypatch.setattr(module, "shared_core", lambda: Stubborn(["FP32", "BF16"]))
    with pytest.raises(ProviderError) as caught:
        open_engine(make_guard(), EngineSettings("openvino", "bf16"))
    assert str(caught.value) == "compute 'bf16' was asked for, but OpenVINO would run f32"


def test_few_threads_are_not_pinned(make_guard: MakeGuard, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO would bind them to the first cores, which those of another process have, too."""
    found = []
    for cores in (1, 2):
        monkeypatch.setattr(module, "usable_cores", lambda cores=cores: cores)
        (device,) = open_engine(make_guard(), OPENVINO).provider_options.values()
        found.append(device["ENABLE_CPU_PINNING"])
    assert found == ["True", "False"]


def test_fp32_is_fp32_on_processors_that_have_bf16() -> None:
    """OpenVINO by itself would take bf16 there, and nobody would be told."""
    engine = open_engine(guard_path("views"), OPENVINO)
    assert isinstance(engine, OpenVinoEngine)
    (device,) = engine.provider_options.values()
    assert "float32" in device["INFERENCE_PRECISION_HINT"]


def test_without_openvino_the_extra_is_named(
    make_guard: MakeGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ProviderError) as caught:
        open_engine(make_guard(), OPENVINO)
    said = str(caught.value)
    assert said.startswith("openvino cannot be imported (")
    assert said.endswith("); pip install 'blurvote[openvino]'")


def test_openvino_alone_is_enough() -> None:
    """On a machine without onnxruntime, a guard still runs."""
    program = """
import sys
sys.modules["onnxruntime"] = None
import numpy as np
from blurvote.runtime import Guard, demo
with Guard(demo.guard_path("views"), "openvino") as guard:
    print(guard.classify(np.zeros((240, 320, 3), np.uint8)).plan in ("batched", "cascade"))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


def test_engines_are_one_protocol(make_guard: MakeGuard) -> None:
    engines: list[Engine] = [open_engine(make_guard(), s) for s in (CPU, OPENVINO)]
    for engine in engines:
        engine.close()
        with pytest.raises(GuardError, match="failed on an input of shape"):
            engine.run(np.ones((1, 3, 16, 16), np.float32))


SIGNALLED = """
import os, signal, sys, threading
from blurvote.runtime.engines.protocol import EngineSettings
from blurvote.runtime.engines.registry import open_engine

signal.signal(signal.SIGTERM, lambda *_: print("handled"))
held = [open_engine(sys.argv[1], EngineSettings("openvino"))]
dropping = threading.Thread(target=held.clear)
dropping.start()
dropping.join()
os.kill(os.getpid(), signal.SIGTERM)
print("alive")
"""


def test_a_signal_after_another_thread_dropped_the_engine(make_guard: MakeGuard) -> None:
    """OpenVINO's plugin, dropped by another thread, takes this one's stack for signals along."""
    command = [sys.executable, "-c", SIGNALLED, str(make_guard())]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.split() == ["handled", "alive"], (done.returncode, done.stderr)
