"""CUDA's engine with its buffers on the CPU: all but the device itself and the capture of graphs.

`OnCpu` is the engine that runs on a GPU, told to bind CPU memory and to ask for the CPU's provider.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from blurvote.runtime import Guard, GuardError, ProviderError
from blurvote.runtime.demo import guard_path
from blurvote.runtime.engines import cuda, registry
from blurvote.runtime.engines.binding import KEPT_SHAPES, Slot
from blurvote.runtime.engines.cuda import CudaEngine
from blurvote.runtime.engines.model_bytes import ModelBytes
from blurvote.runtime.engines.ort import OnnxRuntimeEngine
from blurvote.runtime.engines.protocol import EngineSettings
from tests.runtime.adaptive import denoiser_model, marked

SETTINGS = EngineSettings("cuda", threads=1)


class OnCpu(CudaEngine):
    EXECUTION_PROVIDER = "CPUExecutionProvider"
    DEVICE = "cpu"

    def _library(self, provider):
        return Path("none.so")  # a GPU wheel's would ask for a driver

    def _chain(self):
        self.asked_for = super()._chain()
        return [(self.EXECUTION_PROVIDER, {})]


@pytest.fixture
def make(request):
    def open_engine(kind="views", engine=OnCpu, **options):
        made = engine(guard_path(kind), EngineSettings("cuda", threads=1, options=options))
        request.addfinalizer(made.close)
        return made

    return open_engine


def batches(count=6, rows=3, seed=0):
    return np.random.default_rng(seed).standard_normal((count, rows, 3, 128, 128), np.float32)


@pytest.fixture
def plain():
    engine = OnnxRuntimeEngine(guard_path("views"), EngineSettings("cpu", threads=1))
    yield engine
    engine.close()


def frames(count, seed=0):
    size = registry.open_engine(guard_path("frames"), EngineSettings("cpu", threads=1))
    shape = size._session.get_inputs()[0].shape
    size.close()
    return np.random.default_rng(seed).integers(0, 256, (count, *shape[1:]), dtype=np.uint8)


def test_results_are_those_of_the_cpu_engine_for_batches_of_any_size(make, plain):
    engine = make()
    for rows in (1, 3, 2, 3, 1):
        batch = batches(1, rows)[0]
        (got,) = engine.run(batch, ["logits"])
        assert np.array_equal(got, plain.run(batch, ["logits"])[0])


def test_all_outputs_of_a_frames_guard_come_back_in_file_order(make):
    plain = OnnxRuntimeEngine(guard_path("frames"), EngineSettings("cpu", threads=1))
    engine = make("frames")
    for count in (1, 2):
        batch = frames(count)
        expected = plain.run(batch)
        for outputs in (None, engine.output_names, ["label", "logits"]):
            got = engine.run(batch, outputs)
            for name, array in zip(outputs or engine.output_names, got, strict=True):
                other = expected[plain.output_names.index(name)]
                assert (array.dtype, array.shape) == (other.dtype, other.shape)
                assert np.array_equal(array, other)
    plain.close()


def test_results_are_the_callers_own(make):
    engine = make()
    some, others = batches(2)
    (first,) = engine.run(some)
    kept = first.copy()
    (second,) = engine.run(others)
    assert np.array_equal(first, kept)
    assert not np.array_equal(first, second)


def test_buffers_are_used_again_for_the_same_shape(make, monkeypatch):
    made = []
    monkeypatch.setattr(
        cuda, "Slot", lambda *arguments: made.append(arguments[3]) or Slot(*arguments)
    )
    engine = make()
    for rows in (3, 1, 3, 1, 3):
        engine.run(batches(1, rows)[0])
    assert [key[0][0] for key in made] == [3, 1]


def test_buffers_of_few_shapes_are_kept(make):
    engine = make()
    for rows in range(1, KEPT_SHAPES + 4):
        engine.run(batches(1, rows)[0])
    assert len(engine._slots._idle) == KEPT_SHAPES
    engine.close()
    assert not engine._slots._idle


def test_buffers_that_were_in_use_at_the_close_are_not_kept(make):
    engine = make()
    batch = batches(1)[0]
    engine.run(batch)
    with engine._slots.lend(cuda.key_of(batch, engine.output_names)):
        engine.close()
    assert not engine._slots._idle


def test_a_strided_batch_is_read_as_numpy_reads_it(make, plain):
    batch = batches(1, 6)[0][::2]
    assert not batch.flags.c_contiguous
    assert np.array_equal(make().run(batch)[0], plain.run(np.ascontiguousarray(batch))[0])


def test_several_threads_share_an_engine(make, plain):
    engine = make()
    work = [batch[:rows] for batch in batches(8) for rows in (1, 2, 3)]
    expected = [plain.run(batch)[0] for batch in work]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            got = list(pool.map(lambda batch: engine.run(batch)[0], work))
            assert all(map(np.array_equal, got, expected))


def test_a_run_in_steps_gives_the_same_and_three_times(make, plain):
    batch = batches(1)[0]
    results, steps = make().run_in_steps(batch, ["logits"])
    assert np.array_equal(results[0], plain.run(batch)[0])
    assert min(steps.copy_in, steps.inference, steps.copy_out) > 0


def test_a_batch_that_does_not_fit_is_an_error_and_costs_nothing_after(make, plain):
    engine = make()
    with pytest.raises(GuardError, match=r"failed on an input of shape \(1, 3, 64, 64\)"):
        engine.run(np.zeros((1, 3, 64, 64), np.float32))
    with pytest.raises(GuardError, match="failed on an input"):
        engine.run(np.zeros((1, 3, 128, 128), np.float64))
    batch = batches(1)[0]
    assert np.array_equal(engine.run(batch)[0], plain.run(batch)[0])


def test_a_guard_gives_the_same_verdicts(monkeypatch):
    monkeypatch.setattr(cuda, "CudaEngine", OnCpu)
    random = np.random.default_rng(0)
    for kind in ("views", "frames"):
        shape = frames(1).shape[1:]
        pictures = random.integers(0, 256, (3, *shape), dtype=np.uint8)
        for plan in ("batched", "cascade") if kind == "views" else ("batched",):
            with (
                Guard(guard_path(kind), "cuda", plan, threads=1) as on_device,
                Guard(guard_path(kind), "cpu", plan, threads=1) as on_cpu,
            ):
                assert on_device.provider == "cuda"
                for colour in ("rgb", "bgr"):
                    got = on_device.classify_batch(list(pictures), colour)
                    expected = on_cpu.classify_batch(list(pictures), colour)
                    assert [v.view_labels for v in got] == [v.view_labels for v in expected]
                    assert [v.confidence for v in got] == [v.confidence for v in expected]


def test_tf32_is_for_those_who_ask(make):
    assert make().asked_for == [("CPUExecutionProvider", {"use_tf32": "False"})]
    tf32 = OnCpu(guard_path("views"), EngineSettings("cuda", "tf32", threads=1))
    assert tf32.asked_for[0][1]["use_tf32"] == "True"
    tf32.close()
    with pytest.raises(ProviderError, match="cannot compute in fp16; it has fp32, tf32"):
        OnCpu(guard_path("views"), EngineSettings("cuda", "fp16"))


def test_options_reach_onnxruntime(make):
    engine = make(cudnn_conv_algo_search="HEURISTIC", prefer_nhwc=True)
    assert engine.asked_for[0][1] == {
        "cudnn_conv_algo_search": "HEURISTIC",
        "prefer_nhwc": "True",
        "use_tf32": "False",
    }
    with pytest.raises(ProviderError, match="did you mean 'prefer_nhwc'"):
        make(prefer_nwhc=True)


def test_memory_that_is_not_pinned_is_said_to_be_so(make):
    engine = make()
    buffer = engine.host_buffer((2, 3), np.float32)
    assert (buffer.shape, buffer.dtype) == ((2, 3), np.float32)
    state = engine.provider_options["blurvote"]["host_memory"]
    assert state == "pageable: the provider needs no CUDA runtime"


def test_the_cpu_wheel_is_refused_with_the_line_that_brings_the_gpu_wheel():
    if (
        "CUDAExecutionProvider"
        in OnCpu(guard_path("views"), SETTINGS)._ort.get_available_providers()
    ):
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(ProviderError, match="pip uninstall onnxruntime; pip install onnxruntime-"):
        CudaEngine(guard_path("views"), SETTINGS)


def test_a_cuda_failure_is_explained(monkeypatch):
    class NoDriver(OnCpu):
        def _model(self):
            raise RuntimeError("CUDA failure 35: CUDA driver version is insufficient for CUDA")

    with pytest.raises(ProviderError, match="'cuda' does not come up: the NVIDIA driver is older"):
        NoDriver(guard_path("views"), SETTINGS)


def test_a_device_without_memory_is_explained(make, monkeypatch):
    engine = make()

    def full(self, batch):
        raise RuntimeError("CUDA failure 2: out of memory ; GPU=0")

    monkeypatch.setattr(Slot, "upload", full)
    with pytest.raises(GuardError, match=r"shape \(3, 3, 128, 128\): the GPU's memory is full"):
        engine.run(batches(1)[0])


# ---- CUDA graphs: a session that replays, as far as the engine can tell ----


class Replaying(OnCpu):
    """Runs under a graph's number give what `replay` makes of the true answer and the first one."""

    @staticmethod
    def replay(first, now):
        return now

    def _create(self):
        self.graphs = {}
        session = super()._create()
        run = session.run_with_iobinding

        def run_with_iobinding(binding, options):
            run(binding, options)
            graph = options.get_run_config_entry("gpu_graph_id")
            if graph != "-1":
                now = [array.copy() for array in binding.copy_outputs_to_cpu()]
                answers = self.graphs.setdefault(graph, [])
                answers.append(now)
                made = self.replay(answers[0], now)
                for value, array in zip(binding.get_outputs(), made, strict=True):
                    value.update_inplace(array)

        session.run_with_iobinding = run_with_iobinding
        return session


