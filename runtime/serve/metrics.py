"""A snapshot in Prometheus' words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from blurvote.runtime.serve.replies import readable

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

__all__ = ["Metrics"]

STATES = ("connecting", "live", "blank", "frozen", "stalled", "lost", "ended", "failed")

_CAMERA_COUNTS = {
    "frames": ("blurvote_frames", "Frames that the camera delivered"),
    "verdicts": ("blurvote_verdicts", "Verdicts given"),
    "dropped": ("blurvote_frames_dropped", "Frames that newer ones replaced"),
    "accepted": ("blurvote_accepted", "Verdicts with a label"),
    "denoised": ("blurvote_denoised", "Verdicts on noisy frames, by their denoised views"),
    "errors": ("blurvote_camera_errors", "Errors of the camera"),
    "reconnects": ("blurvote_camera_reconnects", "Times that the camera was opened again"),
}
_CAMERA_GAUGES = {
    "pending": ("blurvote_frames_pending", "Frames that wait for the guard"),
    "fps_in": ("blurvote_frames_per_second", "Frames that come in each second"),
    "fps_out": ("blurvote_verdicts_per_second", "Verdicts given each second"),
    "reject_rate": ("blurvote_reject_ratio", "Rejected verdicts over the recent minute"),
    "disagreement_rate": (
        "blurvote_disagreement_ratio",
        "Frames whose first two views differ, over the recent minute",
    ),
}
_SINK_COUNTS = {
    "delivered": ("blurvote_sink_delivered", "Observations and events that the sink took"),
    "dropped": ("blurvote_sink_dropped", "Observations and events that the sink never got"),
    "failures": ("blurvote_sink_failures", "Failed deliveries"),
}
_QUANTILES = {"p50": "0.5", "p90": "0.9", "p99": "0.99", "max": "1"}


class Metrics:
    """The metrics page; each has a registry of its own, so that several servers can be."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry
        from prometheus_client.process_collector import ProcessCollector

        self._registry: CollectorRegistry = CollectorRegistry(auto_describe=False)
        self._snapshot: dict[str, Any] = {}
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

    def describe(self) -> list[Metric]:
        """Nothing ahead of time: what there is depends on the snapshot."""
        return []

    def collect(self) -> Iterable[Metric]:
        """What the registry asks for."""
        return list(_families(self._snapshot))

    def page(self, snapshot: dict[str, Any]) -> tuple[bytes, str]:
        """The snapshot in Prometheus' text format, and its content type."""
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

        self._snapshot = snapshot
        return generate_latest(self._registry), CONTENT_TYPE_LATEST


def _families(snapshot: dict[str, Any]) -> Iterable[Metric]:
    from prometheus_client.core import CounterMetricFamily as Counter
    from prometheus_client.core import GaugeMetricFamily as Gauge
    from prometheus_client.core import InfoMetricFamily as Info

    guard = snapshot.get("guard", {})
    info = {key: _text(guard.get(key)) for key in ("path", "decision", "plan", "provider")}
    yield Info("blurvote_guard", "The guard that runs", info)
    yield _one(Gauge("blurvote_ready", "Whether verdicts can be given"), snapshot.get("ready"))
    yield _one(Gauge("blurvote_uptime_seconds", "Since the start"), snapshot.get("uptime_s"))
    process = snapshot.get("process", {})
    yield _one(Gauge("blurvote_threads", "Threads of the process"), process.get("threads"))

    cameras = [(_text(camera["name"]), camera) for camera in snapshot.get("cameras", [])]
    yield from _each(Counter, _CAMERA_COUNTS, "camera", cameras)
    yield from _each(Gauge, _CAMERA_GAUGES, "camera", cameras)
    rejected = Counter("blurvote_rejected", "Rejected verdicts", labels=["camera", "reason"])
    state = Gauge("blurvote_camera_state", "1 for the state it is in", labels=["camera", "state"])
    alarm = Gauge("blurvote_alarm", "Whether the camera's alarm is raised", labels=["camera"])
    noise = Gauge("blurvote_noise", "Of the newest frame, in RGB of 0 to 1", labels=["camera"])
    for name, camera in cameras:
        for reason, count in (camera.get("reasons") or {}).items():
            rejected.add_metric([name, _text(reason)], count)
        for one in STATES:
            state.add_metric([name, one], camera.get("state") == one)
        if camera.get("alarm") is not None:
            alarm.add_metric([name], bool(camera["alarm"].get("raised")))
        if (level := (camera.get("verdict") or {}).get("noise")) is not None:
            noise.add_metric([name], level)
    yield from (rejected, state, alarm, noise)
    ages = [({"camera": name}, camera.get("age_ms")) for name, camera in cameras]
    yield _quantiles("blurvote_frame_age_seconds", "From capture to verdict, recently", ages)
    stages = [({"stage": _text(k)}, v) for k, v in (snapshot.get("stage_ms") or {}).items()]
    yield _quantiles("blurvote_stage_seconds", "Where the time of a verdict goes, recently", stages)

    sinks = [(_text(sink["name"]), sink) for sink in snapshot.get("sinks", [])]
    yield from _each(Counter, _SINK_COUNTS, "sink", sinks)
    queued = {"queued": ("blurvote_sink_queued", "Observations that wait for the sink")}
    yield from _each(Gauge, queued, "sink", sinks)


def _each(
    family: Any,
    names: dict[str, tuple[str, str]],
    label: str,
    rows: list[tuple[str, dict[str, Any]]],
) -> Iterable[Metric]:
    """One family for each of `names`, with a value for each row that has one."""
    for key, (name, text) in names.items():
        metric = family(name, text, labels=[label])
        for row, values in rows:
            if values.get(key) is not None:
                metric.add_metric([row], values[key])
        yield metric


def _one(metric: Any, value: Any) -> Metric:
    if value is not None:
        metric.add_metric([], float(value))
    family: Metric = metric
    return family


def _quantiles(
    name: str, text: str, rows: list[tuple[dict[str, str], dict[str, float] | None]]
) -> Metric:
    """Milliseconds as a summary in seconds; sums over all time are not kept, so it has none."""
    from prometheus_client.core import Metric

    metric = Metric(name, text, "summary")
    for labels, found in rows:
        for key, value in (found or {}).items():
            if key in _QUANTILES and value is not None:
                metric.add_sample(name, {**labels, "quantile": _QUANTILES[key]}, value / 1e3)
    return metric


def _text(value: Any) -> str:
    return readable("" if value is None else str(value))
