"""What modules export: `__all__` is sorted, complete and true, and the stub is the extension's."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

import pytest

import blurvote.runtime
from blurvote.runtime import _kernels

ROOT = Path(__file__).resolve().parents[2]
# The demo's drawing modules are its own business; they export nothing.
SOURCES = sorted(
    path.relative_to(ROOT) for path in (ROOT / "runtime").rglob("*.py") if "demo" not in path.parts
)


def top_level(tree: ast.Module) -> tuple[list[str], set[str], set[str]]:
    """`__all__`, all names that the module defines or imports, its own classes and functions."""
    exported: list[str] = []
    names: set[str] = set()
    own: set[str] = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            own.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in ast.walk(ast.Tuple(elts=targets)):
                if isinstance(target, ast.Name):
                    names.add(target.id)
            if "__all__" in ast.unparse(targets[0]):
                exported = ast.literal_eval(ast.unparse(node.value or ast.List(elts=[])))
    return exported, names | own, own


def order(name: str) -> tuple[int, str]:
    """CONSTANTS, then Classes, then functions, each by name."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_all_is_sorted_complete_and_defined(path: Path) -> None:
    exported, names, own = top_level(ast.parse((ROOT / path).read_text()))
    public = {name for name in own if not name.startswith("_")}
    assert exported == sorted(set(exported), key=order)
    assert public <= set(exported), "public but not in __all__"
    assert set(exported) <= names, "in __all__ but not there"


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_what_all_names_can_be_imported(path: Path) -> None:
    parts = path.with_suffix("").parts
    name = ".".join(("blurvote", *(part for part in parts if part != "__init__")))
    module = importlib.import_module(name)
    missing = [name for name in getattr(module, "__all__", ()) if not hasattr(module, name)]
    assert not missing


def test_the_package_exports_all_that_it_imports() -> None:
    _, names, _ = top_level(ast.parse((ROOT / "runtime" / "__init__.py").read_text()))
    assert set(blurvote.runtime.__all__) == names - {"__all__"}


def test_the_committed_stub_is_what_the_extension_says(monkeypatch: pytest.MonkeyPatch) -> None:
    from nanobind.stubgen import StubGen

    monkeypatch.setattr(sys, "argv", ["stubgen"])
    generator = StubGen(module=_kernels, quiet=True, max_expr_length=50)
    generator.put(_kernels)
    committed = (ROOT / "runtime" / "_kernels.pyi").read_text()
    assert generator.get() == committed, (
        "write it again: python -m nanobind.stubgen -q -m blurvote.runtime._kernels "
        "-o runtime/_kernels.pyi"
    )
