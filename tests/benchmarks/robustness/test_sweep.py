"""Work over many items: alone, shared, resumed, failing, killed and interrupted."""

from __future__ import annotations

import functools
import importlib
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blurvote.benchmarks.robustness import sweep as sweeping
from blurvote.benchmarks.robustness.journal import Journal
from blurvote.benchmarks.robustness.sweep import Progress, sweep
from blurvote.runtime import errors
from blurvote.runtime.errors import BlurvoteError, GuardError, SinkError

# Spawned workers import it; the modules of tests they cannot.
JOBS = """
import os, signal, time
from dataclasses import dataclass
from pathlib import Path
from blurvote.runtime.errors import GuardError, SourceError

@dataclass(frozen=True)
class Item:
    index: int

    @property
    def key(self):
        return f"item {self.index}"

def log(folder, text):
    with (Path(folder) / "log").open("a") as file:
        file.write(f"{os.getpid()} {text}\\n")

def square(folder):
    log(folder, "prepared")
    return lambda item: [item.index, item.index**2]

def fail_at(folder, index):
    def work(item):
        if item.index == index:
            raise SourceError(f"{item.key} is bad; expected a good one")
        return item.index
    return work

def crash(folder):
    def work(item):
        return {}["no such key"]
    return work

def no_guard(folder):
    raise GuardError("no guard in here")

def die_at(folder, index):
    def work(item):
        if item.index == index:
            os.kill(os.getpid(), signal.SIGKILL)
        return item.index
    return work

def slow_after(folder, index):
    def work(item):
        log(folder, f"began {item.index}")
        if item.index >= index and not (Path(folder) / "go").exists():
            time.sleep(300)
        return item.index
    return work

def held_once_both_are_up(folder, workers):
    log(folder, "up")
    ended = time.monotonic() + 60
    while len({line.split()[0] for line in open(Path(folder) / "log")}) < workers:
        assert time.monotonic() < ended, "the other workers never came"
        time.sleep(0.01)
    blocked = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    return lambda item: [os.getpid(), blocked]
"""


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / "sweep_jobs.py").write_text(JOBS)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("sweep_jobs")
    del sys.modules["sweep_jobs"]
    assert multiprocessing.active_children() == []


def run(
    path: Path, items: list[Any], prepare: Any, *options: int, workers: int = 2
) -> dict[str, Any]:
    with Journal(path / "j", {}) as journal:
        call = functools.partial(prepare, str(path), *options)
        sweep(items, call, journal, workers, Progress("items", len(items), quiet=True))
    return results(path)


def results(path: Path) -> dict[str, Any]:
    lines = (path / "j").read_text().splitlines()[1:]
    keys = [json.loads(line)["key"] for line in lines]
    assert len(keys) == len(set(keys))
    return {entry["key"]: entry["result"] for entry in map(json.loads, lines)}


def logged(path: Path) -> list[str]:
    return (path / "log").read_text().splitlines()


# ---- results ----


@pytest.mark.parametrize("workers", [1, 2, 16])
def test_results_do_not_depend_on_the_workers(tmp_path: Path, jobs: Any, workers: int) -> None:
    """No more processes than items; with one, the work is done in this process."""
    items = [jobs.Item(n) for n in range(3)]
    found = run(tmp_path, items, jobs.square, workers=workers)
    assert found == {f"item {n}": [n, n * n] for n in range(3)}
    processes = {line.split()[0] for line in logged(tmp_path)}
    assert len(logged(tmp_path)) == len(processes) <= min(workers, 3)
    assert (str(os.getpid()) in processes) == (workers == 1)


def test_what_is_there_is_not_done_again(tmp_path: Path, jobs: Any) -> None:
    items = [jobs.Item(n) for n in range(9)]
    run(tmp_path, items[:4], jobs.square, workers=1)
    with pytest.raises(GuardError):  # the rest would have to be prepared
        run(tmp_path, items, jobs.no_guard, workers=1)
    assert run(tmp_path, items[:4], jobs.no_guard) == {f"item {n}": [n, n * n] for n in range(4)}
    assert len(run(tmp_path, items, jobs.slow_after, 99)) == 9
    assert sorted(line.split()[-1] for line in logged(tmp_path)[1:]) == list("45678")


