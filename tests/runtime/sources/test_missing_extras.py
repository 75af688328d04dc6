"""What is said where an optional package is not installed."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import pytest

from blurvote.runtime import SourceError
from blurvote.runtime.sources import NetworkSource, SourceOptions, network, open_source


def test_no_pygobject(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gi", None)
    for uri in ("gst:videotestsrc ! appsink", "csi://0"):
        with pytest.raises(SourceError, match=r"gst: needs PyGObject; pip install 'blurvote\[gst"):
            open_source(uri)


def test_no_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(SourceError, match=r"needs PyAV; pip install 'blurvote\[stream\]'"):
        open_source("rtsp://127.0.0.1:1/x#decoder=av")


def test_without_pyav_opencv_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "find_spec", lambda _: None)
    opened: list[Any] = []
    monkeypatch.setattr(NetworkSource, "__init__", lambda self, *given: opened.append(given))
    assert isinstance(open_source("rtsp://cam/x", SourceOptions(timeout_s=3)), NetworkSource)
    assert opened[0][1] == 3


@pytest.mark.skipif(importlib.util.find_spec("av") is None, reason="no PyAV")
def test_a_dead_address_is_refused_within_the_timeout() -> None:
    with pytest.raises(SourceError, match="cannot be opened"):
        open_source("rtsp://127.0.0.1:1/x", SourceOptions(timeout_s=5))
