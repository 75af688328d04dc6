"""`blurvote service`: the unit, and what the command says."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from blurvote.runtime import SettingsError, cli
from blurvote.runtime.service import unit as unit_module
from blurvote.runtime.service.config import load_config
from blurvote.runtime.service.places import placed_sink, placed_source, written_folder
from blurvote.runtime.service.unit import quoted, systemd_unit

WriteConfig = Callable[[str], Path]
CONFIG = 'guard = "guard.onnx"\nsinks = {sinks}\n[[cameras]]\nuri = "rtsp://10.0.0.7/live"\n'


def unit(path: Path, sinks: str = "[]", **options: object) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    (path.parent / "guard.onnx").touch()
    path.write_text(CONFIG.format(sinks=sinks))
    return systemd_unit(load_config(path, {}), path, **options)  # type: ignore[arg-type]


def values(text: str, key: str) -> list[str]:
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]


def verify(text: str, folder: Path, name: str = "blurvote") -> str:
    """What systemd has to say about a unit."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    path = folder / f"{name}.service"
    path.write_text(text)
    ran = subprocess.run(
        [program, "verify", "--man=no", str(path)], capture_output=True, text=True, check=False
    )
    if "Failed to" in ran.stderr and str(path) not in ran.stderr and path.name not in ran.stderr:
        pytest.skip(f"systemd-analyze does not work here: {ran.stderr}")
    return ran.stderr + ran.stdout


def test_the_unit(tmp_path: Path) -> None:
    text = unit(tmp_path / "cameras.toml", '["verdicts.jsonl", "mqtt://b/x"]')
    program = values(text, "ExecStart")[0].split()
    assert os.access(program[0], os.X_OK)
    assert program[-3:] == ["run", "--config", f"{tmp_path}/cameras.toml"]
    assert values(text, "Type") == ["notify"]
    assert values(text, "ExecReload") == ["/bin/kill -HUP $MAINPID"]
    assert values(text, "User") == [getpass.getuser()]
    assert values(text, "ReadWritePaths") == [f"-{tmp_path}"]
    assert values(text, "WorkingDirectory") == [str(tmp_path)]
    assert verify(text, tmp_path) == ""


def test_systemd_would_complain(tmp_path: Path) -> None:
    text = unit(tmp_path / "cameras.toml").replace("WatchdogSec=60s", "WatchdogSec=soon")
    assert "Failed to parse sec value, ignoring: soon" in verify(text, tmp_path)


@pytest.mark.parametrize("folder", ["a b", "50%", "$HOME", "ü"])
def test_folders_with_odd_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """Also of the program itself, which systemd looks up."""
    program = tmp_path / folder / "bin" / "blurvote"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(unit_module, "blurvote_program", lambda: [str(program)])
    text = unit(tmp_path / folder / "cameras.toml", '["verdicts.jsonl"]')
    assert verify(text, tmp_path) == ""
    program.unlink()  # it did look at that very path
    assert "not executable" in verify(text, tmp_path)


@pytest.mark.parametrize("folder", ['q"u', "b\\o", "it's"])
def test_a_program_that_systemd_would_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    program = str(tmp_path / folder / "blurvote")
    monkeypatch.setattr(unit_module, "blurvote_program", lambda: [program])
    text = unit(tmp_path / folder / "cameras.toml")
    assert values(text, "ExecStart")[0].startswith(f"/usr/bin/env {quoted(program)} run --config ")
    assert verify(text, tmp_path) == ""


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("/usr/bin/a-b.c", "/usr/bin/a-b.c"),
        ("100%", "100%%"),
        ("a b", '"a b"'),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("a\nb", '"a\\x0ab"'),
        ("", '""'),
        ("$x", '"$x"'),
    ],
)
def test_quoting(word: str, said: str) -> None:
    assert quoted(word) == said


def test_a_dollar_is_left_as_it_is(tmp_path: Path) -> None:
    (line,) = values(unit(tmp_path / "a$b" / "cameras.toml"), "ExecStart")
    assert line.startswith(":")  # no variables
    assert "a$b" in line


def test_a_shared_temporary_folder_is_not_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit_module, "_SHARED_TEMPORARY", ())
    assert values(unit(tmp_path / "cameras.toml"), "PrivateTmp") == ["yes"]
    monkeypatch.setattr(unit_module, "_SHARED_TEMPORARY", (tmp_path,))
    assert values(unit(tmp_path / "cameras.toml"), "PrivateTmp") == ["no"]


