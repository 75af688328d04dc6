"""pytest plugin for an emulated machine, about 40 times slower than a real one.

    python -m pytest -p tests.aarch64.emulated tests/runtime

Time limits that mean nothing there are lifted, and the tests of LEFT_OUT are skipped, each with
its reason. A new test runs there unless somebody writes down why it should not.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

__all__ = ["LEFT_OUT"]

ROOT = Path(__file__).resolve().parents[2]

TORCH = "its oracles are torch and kornia; the C++ tests cover the kernels there"
PLAIN = "plain Python that no processor changes, in minutes of emulated time"
SYSTEM = "of the system's codecs, brokers, sockets and windows, in minutes of emulated time"
PROCESSES = "starts a Python of 5 s for each of many cases"
CLOCK = "counts by the clock, or has threads that spin against each other"

# The beginning of a test's id, and why it is left out.
LEFT_OUT = {
    "tests/runtime/engines/test_cuda.py": CLOCK,
    "tests/runtime/engines/test_tensorrt.py": CLOCK,
    "tests/runtime/pipeline/test_live.py": CLOCK,
    "tests/runtime/serve/": PLAIN,
    "tests/runtime/service/": PLAIN,
    "tests/runtime/sinks/": SYSTEM,
    "tests/runtime/sources/": SYSTEM,
    "tests/runtime/test_bare_environment.py": PROCESSES,
    "tests/runtime/test_build_command.py": CLOCK,
    "tests/runtime/test_cli.py": PROCESSES,
    "tests/runtime/test_demo.py": "draws hundreds of pictures; run.sh runs the demo",
    "tests/runtime/test_formats.py": TORCH,
    "tests/runtime/test_gst.py": SYSTEM,
    "tests/runtime/test_overlap.py": CLOCK,
    "tests/runtime/test_real_images.py": "500 pictures at 10 s; run.sh compares a few",
    "tests/runtime/test_run_command.py": PROCESSES,
    "tests/runtime/test_views.py": TORCH,
}


def pytest_configure(config: pytest.Config) -> None:
    settings.register_profile("emulated", deadline=None, max_examples=10)
    settings.load_profile("emulated")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Files that are left out as a whole are not even imported: what they need may be missing."""
    name = collection_path.relative_to(ROOT).as_posix()
    return True if name in LEFT_OUT or name + "/" in LEFT_OUT else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for start, reason in LEFT_OUT.items():
            if item.nodeid.startswith(start):
                item.add_marker(pytest.mark.skip(reason=f"emulated: {reason}"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name, reason in LEFT_OUT.items():
        terminalreporter.write_line(f"LEFT OUT {name}: {reason}")
