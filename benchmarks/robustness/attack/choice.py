"""Which attacks stand for the others where there is no room for all."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

__all__ = ["strongest"]

T = TypeVar("T")


def strongest(
    rows: Iterable[T], group: Callable[[T], Hashable], success: Callable[[T], float]
) -> list[T]:
    """Of each group the row of largest success, the later of equals; in the groups' first order.

    A guard withstands an attacker no better than his best attack, so this one stands for the group.
    """
    best: dict[Hashable, T] = {}
    for row in rows:
        name = group(row)
        if name not in best or success(row) >= success(best[name]):
            best[name] = row
    return list(best.values())
