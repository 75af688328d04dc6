"""`blurvote build`, with stand-ins for engines that take minutes to build."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from blurvote.runtime.cli import main
from blurvote.runtime.commands import build
from blurvote.runtime.demo import guard_path
from blurvote.runtime.engines import registry
from blurvote.runtime.engines.engine_cache import EngineCache
from blurvote.runtime.engines.ort import OnnxRuntimeEngine
from blurvote.runtime.engines.protocol import EngineSettings
from blurvote.runtime.errors import ProviderError
from tests.runtime.adaptive import write_adaptive_guard

FACTS = {
    "guard": "0123456789ab" * 5,
    "file": "guard.onnx",
    "compute": "fp16",
    "gpu": "NVIDIA H100",
    "tensorrt": "10.16.1",
    "onnxruntime": "1.31.1",
}


@pytest.fixture
def opened(monkeypatch, tmp_path):
    """The settings of each engine that was opened; the first open of each guard builds."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    seen = []

    def open_engine(path, settings):
        seen.append(settings)
        folder = Path(settings.options.get("cache_dir", tmp_path / "cache/blurvote/engines"))
        EngineCache(folder).build(
            {**FACTS, "compute": settings.compute},
            lambda work: (work / "one.engine").write_text("code"),
        )
        return OnnxRuntimeEngine(path, EngineSettings("cpu", threads=1))

    monkeypatch.setattr(registry, "open_engine", open_engine)
    return seen


@pytest.mark.parametrize("kind", ["views", "frames"])
def test_it_builds_tries_and_says_so(kind, opened, capsys):
    path = str(guard_path(kind))
    assert main(["build", path, "--compute", "fp16", "--option", "max_frames=4"]) == 0
    options = {"max_frames": 4, "build": True}
    assert opened == [EngineSettings("tensorrt", "fp16", options=options)]
    assert f"{path}: built in 0 s; a trial run took " in capsys.readouterr().out
    assert main(["build", path, "--compute", "fp16"]) == 0
    assert f"{path}: was built already; a trial run took " in capsys.readouterr().out


def test_a_damaged_engine_is_built_and_not_there_already(opened, capsys, tmp_path):
    path = str(guard_path("views"))
    assert main(["build", path]) == 0
    (engine,) = (tmp_path / "cache/blurvote/engines").glob("*/one.engine")
    engine.write_text("cut")
    assert main(["build", path]) == 0
    assert "built in 0 s" in capsys.readouterr().out.splitlines()[1]


def test_a_cache_in_the_home_folder_is_looked_at(opened, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["build", str(guard_path("views")), "--option", "cache_dir=~/engines"]) == 0
    assert "built in 0 s" in capsys.readouterr().out
    assert (tmp_path / "engines").is_dir()


