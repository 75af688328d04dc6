"""A C++ program links the kernels, from an installed package and from a subdirectory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CPP = Path(__file__).resolve().parents[2] / "cpp_ext"
CONSUMER = Path(__file__).resolve().parent / "consumer"
# cmake and ninja may come from the virtual environment that runs the tests.
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
}


def sh(*command: str | Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("how", ["find_package", "add_subdirectory"])
def test_a_program_links_the_kernels(how: str, tmp_path: Path) -> None:
    if how == "find_package":
        prefix = tmp_path / "prefix"
        sh("cmake", "-S", CPP, "-B", tmp_path / "library", "-G", "Ninja", "-DBLURVOTE_TESTS=OFF")
        sh("cmake", "--build", tmp_path / "library")
        sh("cmake", "--install", tmp_path / "library", "--prefix", prefix)
        where = f"-DCMAKE_PREFIX_PATH={prefix}"
    else:
        where = f"-DBLURVOTE_SOURCE={CPP}"
    sh("cmake", "-S", CONSUMER, "-B", tmp_path / "build", "-G", "Ninja", where)
    sh("cmake", "--build", tmp_path / "build")
    # Grey 128 normalised by ImageNet's red, and the majority of labels 1, 1, 0.
    grey = (128 / 255 - 0.485) / 0.229
    assert sh(tmp_path / "build" / "consumer").split() == [f"{grey:.5f}", "1", "2"]
