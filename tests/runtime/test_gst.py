"""GStreamer in one process with libraries that throw C++ exceptions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.runtime.rtsp import needs_gstreamer

CODE = """
import cv2
from blurvote.runtime import Guard, GuardError, SourceError
from blurvote.runtime.gst import load_gstreamer
load_gstreamer(SourceError)
for _ in range(3):
    try:
        Guard({path!r})
    except GuardError as error:
        print("told")
try:
    cv2.resize(None, (0, 0))
except cv2.error:
    print("told")
"""


@needs_gstreamer
def test_exceptions_of_other_libraries_are_caught(tmp_path: Path) -> None:
    path = tmp_path / "no.onnx"
    path.write_bytes(b"not a model")
    ran = subprocess.run(
        [sys.executable, "-c", CODE.format(path=str(path))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout.split()) == (0, ["told"] * 4), ran.stderr
