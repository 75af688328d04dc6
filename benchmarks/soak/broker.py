"""A real MQTT broker on loopback that may be killed and started again."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["PROGRAM", "Mosquitto", "running_mosquitto"]

PROGRAM = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
A_WHILE = 20.0


class Mosquitto:
    """A broker that keeps nothing over a restart. The port stays the same.

    Args:
        folder: for its files; with `tls` its certificate, for localhost, is `certificate.pem`.
        password: user and password to ask for; None lets anybody in.
        tls: whether connections are encrypted; needs openssl.
    """

    def __init__(
        self, folder: Path, password: tuple[str, str] | None = None, tls: bool = False
    ) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._config = folder / "mosquitto.conf"
        lines = [f"listener {self.port} 127.0.0.1", "persistence false", "log_dest stderr"]
        # As root the broker would become the user mosquitto, who may not read the folder.
        lines += ["user root", "max_queued_messages 0"]
        if password is None:
            lines.append("allow_anonymous true")
        else:
            file = folder / "passwords"
            file.touch(mode=0o600)
            maker = shutil.which("mosquitto_passwd") or "mosquitto_passwd"
            subprocess.run([maker, "-b", str(file), *password], check=True, capture_output=True)
            lines += ["allow_anonymous false", f"password_file {file}"]
        if tls:
            certificate, key = folder / "certificate.pem", folder / "key.pem"
            command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
            command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
            command += ["-out", str(certificate), "-keyout", str(key)]
            subprocess.run(command, check=True, capture_output=True)
            lines += [f"certfile {certificate}", f"keyfile {key}"]
        self._config.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it takes connections."""
        assert PROGRAM is not None
        self._process = subprocess.Popen(
            [PROGRAM, "-c", str(self._config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + A_WHILE
        while True:
            assert self._process.poll() is None, "mosquitto ended"
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            assert time.monotonic() < deadline, "mosquitto does not listen"
            time.sleep(0.01)

    def kill(self) -> None:
        """At once, without a word to its clients."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> Callable[[], None]:
        """Stops it without closing connections, as a cable pulled does; returns what resumes it."""
        process = self._process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        return lambda: process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def running_mosquitto(
    folder: Path, password: tuple[str, str] | None = None, tls: bool = False
) -> Iterator[Mosquitto]:
    """A broker that has started; gone afterwards."""
    broker = Mosquitto(folder, password, tls)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()