def test_few_items_are_in_flight(
    tmp_path: Path, jobs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted as they are handed out less those in the journal."""
    ahead = []

    class Watched(Journal):
        def add(self, key: str, result: Any) -> None:
            super().add(key, result)
            ahead.append(handed - len(self.done))

    handed = 0
    real = sweeping.ProcessPoolExecutor.submit

    def count(self: Any, *args: Any) -> Any:
        nonlocal handed
        handed += 1
        return real(self, *args)

    monkeypatch.setattr(sweeping.ProcessPoolExecutor, "submit", count)
    with Watched(tmp_path / "j", {}) as journal:
        prepare = functools.partial(jobs.square, str(tmp_path))
        items = [jobs.Item(n) for n in range(60)]
        sweep(items, prepare, journal, 2, Progress("items", 60, quiet=True))
    assert len(results(tmp_path)) == handed == 60
    assert 2 <= max(ahead) <= 4


# ---- failures ----


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_arrives_and_what_was_finished_stays(
    tmp_path: Path, jobs: Any, workers: int
) -> None:
    items = [jobs.Item(n) for n in range(30)]
    with pytest.raises(errors.SourceError, match=r"^item 20 is bad; expected a good one$"):
        run(tmp_path, items, jobs.fail_at, 20, workers=workers)
    kept = results(tmp_path)
    assert "item 20" not in kept
    # When it was handed out, as the 21st, at most four were in flight.
    assert len(kept) >= 17
    assert len(run(tmp_path, items, jobs.fail_at, 99, workers=workers)) == 30


@pytest.mark.parametrize("workers", [1, 2])
def test_a_guard_that_cannot_be_loaded_is_told_as_such(
    tmp_path: Path, jobs: Any, workers: int
) -> None:
    with pytest.raises(GuardError, match=r"^no guard in here$"):
        run(tmp_path, [jobs.Item(0), jobs.Item(1)], jobs.no_guard, workers=workers)


def test_a_programming_error_has_its_item_and_traceback(tmp_path: Path, jobs: Any) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)item \d: Traceback.*KeyError: 'no such key'"):
        run(tmp_path, [jobs.Item(0), jobs.Item(1)], jobs.crash)


def test_a_killed_worker_is_told(tmp_path: Path, jobs: Any) -> None:
    items = [jobs.Item(n) for n in range(20)]
    with pytest.raises(BlurvoteError) as caught:
        run(tmp_path, items, jobs.die_at, 15)
    assert str(caught.value) == (
        "a worker process died, most likely for want of memory; what was finished is kept: run the "
        "same command again with fewer --workers (now 2)"
    )
    assert 12 <= len(results(tmp_path)) < 20


def test_a_full_disk_ends_the_workers_at_once(tmp_path: Path, jobs: Any) -> None:
    """Though they sleep for five minutes."""

    class Full(Journal):
        def add(self, key: str, result: Any) -> None:
            raise SinkError("the disk is full")

    with Full(tmp_path / "j", {}) as journal:
        prepare = functools.partial(jobs.slow_after, str(tmp_path), 1)
        items = [jobs.Item(n) for n in range(4)]
        started = time.monotonic()
        with pytest.raises(SinkError, match="the disk is full"):
            sweep(items, prepare, journal, 2, Progress("items", 4, quiet=True))
        assert time.monotonic() - started < 100
        assert multiprocessing.active_children() == []


@pytest.mark.parametrize("name", errors.__all__)
def test_errors_cross_between_processes(name: str) -> None:
    error = getattr(errors, name)("what was given; what was expected")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))


# ---- interruptions ----

SCRIPT = """
import functools, signal, sys
from pathlib import Path
import sweep_jobs
from blurvote.benchmarks.robustness.journal import Journal
from blurvote.benchmarks.robustness.sweep import Progress, sweep
if __name__ == "__main__":
    # A shell that runs tests in the background has children ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = Path(sys.argv[1])
    items = [sweep_jobs.Item(n) for n in range(12)]
    prepare = functools.partial(sweep_jobs.slow_after, str(folder), int(sys.argv[2]))
    try:
        with Journal(folder / "j", {}) as journal:
            sweep(items, prepare, journal, int(sys.argv[3]), Progress("items", 12))
    except KeyboardInterrupt:
        sys.exit(130)
"""


def start(folder: Path, workers: int) -> subprocess.Popen[str]:
    (folder / "run.py").write_text(SCRIPT)
    return subprocess.Popen(
        [sys.executable, str(folder / "run.py"), str(folder), "5", str(workers)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_until(condition: Any, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def children(folder: Path) -> set[int]:
    return {int(line.split()[0]) for line in logged(folder)}


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_stops_quickly_and_the_run_goes_on_later(
    tmp_path: Path, jobs: Any, workers: int
) -> None:
    """As a terminal sends it: to the whole process group. No worker says anything or stays."""
    log = tmp_path / "log"
    process = start(tmp_path, workers)
    wait_until(lambda: log.exists() and "began 5" in log.read_text())
    wait_until(lambda: len(results(tmp_path)) == 5)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, "")
    wait_until(lambda: not any(map(alive, children(tmp_path))))
    assert set(results(tmp_path)) == {f"item {n}" for n in range(5)}
    (tmp_path / "go").touch()
    items = [jobs.Item(n) for n in range(12)]
    assert run(tmp_path, items, jobs.slow_after, 5) == {f"item {n}": n for n in range(12)}


def test_every_worker_starts_with_ctrl_c_held_back(tmp_path: Path, jobs: Any) -> None:
    """Not only the first: the pool starts the others when it is given more work."""
    items = [jobs.Item(n) for n in range(6)]
    found = run(tmp_path, items, jobs.held_once_both_are_up, 3, workers=3)
    assert all(blocked for _, blocked in found.values())
    assert len({pid for pid, _ in found.values()}) >= 2


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path, jobs: Any) -> None:
    process = start(tmp_path, 2)
    log = tmp_path / "log"
    wait_until(lambda: log.exists() and len(children(tmp_path)) == 2)
    process.kill()
    process.wait()
    wait_until(lambda: not any(map(alive, children(tmp_path))), 60)
    assert process.stderr is not None
    process.stderr.close()
