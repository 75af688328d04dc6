"""Runs a pipeline from its settings until its sources end or a signal comes."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from blurvote.runtime.errors import BlurvoteError, EngineNotBuiltError, SettingsError
from blurvote.runtime.guard import Guard
from blurvote.runtime.observation import Event
from blurvote.runtime.pipeline.backlog import Item
from blurvote.runtime.pipeline.outlet import Outlet
from blurvote.runtime.pipeline.pipeline import Pipeline
from blurvote.runtime.serve.server import Server
from blurvote.runtime.service.config import load_config
from blurvote.runtime.service.notify import Notifier
from blurvote.runtime.service.settings import GuardSettings, RunSettings, diff_cameras
from blurvote.runtime.service.signals import Signals
from blurvote.runtime.sinks.options import split_options

__all__ = ["Runner", "load_guard"]

LOOK_S = 0.2
HUNG_S = 60.0  # without a look at the mailbox the guard hangs, and systemd is not told all is well
DRAIN_S = 10.0

Show = Callable[[Item, Pipeline], None]


def load_guard(settings: GuardSettings) -> Guard:
    """The guard that the settings name.

    Raises:
        GuardError, ProviderError, PlanError: as `Guard`.
    """
    if settings.tuned:
        return Guard.tuned(settings.path, settings.threshold)
    return Guard(
        settings.path,
        plan=settings.plan,
        threshold=settings.threshold,
        **asdict(settings.engine),
    )


class Runner:
    """One run of `blurvote run`.

    Args:
        settings: what to run.
        show: called in the main thread with every observation and event, and the pipeline.
        config: the file that SIGHUP reads again; None where there is none.
        took_over: called with the new settings after each reload.

    Attributes:
        pipeline: the one that runs, or ran last.
    """

    def __init__(
        self,
        settings: RunSettings,
        show: Show,
        config: Path | None = None,
        took_over: Callable[[RunSettings], None] = lambda settings: None,
    ) -> None:
        _refuse_loops(settings)
        self._settings = settings
        self._show = show
        self._config = config
        self._took_over = took_over
        self._notifier = Notifier()
        self._guard_file = _fingerprint(settings.guard.path)
        try:
            self._guard = load_guard(settings.guard)
        except EngineNotBuiltError as error:  # whoever asks systemd for the status sees why
            self._notifier.status(f"not ready: {error}")
            raise
        self._server: Server | None = None
        self._outlet: Outlet
        self.pipeline: Pipeline

    def run(self, signals: Signals) -> None:
        """Runs until the sources end, or `signals` asks for a stop, which drains what waits.

        Raises:
            BlurvoteError: what cannot be opened, or ended the pipeline against its will.
            KeyboardInterrupt: a second signal.
        """
        try:
            self._open(signals)
            self._notifier.ready(f"{len(self._settings.cameras)} sources")
            while not self._outlet.finished:
                self._show_some(LOOK_S)
                if signals.stop_requested:
                    self._notifier.stopping()
                    break
                if self._config is not None and signals.take_reload():
                    self._reload(self._config, signals)
                if self.pipeline.since_last_round_s < HUNG_S:
                    self._notifier.beat()
                signals.wait(LOOK_S)
            self._drain()
        finally:
            self.close()

    def close(self) -> None:
        """Gives everything back; what cannot be finished was told by `run`."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if hasattr(self, "pipeline"):
            with contextlib.suppress(BlurvoteError):
                self.pipeline.stop(0.0)
        self._guard.close()

    def _open(self, signals: Signals) -> None:
        settings = self._settings
        self.pipeline = Pipeline(self._guard, settings.cameras, settings.sinks, settings.flow)
        self._outlet = self.pipeline.outlet(pixels=False)
        self._outlet.on_change(signals.wake)
        if settings.serve is not None:
            from blurvote.runtime.serve import serve

            self._server = serve(self.pipeline, settings.serve.address, settings.serve.token)
            self._say(f"the live page is at {self._server.url}", url=self._server.url)
        self.pipeline.start()

    def _drain(self) -> None:
        try:
            self.pipeline.stop(DRAIN_S)
        finally:
            self._show_some(DRAIN_S)
            if self._server is not None:
                self._server.close()

    def _show_some(self, for_s: float) -> None:
        """What waits, for so long: a slow terminal would never come to an end."""
        until = time.monotonic() + for_s
        while time.monotonic() < until and (item := self._outlet.get(0)) is not None:
            self._show(item, self.pipeline)

    def _say(self, text: str, error: bool = False, **data: object) -> None:
        event = Event("service", None, text, time.time(), {"error": error, **data})
        self._show(event, self.pipeline)

    # ---- reloading ----

    def _reload(self, config: Path, signals: Signals) -> None:
        """Takes over what changed. With a config that cannot be, everything stays as it is; where
        only a new sink or page turns out not to work, all is started anew as it was.
        """
        self._notifier.reloading()
        try:
            with self._notifier.beating():
                new = load_config(config)
                said = self._take_over(new, signals)
            self._settings = new
            self._took_over(new)
            self._say(said)
        except BlurvoteError as error:
            self._say(f"the config was not reloaded: {error}", error=True)
        self._notifier.ready(f"{len(self._settings.cameras)} sources")

    def _take_over(self, new: RunSettings, signals: Signals) -> str:
        changes = diff_cameras(self._settings, new)
        others = {*changes.others} - {"log"}
        if _fingerprint(new.guard.path) != self._guard_file:
            others.add("guard")
        if others:
            self._restart(new, signals)
            return f"reloaded: {', '.join(sorted(others))} changed, so all was started anew"
        going = (*changes.removed, *(camera.name for camera in changes.changed))
        self.pipeline.replace_cameras(going, (*changes.changed, *changes.added))
        return (
            f"reloaded: {len(changes.unchanged)} cameras go on, {len(changes.changed)} "
            f"changed, {len(changes.added)} added, {len(changes.removed)} removed"
        )

    def _restart(self, new: RunSettings, signals: Signals) -> None:
        """Starts all anew; where that fails, as it was before."""
        guard = load_guard(new.guard)  # while the old one still serves
        with contextlib.suppress(BlurvoteError):
            self._drain()
        old, old_guard = self._settings, self._guard
        self._server = None
        self._settings, self._guard = new, guard
        try:
            self._open(signals)
        except BlurvoteError:
            guard.close()
            if hasattr(self, "pipeline"):
                with contextlib.suppress(BlurvoteError):
                    self.pipeline.stop(0.0)
            self._settings, self._guard = old, old_guard
            self._open(signals)
            raise
        self._guard_file = _fingerprint(new.guard.path)
        old_guard.close()


def _refuse_loops(settings: RunSettings) -> None:
    """Annotated pictures in the folder that they were read from would be inputs the next time."""
    # Not Path.is_dir, which fails on what is too long for a name, as pipelines are.
    folders = [c.uri for c in settings.cameras if os.path.isdir(c.uri)]  # noqa: PTH112
    for uri in settings.sinks:
        place = split_options(uri)[0]
        if os.path.isdir(place) and any(os.path.samefile(place, one) for one in folders):  # noqa: PTH112, PTH121
            raise SettingsError(f"{place} is a source; write pictures to another folder")


def _fingerprint(path: Path) -> tuple[int, int] | None:
    """Tells a guard file from one that took its place."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
