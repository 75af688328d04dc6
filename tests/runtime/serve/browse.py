"""A small HTTP client that follows nothing and hides nothing."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from blurvote.runtime.serve import Server

__all__ = ["Client", "Reply", "until"]

DEADLINE_S = 20.0


def until(holds: Callable[[], Any], what: str = "what was waited for") -> Any:
    """What `holds` returns once it is true."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        found = holds()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come")


@dataclass(frozen=True)
class Reply:
    """An answer; names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Asks one server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        parts = urlsplit(server.url)
        assert parts.hostname
        assert parts.port
        self.host, self.port, self.tls = parts.hostname, parts.port, parts.scheme == "https"

    def connect(self) -> http.client.HTTPConnection:
        if self.tls:
            context = ssl._create_unverified_context()
            return http.client.HTTPSConnection(self.host, self.port, timeout=10, context=context)
        return http.client.HTTPConnection(self.host, self.port, timeout=10)

    def get(self, path: str, headers: dict[str, str] | None = None, **query: str) -> Reply:
        connection = self.connect()
        try:
            where = f"{path}?{urlencode(query)}" if query else path
            connection.request("GET", where, headers=headers or {})
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, found, answer.read())
        finally:
            connection.close()

    def open(self, path: str, receive_buffer: int | None = None) -> socket.socket:
        """A connection on which a stream was asked for; its first bytes have come."""
        watching = socket.socket(socket.AF_INET)
        if receive_buffer:
            watching.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        watching.settimeout(10)
        watching.connect((self.host, self.port))
        watching.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return watching
