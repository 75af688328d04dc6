"""Config files: what they say, and what is wrong with them, by line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from blurvote.runtime import SettingsError
from blurvote.runtime.commands.service import _example
from blurvote.runtime.engines.protocol import EngineSettings
from blurvote.runtime.pipeline.alarm import AlarmOptions
from blurvote.runtime.pipeline.settings import CameraSettings, Flow, Smoothing
from blurvote.runtime.service.config import load_config
from blurvote.runtime.service.settings import (
    GuardSettings,
    LogSettings,
    RunSettings,
    ServeSettings,
    diff_cameras,
)
from blurvote.runtime.sources.source import SourceOptions

WriteConfig = Callable[[str], Path]
TOKEN = "0123456789abcdef"
CAMERA = '[[cameras]]\nuri = "rtsp://10.0.0.7/live"\n'
SMALL = f'guard = "guard.onnx"\n{CAMERA}'

FULL = """
guard = "guard.onnx"
provider = "cpu"
plan = "cascade"
threads = 2
threshold = 1
spin = false
sinks = ["verdicts.jsonl?max_mb=1", "jsonl:other.jsonl", "/out/a.mp4", "mqtt://b/x", "-"]

[flow]
max_batch = 4
batch_wait_ms = 3

[serve]
address = "0.0.0.0:8080"
token = "${TOKEN}"

[log]
format = "json"
level = "warning"
verdicts = true

[defaults]
fps = 10
reconnect = 3
smoothing = "3 of 5"
alarm.learn_s = 600

[[cameras]]
name = "gate"
uri = "rtsp://viewer:${PW}@10.0.0.7/live"

[[cameras]]
name = "yard"
uri = "../yard/*.jpg"
fps = 5
width = 640
height = 480
smoothing = { k = 2, n = 3 }
reconnect = "forever"
alarm = { odds = 3 }

[[cameras]]
uri = "0"
alarm = false
smoothing = false

