"""Runs the C++ tools, and installs the kernels once for all tests that link them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CPP = Path(__file__).resolve().parents[2] / "cpp_ext"
# Such as address,undefined; none by default, as they double the time that the library takes to
# build.
SANITIZE = os.environ.get("BLURVOTE_SANITIZE", "")
# cmake and ninja may come from the virtual environment that runs the tests.
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
}


def run(*command: str | Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def sh() -> Callable[..., str]:
    """Runs a command, which must succeed, and returns what it prints."""
    return run


@pytest.fixture(scope="session")
def cpp() -> Path:
    """The folder of the C++ sources."""
    return CPP


@pytest.fixture(scope="session")
def sanitize() -> list[str]:
    """The compiler's options that a program needs beside the installed library."""
    return [f"-fsanitize={SANITIZE}"] if SANITIZE else []


@pytest.fixture(scope="session")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the library is installed; what links it has its sanitizers (see SANITIZE)."""
    folder = tmp_path_factory.mktemp("installed")
    build = folder / "build"
    run(
        *("cmake", "-S", CPP, "-B", build, "-G", "Ninja", "-DBLURVOTE_TESTS=OFF"),
        f"-DBLURVOTE_SANITIZE={SANITIZE}",
    )
    run("cmake", "--build", build)
    run("cmake", "--install", build, "--prefix", folder / "prefix")
    return folder / "prefix"
