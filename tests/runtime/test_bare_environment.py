"""The runtime with nothing installed but what it asks for: no torch, no onnx."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from blurvote.runtime import cli

HEAVY = ("kornia", "onnx", "onnxscript", "torch", "torchvision")
SLOW = (*HEAVY, "cv2", "onnxruntime")


def needed(*names: str) -> Iterator[Distribution]:
    """Those distributions and what they require, extras left out."""
    waiting, seen = [*names], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        found = distribution(name)
        yield found
        for line in found.requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)


def link_distribution(found: Distribution, site: Path) -> None:
    """Links the top-level entries that `found` installed; blurvote's own modules come apart."""
    tops = {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", ".")}
    for top in tops - {"blurvote", "__pycache__"}:
        target = Path(str(found.locate_file(top)))
        if target.suffix != ".pth" and not (site / top).exists():
            (site / top).symlink_to(target)


def link_blurvote(site: Path) -> None:
    """Links the modules wherever they are: editable installs spread a package over folders."""
    for package in ("runtime", "export", "benchmarks"):
        place = site / "blurvote" / package
        place.mkdir(parents=True)
        spec = importlib.util.find_spec(f"blurvote.{package}")
        assert spec is not None
        for folder in spec.submodule_search_locations or ():
            for entry in Path(folder).iterdir() if Path(folder).is_dir() else ():
                if entry.name != "__pycache__":
                    (place / entry.name).symlink_to(entry)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site-packages folder with blurvote, numpy, OpenCV, onnxruntime and what those require."""
    folder = tmp_path_factory.mktemp("site")
    names = [packages_distributions()[module][0] for module in ("cv2", "onnxruntime")]
    for found in needed("blurvote", *names):
        link_distribution(found, folder)
    link_blurvote(folder)
    return folder


def bare(site: Path, code: str) -> object:
    """Runs `code` with that site folder alone and returns the JSON that it prints."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PYTHON", "COV_", "COVERAGE"))
    }
    ran = subprocess.run(
        [sys.executable, "-S", "-B", "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        cwd=site.parent,
        env={**environment, "PYTHONPATH": str(site)},
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_it_is_bare(site: Path) -> None:
    code = f"""
import importlib.util, json, blurvote.runtime
there = [name for name in {HEAVY} if importlib.util.find_spec(name)]
print(json.dumps([there, list(blurvote.runtime.__path__)]))
"""
    assert bare(site, code) == [[], [str(site / "blurvote" / "runtime")]]


def test_every_runtime_module_can_be_imported(site: Path) -> None:
    code = f"""
import importlib, json, pkgutil, sys
import blurvote.runtime
names = [m.name for m in pkgutil.walk_packages(blurvote.runtime.__path__, "blurvote.runtime.")]
for name in names:
    importlib.import_module(name)
print(json.dumps([names, sorted(set({HEAVY}) & set(sys.modules))]))
"""
    result = bare(site, code)
    assert isinstance(result, list)
    names, heavy = result
    assert heavy == []
    assert {
        "blurvote.runtime._kernels",
        "blurvote.runtime.commands.run",
        "blurvote.runtime.demo",
        "blurvote.runtime.guard",
    } <= set(names)


def test_every_command_explains_itself_at_once(site: Path) -> None:
    code = f"""
import contextlib, io, json, sys
from blurvote.runtime import cli
report = {{}}
for name in cli._parser()[1]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = cli.main([name, "-h"])
    report[name] = [status, out.getvalue().split(" [")[0]]
slow = {SLOW}
print(json.dumps([report, sorted(set(slow) & set(sys.modules))]))
"""
    expected = {name: [0, f"usage: blurvote {name}"] for name in cli._parser()[1]}
    assert bare(site, code) == [expected, []]


def test_importing_the_runtime_defers_what_is_slow(site: Path) -> None:
    code = f"""
import json, sys
import blurvote.runtime
slow = {SLOW}
print(json.dumps(sorted(set(slow) & set(sys.modules))))
"""
    assert bare(site, code) == []


@pytest.mark.parametrize(
    ("argv", "packages"),
    [
        (["export", "model.onnx", "-o", "guard.onnx"], "onnx"),
        (["calibrate", "guard.onnx", ".", "--coverage", "0.9"], "onnx"),
        (["evaluate", "guard.onnx", "."], "scipy scikit-learn matplotlib"),
        (["attack", "guard.onnx", "."], "torch onnx onnx2torch scipy matplotlib"),
        (["explain", "guard.onnx", "x.png"], "torch onnx onnx2torch captum matplotlib scipy"),
        (["train", "mnist", "--net", "mlp"], "torch torchvision onnx onnxscript"),
    ],
)
def test_commands_that_need_more_say_what_to_install(
    site: Path, argv: list[str], packages: str
) -> None:
    for name in ("model.onnx", "guard.onnx"):
        (site.parent / name).write_bytes(b"")
    code = f"""
import contextlib, io, json
from blurvote.runtime import cli
said = io.StringIO()
with contextlib.redirect_stderr(said):
    status = cli.main({argv})
print(json.dumps([status, said.getvalue()]))
"""
    result = bare(site, code)
    assert isinstance(result, list)
    status, said = result
    assert status == 2
    assert said.startswith("blurvote: error: ")
    assert said.endswith(f"; pip install {packages}\n")
    assert said.count("\n") == 1