[[cameras]]
uri = "rtsp://me:${PW}@10.0.0.8/live"
alarm = true
"""


def load(path: Path, **environment: str) -> RunSettings:
    return load_config(path, environment)


def problems(path: Path, **environment: str) -> list[str]:
    """What is said of a file, without its folder."""
    with pytest.raises(SettingsError) as caught:
        load_config(path, environment)
    return str(caught.value).replace(f"{path.parent}/", "").split("\n")


# ---- what is right ----


def test_everything(write_config: WriteConfig) -> None:
    path = write_config(FULL)
    folder = path.parent
    read = load(path, TOKEN=TOKEN, PW="p:w@1")
    assert read.guard == GuardSettings(
        folder / "guard.onnx", "cpu", "cascade", threads=2, threshold=1.0, spin=False
    )
    assert read.flow == Flow(max_batch=4, batch_wait_ms=3.0)
    assert read.serve == ServeSettings("0.0.0.0:8080", TOKEN)
    assert read.log == LogSettings("json", "warning", verdicts=True)
    assert read.sinks == (
        f"{folder}/verdicts.jsonl?max_mb=1",
        f"jsonl:{folder}/other.jsonl",
        "/out/a.mp4",
        "mqtt://b/x",
        "-",
    )
    learned = AlarmOptions(learn_s=600.0)
    assert read.cameras == (
        CameraSettings(
            "rtsp://viewer:p:w@1@10.0.0.7/live",
            "gate",
            SourceOptions(fps=10.0),
            Smoothing(3, 5),
            learned,
            reconnect=3,
        ),
        CameraSettings(
            f"{folder}/../yard/*.jpg",
            "yard",
            SourceOptions(640, 480, 5.0),
            Smoothing(2, 3),
            AlarmOptions(learn_s=600.0, odds=3.0),
            reconnect=None,
        ),
        CameraSettings("0", "0", SourceOptions(fps=10.0), None, None, reconnect=3),
        CameraSettings(
            "rtsp://me:p:w@1@10.0.0.8/live",
            "rtsp://me:***@10.0.0.8/live",
            SourceOptions(fps=10.0),
            Smoothing(3, 5),
            learned,
            reconnect=3,
        ),
    )
    assert read.warnings == ()


def test_the_least(write_config: WriteConfig) -> None:
    read = load(write_config(SMALL))
    assert read.cameras == (CameraSettings("rtsp://10.0.0.7/live", "rtsp://10.0.0.7/live"),)
    assert (read.flow, read.sinks, read.serve, read.log) == (Flow(), (), None, LogSettings())


def test_a_serve_table_alone_serves(write_config: WriteConfig) -> None:
    assert load(write_config(SMALL + "[serve]\n")).serve == ServeSettings()


def test_a_folder_with_a_pattern_in_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "a[1]"
    folder.mkdir()
    (folder / "guard.onnx").touch()
    (folder / "cameras.toml").write_text(
        'guard = "guard.onnx"\ncameras = [{uri = "*.jpg"}, {uri = "b.mp4"}]'
    )
    read = load(folder / "cameras.toml")
    assert [camera.uri for camera in read.cameras] == [
        f"{tmp_path}/a[[]1]/*.jpg",
        f"{folder}/b.mp4",
    ]


def test_a_token_file(write_config: WriteConfig, tmp_path: Path) -> None:
    (tmp_path / "token.txt").write_text(f"{TOKEN}\n")
    read = load(write_config(SMALL + '[serve]\ntoken_file = "${DIR}/token.txt"'), DIR=str(tmp_path))
    assert read.serve == ServeSettings(token=TOKEN)


def test_a_byte_order_mark_and_windows_newlines(write_config: WriteConfig) -> None:
    path = write_config(SMALL)
    path.write_bytes(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode())
    assert len(load(path).cameras) == 1


def test_a_dollar_can_be_written(write_config: WriteConfig) -> None:
    read = load(
        write_config('guard = "guard.onnx"\n[[cameras]]\nuri = "gst:a $${B} $C ${D}"'), D="d"
    )
    assert read.cameras[0].uri == "gst:a ${B} $C d"


def test_nothing_secret_is_shown(write_config: WriteConfig) -> None:
    read = load(write_config(FULL), TOKEN=TOKEN, PW="hunter2")
    shown = json.dumps(read.redacted())
    for secret in (TOKEN, "hunter2"):
        assert secret not in shown
    assert "rtsp://viewer:***@10.0.0.7/live" in shown
    assert TOKEN not in repr(read)
    assert read.redacted()["serve"] == {"address": "0.0.0.0:8080", "token": "***"}
    assert read.redacted()["cameras"][1]["fps"] == 5.0


def test_a_password_in_a_file_for_all_is_warned_of(write_config: WriteConfig) -> None:
    text = SMALL + '[[cameras]]\nuri = "rtsp://me:hunter2@b"\n'
    path = write_config(text + f'[serve]\ntoken = "{TOKEN}"')
    assert load(path).warnings == ()
    path.chmod(0o644)
    first, second = load(path).warnings
    assert first.startswith(f"{path}:5: cameras[1].uri holds a secret")
    assert second.startswith(f"{path}:7: serve.token holds a secret")
    assert "hunter2" not in first
    path = write_config(SMALL + '[[cameras]]\nuri = "rtsp://me:${PW}@b"\n')
    path.chmod(0o644)
    assert load(path, PW="hunter2").warnings == ()


# ---- what is wrong ----

TOP = 'guard = "guard.onnx"\n'
WRONG: dict[str, tuple[str, str]] = {
    "syntax": (TOP + "[flow\n", "2: Expected ']' at the end of a table declaration"),
    "twice": (TOP + TOP, "2: Cannot overwrite a value"),
    "no guard": (CAMERA, '1: no guard; expected guard = "guard.onnx", a file written by'),
    "guard gone": ('\nguard = "g.onnx"\n' + CAMERA, '2: guard is "g.onnx"; expected a guard file'),
    "guard type": ("guard = 3\n" + CAMERA, "1: guard is 3; expected text in quotes"),
    "no cameras": (TOP, "1: no cameras; expected at least one [[cameras]] table with a uri"),
    "empty cameras": (TOP + "cameras = []", "2: no cameras; expected at least one"),
    "one bracket": (TOP + '[cameras]\nuri = "a"', "2: cameras is no list; write [[cameras]]"),
    "no table": (TOP + 'cameras = ["a"]', '2: cameras[0] is "a"; expected a table with a uri'),
    "no uri": (SMALL + '[[cameras]]\nname = "b"', "4: cameras[1] has no uri"),
    "empty uri": (TOP + '[[cameras]]\nuri = ""', '3: cameras[0].uri is ""; expected a camera,'),
    "unknown": (SMALL + "fsp = 3", "4: cameras[0].fsp is not a setting here; did you mean fps?"),
    "unknown, far": (
        SMALL + '[flow]\n"x y" = 3',
        '5: flow."x y" is not a setting here; expected',
    ),
    "wrong place": (
        SMALL + "sinks = []",
        "4: cameras[0].sinks is not a setting here; it belongs ",
    ),
    "path": (TOP + 'path = "a"\n' + CAMERA, "2: path is not a setting here; "),
    "a word": (SMALL + 'fps = "ten"', '4: cameras[0].fps is "ten"; expected a number'),
    "below 0": (SMALL + "fps = -1", "4: cameras[0].fps is -1.0; expected a number above 0"),
    "not finite": (SMALL + "fps = nan", "4: cameras[0].fps is nan; expected a number"),
    "half a size": (SMALL + "width = 3", "4: cameras[0].width and height go together"),
    "a fraction": (SMALL + "width = 3.5", "4: cameras[0].width is 3.5; expected an integer"),
    "a bool": (SMALL + "reconnect = true", "4: cameras[0].reconnect is true; expected an integer"),
    "no bool": (SMALL + "loop = 1", "4: cameras[0].loop is 1; expected true or false"),
    "a date": (SMALL + "fps = 2026-01-01", "4: cameras[0].fps is 2026-01-01; expected a number"),
    "choice": (
        SMALL + '[log]\nformat = "xml"',
        '5: log.format is "xml"; expected "text" or "json"',
    ),
    "no choice": (SMALL + "[log]\nlevel = []", "5: log.level is a list; expected "),
    "no list": ('sinks = "a"\n' + SMALL, '1: sinks is "a"; expected a list, such as ["a"]'),
    "in a list": ("sinks = [\n'a',\n3]\n" + SMALL, "3: sinks[1] is 3; expected text in quotes"),
    "a value": (TOP + "flow = 3\n" + CAMERA, "2: flow is 3; expected a table, [flow]"),
    "smoothing": (SMALL + 'smoothing = "1 of 5"', "4: cameras[0].smoothing: smoothing is 1 of 5"),
    "half smoothing": (SMALL + "smoothing = {k = 3}", "4: cameras[0].smoothing has no n"),
    "bad smoothing": (
        SMALL + "smoothing = true",
        "4: cameras[0].smoothing is true; expected such as",
    ),
    "alarm": (SMALL + "[cameras.alarm]\nodds = 1", "5: cameras[0].alarm: the alarm's odds is 1;"),
    "alarm key": (SMALL + "alarm = {od = 1}", "4: cameras[0].alarm.od is not a setting here; did"),
    "alarm type": (SMALL + 'alarm = "on"', '4: cameras[0].alarm is "on"; expected true, false or'),
    "compute": (
        'provider = "cpu"\ncompute = "fp8"\n' + SMALL,
        '2: compute is "fp8"; expected "fp32", "bf16", "tf32" or "fp16"',
    ),
    "whose compute": ('compute = "bf16"\n' + SMALL, "1: compute 'bf16' is for one provider; name"),
    "options": (
        'provider = "cpu"\noptions = 3\n' + SMALL,
        '2: options is 3; expected a table, such as {CACHE_DIR = "',
    ),
    "an option": (
        'provider = "cpu"\noptions = {a = 1, b = 1.5}\n' + SMALL,
        "2: options.b is 1.5; expected text in quotes, an integer, true or false",
    ),
    "tuned options": (
        'tuned = true\nprovider = "auto"\noptions = {a = 1}\n' + SMALL,
        "1: tuned sets the provider, plan, threads and spinning; leave out options, or leave",
    ),
    "threads": ("threads = 0\n" + SMALL, "1: threads is 0; expected an integer of at least 1"),
    "threshold": ("threshold = 2\n" + SMALL, "1: threshold is 2; expected a number from 0 to 1"),
    "tuned": (
        'tuned = true\nplan = "auto"\nthreads = 2\n' + SMALL,
        "1: tuned sets the provider, pl",
    ),
    "address": (SMALL + '[serve]\naddress = "x"', "5: serve: 'x' is not an address to serve on"),
    "no token": (SMALL + '[serve]\naddress = "0.0.0.0:80"', "4: serve: serving on 0.0.0.0:80, wh"),
    "two tokens": (SMALL + '[serve]\ntoken_file="a"\ntoken="b"', "5: serve has a token and a tok"),
    "token gone": (SMALL + '[serve]\ntoken_file="a"', "5: serve.token_file: a cannot be read: No"),
    "every_s": (SMALL + "[log]\nevery_s = -1", "5: log.every_s is -1; expected a number from 0 on"),
    "default": (
        "guard = 'guard.onnx'\n[defaults]\nuri = 'a'\n" + CAMERA,
        "3: defaults.uri is not a",
    ),
    "variable": (SMALL + 'codec = "${X}"', "4: cameras[0].codec needs the environment variable X,"),
    "no variable": (SMALL + 'codec = "${a-b}"', "4: cameras[0].codec: ${a-b} names no environment"),
}


@pytest.mark.parametrize(("text", "said"), WRONG.values(), ids=WRONG.keys())
def test_one_problem(write_config: WriteConfig, text: str, said: str) -> None:
    (line,) = problems(write_config(text))
    assert line.startswith(f"cameras.toml:{said}")


def test_an_engine(write_config: WriteConfig) -> None:
    text = 'provider = "openvino"\ncompute = "bf16"\noptions = {A = "${X}", B = 2, C = true}\n'
    guard = load(write_config(text + SMALL), X="y").guard
    options = {"A": "y", "B": 2, "C": True}
    assert guard.engine == EngineSettings("openvino", "bf16", options=options)
    assert guard == replace(guard, options=options)
    assert guard != replace(guard, options={})


def test_cameras_of_one_name(write_config: WriteConfig) -> None:
    text = SMALL + CAMERA + '[[cameras]]\nuri = "b"\nname = "rtsp://10.0.0.7/live"'
    fix = "as is cameras[0] in line 2; give each a name of its own"
    assert problems(write_config(text)) == [
        f"cameras.toml:4: cameras[1] is called rtsp://10.0.0.7/live {fix}",
        f"cameras.toml:8: cameras[2] is called rtsp://10.0.0.7/live {fix}",
    ]


def test_all_problems_are_told_in_order_and_once(write_config: WriteConfig) -> None:
    text = """\
