"""The systemd unit that runs a config file on this machine."""

from __future__ import annotations

import getpass
import grp
import os
import pwd
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from blurvote.runtime.errors import SettingsError
from blurvote.runtime.service.places import written_folder
from blurvote.runtime.service.settings import RunSettings

__all__ = ["blurvote_program", "quoted", "systemd_unit"]

_UNIT_NAME = re.compile(r"[A-Za-z0-9:_.\\-]{1,200}")
_DEVICE_GROUPS = ("video", "render")
_SHARED_TEMPORARY = (Path("/tmp"), Path("/var/tmp"))

_UNIT = """\
# {unit}.service: written by `{made_by}`.
# Install:  {made_by} | sudo tee /etc/systemd/system/{unit}.service
#           sudo systemctl daemon-reload && sudo systemctl enable --now {unit}
# Look:     systemctl status {unit}; journalctl -u {unit} -f
# Reload:   sudo systemctl reload {unit}    (after a change of the config file)

[Unit]
Description=blurvote, guarded image classification ({config_shown})
Wants=network-online.target
After=network-online.target
# Tried again for ever: a camera or disk may be back only much later.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={exec_start}
ExecReload=/bin/kill -HUP $MAINPID
WorkingDirectory={folder}
# NAME=value lines, for ${{NAME}} in the config file; owned by root, mode 600.
EnvironmentFile=-/etc/{unit}.env
User={user}
{groups}
# Building a TensorRT engine can take minutes on the first start.
TimeoutStartSec=15min
WatchdogSec=60s
Restart=always
RestartSec=5s
# SIGTERM drains: no new frames, sinks finish what waits.
KillSignal=SIGTERM
KillMode=mixed
TimeoutStopSec=60s

# `systemctl status {unit}` shows how much it takes after a day; a limit of twice that is safe.
#MemoryMax=2G

# It reads the disk, and writes only here:
ProtectSystem=strict
ProtectHome=read-only
{written}
{private_tmp}
NoNewPrivileges=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictSUIDSGID=yes
LockPersonality=yes
UMask=0027
{devices}

[Install]
WantedBy=multi-user.target
"""

_DEVICES = """\
# Cameras and GPUs, and nothing else of /dev.
DevicePolicy=closed
DeviceAllow=char-video4linux rw
DeviceAllow=char-media rw
DeviceAllow=char-drm rw
DeviceAllow=char-nvidia* rw"""


def systemd_unit(
    settings: RunSettings,
    config: Path,
    name: str = "blurvote",
    user: str | None = None,
    made_by: str = "blurvote service",
    jetson: bool = False,
) -> str:
    """The text of a unit that works with systemd 249 (Ubuntu 22.04) and newer.

    Args:
        settings: what the config file says.
        config: the file.
        name: of the unit, without `.service`.
        user: who runs it; None for the user of this process.
        made_by: the command line that writes it again.
        jetson: leaves all of /dev open, since Jetson's GPU, camera and codec devices have names
            that change with its releases.

    Raises:
        SettingsError: a name that systemd would refuse, or a user who does not exist.
    """
    if not _UNIT_NAME.fullmatch(name):
        raise SettingsError(
            f"{name!r} cannot be the name of a unit; expected letters, digits and any of : _ . -"
        )
    user = _known_user(user)
    config = config.absolute()
    folders = {found for uri in settings.sinks if (found := written_folder(uri))}
    used = [Path(sys.executable), config, settings.guard.path, *folders, *_files(settings)]
    groups = [group for group in _DEVICE_GROUPS if _exists(group)]
    return _UNIT.format(
        unit=name,
        made_by=_one_line(made_by),
        config_shown=_one_line(str(config)).replace("%", "%%"),
        exec_start=_exec_start([*blurvote_program(), "run", "--config", str(config)]),
        folder=_one_line(str(config.parent)).replace("%", "%%"),
        user=user,
        groups=f"SupplementaryGroups={' '.join(groups)}" if groups else "# No group video here.",
        written="\n".join(f"ReadWritePaths=-{quoted(str(each))}" for each in sorted(folders))
        or "# (no sink writes files)",
        private_tmp="# It uses files in a shared temporary folder.\nPrivateTmp=no"
        if any(_is_temporary(each) for each in used)
        else "PrivateTmp=yes",
        devices="# A Jetson's devices have many names." if jetson else _DEVICES,
    )


def blurvote_program() -> list[str]:
    """The words that start this installation's `blurvote`."""
    script = Path(sys.executable).parent / "blurvote"
    if script.is_file() and os.access(script, os.X_OK):
        return [str(script)]
    return [sys.executable, "-m", "blurvote.runtime.cli"]


def quoted(word: str) -> str:
    """A word by systemd's rules; `$` stays, see `_exec_start`."""
    text = word.replace("%", "%%")
    if re.fullmatch(r"[A-Za-z0-9_@%+=:,./-]+", text):
        return text
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    text = "".join(f"\\x{ord(c):02x}" if ord(c) < 32 or ord(c) == 127 else c for c in text)
    return f'"{text}"'


def _exec_start(words: Sequence[str]) -> str:
    # A colon keeps systemd from replacing variables; doubled, `$` would be wrong in the program.
    colon = ":" if any("$" in word for word in words) else ""
    if re.search(r"[\"'\\]", words[0]):  # which systemd refuses in a program's path
        words = ["/usr/bin/env", *words]
    return colon + " ".join(map(quoted, words))


def _known_user(user: str | None) -> str:
    if user is None:
        return getpass.getuser()
    try:
        return pwd.getpwnam(user).pw_name
    except (KeyError, ValueError) as error:
        raise SettingsError(
            f"there is no user {user!r}; sudo useradd --system {shlex.quote(user)} makes one"
        ) from error


def _exists(group: str) -> bool:
    try:
        grp.getgrnam(group)
    except KeyError:
        return False
    return True


def _files(settings: RunSettings) -> list[Path]:
    return [Path(camera.uri) for camera in settings.cameras if camera.uri.startswith("/")]


def _is_temporary(path: Path) -> bool:
    return any(path.is_relative_to(each) for each in _SHARED_TEMPORARY)


def _one_line(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f]", "?", text)
