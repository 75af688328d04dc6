"""A fake pipeline, and pages served from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from blurvote.runtime import Guard
from blurvote.runtime.serve import Server, serve
from tests.runtime.serve.browse import Client
from tests.runtime.serve.fake import FakeWatched, clip, demo_guard


@pytest.fixture(autouse=True, scope="package")
def packages() -> None:
    for package in ("starlette", "uvicorn", "prometheus_client"):
        pytest.importorskip(package, reason=f"the live page needs {package}; see the extra serve")


@pytest.fixture(scope="package")
def guard() -> Iterator[Guard]:
    with demo_guard() as guard:
        yield guard


@pytest.fixture(scope="package")
def frames() -> list[np.ndarray]:
    return clip(18)


@pytest.fixture
def watched(guard: Guard, frames: list[np.ndarray]) -> Iterator[FakeWatched]:
    """Two cameras with one frame each."""
    fake = FakeWatched(guard, ["gate", 'yard & <b>"2"</b> ü'], frames)
    fake.step()
    yield fake
    fake.stop()


@pytest.fixture
def start(watched: FakeWatched) -> Iterator[Callable[..., Client]]:
    """Serves the fake on a free port; gives a client of it."""
    opened: list[Server] = []

    def open_(address: str = "127.0.0.1:0", **settings: Any) -> Client:
        server = serve(watched, address, **settings)
        opened.append(server)
        return Client(server)

    yield open_
    for server in opened:
        server.close()


@pytest.fixture
def client(start: Callable[..., Client]) -> Client:
    return start()