class Stuck(Replaying):
    @staticmethod
    def replay(first, now):
        return first


class Wrong(Replaying):
    @staticmethod
    def replay(first, now):
        return [array + 1 for array in now]


def test_a_graph_goes_into_service_once_it_tells_two_inputs_apart(make, plain):
    engine = make(engine=Replaying, enable_cuda_graph=True)
    for rows in (3, 1, 3):
        for batch in batches(2, rows):
            assert np.array_equal(engine.run(batch)[0], plain.run(batch)[0])
    # One graph per batch size, each run seven times by its test.
    assert {graph: len(runs) for graph, runs in engine.graphs.items()} == {"1": 7 + 4, "2": 7 + 2}


def test_a_graph_that_repeats_its_first_answer_is_refused(make):
    engine = make(engine=Stuck, enable_cuda_graph=True)
    with pytest.raises(ProviderError, match="the replayed graph gives the result of another input"):
        engine.run(batches(1)[0])


def test_a_graph_that_answers_anything_else_is_refused(make):
    engine = make(engine=Wrong, enable_cuda_graph=True)
    with pytest.raises(ProviderError, match="the replayed graph gives another result; leave"):
        engine.run(batches(1)[0])


def test_a_guard_whose_outputs_do_not_depend_on_its_input_cannot_be_tested(make, monkeypatch):
    engine = make(engine=Replaying, enable_cuda_graph=True)
    monkeypatch.setattr(cuda, "_two_inputs", lambda key: [np.ones(key[0], key[1])] * 2)
    with pytest.raises(ProviderError, match="two different inputs give the same outputs"):
        engine.run(batches(1)[0])


