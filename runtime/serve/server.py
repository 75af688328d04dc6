"""Serves the live page from a thread of its own."""

from __future__ import annotations

import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

from blurvote.runtime.errors import SettingsError
from blurvote.runtime.serve.access import Access, check_token
from blurvote.runtime.serve.address import listen, parse_address
from blurvote.runtime.serve.watched import Watched

__all__ = ["Server", "Tls", "serve"]

_MOST_CONNECTIONS = 128
_WAIT_S = 10.0


@dataclass(frozen=True)
class Tls:
    """Files in PEM format: the certificate (with its chain) and its private key."""

    certificate: str
    key: str


class Server:
    """A live page that is being served; see `serve`.

    Attributes:
        url: where the page is, with the port that was taken.
    """

    def __init__(self, watched: Watched, address: str, token: str | None, tls: Tls | None) -> None:
        wanted = parse_address(address)
        check_token(wanted, token)
        _check_packages()
        if tls is not None:
            _check_tls(tls)
        from blurvote.runtime.serve.app import App

        self._socket = listen(wanted)
        where = replace(wanted, port=self._socket.getsockname()[1])
        self.url = f"{'https' if tls else 'http'}://{where}/"
        self._asking = ThreadPoolExecutor(2, "blurvote-serve-ask")
        self._drawing = ThreadPoolExecutor(2, "blurvote-serve-draw")
        self._app = App(watched, self._asking, self._drawing)
        access = Access(self._app.starlette(), where, token, tls is not None)
        self._server = _uvicorn_server(access, tls)
        self._loop: Any = None
        self._thread = threading.Thread(target=self._run, name="blurvote-serve", daemon=True)
        self._started = threading.Event()
        self._thread.start()
        if not self._started.wait(_WAIT_S) or not self._server.started:
            self.close()
            raise SettingsError(f"cannot serve on {where}: the server did not start")

    def _run(self) -> None:
        import asyncio

        async def work() -> None:
            self._loop = asyncio.get_running_loop()
            serving = asyncio.ensure_future(self._server.serve(sockets=[self._socket]))
            while not (self._server.started or serving.done()):
                await asyncio.sleep(0.005)
            self._started.set()
            await serving

        try:
            asyncio.run(work())
        finally:
            self._started.set()
            self._socket.close()

    def close(self) -> None:
        """Ends all streams, frees the port and the threads; may be called again."""
        self._server.should_exit = True
        if self._loop is not None and self._thread.is_alive():
            with suppress(RuntimeError):  # the loop ended meanwhile
                self._loop.call_soon_threadsafe(self._app.viewers.closing.set)
        self._thread.join(_WAIT_S)
        for executor in (self._asking, self._drawing):
            executor.shutdown(wait=not self._thread.is_alive(), cancel_futures=True)

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def serve(
    watched: Watched,
    address: str = "127.0.0.1:8080",
    token: str | None = None,
    tls: Tls | None = None,
) -> Server:
    """Serves the live page of a pipeline until `close()`.

    Args:
        watched: the pipeline.
        address: `HOST:PORT`, `[IPv6]:PORT`, or a port alone on 127.0.0.1; port 0 takes a free one.
        token: what viewers must show, at least 16 characters; needed unless only this machine can
            reach the address.
        tls: serve https with these files; None serves http.

    Raises:
        SettingsError: the address, the token or the files cannot be, the port is taken, or the
            packages of the extra `serve` are missing.
    """
    return Server(watched, address, token, tls)


def _check_packages() -> None:
    try:
        import prometheus_client
        import starlette
        import uvicorn
    except ImportError as error:
        raise SettingsError(
            f"the live page needs {error.name}; pip install 'blurvote[serve]'"
        ) from error
    del prometheus_client, starlette, uvicorn


def _check_tls(tls: Tls) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certificate, tls.key)
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"cannot serve https with the certificate {tls.certificate} and the key {tls.key}: "
            f"{error}; expected two files in PEM format that belong together"
        ) from error


def _uvicorn_server(app: Any, tls: Tls | None) -> Any:
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(
            app,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="critical",  # what fails is told to who asked
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=2,
            ssl_certfile=tls.certificate if tls else None,
            ssl_keyfile=tls.key if tls else None,
        )
    )
