"""MLPerf's four scenarios, driven by MLPerf's LoadGen or by a built-in twin of it.

==============  =====================================  ===========================================
scenario        queries                                metric
==============  =====================================  ===========================================
SingleStream    one sample, the next after the last    p90 latency, early-stopping estimate (ms)
MultiStream     eight samples, the next after the last p99 query latency, the same estimate (ms)
Offline         all samples at once                    samples per second
Server          one sample, Poisson arrivals           completed queries per second, p99 in bound
==============  =====================================  ===========================================

No result here has been submitted to MLCommons: print `UNVERIFIED` beside every one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from blurvote.benchmarks.latency.scenarios import built_in, loadgen
from blurvote.benchmarks.latency.scenarios.result import UNVERIFIED, Harness, Result
from blurvote.benchmarks.latency.scenarios.server_target import ServerSearch, find_server_qps
from blurvote.benchmarks.latency.scenarios.settings import SCENARIOS, Scenario, Settings
from blurvote.benchmarks.latency.scenarios.sut import SystemUnderTest
from blurvote.runtime.errors import BlurvoteError

__all__ = [
    "SCENARIOS",
    "UNVERIFIED",
    "Harness",
    "Result",
    "Scenario",
    "ServerSearch",
    "Settings",
    "SystemUnderTest",
    "find_server_qps",
    "run_scenario",
]


def run_scenario(
    sut: SystemUnderTest,
    settings: Settings,
    harness: Harness,
    folder: str | Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Result:
    """One run of one scenario.

    Args:
        sut: what is measured.
        settings: what is asked of it.
        harness: `"loadgen"` (x86-64, `pip install mlcommons-loadgen`) or `"built-in"`.
        folder: where LoadGen writes its logs, made if missing; the built-in harness writes none.
        progress: called with a few words every few seconds.

    Raises:
        ProviderError: LoadGen is not installed.
        SinkError: the folder cannot be written.
        BlurvoteError: settings that cannot be run.
        Exception: whatever `sut.classify` raised; the run ends with it.
    """
    if harness == "built-in":
        return built_in.run(sut, settings, progress)
    if folder is None:
        raise BlurvoteError("LoadGen writes its logs to a folder and none was given; pass folder=")
    return loadgen.run(sut, settings, folder, progress)
