"""Observations and events to an MQTT broker."""

from __future__ import annotations

import contextlib
import re
import secrets
import ssl
import threading
from collections import deque
from typing import Any
from urllib.parse import unquote, urlsplit

from blurvote.runtime.errors import SinkError
from blurvote.runtime.observation import Event, Observation
from blurvote.runtime.sinks.encoding import to_json
from blurvote.runtime.sinks.options import number, parse_options, whole_number

__all__ = ["MqttSink"]

OPTIONS = ("qos", "retain", "tls", "ca", "timeout_s", "keepalive_s")
IN_FLIGHT = 20  # messages that may wait for the broker's word; hides the round trip
_FORBIDDEN = re.compile(r"[/+#\x00-\x1f]+")  # with a meaning in topics


class MqttSink:
    """Publishes JSON to `PREFIX/CAMERA/verdict`, `PREFIX/CAMERA/event` and `PREFIX/event`.

    `PREFIX/status` says `online`, and `offline` once the connection is gone, by the broker's own
    doing if need be (a last will); both retained.

    Connects in the first write, and again in the write after a connection was lost. With qos 1 or
    2, what the broker had not acknowledged by then is sent again first, so that messages arrive in
    order and none is missing (some may arrive twice). No call takes much longer than `timeout_s`
    to connect (a TLS handshake: `keepalive_s`), and as long to be acknowledged.

    Args:
        uri: `mqtt://user:password@host:1883/topic/prefix?qos=1`, or `mqtts://` for TLS (port 8883).
            Percent-encode `@ : / ?` in user and password. Options: `qos` 0, 1 (the default) or 2;
            `retain` 0 or 1; `tls` 0 or 1; `ca` a file of certificates to trust in place of the
            system's; `timeout_s` 5; `keepalive_s` 30, after 1.5 times which a broker declares a
            silent client dead.

    Raises:
        SinkError: paho-mqtt is missing, or the URI is wrong.
    """

    holds_pictures = False

    def __init__(self, uri: str) -> None:
        self._mqtt = _paho()
        parts = urlsplit(uri)
        try:
            port = parts.port
        except ValueError as error:
            raise SinkError(f"{_example()}; the port is no number from 0 to 65535") from error
        if not parts.hostname:
            raise SinkError(f"{_example()}; the host is missing")
        self._host = parts.hostname
        self._prefix = unquote(parts.path).strip("/") or "blurvote"
        sink = f"{parts.scheme.lower()}://{self._host}"
        if re.search(r"[+#\x00]", self._prefix):
            raise SinkError(f"{sink}: the topic prefix {self._prefix!r} must not hold + or #")
        options = parse_options(sink, parts.query, OPTIONS)
        self._qos = whole_number(sink, options, "qos", 1, most=2)
        self._retain = bool(whole_number(sink, options, "retain", 0, most=1))
        self._timeout_s = number(sink, options, "timeout_s", 5.0)
        self._keepalive_s = max(1, round(number(sink, options, "keepalive_s", 30.0)))
        tls = parts.scheme.lower() == "mqtts" or whole_number(sink, options, "tls", 0, most=1)
        if "ca" in options and not tls:
            raise SinkError(f"{sink}: ca needs mqtts:// or tls=1")
        self._tls = _trust(sink, options.get("ca")) if tls else None
        self._port = port or (8883 if tls else 1883)
        self._user = unquote(parts.username) if parts.username is not None else None
        self._password = unquote(parts.password) if parts.password is not None else None
        self._name = f"the MQTT broker {self._host}:{self._port}"
        # The same in each connection: the broker then ends a dead one, and publishes its last will,
        # before it takes the next, so that `online` comes last.
        self._id = f"blurvote-{secrets.token_hex(6)}"
        self._client: Any = None
        self._unacknowledged: deque[tuple[str, str, Any]] = deque()  # topic, text, paho's info

    def write(self, observation: Observation) -> None:
        self._publish(f"{_level(observation.camera)}/verdict", to_json(observation.to_dict()))

    def tell(self, event: Event) -> None:
        of = "event" if event.camera is None else f"{_level(event.camera)}/event"
        self._publish(of, to_json(event.to_dict()))

    def close(self) -> None:
        """Waits for the broker's last words, then says `offline`."""
        if self._client is None:
            if self._unacknowledged:
                lost = len(self._unacknowledged)
                raise SinkError(f"{self._name} is gone; it did not acknowledge {lost} messages")
            return
        try:
            self._wait_until_at_most(0)
            self._confirm(self._send("status", "offline", 1, True))
        finally:
            self._disconnect()

    def _publish(self, topic: str, text: str) -> None:
        if self._client is None or not self._client.is_connected():
            self._connect()
        self._wait_until_at_most(IN_FLIGHT - 1)
        info = self._send(topic, text, self._qos, self._retain)
        if self._qos:
            self._unacknowledged.append((topic, text, info))

    def _connect(self) -> None:
        self._disconnect()
        self._client = client = self._new_client()
        answered = threading.Event()
        answer: list[Any] = []

        def on_connect(client: Any, data: Any, flags: Any, code: Any, properties: Any) -> None:
            answer.append(code)
            answered.set()

        client.on_connect = on_connect
        try:
            client.connect(self._host, self._port, keepalive=self._keepalive_s)
            client.loop_start()
        except (OSError, ValueError) as error:
            self._disconnect()
            raise SinkError(f"{self._name} cannot be reached: {error}") from error
        if not answered.wait(self._timeout_s):
            self._disconnect()
            raise SinkError(f"{self._name} did not answer within {self._timeout_s:g} s")
        if answer[0].is_failure:
            self._disconnect()
            raise SinkError(f"{self._name} refused the connection: {answer[0]}")
        self._send("status", "online", 1, True)
        again = [(topic, text) for topic, text, _ in self._unacknowledged]
        self._unacknowledged = deque(
            (topic, text, self._send(topic, text, self._qos, self._retain)) for topic, text in again
        )

    def _new_client(self) -> Any:
        client = self._mqtt.Client(
            self._mqtt.CallbackAPIVersion.VERSION2, self._id, reconnect_on_failure=False
        )
        client.connect_timeout = self._timeout_s
        if self._user is not None:
            client.username_pw_set(self._user, self._password)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        client.max_inflight_messages_set(IN_FLIGHT + 5)
        client.will_set(f"{self._prefix}/status", "offline", qos=1, retain=True)
        return client

    def _send(self, topic: str, text: str, qos: int, retain: bool) -> Any:
        info = self._client.publish(f"{self._prefix}/{topic}", text, qos=qos, retain=retain)
        if info.rc != self._mqtt.MQTT_ERR_SUCCESS:
            reason = self._mqtt.error_string(info.rc)
            self._disconnect()
            raise SinkError(f"{self._name} is gone: {reason}")
        return info

    def _wait_until_at_most(self, count: int) -> None:
        """Waits until no more than `count` messages are unacknowledged."""
        while self._unacknowledged and (
            len(self._unacknowledged) > count or self._unacknowledged[0][2].is_published()
        ):
            self._confirm(self._unacknowledged[0][2])
            self._unacknowledged.popleft()

    def _confirm(self, info: Any) -> None:
        with contextlib.suppress(RuntimeError):  # paho's word for a connection that is gone
            info.wait_for_publish(self._timeout_s)
        if not info.is_published():
            self._disconnect()
            raise SinkError(
                f"{self._name} did not acknowledge a message within {self._timeout_s:g} s"
            )

    def _disconnect(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            client.disconnect()
            client.loop_stop()


def _paho() -> Any:
    try:
        import paho.mqtt.client as mqtt
        from paho.mqtt.enums import CallbackAPIVersion  # noqa: F401  since version 2
    except ImportError as error:
        raise SinkError("mqtt:// needs paho-mqtt >= 2; pip install 'blurvote[mqtt]'") from error
    return mqtt


def _example() -> str:
    return "expected mqtt://user:password@host:1883/topic/prefix"


def _trust(sink: str, ca: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise SinkError(f"{sink}: ca {ca!r} cannot be read as certificates: {error}") from error


def _level(camera: str) -> str:
    """The camera's name as one level of a topic."""
    return _FORBIDDEN.sub("_", camera) or "camera"
