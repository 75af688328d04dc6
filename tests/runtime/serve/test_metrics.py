"""Metrics as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from blurvote.runtime.serve.metrics import Metrics
from tests.runtime.serve.browse import Client
from tests.runtime.serve.fake import FakeWatched


def families(text: str) -> dict[str, Any]:
    from prometheus_client.parser import text_string_to_metric_families

    return {family.name: family for family in text_string_to_metric_families(text)}


def test_every_family_parses_and_counters_end_in_total(client: Client) -> None:
    reply = client.get("/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=")
    found = families(reply.text)
    own = {name: family for name, family in found.items() if name.startswith("blurvote_")}
    assert len(own) > 20
    for family in own.values():
        assert family.documentation
        if family.type == "counter":
            assert {sample.name for sample in family.samples} <= {f"{family.name}_total"}
    assert own["blurvote_verdicts"].type == "counter"
    assert own["blurvote_frames_pending"].type == "gauge"
    assert own["blurvote_frame_age_seconds"].type == "summary"
    assert {"process_resident_memory_bytes", "process_open_fds"} <= set(found)


def test_values(client: Client, watched: FakeWatched) -> None:
    name = 'odd\\ "one"\nline'
    watched.add(name)
    watched.step(name)
    watched.alarms["gate"] = {"raised": True}
    watched._rejected["gate"] = 4
    watched._latest["gate"] = replace(
        watched._latest["gate"], verdict=replace(watched._latest["gate"].verdict, noise=0.125)
    )
    watched.denoised = 7
    watched.sinks = [{"name": "a.jsonl", "queued": 3, "delivered": 9, "dropped": 1, "failures": 2}]
    found = families(client.get("/metrics").text)

    def value(family: str, **labels: str) -> float:
        (one,) = [s.value for s in found[family].samples if s.labels == labels]
        return float(one)

    assert value("blurvote_verdicts", camera=name) == 1
    assert value("blurvote_rejected", camera="gate", reason="no_majority") == 4
    assert value("blurvote_camera_state", camera="gate", state="live") == 1
    assert value("blurvote_camera_state", camera="gate", state="lost") == 0
    assert value("blurvote_alarm", camera="gate") == 1
    assert value("blurvote_noise", camera="gate") == 0.125
    assert value("blurvote_denoised", camera="gate") == 7
    assert value("blurvote_frame_age_seconds", camera="gate", quantile="0.99") == 0.041
    assert value("blurvote_stage_seconds", stage="inference", quantile="0.5") == pytest.approx(
        0.0118
    )
    assert value("blurvote_sink_dropped", sink="a.jsonl") == 1
    assert value("blurvote_ready") == 1


def test_a_camera_that_has_not_begun(client: Client, watched: FakeWatched) -> None:
    watched._latest.clear()
    watched.states["gate"] = "connecting"
    found = families(client.get("/metrics").text)
    assert found["blurvote_frame_age_seconds"].samples == []


def test_two_servers_keep_apart(start: Callable[..., Client]) -> None:
    one, two = start(), start()
    assert [c.get("/metrics").status for c in (one, two, one)] == [200, 200, 200]


def test_an_empty_pipeline() -> None:
    page, _ = Metrics().page({})
    assert families(page.decode())["blurvote_guard_info"].samples
