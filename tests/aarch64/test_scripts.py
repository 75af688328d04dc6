"""What `make test-aarch64` is made of, as far as it shows without an emulator."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.aarch64 import compare
from tests.aarch64.emulated import LEFT_OUT

ROOT = Path(__file__).resolve().parents[2]
VERDICT = {
    "type": "verdict",
    "source": "pictures/a.png",
    "label": 3,
    "reason": None,
    "view_labels": [3, 3, 5],
    "confidence": 0.5,
}


def write(path: Path, *verdicts: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(verdict) + "\n" for verdict in verdicts))
    return str(path)


@pytest.mark.parametrize(
    ("there", "status"),
    [
        ({"confidence": 0.50001}, 0),
        ({"source": "elsewhere/a.png"}, 0),
        ({"confidence": 0.501}, 1),
        ({"label": 5}, 1),
        ({"view_labels": [3, 3, 3]}, 1),
        ({"reason": "no_majority"}, 1),
        ({"source": "pictures/b.png"}, 1),
    ],
)
def test_compare_finds_what_differs(tmp_path: Path, there: dict[str, Any], status: int) -> None:
    here = write(tmp_path / "here.jsonl", VERDICT, {"type": "summary"})
    assert compare.main(here, write(tmp_path / "there.jsonl", VERDICT | there)) == status


def test_compare_refuses_to_compare_nothing(tmp_path: Path) -> None:
    nothing = write(tmp_path / "nothing.jsonl")
    assert compare.main(nothing, nothing) == 1


def test_all_that_is_left_out_exists() -> None:
    assert [name for name in LEFT_OUT if not (ROOT / name).exists()] == []


@pytest.mark.parametrize(("may_skip", "status"), [("", 1), ("1", 0)])
def test_a_missing_tool_is_named(tmp_path: Path, may_skip: str, status: int) -> None:
    for tool in ("bash", "dirname", "mkdir"):
        (tmp_path / tool).symlink_to(str(shutil.which(tool)))
    done = subprocess.run(
        [tmp_path / "bash", ROOT / "tests" / "aarch64" / "run.sh"],
        env=os.environ | {"PATH": str(tmp_path), "MAY_SKIP": may_skip},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == (
        "aarch64 NOT TESTED: aarch64-linux-gnu-g++ is missing "
        "(apt-get install g++-aarch64-linux-gnu)\n"
    )
    assert done.returncode == status, done.stderr
