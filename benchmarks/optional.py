"""Packages that only some measurements need."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from blurvote.runtime.errors import ProviderError

__all__ = ["require"]


def require(what: str, modules: Sequence[str], packages: str) -> list[Any]:
    """The modules, imported.

    Raises:
        ProviderError: one is missing; the message has the pip line.
    """
    try:
        return [importlib.import_module(module) for module in modules]
    except ImportError as error:
        raise ProviderError(f"{what} cannot be run ({error}); pip install {packages}") from error
