"""Runs one piece of work over many items, in several processes, into a journal.

Processes and not threads: attacks spend their time in torch, whose backward pass scales better over
processes of one thread each than over threads of one process.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from typing import Any, Protocol, TypeVar

from blurvote.benchmarks.robustness.journal import Journal
from blurvote.runtime.errors import BlurvoteError

__all__ = ["Item", "Progress", "sweep"]

Result = Any  # JSON values


class Item(Protocol):
    """One piece of work; crosses to the worker by pickling."""

    @property
    def key(self) -> str:
        """Unique in its run; names the result in the journal."""


I = TypeVar("I", bound=Item)  # noqa: E741
Work = Callable[[I], Result]


class Progress:
    """A line with the share done and the time left: redrawn on a terminal, else every 30 s."""

    def __init__(self, what: str, total: int, quiet: bool = False) -> None:
        self._what, self._total = what, total
        self._quiet = quiet or sys.stderr is None
        self._terminal = not self._quiet and sys.stderr.isatty()
        self._started = self._shown = time.monotonic()
        self._before = self._counted = 0

    def resume(self, before: int) -> None:
        """Says that `before` of the total were done by an earlier run; the time left starts now."""
        self._before = before
        self._started = time.monotonic()

    def update(self, done: int) -> None:
        """Says that `done` of the total are done, those of an earlier run counted."""
        now = time.monotonic()
        self._counted = done
        every = 0.2 if self._terminal else 30.0
        if self._quiet or (now - self._shown < every and done < self._total):
            return
        self._shown = now
        rate = (now - self._started) / max(1, done - self._before)
        left = _duration(rate * (self._total - done))
        text = f"{self._what}: {done}/{self._total}, {left} left"
        if self._terminal:
            print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Ends the line."""
        if self._terminal and self._counted:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def sweep(
    items: Sequence[I],
    prepare: Callable[[], Work[I]],
    journal: Journal,
    workers: int,
    progress: Progress,
) -> None:
    """Adds the result of every item that the journal lacks.

    Args:
        items: the work.
        prepare: called once in each process (loads models); must be picklable, such as a
            `functools.partial` of a module's function. Returns the function from item to result.
        journal: receives results as they come, in any order.
        workers: processes, no more than there are items; with 1 the work is done in this one.
        progress: told after every item.

    Raises:
        BlurvoteError: what `prepare` or the work raised, or a worker died.
        KeyboardInterrupt: Ctrl-C; the journal holds what was finished.
    """
    left = [item for item in items if item.key not in journal.done]
    if not left:
        return
    before = len(items) - len(left)
    progress.resume(before)
    workers = min(workers, len(left))
    done = _alone(left, prepare) if workers == 1 else _shared(left, prepare, workers)
    try:
        with contextlib.closing(done):  # at once, should the journal fail or Ctrl-C come
            for count, (key, result) in enumerate(done, before + 1):
                journal.add(key, result)
                progress.update(count)
    finally:
        progress.close()


Done = Generator[tuple[str, Result], None, None]


def _alone(items: Iterable[I], prepare: Callable[[], Work[I]]) -> Done:
    work = prepare()
    for item in items:
        yield item.key, work(item)


def _shared(items: Iterable[I], prepare: Callable[[], Work[I]], workers: int) -> Done:
    # Spawned, not forked: ONNX Runtime's and torch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, context, _start, (prepare,))
    waiting = iter(items)
    running: dict[Future[Result], str] = {}

    def submit(count: int) -> None:
        for item in itertools.islice(waiting, count):
            with _sigint_held():  # any of them may start a process, until there are enough
                running[pool.submit(_work, item)] = item.key

    try:
        # Few in flight: 50,000 items must not lie in the queue as pickles.
        submit(2 * workers)
        while running:
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            # Those that failed last, so that what was finished beside them is kept.
            for future in sorted(finished, key=lambda one: one.exception() is not None):
                key = running.pop(future)
                yield key, future.result()
                submit(1)
    except BaseException as error:
        # Not waited for: one item may take minutes.
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()
        if isinstance(error, BrokenProcessPool):
            raise BlurvoteError(
                "a worker process died, most likely for want of memory; what was finished is kept: "
                f"run the same command again with fewer --workers (now {workers})"
            ) from error
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _sigint_held() -> Iterator[None]:
    """Processes that are started in here never see Ctrl-C; this one sees it afterwards.

    Ignoring it in their initializer is too late: importing torch takes them seconds, and Ctrl-C
    would print a traceback from each.
    """
    resource_tracker.ensure_running()  # started later, it would let SIGINT through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_state: dict[str, Any] = {}


def _start(prepare: Callable[[], Work[Any]]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _state["prepare"] = prepare
    # Before the interpreter takes its modules down: the C++ objects would be reported as leaked.
    atexit.register(_state.clear)


def _end_with_parent() -> None:
    """Ends this worker when its parent is killed, instead of waiting for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(item: Item) -> Result:
    # Prepared on first use: an exception in an initializer would only say that the pool broke.
    try:
        if "work" not in _state:
            _state["work"] = _state["prepare"]()
        return _state["work"](item)
    except BlurvoteError:
        raise
    except Exception as error:  # another library's may not survive the way to the parent
        raise RuntimeError(f"{item.key}: {traceback.format_exc()}") from error
