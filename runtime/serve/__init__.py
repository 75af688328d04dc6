"""The live page: what the cameras see and what the guard says, in a browser on the device."""

from blurvote.runtime.serve.server import Server, Tls, serve
from blurvote.runtime.serve.watched import Watched

__all__ = ["Server", "Tls", "Watched", "serve"]
