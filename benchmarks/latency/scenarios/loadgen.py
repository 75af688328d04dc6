"""The four scenarios under MLPerf's own LoadGen.

LoadGen calls back from C++ and cannot be told to stop. An exception that leaves a callback tears
down queries that its logger still reads, and the process dies. So none leaves one: the first error
is kept, whatever is asked afterwards is answered at once without classifying, LoadGen comes to its
end by itself, and then the error is raised. LoadGen runs on a thread of its own, because Ctrl-C is
delivered to the main thread and would otherwise be such an exception.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from blurvote.benchmarks.latency.scenarios.built_in import SLACK, warm_up_s
from blurvote.benchmarks.latency.scenarios.loadgen_summary import read_summary
from blurvote.benchmarks.latency.scenarios.progress import EVERY_S, Teller
from blurvote.benchmarks.latency.scenarios.result import Result
from blurvote.benchmarks.latency.scenarios.settings import Settings
from blurvote.benchmarks.latency.scenarios.sut import SystemUnderTest
from blurvote.runtime.errors import ProviderError, SinkError

__all__ = ["run"]

_LOGS = ("summary.txt", "detail.txt", "accuracy.json", "trace.json")
_alone = threading.Lock()  # LoadGen's logger is one per process


def run(
    sut: SystemUnderTest,
    settings: Settings,
    folder: str | Path,
    progress: Callable[[str], None] | None = None,
) -> Result:
    """One run in PerformanceOnly mode; `mlperf_log_*` are left in the folder.

    A run that fails or is interrupted leaves no logs: they would look like results.

    Raises:
        ProviderError: `mlperf_loadgen` cannot be imported.
        SinkError: the folder cannot be written.
        BlurvoteError: Server without `target_qps`.
        Exception: whatever `sut.classify` raised.
    """
    module = _load()
    logs = _empty(Path(folder))
    requested = _requested(module, sut, settings)
    session = _Session(module, sut, settings)
    output = module.LogSettings()
    output.log_output.outdir = str(folder)
    output.log_output.copy_summary_to_stdout = False
    output.enable_trace = False
    nothing = str(Path(folder) / "no-audit.config")  # else ./audit.config would override settings
    teller = Teller(settings, progress)

    over = threading.Event()  # an interrupted Thread.join believes in Python 3.11 that it is done

    def start() -> None:
        try:
            system = module.ConstructSUT(session.issue, session.flush)
            library = module.ConstructQSL(sut.samples, sut.samples, _ignore, _ignore)
            module.StartTestWithLogSettings(system, library, requested, output, nothing)
            module.DestroyQSL(library)
            module.DestroySUT(system)
        except BaseException as error:  # LoadGen's own; its threads may still use both, so leak
            session.fail(error)
        finally:
            session.end()
            over.set()

    with _alone:
        thread = threading.Thread(target=start, name="loadgen")
        thread.start()
        try:
            while not over.wait(EVERY_S):
                teller.tell(session.samples)
        except BaseException as error:  # Ctrl-C, or the progress callback's own
            session.fail(error)
            over.wait()
        thread.join()
    if session.error is not None:
        for log in logs:
            log.unlink(missing_ok=True)
        raise session.error
    if not logs[0].is_file():
        raise SinkError(f"LoadGen left no {logs[0]}; is there space, and may it be written?")
    return read_summary(
        logs[0].read_text(),
        settings,
        session.queries,
        session.samples,
        session.duration_s,
        str(folder),
    )


def _load() -> Any:
    try:
        import mlperf_loadgen
    except ImportError as error:
        raise ProviderError(
            f"MLPerf's LoadGen cannot be imported ({error}); pip install mlcommons-loadgen (x86-64 "
            "only), or choose the built-in harness, which follows the same rules"
        ) from error
    return mlperf_loadgen


def _empty(folder: Path) -> list[Path]:
    """The paths of the logs to come, none of which is there yet."""
    logs = [folder / f"mlperf_log_{name}" for name in _LOGS]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for log in logs:
            log.unlink(missing_ok=True)
    except OSError as error:
        raise SinkError(f"LoadGen's folder {folder} cannot be written: {error.strerror}") from error
    return logs


def _ignore(_: Sequence[int]) -> None:
    """All samples are in memory, always."""


def _requested(module: Any, sut: SystemUnderTest, settings: Settings) -> Any:
    """LoadGen's settings; it generates its queries beforehand and so has to know the pace."""
    requested = module.TestSettings()
    requested.scenario = getattr(module.TestScenario, settings.scenario)
    requested.mode = module.TestMode.PerformanceOnly
    requested.min_duration_ms = round(settings.min_duration_s * 1e3)
    requested.min_query_count = settings.fewest_queries
    for name in ("qsl_rng_seed", "sample_index_rng_seed", "schedule_rng_seed"):
        setattr(requested, name, settings.seed)
    warm_s = warm_up_s(settings)
    # Twice the queries that fit at the expected latency are generated: a quarter less than the
    # fastest call leaves room for a machine that was busy during the warm-up.
    if settings.scenario == "SingleStream":
        requested.single_stream_target_latency_percentile = settings.percentile
        fastest_s = sut.warm_up(1, warm_s).fastest_s
        requested.single_stream_expected_latency_ns = int(0.75e9 * fastest_s)
    elif settings.scenario == "MultiStream":
        size = settings.samples_per_query
        requested.multi_stream_samples_per_query = size
        requested.multi_stream_target_latency_percentile = settings.percentile
        pace = sut.warm_up(size, warm_s)
        calls = math.ceil(size / pace.size)
        requested.multi_stream_expected_latency_ns = int(0.75e9 * pace.fastest_s * calls)
    elif settings.scenario == "Offline":
        pace = sut.warm_up(sut.batch, warm_s)
        requested.offline_expected_qps = SLACK * pace.size / pace.quick_s
    else:
        sut.warm_up(1, warm_s)
        requested.server_target_qps = settings.arrival_rate
        requested.server_target_latency_ns = int(settings.latency_bound_ms * 1e6)
        requested.server_target_latency_percentile = settings.percentile
        requested.server_max_async_queries = settings.max_waiting
    return requested


