"""A guard whose engine is not built yet: the service says so at once, to whoever asks."""

from __future__ import annotations

import signal
import socket
import struct
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from blurvote.runtime.cli import main
from blurvote.runtime.errors import EngineNotBuiltError, GuardError
from blurvote.runtime.service import runner
from blurvote.runtime.service.settings import ServeSettings
from blurvote.runtime.service.signals import Signals
from blurvote.runtime.service.waiting import open_when_built

WHY = "guard.onnx has no TensorRT engine yet for this machine: blurvote build guard.onnx"


@pytest.fixture(autouse=True)
def not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_guard(settings: object) -> None:
        raise EngineNotBuiltError(WHY)

    monkeypatch.setattr(runner, "load_guard", load_guard)


def test_the_command_ends_with_the_line_that_builds_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "guard.onnx", "synthetic:", "--provider", "tensorrt"]) == 2
    assert capsys.readouterr().err == f"blurvote: error: {WHY}\n"


def test_systemd_gets_it_as_the_services_status(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(10)
        assert main(["run", "guard.onnx", "synthetic:", "--provider", "tensorrt"]) == 2
        assert manager.recv(4096).decode() == f"STATUS=not ready: {WHY}"


# ---- a service waits ----


class Requests:
    """Signals, as far as waiting for an engine goes."""

    def __init__(self, waits: int = 100) -> None:
        self.waits = waits
        self.stop_requested = self.reload_requested = False

    def wait(self, timeout_s: float) -> bool:
        self.waits -= 1
        self.stop_requested = self.waits <= 0
        return False


@pytest.fixture
def address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def ask(address: str, path: str) -> tuple[int, str]:
    try:
        with urlopen(f"http://{address}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def test_a_service_begins_as_soon_as_the_engine_is_there(address: str) -> None:
    answers: list[tuple[int, str]] = []
    said: list[str] = []

    def make() -> str:
        if not said:  # the first time
            raise EngineNotBuiltError(WHY)
        if len(answers) < 6:
            answers.extend(ask(address, path) for path in ("/readyz", "/healthz?x", "/"))
            raise EngineNotBuiltError(WHY)
        return "the runner"

    serve = ServeSettings(address)
    assert open_when_built(make, serve, Requests(), said.append) == "the runner"
    assert said == [f"not ready: {WHY}"]
    not_ready = (503, "not ready: the guard's engine is not built yet")
    assert answers == [not_ready, (200, "ok"), not_ready] * 2
    with socket.socket() as probe:  # the live page can have the address
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", int(address.rpartition(":")[2])))


def test_clients_hold_up_neither_each_other_nor_the_service(
    address: str, capfd: pytest.CaptureFixture[str]
) -> None:
    host, _, port = address.rpartition(":")
    answers: list[tuple[int, str]] = []
    turn = iter(range(2))
    with ExitStack() as stack:

        def make() -> str:
            if next(turn) == 0:
                raise EngineNotBuiltError(WHY)
            silent = stack.enter_context(socket.create_connection((host, int(port))))
            silent.sendall(b"GET / HT")
            gone = socket.create_connection((host, int(port)))
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            gone.sendall(b"GET / HT")
            gone.close()  # with a reset
            began = time.monotonic()
            answers.append(ask(address, "/healthz"))
            assert time.monotonic() - began < 4.0  # the silent client has five seconds
            return "the runner"

        assert open_when_built(make, ServeSettings(address), Requests(), print) == "the runner"
    assert answers == [(200, "ok")]
    assert "Traceback" not in capfd.readouterr().err


def test_a_stop_or_a_reload_ends_the_waiting() -> None:
    def make() -> None:
        raise EngineNotBuiltError(WHY)

    requests = Requests(waits=3)
    assert open_when_built(make, None, requests, lambda text: None) is None
    assert requests.waits == 0
    requests = Requests()
    requests.reload_requested = True
    assert open_when_built(make, None, requests, lambda text: None) is None
    assert requests.waits == 100


def test_another_error_ends_it_too() -> None:
    errors = iter([EngineNotBuiltError(WHY), GuardError("the file is gone")])

    def make() -> None:
        raise next(errors)

    with pytest.raises(GuardError, match="the file is gone"):
        open_when_built(make, None, Requests(), lambda text: None)


def test_the_command_waits_for_a_config_and_stops_when_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "cameras.toml"
    path.write_text(
        'guard = "guard.onnx"\nprovider = "tensorrt"\n[[cameras]]\nuri = "synthetic:"\n'
    )
    path.chmod(0o600)
    (tmp_path / "guard.onnx").touch()
    looks = []

    def wait(self: Signals, timeout_s: float) -> bool:
        looks.append(timeout_s)
        self.reload_requested = len(looks) == 2  # reads the config again and goes on
        if len(looks) == 4:
            self.stop_signal = signal.SIGTERM
        return True

    monkeypatch.setattr(Signals, "wait", wait)
    assert main(["run", "--config", str(path)]) == 0
    assert len(looks) == 4
    assert capsys.readouterr().err.count(f"not ready: {WHY}") == 2
