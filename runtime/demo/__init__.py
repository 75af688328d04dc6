"""The world behind `blurvote demo`: drawn road signs, and the small guards that know them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

__all__ = ["guard_path"]


def guard_path(kind: Literal["views", "frames"]) -> Path:
    """The shipped road-sign guard of either kind."""
    return Path(__file__).parent / f"signs_{kind}.onnx"
