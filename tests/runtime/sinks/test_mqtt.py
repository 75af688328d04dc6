"""MQTT against a real broker that is absent, killed, restarted, stopped, and asks for passwords."""

from __future__ import annotations

import gc
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from blurvote.runtime import SinkError
from blurvote.runtime.pipeline.delivery import Delivery, Retry
from blurvote.runtime.sinks import MqttSink, open_sink
from tests.runtime.mosquitto import Mosquitto, needs_mosquitto, running_mosquitto
from tests.runtime.sinks.material import A_WHILE, context, event, observation, refusal, until

mqtt: Any = pytest.importorskip("paho.mqtt.client", reason="needs paho-mqtt")


class Listener:
    """All messages of a broker, in order; connects again whenever the broker comes back."""

    def __init__(self, broker: Mosquitto, user: tuple[str, str] | None = None) -> None:
        self.messages: queue.Queue[tuple[str, str, bool]] = queue.Queue()
        self.subscribed = 0
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        if user:
            self._client.username_pw_set(*user)
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = lambda _, __, message: self.messages.put(
            (message.topic, message.payload.decode(), message.retain)
        )
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        until(lambda: self.subscribed == 1)

    def _on_subscribe(self, *_: Any) -> None:
        self.subscribed += 1

    def next(self) -> tuple[str, str]:
        return self.messages.get(timeout=A_WHILE)[:2]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with running_mosquitto(tmp_path) as running:
        yield running


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    made: list[Listener] = []

    def make(broker: Mosquitto, user: tuple[str, str] | None = None) -> Listener:
        made.append(Listener(broker, user))
        return made[-1]

    yield make
    for listener in made:
        listener.close()


@needs_mosquitto
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_topics_and_payloads(broker: Mosquitto, listen: Callable[..., Listener], qos: int) -> None:
    listener = listen(broker)
    sink = open_sink(f"mqtt://127.0.0.1:{broker.port}/site/one?qos={qos}", context())
    assert not sink.holds_pictures
    sink.write(observation(5, "rtsp://h/a#b+"))
    sink.tell(event("door"))
    sink.tell(event())
    sink.close()
    sink.close()
    got = [listener.next() for _ in range(5)]
    assert [topic for topic, _ in got] == [
        "site/one/status",
        "site/one/rtsp:_h_a_b_/verdict",
        "site/one/door/event",
        "site/one/event",
        "site/one/status",
    ]
    assert (got[0][1], got[-1][1]) == ("online", "offline")
    assert json.loads(got[1][1])["sequence"] == 5
    assert json.loads(got[2][1])["text"] == "hello"


@needs_mosquitto
@pytest.mark.parametrize("retain", [0, 1])
def test_what_the_broker_retains(
    broker: Mosquitto, listen: Callable[..., Listener], retain: int
) -> None:
    sink = MqttSink(f"mqtt://127.0.0.1:{broker.port}?retain={retain}")
    sink.write(observation(1))
    sink.write(observation(2))
    sink.close()
    listener = listen(broker)
    until(lambda: listener.messages.qsize() == 1 + retain)
    kept = dict(listener.next() for _ in range(1 + retain))
    assert kept["blurvote/status"] == "offline"
    assert not retain or json.loads(kept["blurvote/a/verdict"])["sequence"] == 2