def test_threads_share_a_graph_that_one_thread_of_the_engine_runs(make, plain, monkeypatch):
    """ONNX Runtime keeps graphs by thread for ever: those of callers that end would add up."""
    ran_in = set()
    run = Slot.run
    monkeypatch.setattr(
        Slot,
        "run",
        lambda *arguments: ran_in.add(threading.get_ident()) or run(*arguments),
    )
    engine = make(engine=Replaying, enable_cuda_graph=True)
    work = list(batches(6))
    expected = [plain.run(batch)[0] for batch in work]
    for _ in range(2):
        with ThreadPoolExecutor(3) as pool:
            got = list(pool.map(lambda batch: engine.run(batch)[0], work))
        assert all(map(np.array_equal, got, expected))
    assert list(engine.graphs) == ["1"]
    assert len(ran_in) == 1
    assert threading.get_ident() not in ran_in
    assert engine.host_buffer((2, 3), np.float32).shape == (2, 3)
    engine.close()
    assert not ran_in & {thread.ident for thread in threading.enumerate()}


def test_beyond_eight_shapes_runs_are_not_captured(make, plain):
    engine = make(engine=Replaying, enable_cuda_graph=True)
    for rows in range(1, KEPT_SHAPES + 3):
        batch = batches(1, rows)[0]
        assert np.array_equal(engine.run(batch)[0], plain.run(batch)[0])
    assert len(engine.graphs) == KEPT_SHAPES


def test_a_frames_guard_of_any_size_has_no_graph(make, monkeypatch):
    class AnySize(Replaying):
        def _create(self):
            session = super()._create()
            given = session.get_inputs()[0]
            one = type("Input", (), {"name": given.name, "shape": ["N", "H", "W", 3]})
            session.get_inputs = lambda: [one]
            return session

    with pytest.raises(ProviderError, match="'enable_cuda_graph' needs frames of one size"):
        make("frames", AnySize, enable_cuda_graph=True)


@pytest.mark.parametrize("graphs", [False, True])
def test_a_model_in_memory(graphs, request):
    model = ModelBytes(Path("guard.onnx"), "denoiser", denoiser_model(2, 16, 16), "noisy", (4, 16))
    engine = OnCpu(model, EngineSettings("cuda", threads=1, options={"enable_cuda_graph": graphs}))
    request.addfinalizer(engine.close)
    batch = np.random.default_rng(0).standard_normal((3, 4, 16, 16), np.float32)
    for _ in range(2):
        (views,) = engine.run(batch)
        for k, (row, view) in enumerate(zip(batch, views[:, 1], strict=True)):
            np.testing.assert_allclose(view, marked(row[:3], row[3], 1), atol=1e-5, err_msg=str(k))
    with pytest.raises(GuardError, match=r"^the denoiser of guard\.onnx failed on an input"):
        engine.run(batch[:, :, :8])
