"""Who may see the live page: tokens, hosts, and what browsers are told to refuse."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode

from blurvote.runtime.errors import SettingsError
from blurvote.runtime.serve.address import Address
from blurvote.runtime.serve.replies import text_reply

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Access", "check_token"]

_COOKIE = "blurvote"
_LEAST_TOKEN = 16
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_SIGN_IN = """<!doctype html>
<html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/static/page.css"><title>blurvote</title>
<form class="sign-in" method="get" action="/"><h1>blurvote</h1>
<label for="token">This page needs its token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button>Show</button></form></html>
"""


def check_token(address: Address, token: str | None) -> None:
    """Raises SettingsError where a token is missing or too weak."""
    if token is None:
        if not address.loopback:
            raise SettingsError(
                f"serving on {address}, which others can reach, needs a token of at least "
                f"{_LEAST_TOKEN} characters (--token, or token in the config's [serve]); python -c "
                '"import secrets; print(secrets.token_urlsafe())" makes one'
            )
        return
    if len(token) < _LEAST_TOKEN or not all("!" <= letter <= "~" for letter in token):
        raise SettingsError(
            f"the token has {len(token)} characters; expected at least {_LEAST_TOKEN} of ASCII "
            "without spaces. Leave it out to serve on 127.0.0.1 alone"
        )


@dataclass(frozen=True)
class _Asked:
    """What of a request decides whether it is answered."""

    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]

    @classmethod
    def of(cls, scope: Scope) -> _Asked:
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        return cls(scope["path"], query, headers)

    @property
    def token(self) -> str | None:
        """The one in the query or in the `Authorization` header."""
        scheme, _, bearer = self.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return bearer.strip()
        return dict(self.query).get("token")

    @property
    def cookie(self) -> str | None:
        try:
            found = SimpleCookie(self.headers.get("cookie", "")).get(_COOKIE)
        except CookieError:
            return None
        return found.value if found else None


class Access:
    """Lets through who may pass, and adds the security headers to every reply.

    `/healthz` is open to all. On loopback without a token every local program may pass, but only
    under a local host name, so that no web site can reach the page by a name of its own. With a
    token, it is asked of everyone; on loopback not for `/metrics` and `/readyz`.

    Args:
        app: the ASGI application behind.
        address: where it is served.
        token: None for none.
        secure: whether it is served over TLS.
    """

    def __init__(self, app: ASGIApp, address: Address, token: str | None, secure: bool) -> None:
        self._app = app
        self._loopback = address.loopback
        self._hosts = _LOCAL_NAMES | {
            f"[{address.host}]" if ":" in address.host else address.host.lower()
        }
        self._token = token
        self._secure = secure
        # The cookie proves knowledge of the token without giving it away.
        self._cookie = _cookie_of(token) if token else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                added = {"cache-control": "no-store", **_HEADERS}
                message["headers"] = [
                    *message["headers"],
                    *(
                        (name.encode(), value.encode())
                        for name, value in added.items()
                        if name.encode() not in given
                    ),
                ]
            await send(message)

        await (self._refusal(scope) or self._app)(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        """What answers in the application's place; None where it may answer itself."""
        asked = _Asked.of(scope)
        if asked.path == "/healthz":
            return None
        if self._loopback and not self._is_local(asked.headers.get("host", "")):
            return text_reply("this page answers to localhost, 127.0.0.1 and [::1] only", 421)
        if self._token is None or (self._loopback and asked.path in ("/metrics", "/readyz")):
            return None
        cookie, token = asked.cookie, asked.token
        if token is not None and _same(token, self._token):
            return self._to_cookie(asked) if "token" in dict(asked.query) else None
        if token is None and cookie is not None and _same(cookie, self._cookie):
            return None
        if asked.path.startswith("/static/"):
            return None  # the style of the sign-in page; nothing in there is secret
        if "text/html" in asked.headers.get("accept", ""):
            return text_reply(_SIGN_IN, 401, "text/html")
        return text_reply(
            "this needs the token: Authorization: Bearer TOKEN, or ?token=TOKEN once", 401
        )

    def _is_local(self, host: str) -> bool:
        name, colon, port = host.rpartition(":")
        if not colon or not port.isdecimal():
            name = host
        return name.lower() in self._hosts

    def _to_cookie(self, asked: _Asked) -> ASGIApp:
        """Sets the cookie and asks for the same page without the token in its address."""
        rest = urlencode([(name, value) for name, value in asked.query if name != "token"])
        where = "/" + quote(asked.path.lstrip("/\\")) + (f"?{rest}" if rest else "")
        reply = text_reply("", 303)
        reply.headers["location"] = where
        reply.set_cookie(
            _COOKIE,
            self._cookie,
            max_age=90 * 24 * 3600,
            secure=self._secure,
            httponly=True,
            samesite="strict",
        )
        return reply


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _cookie_of(token: str) -> str:
    return hmac.new(token.encode(), b"blurvote live page", hashlib.sha256).hexdigest()
