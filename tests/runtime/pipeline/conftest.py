"""What tests of pipelines share: a guard that tells colours, and pictures that are never blank."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blurvote.runtime import Guard
from blurvote.runtime.pipeline import reader, stream_watch
from blurvote.runtime.sources import registry


@pytest.fixture
def guard(make_guard: Callable[..., Path]) -> Iterator[Guard]:
    """Names the strongest of red, green and blue."""
    with Guard(make_guard(), threads=1, plan="batched") as loaded:
        yield loaded


@pytest.fixture(autouse=True)
def _own_openers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Schemes that a test registers are gone afterwards."""
    monkeypatch.setattr(registry, "_OPENERS", dict(registry._OPENERS))


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that are seconds in life are hundredths here."""
    monkeypatch.setattr(reader, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(reader, "LONGEST_PAUSE_S", 0.05)
    monkeypatch.setattr(stream_watch, "CLEAR_AFTER_S", 0.05)
