"""The GPU measurement, run on the CPU: all of its code but the device."""

from __future__ import annotations

import json

import numpy as np
import pytest

from blurvote.benchmarks.gpu import ceilings, parity
from blurvote.benchmarks.gpu.session import main
from blurvote.benchmarks.gpu.ways import open_ways
from blurvote.benchmarks.latency.bench import describe_guard
from blurvote.benchmarks.latency.pictures import natural_frame
from blurvote.benchmarks.timing import Method
from blurvote.runtime.demo import guard_path
from blurvote.runtime.engines.ort import OnnxRuntimeEngine
from blurvote.runtime.engines.protocol import EngineSettings

SIZE = (240, 320)  # of the shipped frames guard
VIEWS, FRAMES = guard_path("views"), guard_path("frames")
CPU = EngineSettings("cpu", threads=1)
WAYS = [
    f"{VIEWS.name}: undefended",
    f"{VIEWS.name}: one view after the other",
    f"{VIEWS.name}: batched",
    f"{VIEWS.name}: cascade",
    f"{FRAMES.name}: batched",
]


def test_a_machine_without_the_device_is_told_so_in_one_line(capsys):
    if main([str(VIEWS), "--frame", "240x320", "--seconds", "0.01", "--stream", "2"]) == 0:
        pytest.skip("this machine has CUDA")
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("blurvote.benchmarks.gpu: error: provider 'cuda' ")
    assert told.err.count("\n") == 1


def test_one_run_has_every_table(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(ceilings, "products", lambda *arguments: {"fp32": 1.0})  # has its own test
    command = [str(VIEWS), str(FRAMES), "--provider", "cpu", "--frame", "240x320", "--stream", "2"]
    effort = ["--seconds", "0.02", "--most-cameras", "2", "-o", str(tmp_path)]
    assert main([*command, *effort]) == 0
    text = capsys.readouterr().out
    assert text.startswith("cpu, fp32; ")
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["complete"] is True
    assert results["skipped"] == []
    verdicts = [row for row in results["rows"] if row["section"] == "verdict"]
    assert [row["way"] for row in verdicts] == WAYS
    assert all(row["baseline"] == WAYS[0] and row["case"] == "320x240" for row in verdicts)
    for name in WAYS[2:]:
        for section, ways in (("cameras", "12"), ("stream", "1234")):
            rows = [r for r in results["rows"] if r["section"] == section and r["case"] == name]
            assert [row["way"][0] for row in rows] == list(ways)
        assert results["facts"]["stages"][name]["inference"] > 0
    assert results["facts"]["session"]["provider"] == "cpu"
    assert {*results["facts"]["copies"]} == {VIEWS.name, FRAMES.name}
    for name in WAYS:
        assert name in text


def test_the_same_provider_agrees_with_itself():
    frames = [natural_frame(*SIZE, seed=seed) for seed in range(2)]
    for path in (VIEWS, FRAMES):
        found = parity.compare(path, CPU, describe_guard(path)[0], frames)
        assert found["logits"]["of_range"] <= 1e-6
        assert found["logits"]["flips"] == 0
        assert all(facts.get("differing", 0) == 0 for facts in found.values())


def test_what_differs_is_counted(monkeypatch):
    class Other(OnnxRuntimeEngine):
        def run(self, batch, outputs=None):
            made = super().run(batch, outputs)
            logits = made[0]
            order = np.argsort(logits, axis=-1)
            np.put_along_axis(
                logits, order[..., -2:], np.add([1.0, 0.0], logits.max())[None, None], axis=-1
            )
            return [logits, *(array + 1 for array in made[1:])]

    engines = iter([OnnxRuntimeEngine, Other])
    monkeypatch.setattr(parity, "open_engine", lambda path, settings: next(engines)(path, CPU))
    frames = [natural_frame(*SIZE)]
    found = parity.compare(FRAMES, CPU, describe_guard(FRAMES)[0], frames)
    assert found["logits"]["flips"] == 3
    assert 0 < found["logits"]["flip_margin_of_range"] <= 1
    assert found["logits"]["of_range"] > 0.01
    assert found["label"] == {"values": 1, "differing": 1}
    assert found["view_labels"] == {"values": 3, "differing": 3}


def test_a_way_that_is_not_there_is_skipped_with_its_reason():
    metadata = {FRAMES: describe_guard(FRAMES)[0]}
    with open_ways(metadata, CPU, natural_frame(100, 100)) as ways:
        assert ways.calls == {}
        assert "does not fit" in ways.skipped[f"{FRAMES.name}: batched"]


def test_a_cuda_graph_is_a_way_where_there_are_graphs():
    settings = EngineSettings("cuda", threads=1)
    with open_ways({VIEWS: describe_guard(VIEWS)[0]}, settings, natural_frame(*SIZE)) as ways:
        assert f"{VIEWS.name}: batched, CUDA graph" in {**ways.calls, **ways.skipped}


def test_copies_and_products_have_their_units():
    engine = OnnxRuntimeEngine(FRAMES, CPU)
    frame = natural_frame(*SIZE)[None]
    for facts in ceilings.copies(engine, frame, calls=8).values():
        assert facts["gb_per_s"] == pytest.approx(frame.nbytes / facts["ms"] / 1e6)
    engine.close()
    pytest.importorskip("torch")
    quick = Method(rounds=2, window_s=0.01, budget_s=0.01, turn_s=0.001, warm_s=0.01, pause_s=0.0)
    found = ceilings.products(quick, side=64, device="cpu")
    assert {*found} == {"fp32", "tf32", "fp16"}
    assert min(found.values()) > 0


def test_a_guard_that_cannot_serve_the_frames_is_an_error(capsys):
    command = [str(FRAMES), "--provider", "cpu", "--frame", "100x100", "--seconds", "0.01"]
    assert main(command) == 2
    assert "error: " in capsys.readouterr().err


def test_no_cameras_are_a_usage_error(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["guard.onnx", "--most-cameras", "0"])
    assert "0 is not a number of cameras" in capsys.readouterr().err