def test_a_jetson_keeps_its_devices(tmp_path: Path) -> None:
    assert values(unit(tmp_path / "cameras.toml"), "DevicePolicy") == ["closed"]
    text = unit(tmp_path / "cameras.toml", jetson=True)
    assert values(text, "DevicePolicy") == values(text, "DeviceAllow") == []


def test_only_groups_that_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit_module, "_DEVICE_GROUPS", ("no-such-group",))
    assert values(unit(tmp_path / "cameras.toml"), "SupplementaryGroups") == []


@pytest.mark.parametrize("name", ["", "a b", "a/b", "x" * 300, "a@"])
def test_names_that_no_unit_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="cannot be the name of a unit"):
        unit(tmp_path / "cameras.toml", name=name)


def test_a_user_who_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no user 'no-such-user'; sudo useradd"):
        unit(tmp_path / "cameras.toml", user="no-such-user")


# ---- places ----


@pytest.mark.parametrize(
    ("uri", "placed"),
    [
        ("a.mp4", "/etc/x/a.mp4"),
        ("*.jpg", "/etc/x/*.jpg"),
        ("/a.mp4", "/a.mp4"),
        ("0", "0"),
        ("-", "-"),
        ("rtsp://a/b", "rtsp://a/b"),
        ("gst:videotestsrc ! appsink", "gst:videotestsrc ! appsink"),
    ],
)
def test_sources(uri: str, placed: str) -> None:
    assert placed_source(uri, Path("/etc/x")) == placed


@pytest.mark.parametrize(
    ("uri", "placed", "folder"),
    [
        ("a.jsonl?keep=5", "/etc/x/a.jsonl?keep=5", "/etc/x"),
        ("jsonl:b/a", "jsonl:/etc/x/b/a", "/etc/x/b"),
        ("jsonl:/b/a", "jsonl:/b/a", "/b"),
        ("jsonl:-", "jsonl:-", None),
        ("-", "-", None),
        ("out/{camera}.mp4?segment_s=60", "/etc/x/out/{camera}.mp4?segment_s=60", "/etc/x/out"),
        ("/out/{camera}/a.mp4", "/out/{camera}/a.mp4", "/out"),
        ("new/pictures", "/etc/x/new/pictures", "/etc/x/new"),
        ("/usr", "/usr", "/usr"),
        ("mqtt://b/x", "mqtt://b/x", None),
        ("gst:appsrc ! fakesink", "gst:appsrc ! fakesink", None),
        ("window:", "window:", None),
    ],
)
def test_sinks(uri: str, placed: str, folder: str | None) -> None:
    assert placed_sink(uri, Path("/etc/x")) == placed
    assert written_folder(placed) == (folder and Path(folder))


# ---- the command ----


def test_the_command(
    write_config: WriteConfig, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PW", raising=False)
    path = write_config('guard = "guard.onnx"\n[[cameras]]\nuri = "rtsp://me:${PW}@b"\n')
    user = getpass.getuser()
    assert cli.main(["service", str(path), "--user", user, "--name", "eye"]) == 0
    printed = capsys.readouterr()
    again = shlex.join(["blurvote", "service", str(path), "--name", "eye", "--user", user])
    assert printed.out.startswith(f"# eye.service: written by `{again}`.\n")
    assert values(printed.out, "EnvironmentFile") == ["-/etc/eye.env"]
    assert printed.err == "blurvote: set PW in /etc/eye.env before the service starts\n"
    monkeypatch.setenv("PW", "x")
    path.write_text(path.read_text().replace("${PW}", "hunter2"))
    path.chmod(0o644)
    assert cli.main(["service", str(path)]) == 0
    printed = capsys.readouterr()
    assert printed.err.startswith(f"blurvote: warning: {path}:3: cameras[0].uri holds a secret")
    assert "hunter2" not in printed.out + printed.err


def test_the_command_checks_the_config(
    write_config: WriteConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_config('guard = "g"\n')
    assert cli.main(["service", str(path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"{path}:1: guard is " in printed.err
    assert f"{path}:1: no cameras" in printed.err


def test_the_command_without_a_config(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["service"]) == 2
    assert "no CONFIG given" in capsys.readouterr().err
    assert cli.main(["service", "x", "--example-config"]) == 2
    assert "leave one of them out" in capsys.readouterr().err
    assert cli.main(["service", "--example-config"]) == 0
    assert "[[cameras]]" in capsys.readouterr().out


def test_the_program_is_this_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = unit_module.blurvote_program()
    ran = subprocess.run([*words, "--version"], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("blurvote ")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert unit_module.blurvote_program() == [
        f"{tmp_path}/python", "-m", "blurvote.runtime.cli"
    ]  # fmt: skip
