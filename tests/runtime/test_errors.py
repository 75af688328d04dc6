"""The tree of errors that the docstring draws is the tree of errors that the classes form."""

from __future__ import annotations

import re

from blurvote.runtime import errors


def drawn_tree() -> dict[str, tuple[str | None, bool]]:
    """Name of each drawn error to its parent's, and whether `(ValueError)` is written beside it."""
    assert errors.__doc__ is not None
    tree: dict[str, tuple[str | None, bool]] = {}
    above: list[str] = []
    for line in errors.__doc__.splitlines():
        match = re.fullmatch(r"    (?P<branch>[ +|-]*)(?P<name>\w+Error)\b(?P<said>.*)", line)
        if match is None:
            continue
        depth = len(match["branch"]) // 4
        del above[depth:]
        tree[match["name"]] = (above[-1] if above else None, "(ValueError)" in match["said"])
        above.append(match["name"])
    return tree


def test_the_drawn_tree_is_the_real_one() -> None:
    real: dict[str, tuple[str | None, bool]] = {}
    for name in errors.__all__:
        kind = getattr(errors, name)
        parent = kind.__base__.__name__
        real[name] = (None if parent == "Exception" else parent, issubclass(kind, ValueError))
    assert drawn_tree() == real


def test_there_is_one_root() -> None:
    roots = [name for name, (parent, _) in drawn_tree().items() if parent is None]
    assert roots == ["BlurvoteError"]
    assert all(issubclass(getattr(errors, name), errors.BlurvoteError) for name in errors.__all__)
