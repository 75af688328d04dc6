"""A broker that goes away, while a subscriber counts what arrives."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from typing import Any

from blurvote.benchmarks.soak.outcome import Outcome
from blurvote.benchmarks.soak.rig import PATIENCE_S, Rig
from blurvote.benchmarks.soak.setup import Scenario, Setup, need_mosquitto
from blurvote.benchmarks.soak.sink_harm import LoggedSink, busy_cameras, harm_sink, sink_checks
from blurvote.runtime.guard import Guard

__all__ = ["SCENARIOS"]


class _Subscriber:
    """A client of the broker that comes back within a moment whenever the broker does."""

    def __init__(self, port: int) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.got: dict[tuple[str, int], float] = {}
        self.twice = 0
        self.online = threading.Event()
        self.online_at = 0.0
        self._port = port
        self._over = threading.Event()
        self._client: Any = Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        self._client.on_connect = lambda client, *_: client.subscribe("soak/+/verdict", qos=1)
        self._client.on_subscribe = self._subscribed
        self._client.on_message = self._take
        self._client.on_disconnect = lambda *_: self.online.clear()
        self._thread = threading.Thread(target=self._run, name="soak-subscriber", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(OSError):
                self._client.connect("127.0.0.1", self._port)
                self._client.loop_forever()
            self._over.wait(0.02)

    def _subscribed(self, *_: Any) -> None:
        self.online_at = time.monotonic()
        self.online.set()

    def _take(self, client: Any, data: Any, message: Any) -> None:
        said = json.loads(message.payload)
        key = said["camera"], said["sequence"]
        self.twice += key in self.got
        self.got.setdefault(key, time.monotonic())

    def close(self) -> None:
        """Says goodbye."""
        self._over.set()
        self._client.disconnect()
        self._thread.join(10.0)


def _broker(setup: Setup) -> Outcome:
    need_mosquitto()
    from blurvote.benchmarks.soak.broker import running_mosquitto

    down_s = 1.0 if setup.short else 8.0
    rounds = max(1, round(setup.seconds / (down_s + 12.0)))
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(running_mosquitto(setup.folder))
        subscriber = _Subscriber(broker.port)
        stack.callback(subscriber.close)
        subscriber.online.wait(PATIENCE_S)
        guard = stack.enter_context(Guard(setup.guard, "cpu"))
        sink = LoggedSink()
        blind: list[tuple[float, float]] = []  # when the subscriber may have missed something
        with Rig(guard, busy_cameras(), [f"logged:mqtt://127.0.0.1:{broker.port}/soak"]) as rig:
            rig.warm_up()

            def kill() -> None:
                blind.append((time.monotonic() - 0.1, float("inf")))
                broker.kill()

            def restart() -> None:
                broker.start()
                subscriber.online.wait(PATIENCE_S)
                blind[-1] = (blind[-1][0], subscriber.online_at)

            for _ in range(rounds):
                harm_sink(rig, sink, "broker killed, started again", kill, restart, down_s)
            resume: list[Callable[[], None]] = []
            harm_sink(
                rig,
                sink,
                "broker's process stopped, continued",
                lambda: resume.append(broker.pause()),
                lambda: resume.pop()(),
                2 * down_s,
            )
            time.sleep(0.5)
        deadline = time.monotonic() + 10.0
        while len(subscriber.got) < len(sink.written) and time.monotonic() < deadline:
            time.sleep(0.05)
            if not _missing(sink, subscriber, blind):
                break
        missing = set(sink.written) - set(subscriber.got)
        unexplained = _missing(sink, subscriber, blind)
    shot = rig.shot["sinks"][1]
    rig.facts.update(
        {
            "delivered": shot["delivered"],
            "dropped": shot["dropped"],
            "received by the subscriber": len(subscriber.got),
            "received twice": subscriber.twice,
            "lost inside a broker that was killed, or before the subscriber was back": len(missing),
        }
    )
    rig.check(
        "all that was delivered was received, but for what a killed broker took with it",
        not unexplained,
        f"{len(subscriber.got)} of {len(sink.written)} received, {len(unexplained)} unexplained",
    )
    sink_checks(rig, shot, len(sink.written))
    did = f"mosquitto is killed {rounds} times for {down_s:g} s, stopped once for {2 * down_s:g} s"
    return rig.outcome("broker", did)


def _missing(
    sink: LoggedSink, subscriber: _Subscriber, blind: list[tuple[float, float]]
) -> list[tuple[str, int]]:
    return [
        key
        for key, at in sink.written.items()
        if key not in subscriber.got and not any(a <= at <= b for a, b in blind)
    ]


SCENARIOS = (
    Scenario("broker", "the MQTT broker is killed, started again, and stopped", 60.0, _broker),
)