@needs_mosquitto
def test_all_arrive_in_order_over_a_kill_and_a_restart(
    broker: Mosquitto, listen: Callable[..., Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = listen(broker)
    told: list[Any] = []
    sink = MqttSink(f"mqtt://127.0.0.1:{broker.port}/p")
    delivery = Delivery("mqtt", sink, "drop", told.append, retry=Retry(0.05, 1.0))
    for number in range(100):
        delivery.put(observation(number))
    until(lambda: delivery.snapshot()["delivered"] == 100)
    until(lambda: listener.messages.qsize() == 101)
    broker.kill()
    for number in range(100, 300):
        delivery.put(observation(number))
    until(lambda: delivery.snapshot()["state"] == "failing")

    # This broker keeps nothing for who is away, so the test's own listener must be back first.
    def connect_once_heard(self: MqttSink) -> None:
        if listener.subscribed < 2:
            raise SinkError("nobody listens yet")
        connect(self)

    connect = MqttSink._connect
    monkeypatch.setattr(MqttSink, "_connect", connect_once_heard)
    broker.start()
    until(lambda: delivery.snapshot()["queued"] == 0)
    delivery.close()
    got: list[int] = []
    while got[-1:] != [299]:
        topic, text = listener.next()
        if topic == "p/a/verdict":
            got.append(json.loads(text)["sequence"])
    assert list(dict.fromkeys(got)) == list(range(300))  # some may come twice
    now = delivery.snapshot()
    assert (now["delivered"], now["dropped"]) == (300, 0)
    assert [happened.data["state"] for happened in told] == ["failing", "ok"]


@needs_mosquitto
def test_what_a_dying_broker_did_not_acknowledge_is_sent_again(
    broker: Mosquitto, listen: Callable[..., Listener]
) -> None:
    sink = MqttSink(f"mqtt://127.0.0.1:{broker.port}/p?timeout_s=1")
    sink.write(observation(0))
    broker.pause()
    for number in range(1, 11):  # taken by the operating system, read by nobody
        sink.write(observation(number))
    broker.kill()
    broker.start()
    listener = listen(broker)
    until(lambda: not sink._client.is_connected())
    sink.write(observation(11))
    sink.close()
    got: list[int] = []
    while got[-1:] != [11]:
        topic, text = listener.next()
        if topic.endswith("verdict"):
            got.append(json.loads(text)["sequence"])
    assert [number for number in got if number] == list(range(1, 12))


@needs_mosquitto
def test_a_broker_that_stands_still_is_noticed(
    broker: Mosquitto, listen: Callable[..., Listener]
) -> None:
    sink = MqttSink(f"mqtt://127.0.0.1:{broker.port}/p?timeout_s=0.3")
    sink.write(observation(0))
    until(lambda: sink._unacknowledged[0][2].is_published())
    resume = broker.pause()
    started = time.monotonic()
    try:
        for number in range(1, 21):  # as many as may be on their way
            sink.write(observation(number))
        name = f"the MQTT broker 127.0.0.1:{broker.port}"
        said = refusal(lambda: sink.write(observation(21)))
        assert said == f"{name} did not acknowledge a message within 0.3 s"
        said = refusal(lambda: sink.write(observation(21)))
        assert said == f"{name} did not answer within 0.3 s"
        assert time.monotonic() - started < A_WHILE / 2
    finally:
        resume()
    listener = listen(broker)
    delivery = Delivery("mqtt", sink, "drop", retry=Retry(0.05, 0.2))
    delivery.put(observation(21))
    delivery.close()
    got: list[int] = []
    while got[-1:] != [21]:
        topic, text = listener.next()
        if topic.endswith("verdict"):
            got.append(json.loads(text)["sequence"])
    assert sorted(set(got)) in (list(range(1, 22)), list(range(got[0], 22)))


@needs_mosquitto
def test_a_broker_that_comes_later(tmp_path: Path, listen: Callable[..., Listener]) -> None:
    broker = Mosquitto(tmp_path)
    told: list[Any] = []
    sink = open_sink(f"mqtt://127.0.0.1:{broker.port}", context())
    delivery = Delivery("mqtt", sink, "drop", told.append, retry=Retry(0.05, 0.5))
    for number in range(10):
        delivery.put(observation(number))
    until(lambda: delivery.snapshot()["failures"] >= 2)
    assert "cannot be reached: [Errno 111] Connection refused" in told[0].text
    broker.start()
    try:
        until(lambda: delivery.snapshot()["delivered"] == 10)
        delivery.close()
        assert delivery.snapshot()["dropped"] == 0
    finally:
        broker.kill()


WRITE_AND_WAIT = """
import sys, time
from tests.runtime.sinks.material import observation
from blurvote.runtime.sinks import MqttSink
sink = MqttSink(sys.argv[1])
sink.write(observation())
time.sleep(60)
"""


@needs_mosquitto
def test_the_broker_tells_of_a_killed_client(
    broker: Mosquitto, listen: Callable[..., Listener]
) -> None:
    listener = listen(broker)
    root = str(Path(__file__).parents[3])
    child = subprocess.Popen(
        [sys.executable, "-c", WRITE_AND_WAIT, f"mqtt://127.0.0.1:{broker.port}/p"],
        env={**os.environ, "PYTHONPATH": root},
    )
    try:
        assert listener.next() == ("p/status", "online")
        assert listener.next()[0] == "p/a/verdict"
        assert listener.messages.empty()
        child.send_signal(signal.SIGKILL)
        assert listener.next() == ("p/status", "offline")
    finally:
        child.kill()
        child.wait()
    late = listen(broker)
    assert late.next() == ("p/status", "offline")  # retained


@needs_mosquitto
def test_status_ends_as_online_after_a_lost_connection(
    broker: Mosquitto, listen: Callable[..., Listener]
) -> None:
    sink = MqttSink(f"mqtt://127.0.0.1:{broker.port}/p")
    sink.write(observation(0))
    lost = sink._client
    sink._client = None  # as if its cable was pulled: the broker still holds the connection
    sink.write(observation(1))
    listener = listen(broker)
    assert listener.next() == ("p/status", "online")
    lost.loop_stop()
    sink.close()
    assert listener.next() == ("p/status", "offline")


@needs_mosquitto
def test_passwords(tmp_path: Path, listen: Callable[..., Listener]) -> None:
    user, secret = "cam", "p@ss:w/rd"
    with running_mosquitto(tmp_path, (user, secret)) as broker:
        listener = listen(broker, (user, secret))
        sink = MqttSink(f"mqtt://cam:p%40ss%3Aw%2Frd@127.0.0.1:{broker.port}/p")
        sink.write(observation())
        assert listener.next() == ("p/status", "online")
        sink.close()
        wrong = MqttSink(f"mqtt://cam:hunter2@127.0.0.1:{broker.port}/p")
        said = refusal(lambda: wrong.write(observation()))
        wrong.close()
        name = f"the MQTT broker 127.0.0.1:{broker.port}"
        assert said == f"{name} refused the connection: Not authorized"


@needs_mosquitto
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")  # paho's own
def test_encryption(tmp_path: Path) -> None:
    with running_mosquitto(tmp_path, tls=True) as broker:
        ca = tmp_path / "certificate.pem"
        sink = MqttSink(f"mqtts://localhost:{broker.port}/p?ca={ca}")
        sink.write(observation())
        sink.close()
        strict = MqttSink(f"mqtts://localhost:{broker.port}/p")
        said = refusal(lambda: strict.write(observation()))
        assert "certificate verify failed" in said
        plain = MqttSink(f"mqtt://localhost:{broker.port}/p?timeout_s=2")
        assert "MQTT broker localhost" in refusal(lambda: plain.write(observation()))
        gc.collect()


@needs_mosquitto
def test_what_was_never_acknowledged_is_told_when_closing(broker: Mosquitto) -> None:
    sink = MqttSink(f"mqtt://127.0.0.1:{broker.port}/p?timeout_s=0.3")
    sink.write(observation(0))
    until(lambda: sink._unacknowledged[0][2].is_published())
    broker.pause()
    sink.write(observation(1))
    assert "did not acknowledge a message within 0.3 s" in refusal(sink.close)
    said = refusal(sink.close)
    assert said.endswith("is gone; it did not acknowledge 1 messages")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("mqtt:///topic", "the host is missing"),
        ("mqtt://u:secret@h:99999/t", "the port is no number from 0 to 65535"),
        ("mqtt://u:secret@h:port/t", "the port is no number from 0 to 65535"),
        ("mqtt://u:secret@h/a/%23", "mqtt://h: the topic prefix 'a/#' must not hold + or #"),
        ("mqtt://u:secret@h/t?qos=3", "mqtt://h: qos is '3'; expected an integer from 0 to 2"),
        ("mqtt://u:secret@h/t?quality=1", "mqtt://h has no option 'quality'; its options: qos"),
        ("mqtt://u:secret@h/t?ca=x", "mqtt://h: ca needs mqtts:// or tls=1"),
        ("mqtts://u:secret@h/t?ca=/none", "mqtts://h: ca '/none' cannot be read as certificates"),
    ],
)
def test_mistakes(uri: str, message: str) -> None:
    said = refusal(lambda: open_sink(uri, context()))
    assert message in said
    assert "secret" not in said


def test_ports() -> None:
    assert MqttSink("mqtt://h")._port == 1883
    assert MqttSink("mqtts://h")._port == 8883
    assert MqttSink("mqtt://h?tls=1")._port == 8883
    assert MqttSink("mqtts://h:5")._port == 5
    assert MqttSink("MQTT://h")._tls is None


def test_a_host_that_does_not_exist() -> None:
    sink = MqttSink("mqtt://u:secret@no.such.host.invalid/t")
    said = refusal(lambda: sink.write(observation()))
    assert said.startswith("the MQTT broker no.such.host.invalid:1883 cannot be reached: ")
    assert "secret" not in said


def handles() -> tuple[int, int]:
    return threading.active_count(), len([*Path("/proc/self/fd").iterdir()])


@needs_mosquitto
@pytest.mark.skipif(sys.platform != "linux", reason="counts open files in /proc")
def test_a_long_absence_leaks_nothing(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)  # not started
    sink = MqttSink(f"mqtt://127.0.0.1:{broker.port}")
    refusal(lambda: sink.write(observation()))
    before = handles()
    for _ in range(50):
        refusal(lambda: sink.write(observation()))
    assert handles() == before
    sink.close()
