"""Tuned settings come back as they were kept, and only where they hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from blurvote.runtime import Guard, GuardError, SinkError
from blurvote.runtime.tuning import (
    Tuning,
    fingerprint,
    guard_sha256,
    load_tuning,
    save_tuning,
    tuning_folder,
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def tuned(guard: Path) -> Tuning:
    return Tuning(
        provider="cpu",
        plan="cascade",
        threads=1,
        spin=False,
        guard_sha256=guard_sha256(guard),
        machine=fingerprint(),
        mean_ms=1.5,
        measured_at="2026-01-01T00:00:00+0000",
    )


def test_a_guard_takes_the_settings_that_were_kept(
    make_guard: Callable[..., Path], red_frame: np.ndarray
) -> None:
    path = make_guard()
    file = save_tuning(tuned(path))
    assert file.parent == tuning_folder()
    assert load_tuning(path) == tuned(path)
    with Guard.tuned(path) as guard:
        assert (guard.plan, guard.threads, guard.provider) == ("cascade", 1, "cpu")
        assert guard.classify(red_frame).plan == "cascade"


def test_an_untuned_guard_is_an_error_that_says_what_to_do(make_guard: Callable[..., Path]) -> None:
    path = make_guard()
    with pytest.raises(GuardError, match=r"has no tuned settings .* blurvote bench --tune"):
        Guard.tuned(path)


@pytest.mark.parametrize("what", ["cpu", "usable_cores", "onnxruntime"])
def test_settings_of_another_machine_are_refused(
    make_guard: Callable[..., Path], what: str
) -> None:
    path = make_guard()
    other = {**fingerprint(), what: "another"}
    save_tuning(replace(tuned(path), machine=other))
    with pytest.raises(GuardError, match=f"do not hold any more: {what} was 'another'"):
        load_tuning(path)


def test_settings_follow_the_file_and_not_its_name(make_guard: Callable[..., Path]) -> None:
    path = make_guard()
    save_tuning(tuned(path))
    moved = path.rename(path.with_name("moved.onnx"))
    assert load_tuning(moved).threads == 1
    moved.write_bytes(moved.read_bytes() + b"\n")
    with pytest.raises(GuardError, match="no tuned settings"):
        load_tuning(moved)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema_version": 99}', '{"schema_version": 1, "plan": "batched"}']
)
def test_a_broken_file_is_named(make_guard: Callable[..., Path], text: str) -> None:
    path = make_guard()
    file = save_tuning(tuned(path))
    file.write_text(text)
    with pytest.raises(GuardError, match=f"{file.name} cannot be used"):
        load_tuning(path)


def test_a_folder_that_cannot_be_written(make_guard: Callable[..., Path], cache: Path) -> None:
    path = make_guard()
    cache.write_text("a file where a folder should be")
    with pytest.raises(SinkError, match="XDG_CACHE_HOME names another folder"):
        save_tuning(tuned(path))


def test_missing_guard(tmp_path: Path) -> None:
    with pytest.raises(GuardError, match="cannot be read"):
        load_tuning(tmp_path / "missing.onnx")


def test_the_file_is_plain_json(make_guard: Callable[..., Path]) -> None:
    file = save_tuning(tuned(make_guard()))
    values = json.loads(file.read_text())
    assert values["schema_version"] == 1
    assert values["machine"] == fingerprint()
    assert [p.name for p in file.parent.iterdir()] == [file.name]
