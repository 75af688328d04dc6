"""TensorRT's engine up to the provider call: a stand-in builds, the CPU's provider runs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx
import onnxruntime
import pytest

from blurvote.runtime import EngineNotBuiltError, Guard, GuardError, ProviderError
from blurvote.runtime.demo import guard_path
from blurvote.runtime.engines import tensorrt, tensorrt_setup
from blurvote.runtime.engines.model_bytes import ModelBytes
from blurvote.runtime.engines.nvidia import Gpu
from blurvote.runtime.engines.onnx_metadata import append_metadata, read_metadata
from blurvote.runtime.engines.ort import OnnxRuntimeEngine
from blurvote.runtime.engines.protocol import EngineSettings
from blurvote.runtime.engines.tensorrt import TensorRtEngine
from tests.runtime.adaptive import denoiser_model, grainy, write_adaptive_guard

H100 = Gpu("NVIDIA H100", "9.0", "13.0")


class OnCpu(TensorRtEngine):
    """Does as ONNX Runtime would with the options that it is given."""

    EXECUTION_PROVIDER = "CPUExecutionProvider"
    DEVICE = "cpu"
    asked_for: ClassVar[list[dict[str, str]]] = []
    tf32: ClassVar[list[str | None]] = []
    writes = (
        "TRTKernel_graph_blurvote_1_0_sm90.engine",
        "TRTKernel_graph_blurvote_1_0_sm90.profile",
    )

    def _library(self, provider):
        return Path("none.so")  # a GPU wheel's would ask for a driver

    def _chain(self):
        (_, options), (_, cuda) = super()._chain()
        self.asked_for.append(options)
        self.tf32.append(os.environ.get("NVIDIA_TF32_OVERRIDE"))
        assert cuda["use_tf32"] == str(self.compute == "tf32")
        if options.get("trt_engine_cache_enable"):
            folder = Path(options["trt_engine_cache_path"])
            for name in self.writes:
                if not (folder / name).exists():
                    (folder / name).write_text(f"engine of {self._path}")
        if options.get("trt_timing_cache_enable"):
            (Path(options["trt_timing_cache_path"]) / "sm90.timing").write_text("timings")
        if options.get("trt_dump_ep_context_model"):
            self.dump(Path(options["trt_ep_context_file_path"]))
        return [(self.EXECUTION_PROVIDER, {})]

    def dump(self, to):
        model = onnx.load(self._path)
        del model.metadata_props[:]  # as ONNX Runtime does
        onnx.save(model, str(to))


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """An H100 with TensorRT 10.16.1 and an empty cache; each can be changed."""
    state = {"gpu": H100, "tensorrt": "10.16.1"}
    monkeypatch.setattr(tensorrt_setup, "ask_gpu", lambda device: state["gpu"])
    monkeypatch.setattr(tensorrt_setup, "tensorrt_version", lambda library: state["tensorrt"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    monkeypatch.setattr(OnCpu, "asked_for", [])
    monkeypatch.setattr(OnCpu, "tf32", [])
    return state


def make(path=None, compute="fp32", **options):
    return OnCpu(
        path or guard_path("views"), EngineSettings("tensorrt", compute, threads=1, options=options)
    )


def cache_folder():
    return Path(os.environ["XDG_CACHE_HOME"]) / "blurvote" / "engines"


def test_an_engine_that_is_not_built_is_an_error_with_the_command_that_builds_it(machine):
    with pytest.raises(EngineNotBuiltError) as caught:
        make(compute="fp16", max_frames=4, trt_sparsity_enable=True)
    path = guard_path("views")
    assert str(caught.value) == (
        f"{path} has no TensorRT engine yet for this machine (NVIDIA H100, TensorRT 10.16.1, "
        f"onnxruntime {onnxruntime.__version__}). Building it takes minutes: "
        f"blurvote build {path} --provider tensorrt --compute fp16 --option max_frames=4 "
        "--option trt_sparsity_enable=true"
    )
    assert isinstance(caught.value, ProviderError)
    assert OnCpu.asked_for == []  # nothing was started
    assert not cache_folder().exists()


def test_a_build_is_kept_and_the_next_load_takes_it(machine):
    make(build=True).close()
    build, load = OnCpu.asked_for
    shapes = {
        "trt_profile_min_shapes": "views:1x3x128x128",
        "trt_profile_opt_shapes": "views:3x3x128x128",
        "trt_profile_max_shapes": "views:24x3x128x128",
    }
    assert build.pop("trt_engine_cache_path").endswith(".building")
    assert build.pop("trt_timing_cache_path").endswith(".building/timings")
    assert build == shapes | {"trt_engine_cache_enable": "True", "trt_timing_cache_enable": "True"}
    (place,) = (path for path in cache_folder().iterdir() if (path / "engine.json").exists())
    kept = shapes | {"trt_engine_cache_enable": "True", "trt_engine_cache_path": str(place)}
    assert load == kept
    OnCpu.asked_for.clear()
    make().close()
    make(build=True).close()
    assert OnCpu.asked_for == [kept, kept]
    facts = json.loads((place / "engine.json").read_text())["facts"]
    assert {name: facts[name] for name in ("gpu", "compute_capability", "driver_cuda")} == {
        "gpu": "NVIDIA H100",
        "compute_capability": "9.0",
        "driver_cuda": "13.0",
    }


@pytest.mark.parametrize("change", ["gpu", "driver", "tensorrt", "compute", "options", "name"])
def test_what_an_engine_depends_on_is_in_its_key(change, machine, tmp_path):
    make(build=True).close()
    path, compute, options = guard_path("views"), "fp32", {}
    if change == "gpu":
        machine["gpu"] = Gpu("NVIDIA H200", "9.0", "13.0")
    elif change == "driver":
        machine["gpu"] = Gpu("NVIDIA H100", "9.0", "13.1")
    elif change == "tensorrt":
        machine["tensorrt"] = "10.17.0"
    elif change == "compute":
        compute = "tf32"
    elif change == "options":
        options = {"max_frames": 2}
    else:
        path = tmp_path / "another_name.onnx"  # by which ONNX Runtime would name its files
        path.write_bytes(guard_path("views").read_bytes())
    with pytest.raises(EngineNotBuiltError):
        make(path, compute, **options)
    make(build=True).close()  # what was there is there still


def test_the_number_of_the_gpu_is_not_in_its_key(machine):
    make(build=True, device_id=0).close()
    make(device_id=1).close()
    assert OnCpu.asked_for[-1]["device_id"] == "1"


def test_timings_are_kept_for_any_guard(machine):
    make(build=True).close()
    (timings,) = cache_folder().glob("timings-*")
    assert (timings / "sm90.timing").read_text() == "timings"
    make(guard_path("frames"), build=True).close()
    assert len(list(cache_folder().glob("timings-*"))) == 1


def test_float32_is_kept_from_tf32_during_a_build_and_no_longer(machine, monkeypatch):
    make(build=True).close()
    assert OnCpu.tf32 == ["0", None]
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    make(compute="tf32", build=True).close()
    make(compute="fp16", build=True).close()
    assert OnCpu.tf32[2:] == ["1", "1", "0", "1"]
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "1"


def test_fp16_is_a_flag_of_the_builder_where_it_has_one(machine):
    make(compute="fp16", build=True).close()
    assert OnCpu.asked_for[0]["trt_fp16_enable"] == "True"
    make(build=True).close()
    assert "trt_fp16_enable" not in OnCpu.asked_for[-1]
    machine["tensorrt"] = "11.0.0"
    with pytest.raises(
        ProviderError, match=r"TensorRT 11\.0\.0 takes its types from the file.*--prec"
    ):
        make(compute="fp16", build=True)


def test_dla_needs_fp16(machine):
    with pytest.raises(ProviderError, match="'trt_dla_enable' needs compute='fp16'"):
        make(trt_dla_enable=True, build=True)
    make(compute="fp16", trt_dla_enable=True, trt_dla_core=1, build=True).close()


def test_a_build_of_which_tensorrt_takes_nothing_is_an_error(machine, monkeypatch):
    monkeypatch.setattr(OnCpu, "writes", ())
    with pytest.raises(ProviderError, match=r"TensorRT took no part of .*use provider='cuda'"):
        make(build=True)
    with pytest.raises(EngineNotBuiltError):
        make()


def test_an_engine_that_onnxruntime_builds_again_is_an_error(machine, monkeypatch):
    make(build=True).close()
    monkeypatch.setattr(OnCpu, "writes", ("TRTKernel_graph_blurvote_2_0_sm90.engine",))
    with pytest.raises(
        ProviderError, match=r"did not find its engine in .*blurvote build --remove"
    ):
        make()


def test_a_cache_that_others_can_write_to_is_refused(machine, tmp_path):
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ProviderError, match="can be written to by others"):
        make(cache_dir=str(folder))


def test_a_batch_beyond_the_largest_shape_runs_in_parts(machine):
    engine = make(build=True, max_frames=1)
    batch = np.random.default_rng(0).standard_normal((8, 3, 128, 128), np.float32)
    plain = OnnxRuntimeEngine(guard_path("views"), EngineSettings("cpu", threads=1))
    seen = []
    slots = engine._slots._make
    engine._slots._make = lambda key: seen.append(key[0][0]) or slots(key)
    results, steps = engine.run_in_steps(batch)
    # A batch of three may round otherwise than one of eight.
    np.testing.assert_allclose(results[0], plain.run(batch)[0], rtol=0, atol=1e-4)
    assert seen == [3, 2]
    assert steps.inference > 0
    assert engine.run(batch[:3])[0].shape == (3, 16)
    engine.close()
    plain.close()


def test_a_guard_classifies_on_a_built_engine(machine, monkeypatch):
    monkeypatch.setattr(tensorrt, "TensorRtEngine", OnCpu)
    frame = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    path = guard_path("views")
    with pytest.raises(EngineNotBuiltError):
        Guard(path, "tensorrt")
    with (
        Guard(path, "tensorrt", "batched", threads=1, options={"build": True}) as guard,
        Guard(path, "cpu", "batched", threads=1) as plain,
    ):
        assert guard.provider == "tensorrt"
        assert guard.classify(frame).view_labels == plain.classify(frame).view_labels


def test_what_is_no_guard_is_refused_before_anything_is_built(machine, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"")
    with pytest.raises(GuardError, match="is not a guard"):
        make(path, build=True)


# ---- EPContext models ----


def test_an_engine_can_be_written_as_a_guard_of_its_own(machine, tmp_path):
    to = tmp_path / "here.onnx"
    make(build=True, ep_context=str(to)).close()
    dump = OnCpu.asked_for[1]
    assert dump["trt_dump_ep_context_model"] == "True"
    assert dump["trt_ep_context_embed_mode"] == "1"
    assert "trt_engine_cache_enable" not in dump
    metadata = read_metadata(to)
    facts = json.loads(metadata.pop("blurvote.engine"))
    assert metadata == read_metadata(guard_path("views"))
    assert facts["gpu"] == "NVIDIA H100"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "here.onnx"]
    OnCpu.asked_for.clear()
    engine = make(to)  # needs no cache
    assert "trt_engine_cache_enable" not in OnCpu.asked_for[0]
    assert engine.run(np.zeros((1, 3, 128, 128), np.float32))[0].shape == (1, 16)
    engine.close()


def test_it_is_refused_on_another_machine(machine, tmp_path):
    to = tmp_path / "here.onnx"
    make(build=True, ep_context=str(to)).close()
    machine["gpu"] = Gpu("NVIDIA L4", "8.9", "13.0")
    with pytest.raises(ProviderError, match="engine for gpu 'NVIDIA H100'; here it is 'NVIDIA L4'"):
        make(to)
    machine["gpu"], machine["tensorrt"] = H100, "10.17.0"
    with pytest.raises(
        ProviderError, match=r"engine for tensorrt '10\.16\.1'; here it is '10\.17\.0'"
    ):
        make(to)


def test_it_is_refused_where_it_computes_otherwise_than_asked(machine, tmp_path):
    to = tmp_path / "here.onnx"
    make(compute="fp16", build=True, ep_context=str(to)).close()
    with pytest.raises(ProviderError, match=r"computes in fp16, and compute is 'fp32'; load it w"):
        make(to)
    engine = make(to, "fp16")
    assert engine.compute == "fp16"
    engine.close()


def test_it_takes_batches_of_the_size_that_it_was_built_for(machine, tmp_path):
    to = tmp_path / "here.onnx"
    make(build=True, max_frames=1, ep_context=str(to)).close()
    engine = make(to)
    assert OnCpu.asked_for[-1]["trt_profile_max_shapes"] == "views:3x3x128x128"
    seen = []
    slots = engine._slots._make
    engine._slots._make = lambda key: seen.append(key[0][0]) or slots(key)
    assert engine.run(np.zeros((4, 3, 128, 128), np.float32))[0].shape == (4, 16)
    assert seen == [3, 1]
    engine.close()


def test_none_is_made_of_one(machine, tmp_path):
    to = tmp_path / "here.onnx"
    make(build=True, ep_context=str(to)).close()
    with pytest.raises(ProviderError, match="is an engine already, written by --ep-context"):
        make(to, ep_context=str(tmp_path / "again.onnx"))


def test_a_folder_that_is_not_there_is_told_before_the_build(machine, tmp_path):
    with pytest.raises(ProviderError, match=r"'ep_context' is .*there is no folder .*none; make"):
        make(build=True, ep_context=str(tmp_path / "none" / "here.onnx"))
    assert OnCpu.asked_for == []


@pytest.mark.parametrize("entry", ["{", "[]", "{}", '{"options": {}}'])
def test_one_whose_entry_is_broken_is_refused(entry, machine, tmp_path):
    to = tmp_path / "here.onnx"
    to.write_bytes(guard_path("views").read_bytes())
    append_metadata(to, {"blurvote.engine": entry})
    with pytest.raises(GuardError, match=r"has a broken blurvote\.engine entry"):
        make(to)


def test_a_graph_that_runs_in_parts_elsewhere_has_none(machine, monkeypatch, tmp_path):
    monkeypatch.setattr(OnCpu, "dump", lambda self, to: None)
    with pytest.raises(ProviderError, match="wrote no EPContext model"):
        make(build=True, ep_context=str(tmp_path / "here.onnx"))
    assert not (tmp_path / "here.onnx").exists()


# ---- denoisers, which lie in their guard ----


def denoiser(path, height=16):
    return ModelBytes(path, "denoiser", denoiser_model(2, height, 16), "noisy", (4, height, 16))


def test_a_denoiser_has_an_engine_of_its_own(machine, tmp_path):
    model = denoiser(tmp_path / "guard.onnx")
    with pytest.raises(EngineNotBuiltError) as caught:
        make(model)
    assert str(caught.value).startswith(f"the denoiser of {tmp_path / 'guard.onnx'} has no Tens")
    assert str(caught.value).endswith(
        f"blurvote build {tmp_path / 'guard.onnx'} --provider tensorrt"
    )
    shapes = {
        "trt_profile_min_shapes": "views:1x3x16x16",
        "trt_profile_opt_shapes": "views:3x3x16x16",
        "trt_profile_max_shapes": "views:9x3x16x16",
    }
    with pytest.raises(EngineNotBuiltError) as caught:
        make(model, **shapes)
    given = [f"--option {name}={shape}" for name, shape in shapes.items()]
    assert str(caught.value).endswith(f"--provider tensorrt {' '.join(given)}"), "the guard's own"
    here = str(tmp_path / "here.onnx")
    engine = make(model, build=True, max_frames=2, ep_context=here, **shapes)
    assert not Path(here).exists()
    assert {
        name: text for name, text in OnCpu.asked_for[0].items() if name.startswith("trt_profile")
    } == {
        "trt_profile_min_shapes": "noisy:1x4x16x16",
        "trt_profile_opt_shapes": "noisy:1x4x16x16",
        "trt_profile_max_shapes": "noisy:2x4x16x16",
    }
    batch = np.random.default_rng(0).standard_normal((5, 4, 16, 16), np.float32)
    (views,) = engine.run(batch)  # in parts
    assert views.shape == (5, 2, 3, 16, 16)
    np.testing.assert_allclose(views[4, 1], batch[4, :3] * 3 - 2 * batch[4, 3:], atol=1e-5)
    engine.close()
    make(model, max_frames=2).close()
    facts = [json.loads(file.read_text())["facts"] for file in cache_folder().glob("*/engine.json")]
    assert [fact["file"] for fact in facts] == ["denoiser"]
    with pytest.raises(EngineNotBuiltError):
        make(denoiser(tmp_path / "guard.onnx", 32), max_frames=2)


def test_a_guard_and_its_denoiser_are_built_together(machine, monkeypatch, tmp_path):
    monkeypatch.setattr(tensorrt, "TensorRtEngine", OnCpu)
    path = write_adaptive_guard(tmp_path / "guard.onnx")
    options = {"build": True, "ep_context": str(tmp_path / "here.onnx")}
    Guard(path, "tensorrt", "batched", threads=1, options=options).close()
    frames = [grainy(0, 0.2), grainy(1, 0.01)]
    with Guard(path, "cpu", "batched", threads=1) as plain:
        expected = [verdict.confidence for verdict in plain.classify_batch(frames)]
    for built in (path, tmp_path / "here.onnx"):
        with Guard(built, "tensorrt", "batched", threads=1) as guard:
            verdicts = guard.classify_batch(frames)
        assert [verdict.denoised for verdict in verdicts] == [True, False]
        assert [verdict.confidence for verdict in verdicts] == pytest.approx(expected)
