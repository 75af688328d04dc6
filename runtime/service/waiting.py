"""What a service does while its guard's engine is not built: it says so, and looks again.

`blurvote build`, run beside it, is all that it takes for the service to begin.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, TypeVar

from blurvote.runtime.errors import EngineNotBuiltError
from blurvote.runtime.serve.address import listen, parse_address

if TYPE_CHECKING:
    from blurvote.runtime.service.settings import ServeSettings
    from blurvote.runtime.service.signals import Signals

__all__ = ["open_when_built"]

LOOK_S = 5.0

T = TypeVar("T")


def open_when_built(
    make: Callable[[], T],
    serve: ServeSettings | None,
    signals: Signals,
    say: Callable[[str], None],
) -> T | None:
    """What `make` gives, as soon as the engine that it needs is built.

    Meanwhile the live page's address answers 503, and 200 to `/healthz`: the service is alive and
    not ready. The answers name neither the guard nor the machine, for anybody may read them.

    Args:
        make: opens the guard.
        serve: where the live page will be; None where there is none.
        signals: a request to stop or to reload ends the waiting.
        say: told once why it waits.

    Returns:
        None when `signals` ended it.

    Raises:
        BlurvoteError: `make` failed in another way, or the address is taken.
    """
    try:
        return make()
    except EngineNotBuiltError as error:
        say(f"not ready: {error}")
    with _not_ready_page(serve):
        while not (signals.stop_requested or signals.reload_requested):
            signals.wait(LOOK_S)
            with contextlib.suppress(EngineNotBuiltError):
                return make()
    return None


@contextlib.contextmanager
def _not_ready_page(serve: ServeSettings | None) -> Iterator[None]:
    if serve is None:
        yield
        return
    address = parse_address(serve.address)
    server = _Page(("", 0), _NotReady, bind_and_activate=False)
    server.socket.close()
    server.socket = listen(address)
    thread = threading.Thread(target=server.serve_forever, name="blurvote-waiting", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Page(ThreadingHTTPServer):
    """Answers each client in a thread of its own: none can hold up the rest, or the service."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing of a client that went away; anybody could fill the journal so."""


class _NotReady(BaseHTTPRequestHandler):
    timeout = 5.0  # for a client that says nothing

    def do_GET(self) -> None:
        alive = self.path.partition("?")[0] == "/healthz"
        text = b"ok" if alive else b"not ready: the guard's engine is not built yet"
        self.send_response(200 if alive else 503)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Retry-After", str(int(LOOK_S)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Keeps the terminal and the journal free of a line per request."""
