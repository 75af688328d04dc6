"""URIs and messages as they may be shown."""

from __future__ import annotations

import re

__all__ = ["without_password"]

# Greedy: an unquoted @ may be part of a password.
_USER_INFO = re.compile(r"(://)([^/?#\s\"'@:]*):[^/?#\s\"']*@")
# A password with an unquoted slash: what follows the colon is no port.
_BROKEN = re.compile(r"(://)([^/?#\s\"'@:]*):(?!\d+(?:[/?#\s\"']|$))[^\s\"'@]*@")
_SETTING = re.compile(
    r"\b((?:\w+-)?(?:pass|passwd|password|pwd|pw|secret|token|apikey|api_key|auth)\s*=\s*)"
    r"(\"[^\"]*\"|'[^']*'|[^\s&;#!'\"]+)",
    re.IGNORECASE,
)


def without_password(uri: str) -> str:
    """A URI, pipeline or message with `***` for each password in it; anything else as it is.

    A password is what stands between a user's name and `@`, and the value of a setting that is
    called `password`, `pwd`, `token` or the like.
    """
    shown = _USER_INFO.sub(r"\1\2:***@", uri)
    shown = _BROKEN.sub(r"\1\2:***@", shown)
    return _SETTING.sub(r"\1***", shown)