class _Session:
    """The callbacks of one run.

    Server's queries are queued for a worker thread, which takes up to a batch of those that wait.
    The other scenarios are answered within the callback.
    """

    def __init__(self, module: Any, sut: SystemUnderTest, settings: Settings) -> None:
        self._module = module
        self._sut = sut
        self.error: BaseException | None = None
        self.queries = 0
        self.samples = 0
        self._began = self._answered = 0.0
        self._held: list[int] = []  # queries that came after an error in Server
        self._waiting: SimpleQueue[tuple[int, int] | None] = SimpleQueue()
        self._worker: threading.Thread | None = None
        if settings.scenario == "Server":
            self._worker = threading.Thread(target=self._work, name="server")
            self._worker.start()

    @property
    def duration_s(self) -> float:
        return self._answered - self._began

    def fail(self, error: BaseException) -> None:
        """Nothing is classified any more; the first error is the one that counts."""
        if self.error is None:
            self.error = error

    def issue(self, query: Sequence[Any]) -> None:
        """LoadGen's IssueQuery."""
        if not self.queries:
            self._began = time.perf_counter()
        self.queries += 1
        pairs = [(sample.id, sample.index) for sample in query]
        if self._worker:
            for pair in pairs:
                self._waiting.put(pair)
            return
        size = self._sut.batch if self.error is None else len(pairs)
        for first in range(0, len(pairs), size):
            self._answer(pairs[first : first + size])

    def flush(self) -> None:
        """LoadGen's FlushQueries: no query comes after it."""
        self._waiting.put(None)

    def end(self) -> None:
        """Waits for the worker, also where LoadGen never came to its flush."""
        self._waiting.put(None)
        if self._worker:
            self._worker.join()

    def _work(self) -> None:
        last = False
        while not last:
            batch = [self._waiting.get()]
            while batch[-1] is not None and len(batch) < self._sut.batch:
                try:
                    batch.append(self._waiting.get_nowait())
                except Empty:
                    break
            last = batch[-1] is None
            pairs = [pair for pair in batch if pair is not None]
            if pairs:
                self._answer(pairs)
        if self._held:
            self._complete(self._held, None)

    def _answer(self, pairs: Sequence[tuple[int, int]]) -> None:
        ids = [pair[0] for pair in pairs]
        labels = None
        if self.error is None:
            try:
                labels = np.asarray(self._sut([pair[1] for pair in pairs]), np.int64)
            except BaseException as error:
                self.fail(error)
        # LoadGen would go on sending to a Server that answers: it gives up on one that does not.
        if labels is None and self._worker:
            self._held += ids
        else:
            self._complete(ids, labels)

    def _complete(self, ids: Sequence[int], labels: Any) -> None:
        response = self._module.QuerySampleResponse
        if labels is None:
            responses = [response(i, 0, 0) for i in ids]
        else:
            at = labels.ctypes.data
            responses = [response(i, at + 8 * place, 8) for place, i in enumerate(ids)]
        self._module.QuerySamplesComplete(responses)
        self._answered = time.perf_counter()
        self.samples += len(ids)
