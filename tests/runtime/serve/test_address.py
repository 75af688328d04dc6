"""Where the page may listen."""

from __future__ import annotations

import socket

import pytest

from blurvote.runtime import SettingsError
from blurvote.runtime.serve.access import check_token
from blurvote.runtime.serve.address import listen, parse_address

GOOD = {
    "127.0.0.1:8080": ("127.0.0.1", 8080, True, "127.0.0.1:8080"),
    "8080": ("127.0.0.1", 8080, True, "127.0.0.1:8080"),
    "localhost:0": ("localhost", 0, True, "localhost:0"),
    "[::1]:65535": ("::1", 65535, True, "[::1]:65535"),
    "127.8.9.1:1": ("127.8.9.1", 1, True, "127.8.9.1:1"),
    "0.0.0.0:8080": ("0.0.0.0", 8080, False, "0.0.0.0:8080"),
    "[::]:8080": ("::", 8080, False, "[::]:8080"),
    "camera-7.local:80": ("camera-7.local", 80, False, "camera-7.local:80"),
    # Names that only begin like the loopback's must not pass for it.
    "127.0.0.1.example.org:80": ("127.0.0.1.example.org", 80, False, "127.0.0.1.example.org:80"),
}


@pytest.mark.parametrize("text", GOOD)
def test_addresses(text: str) -> None:
    address = parse_address(text)
    assert (address.host, address.port, address.loopback, str(address)) == GOOD[text]


@pytest.mark.parametrize(
    "text", ["", ":8080", "localhost:", "localhost:http", "::1:80", "a:65536", "a:-1", "http://a:1"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(SettingsError, match=r"not an address to serve on; expected HOST:PORT"):
        parse_address(text)


def test_a_port_in_use() -> None:
    with listen(parse_address("127.0.0.1:0")) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            SettingsError, match=rf"127.0.0.1:{port}: Address already in use; choose"
        ):
            listen(parse_address(f"127.0.0.1:{port}"))


def test_an_address_of_another_machine() -> None:
    with pytest.raises(SettingsError, match=r"192\.0\.2\.1:8080: .*; choose another address"):
        listen(parse_address("192.0.2.1:8080"))


def test_a_name_that_nobody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object, **settings: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(SettingsError, match="Name or service not known"):
        listen(parse_address("nowhere.invalid:80"))


def test_tokens() -> None:
    local, public = parse_address("127.0.0.1:0"), parse_address("0.0.0.0:0")
    check_token(local, None)
    check_token(public, "0123456789abcdef")
    with pytest.raises(SettingsError, match=r"needs a token .*--token.*token_urlsafe"):
        check_token(public, None)
    for weak in ("", "short", "0123456789 abcdef", "0123456789abcdé€"):
        with pytest.raises(SettingsError, match="at least 16 of ASCII"):
            check_token(local, weak)
