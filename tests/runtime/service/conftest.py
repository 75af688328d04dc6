"""Config files to try."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

WriteConfig = Callable[[str], Path]


@pytest.fixture
def write_config(tmp_path: Path) -> WriteConfig:
    """Writes `cameras.toml` beside an (empty) `guard.onnx`."""
    (tmp_path / "guard.onnx").touch()

    def write(text: str) -> Path:
        path = tmp_path / "cameras.toml"
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        return path

    return write