gard = "x"
threads = 0
provider = "gpu"
[defaults]
fps = "ten"
[[cameras]]
name = "a"
uri = "rtsp://me:hunter2@a/${X}"
[[cameras]]
name = "a"
timeout_s = -1
uri = ["rtsp://me:hunter2@a"]
[[cameras]]
"""
    said = problems(write_config(text))
    assert [line.split(": ")[0] for line in said] == [
        f"cameras.toml:{line}" for line in (1, 1, 2, 3, 5, 8, 10, 11, 12, 13)
    ]
    assert "hunter2" not in "".join(said)


def test_a_long_or_secret_value_is_not_printed(write_config: WriteConfig) -> None:
    text = f'provider = "rtsp://me:hunter2@a/{"x" * 500}"\n{SMALL}'
    (line,) = problems(write_config(text))
    assert "hunter2" not in line
    assert len(line) < 200


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "cameras.toml"
    assert problems(path) == ["cameras.toml cannot be read: No such file or directory"]
    path.mkdir()
    assert problems(path) == ["cameras.toml cannot be read: Is a directory"]
    path.rmdir()
    path.write_bytes(b"a = 1\x00")
    assert problems(path) == ["cameras.toml is a binary file; expected text"]
    path.write_bytes(b"# a\n# \xff")
    assert problems(path) == ["cameras.toml:2: byte 0xff is not UTF-8; save the file as UTF-8"]
    path.write_bytes(b"#" * (1 << 20) + b"\n")
    assert problems(path) == ["cameras.toml is over 1 MiB; expected a short text file"]
    path.write_text("a = " + "[" * 400 + "]" * 400)
    assert problems(path)[0].startswith("cameras.toml:1: ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(write_config: WriteConfig) -> None:
    path = write_config(SMALL)
    path.chmod(0)
    assert problems(path) == ["cameras.toml cannot be read: Permission denied"]


def test_without_a_parser(write_config: WriteConfig) -> None:
    """As on Python 3.10 without tomli."""
    code = f"""
