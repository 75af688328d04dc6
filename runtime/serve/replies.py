"""Replies, and values as JSON that every browser can read."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.responses import Response

__all__ = ["json_reply", "readable", "reply", "text_reply", "to_json"]


def reply(
    body: bytes, media_type: str, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """A whole reply."""
    from starlette.responses import Response

    return Response(body, status, headers, media_type)


def text_reply(text: str, status: int = 200, media_type: str = "text/plain") -> Response:
    """One line for people, or a page."""
    end = "" if text.endswith("\n") or not text else "\n"
    return reply((text + end).encode(), media_type, status)


def json_reply(value: Any, status: int = 200) -> Response:
    """Plain values as JSON."""
    return reply(to_json(value), "application/json", status)


def readable(text: str) -> str:
    """Text that UTF-8 can hold: file names need not be, and Python keeps their bytes apart."""
    return text.encode("utf-8", "replace").decode("utf-8")


def to_json(value: Any) -> bytes:
    """One line of JSON in UTF-8; numbers that JSON lacks (NaN, infinity) become null."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False)
    return readable(text).encode()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
