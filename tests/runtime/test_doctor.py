"""`blurvote doctor`: what it reports, and that it notices what is broken."""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from pathlib import Path

import pytest

from blurvote.runtime import ProviderError, demo
from blurvote.runtime.cli import main
from blurvote.runtime.engines import ort


def test_all_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["healthy"] is True
    assert report["providers"]["cpu"] == {"works": True, "why": None}
    assert report["versions"]["numpy"]
    assert report["machine"]["kernel_instruction_sets"][-1] == "scalar"
    assert {guard["runs"] for guard in report["shipped_guards"].values()} == {True}


def test_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert text.rstrip().endswith("all well")
    assert "ok views:" in text
    assert "ok frames:" in text


def test_a_missing_provider_is_explained_with_its_fix(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", "--json"])
    cuda = json.loads(capsys.readouterr().out)["providers"]["cuda"]
    if cuda["works"]:
        pytest.skip("this machine has CUDA, so nothing is missing")
    assert "pip install" in cuda["why"]


def test_what_pipelines_lack_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "av" else found(name, *a)
    )
    monkeypatch.setitem(sys.modules, "gi", None)
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "no streams by PyAV: OpenCV decodes, and notices neither damaged pictures" in text
    assert "pip install 'blurvote[stream]'" in text
    assert "no GStreamer: needs PyGObject; pip install 'blurvote[gst]'" in text


def test_broken_guards(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "guard_path", lambda kind: tmp_path / f"{kind}.onnx")
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "no views:" in text
    assert "is not a file" in text
    assert "cannot run here yet" in text


def test_no_onnxruntime(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> None:
        raise ProviderError("onnxruntime cannot be imported; pip install onnxruntime")

    monkeypatch.setattr(ort, "import_onnxruntime", missing)
    assert main(["doctor"]) == 1
    assert "pip install onnxruntime" in capsys.readouterr().out


def test_what_a_removed_wheel_leaves_of_onnxruntime(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", types.ModuleType("onnxruntime"))
    assert main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "no cpu: onnxruntime is there in part only" in text
    assert "pip uninstall onnxruntime onnxruntime-gpu, and then pip install onnxruntime" in text
