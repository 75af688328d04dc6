"""Observations and events as JSON, whatever is in them."""

from __future__ import annotations

import json
import math
from typing import Any

__all__ = ["to_json"]


def to_json(values: dict[str, Any]) -> str:
    """One line of valid JSON: not-a-number and infinities become null, unknown types text."""
    try:
        return json.dumps(values, allow_nan=False, default=_plain)
    except ValueError:
        return json.dumps(_finite(values), allow_nan=False, default=lambda v: _finite(_plain(v)))


def _plain(value: Any) -> Any:
    """NumPy's scalars and arrays as Python's, all else as text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