import sys
sys.version_info = (3, 10, 0)
sys.modules["tomli"] = None
from blurvote.runtime.service.config import load_config
from blurvote.runtime import SettingsError
try:
    load_config({str(write_config(SMALL))!r})
except SettingsError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expected = "config files need tomli on Python 3.10; pip install 'blurvote[service]'\n"
    assert ran.stdout == expected


def test_with_tomli(write_config: WriteConfig) -> None:
    pytest.importorskip("tomli", reason="tomli is what Python 3.10 needs")
    code = """
import sys
real, sys.version_info = sys.version_info, (3, 10, 0)
from blurvote.runtime.service.config import load_config
from blurvote.runtime.service import locate
locate._parser()
import tomli
assert locate._parser()[0] is tomli.loads
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- the example ----

KINDS: list[type[Any]] = [
    GuardSettings, CameraSettings, SourceOptions, AlarmOptions, Flow, ServeSettings, LogSettings
]  # fmt: skip


def test_the_example_is_right(write_config: WriteConfig) -> None:
    read = load(write_config(_example()), GATE_PASSWORD="x")
    assert [camera.name for camera in read.cameras] == ["gate", "yard"]
    assert read.cameras[0].alarm == AlarmOptions()
    assert read.cameras[1].alarm is None


def test_the_example_shows_every_setting_with_its_default(write_config: WriteConfig) -> None:
    """All that is commented out can be taken in, and changes nothing where it says no example."""
    lines = _example().split("\n")
    keys = {"guard", "sinks"}
    taken = []
    for line in lines:
        found = re.match(r"# (\w+) = ", line)
        if found:
            keys.add(found[1])
        if (found and "# example" not in line) or re.match(r"# \[\w", line):
            taken.append(line[2:])
        elif not line.startswith("alarm = true"):
            taken.append(line)
            keys |= set(re.findall(r"^(\w+) = ", line))
    known = {entry.name for kind in KINDS for entry in fields(kind)} - {"path"}
    assert keys == known | {"guard", "sinks", "token_file"}
    plain = load(write_config(_example()), GATE_PASSWORD="x")
    full = load(write_config("\n".join(taken)), GATE_PASSWORD="x")
    assert plain.serve is None
    assert full.serve == ServeSettings()
    assert diff_cameras(plain, full).others == ("serve",)
    assert full.cameras == plain.cameras


def all_taken_in() -> str:
    """The example with everything that is commented out, examples too."""
    text = re.sub(r"^# (\w+ = )", r"\1", _example(), flags=re.MULTILINE)
    text = re.sub(r"^# (\[\w)", r"\1", text, flags=re.MULTILINE)
    return re.sub(r"^(alarm = true|token_file = |tuned = ).*", "", text, flags=re.MULTILINE)


def test_what_is_an_example_in_the_example_can_be_taken_in(write_config: WriteConfig) -> None:
    read = load(write_config(all_taken_in()), GATE_PASSWORD="x", PAGE_TOKEN=TOKEN)
    assert read.guard.threads == 4


VALUES = [
    *('""', '"x"', '"${X}"', '"9 of 3"', "'''a\nb'''", "3", "-1", "0.5", "1e400", "nan", "true"),
    *("99999999999999999999", "2026-01-01", "[]", "{}", "[{}]", "[[1]]", "{a=1}", "{k=3, n=5}"),
]


@pytest.mark.parametrize("value", VALUES)
def test_any_value_anywhere_is_taken_or_told_by_its_line(
    write_config: WriteConfig, value: str
) -> None:
    lines = all_taken_in().split("\n")
    path = write_config("")
    told = 0
    for index, line in enumerate(lines):
        key = re.match(r"\w+ = (?!\[$)", line)
        if key is None:
            continue
        path.write_text("\n".join([*lines[:index], f"{key[0]}{value}", *lines[index + 1 :]]))
        try:
            load(path, GATE_PASSWORD="hunter2", PAGE_TOKEN=TOKEN)
        except SettingsError as error:
            told += 1
            for said in str(error).split("\n"):
                assert re.match(rf"{re.escape(str(path))}:\d+: \S", said)
                assert "hunter2" not in said
                assert TOKEN not in said
    assert told > 20  # no value suits all keys


# ---- reloads ----


def test_nothing_changed(write_config: WriteConfig) -> None:
    one, two = (load(write_config(FULL), TOKEN=TOKEN, PW="x") for _ in range(2))
    changes = diff_cameras(one, two)
    assert not changes
    assert changes.unchanged == two.cameras


def test_what_changed(write_config: WriteConfig) -> None:
    old = load(write_config(FULL), TOKEN=TOKEN, PW="x")
    text = FULL.replace('name = "yard"', 'name = "back"').replace("threads = 2", "threads = 3")
    text = text.replace('level = "warning"', "").replace('uri = "0"', 'uri = "0"\nframes = 1')
    text = text.replace("frames = 1", "frozen_s = 1")
    changes = diff_cameras(old, load(write_config(text), TOKEN=TOKEN, PW="x"))
    assert changes
    assert [camera.name for camera in changes.unchanged] == ["gate", "rtsp://me:***@10.0.0.8/live"]
    assert [camera.name for camera in changes.changed] == ["0"]
    assert [camera.name for camera in changes.added] == ["back"]
    assert changes.removed == ("yard",)
    assert changes.others == ("guard", "log")


def test_a_new_password_changes_a_camera(write_config: WriteConfig) -> None:
    old, new = (load(write_config(FULL), TOKEN=TOKEN, PW=word) for word in ("x", "y"))
    changes = diff_cameras(old, new)
    assert [camera.name for camera in changes.changed] == ["gate", "rtsp://me:***@10.0.0.8/live"]
    assert changes.others == ()