def test_json_has_all_of_it(opened, capsys, tmp_path):
    folder = tmp_path / "here"
    path = str(guard_path("views"))
    assert main(["build", path, "--cache-dir", str(folder), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert opened[0].options["cache_dir"] == str(folder)
    assert result["built"] is True
    assert result["guard"] == path
    assert result["provider"] == "tensorrt"
    assert result["trial_ms"] > 0
    assert "CPUExecutionProvider" in result["options"]


def test_progress_is_a_line_that_is_written_over_on_a_terminal(opened, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr(build, "_LOOK_S", 0.01)
    slow = registry.open_engine
    monkeypatch.setattr(registry, "open_engine", lambda *a: time.sleep(0.1) or slow(*a))
    assert main(["build", str(guard_path("views"))]) == 0
    told = capsys.readouterr().err
    assert "\r\033[K[0:00] building " in told
    assert told.endswith("\r\033[K")


def test_progress_is_a_line_now_and_then_elsewhere(opened, capsys, monkeypatch):
    monkeypatch.setattr(build, "_LOOK_S", 0.01)
    monkeypatch.setattr(build, "_QUIET_S", 0.05)
    slow = registry.open_engine
    monkeypatch.setattr(registry, "open_engine", lambda *a: time.sleep(0.2) or slow(*a))
    assert main(["build", str(guard_path("views"))]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert 1 <= len(lines) <= 5
    assert all(line.startswith("[0:00] still building ") for line in lines)


def test_a_build_that_fails_is_one_line_and_status_2(opened, capsys, monkeypatch):
    def fail(path, settings):
        raise ProviderError("TensorRT took no part of it")

    monkeypatch.setattr(registry, "open_engine", fail)
    assert main(["build", str(guard_path("views"))]) == 2
    assert capsys.readouterr().err == "blurvote: error: TensorRT took no part of it\n"


def test_what_is_no_guard_is_refused_before_anything_is_built(opened, capsys, tmp_path):
    assert main(["build", str(tmp_path / "none.onnx")]) == 2
    assert "none.onnx is not a file; expected an ONNX file" in capsys.readouterr().err
    assert not opened


def test_engines_are_listed_and_removed(opened, capsys, tmp_path):
    assert main(["build", "--list"]) == 0
    assert "no engines in " in capsys.readouterr().out
    path = str(guard_path("views"))
    main(["build", path])
    main(["build", path, "--compute", "fp16"])
    capsys.readouterr()
    assert main(["build", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert any("guard.onnx, fp16, NVIDIA H100, TensorRT 10.16.1, onnxr" in line for line in lines)
    assert main(["build", "--list", "--json"]) == 0
    engines = json.loads(capsys.readouterr().out)
    assert {engine["compute"] for engine in engines} == {"fp32", "fp16"}
    gone = engines[0]
    assert main(["build", "--remove", gone["name"]]) == 0
    assert not Path(gone["folder"]).exists()
    assert main(["build", "--remove", gone["name"]]) == 2
    assert "there is no engine" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "the following arguments are required: guard (or --list"),
        (["g.onnx", "--provider", "cpu"], "invalid choice: 'cpu'"),
        (["g.onnx", "--provider", "openvino"], "give --cache-dir FOLDER"),
        (["g.onnx", "--provider", "openvino", "--ep-context", "x"], "is for --provider tensorrt"),
        (["g.onnx", "--compute", "int8"], "invalid choice: 'int8'"),
    ],
)
def test_what_cannot_be_is_a_usage_error(arguments, told, capsys):
    assert main(["build", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_openvino_fills_its_cache(capsys, tmp_path):
    pytest.importorskip("openvino")
    folder = tmp_path / "compiled"
    command = ["build", str(guard_path("views")), "--provider", "openvino"]
    assert main([*command, "--cache-dir", str(folder)]) == 0
    assert "built in" in capsys.readouterr().out
    assert list(folder.iterdir())
    assert main([*command, "--cache-dir", str(folder)]) == 0
    assert "was built already" in capsys.readouterr().out


def test_the_real_provider_is_asked(capsys):
    engine = OnnxRuntimeEngine(guard_path("views"), EngineSettings("cpu", threads=1))
    if "TensorrtExecutionProvider" in engine._ort.get_available_providers():
        pytest.skip("this onnxruntime has TensorRT")
    assert np.isfinite(engine.run(np.zeros((1, 3, 128, 128), np.float32))[0]).all()
    assert main(["build", str(guard_path("views"))]) == 2
    assert "provider 'tensorrt' was asked for, but onnxruntime" in capsys.readouterr().err


def test_a_denoiser_is_built_with_its_guard(opened, capsys, tmp_path):
    path = str(write_adaptive_guard(tmp_path / "guard.onnx"))
    options = ["--option", "max_frames=4", "--ep-context", str(tmp_path / "here.onnx")]
    assert main(["build", path, *options]) == 0
    own = {"max_frames": 4, "build": True}
    own["ep_context"] = str(tmp_path / "here.onnx")
    assert [settings.options for settings in opened] == [own, own], "TensorRT's engine sorts them"
    told = capsys.readouterr().out
    assert "a trial run took " in told
    assert ", and one of its denoiser " in told
    assert told.splitlines()[-1] == (
        f"{tmp_path / 'here.onnx'}: a guard for this machine's tensorrt, with the engine of its "
        f"denoiser in {tmp_path / 'cache/blurvote/engines'}"
    )
    assert main(["build", path, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["denoiser_trial_ms"] > 0
