"""A C++ program links the kernels, from an installed package and from a subdirectory."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

CONSUMER = Path(__file__).resolve().parent / "consumer"
# Grey 128 normalised by ImageNet's red, and the majority of labels 1, 1, 0.
EXPECTED = [f"{(128 / 255 - 0.485) / 0.229:.5f}", "1", "2"]


@pytest.mark.parametrize("how", ["find_package", "add_subdirectory"])
def test_a_program_links_the_kernels(
    how: str, request: pytest.FixtureRequest, cpp: Path, sh: Callable[..., str], tmp_path: Path
) -> None:
    if how == "find_package":
        where = f"-DCMAKE_PREFIX_PATH={request.getfixturevalue('prefix')}"
    else:
        where = f"-DBLURVOTE_SOURCE={cpp}"
    sh("cmake", "-S", CONSUMER, "-B", tmp_path / "build", "-G", "Ninja", where)
    sh("cmake", "--build", tmp_path / "build")
    assert sh(tmp_path / "build" / "consumer").split() == EXPECTED


def test_pkg_config_knows_the_library(
    prefix: Path, sanitize: list[str], sh: Callable[..., str], tmp_path: Path
) -> None:
    if not shutil.which("pkg-config"):
        pytest.skip("no pkg-config here")
    moved = tmp_path / "elsewhere"
    shutil.copytree(prefix, moved)
    (file,) = moved.rglob("blurvote.pc")
    flags = sh("pkg-config", "--cflags", "--libs", file).split()
    sh("c++", "-std=c++17", *sanitize, CONSUMER / "main.cpp", "-o", tmp_path / "consumer", *flags)
    assert sh(tmp_path / "consumer").split() == EXPECTED
