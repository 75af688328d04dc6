"""The broker of the soak scenarios, for tests that skip where it is not installed."""

from __future__ import annotations

import pytest

from blurvote.benchmarks.soak.broker import PROGRAM, Mosquitto, running_mosquitto

__all__ = ["Mosquitto", "needs_mosquitto", "running_mosquitto"]

needs_mosquitto = pytest.mark.skipif(PROGRAM is None, reason="needs Debian's package mosquitto")
