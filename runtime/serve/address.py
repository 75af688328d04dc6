"""The address that the live page listens on."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

from blurvote.runtime.errors import SettingsError

__all__ = ["Address", "listen", "parse_address"]

# Bounds how far behind a slow viewer can fall: what the kernel may hold for one connection.
_SEND_BUFFER = 256 * 1024
_STALLED_MS = 30_000  # a viewer that takes nothing for so long is cut off


@dataclass(frozen=True)
class Address:
    """Where to listen.

    Attributes:
        host: a name or an IP address, without brackets.
        port: 0 takes any free one.
    """

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """The address that `HOST:PORT`, `[IPv6]:PORT` or a port alone (on 127.0.0.1) names.

    Raises:
        SettingsError: it is none of them.
    """
    host, colon, port = text.strip().rpartition(":")
    if not colon:
        host = "127.0.0.1"
    bracketed = host.startswith("[") and host.endswith("]")
    name = host[1:-1] if bracketed else host
    number = int(port) if port.isascii() and port.isdecimal() and len(port) < 6 else -1
    if not name or not 0 <= number < 65536 or (":" in name) != bracketed or "/" in name:
        raise SettingsError(
            f"{text!r} is not an address to serve on; expected HOST:PORT, such as 127.0.0.1:8080 "
            "or [::1]:8080"
        )
    return Address(name, number)


def listen(address: Address) -> socket.socket:
    """A listening socket.

    Raises:
        SettingsError: the name is unknown, the address is not this machine's, the port is taken or
            not allowed.
    """
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, where = found[0]
        server = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise _refused(address, error) from error
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _STALLED_MS)
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        server.bind(where)
        server.listen(128)
        server.setblocking(False)
    except OSError as error:
        server.close()
        raise _refused(address, error) from error
    return server


def _refused(address: Address, error: OSError | UnicodeError) -> SettingsError:
    why = getattr(error, "strerror", None) or str(error)
    return SettingsError(
        f"cannot serve on {address}: {why}; choose another address or port, "
        "such as 127.0.0.1:0 for any free port"
    )
