"""The RTSP server of the soak scenarios, for tests that skip where it cannot run."""

from __future__ import annotations

import pytest

from blurvote.benchmarks.soak.rtsp import (
    RtspServer,
    film,
    free_port,
    missing_gstreamer,
    pattern,
)

__all__ = ["WHY_NOT", "RtspServer", "film", "free_port", "needs_gstreamer", "pattern"]

WHY_NOT = missing_gstreamer()
needs_gstreamer = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
