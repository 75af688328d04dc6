"""Who gets in, and what browsers are told."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from blurvote.runtime import SettingsError
from blurvote.runtime.serve import Tls
from tests.runtime.serve.browse import Client

TOKEN = "correct-horse-battery"
SECRET = ["/", "/api/snapshot", "/api/stream", "/camera/picture?camera=gate", "/nothing"]
Start = Callable[..., Client]


def test_loopback_needs_no_token(client: Client) -> None:
    assert client.get("/").status == 200


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST:1234", "127.0.0.1:80"]
)
def test_local_hosts(client: Client, host: str) -> None:
    assert client.get("/", {"Host": host}).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example:80", "", "10.0.0.1", "::1"]
)
def test_web_sites_cannot_reach_it_by_a_name_of_theirs(client: Client, host: str) -> None:
    for path in ("/", "/api/snapshot", "/metrics", "/camera/stream?camera=gate"):
        assert client.get(path, {"Host": host}).status == 421
    assert client.get("/healthz", {"Host": host}).status == 200


@pytest.mark.parametrize("path", ["/", "/static/page.js", "/api/snapshot", "/metrics", "/nothing"])
def test_security_headers(client: Client, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


def test_the_page_holds_no_inline_script_and_names_no_address(client: Client) -> None:
    page = client.get("/").text
    for part in page.split("<script")[1:]:
        assert part.split(">", 1)[1].startswith("</script>")
    for text in (" onclick=", " style=", "javascript:", "http://", "https://", 'src="//'):
        assert text not in page


def test_a_token_is_asked_of_everyone_but_health(start: Start) -> None:
    client = start("0.0.0.0:0", token=TOKEN)
    for path in [*SECRET, "/metrics", "/readyz"]:
        assert client.get(path).status == 401
        assert client.get(path, {"Authorization": f"Bearer {TOKEN}x"}).status == 401
        assert client.get(path, {"Authorization": f"Basic {TOKEN}"}).status == 401
        assert client.get(path, {"Cookie": f"blurvote={TOKEN}"}).status == 401
    assert client.get("/healthz").status == 200
    for path in ("/", "/api/snapshot", "/metrics", "/readyz"):
        assert client.get(path, {"Authorization": f"bearer {TOKEN}"}).status == 200
    assert (
        client.get("/", {"Authorization": f"Bearer {TOKEN}", "Host": "cam.example"}).status == 200
    )


def test_on_loopback_a_token_spares_monitoring(start: Start) -> None:
    client = start(token=TOKEN)
    assert [client.get(path).status for path in ("/", "/metrics", "/readyz")] == [401, 200, 200]


def test_a_token_in_the_address_becomes_a_cookie(start: Start) -> None:
    client = start(token=TOKEN)
    first = client.get("/api/history", camera="gate", token=TOKEN, span="seconds")
    assert first.status == 303
    assert first.headers["location"] == "/api/history?camera=gate&span=seconds"
    cookie = first.headers["set-cookie"]
    assert TOKEN not in cookie
    assert {"HttpOnly", "Path=/", "SameSite=strict"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    kept = {"Cookie": f"other=1; {cookie.split(';')[0]}"}
    assert client.get(first.headers["location"], kept).status == 200
    assert client.get("/", {"Cookie": kept["Cookie"][:-1]}).status == 401
    assert client.get("/", kept, token="wrong").status == 401


@pytest.mark.parametrize("path", ["//evil.example/", "/\\evil.example", "///evil.example"])
def test_the_redirect_stays_here(start: Start, path: str) -> None:
    where = start(token=TOKEN).get(f"{path}?token={TOKEN}").headers["location"]
    assert where.startswith("/evil.example")


def test_browsers_get_a_form(start: Start) -> None:
    client = start(token=TOKEN)
    page = client.get("/", {"Accept": "text/html,*/*"})
    assert (page.status, page.headers["content-type"]) == (401, "text/html; charset=utf-8")
    assert 'name="token"' in page.text
    assert client.get("/static/page.css").status == 200  # the form's style
    assert TOKEN not in page.text


def test_a_broken_cookie_is_none(start: Start) -> None:
    client = start(token=TOKEN)
    assert client.get("/", {"Cookie": 'blurvote="\\'}).status == 401
    assert client.get("/", {"Cookie": "blurvote=\xe9\xff"}).status == 401


def test_tls(start: Start, tmp_path: Path) -> None:
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    client = start(token=TOKEN, tls=Tls(str(certificate), str(key)))
    assert client.server.url.startswith("https://127.0.0.1:")
    assert "Secure" in client.get("/", token=TOKEN).headers["set-cookie"]
    with pytest.raises(SettingsError, match=r"cannot serve https .* expected two files in PEM"):
        start(tls=Tls(str(key), str(certificate)))
    with pytest.raises(SettingsError, match=r"No such file.*expected two files in PEM"):
        start(tls=Tls(str(tmp_path / "no.pem"), str(key)))
