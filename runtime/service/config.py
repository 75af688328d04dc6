"""The config file of `blurvote run --config`: TOML, checked as a whole.

::

    guard = "guard.onnx"
    sinks = ["verdicts.jsonl"]

    [defaults]
    fps = 10

    [[cameras]]
    name = "gate"
    uri = "rtsp://viewer:${GATE_PASSWORD}@10.0.0.7/live"

`blurvote service --example-config` prints one that shows every setting.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from blurvote.runtime.engines.protocol import OptionValue
from blurvote.runtime.errors import BlurvoteError, SettingsError
from blurvote.runtime.pipeline.alarm import AlarmOptions
from blurvote.runtime.pipeline.settings import CameraSettings, Flow, Smoothing
from blurvote.runtime.service.keys import (
    CAMERA_KEYS,
    DEFAULT_KEYS,
    GUARD_KEYS,
    HOMES,
    SERVE_KEYS,
    TOP_KEYS,
    names_of,
)
from blurvote.runtime.service.locate import locate, parse_toml
from blurvote.runtime.service.places import placed_sink, placed_source
from blurvote.runtime.service.settings import (
    GuardSettings,
    LogSettings,
    RunSettings,
    ServeSettings,
)
from blurvote.runtime.service.tables import (
    BAD,
    Item,
    Problems,
    dotted,
    merge,
    read_table,
    read_value,
)
from blurvote.runtime.service.texts import as_items, open_to_all, read_text, secrets_in
from blurvote.runtime.sinks.registry import check_kind as check_sink_kind
from blurvote.runtime.sources.redact import without_password
from blurvote.runtime.sources.registry import check_kind as check_source_kind
from blurvote.runtime.sources.source import SourceOptions

__all__ = ["load_config"]

_OF_N = re.compile(r"\s*(\d{1,6}) +of +(\d{1,6})\s*")


def load_config(path: str | Path, environment: Mapping[str, str] | None = None) -> RunSettings:
    """The settings in a config file.

    Paths in it are relative to its folder. `${NAME}` in any text is replaced from the environment;
    `$${` stands for `${`. Keys of `[defaults]` hold for every camera that does not say otherwise.

    Args:
        path: a TOML file in UTF-8.
        environment: where `${NAME}` is looked up; None for the process's.

    Raises:
        SettingsError: the file cannot be read or is wrong; one line for each problem, as
            `cameras.toml:12: cameras[1].fps is "ten"; expected a number`.
    """
    text = read_text(Path(path))
    try:
        values = parse_toml(text)
    except SettingsError as error:
        if len(error.args) < 2:
            raise
        said, line = error.args
        raise SettingsError(f"{path}:{line}: {said}") from error
    try:
        problems = Problems(str(path), locate(text))
        top = as_items(values, problems, environment)
    except RecursionError as error:
        raise SettingsError(f"{path}: values are nested too deeply") from error
    settings = _Reader(Path(path).parent.absolute(), problems).settings(top)
    if problems:
        raise SettingsError(problems.report())
    warnings = _warnings(Path(path), top, problems)
    return RunSettings(**settings, warnings=warnings)


def _warnings(path: Path, top: Item, problems: Problems) -> tuple[str, ...]:
    if not open_to_all(path):
        return ()
    return tuple(
        f"{path}:{problems.line(item.path)}: {dotted(item.path)} holds a secret, and every user of "
        f"this machine can read it; chmod 640 {shlex.quote(str(path))}, or write ${{NAME}} and set "
        "NAME in the environment"
        for item in secrets_in(top)
    )


class _Reader:
    """Reads the tables of one file."""

    def __init__(self, folder: Path, problems: Problems) -> None:
        self._folder = folder
        self._problems = problems
        self._special = {
            Smoothing | None: self._smoothing,
            AlarmOptions | None: self._alarm,
            Mapping[str, OptionValue]: self._options,
        }

    def settings(self, top: Item) -> dict[str, Any]:
        """The fields of `RunSettings`; some `BAD` where there are problems."""
        self._problems.unknown(top, TOP_KEYS, HOMES)
        parts = {
            "guard": self._guard(top),
            "cameras": self._cameras(top),
            "sinks": self._sinks(top),
            "serve": self._serve(top),
        }
        for name, kind in (("flow", Flow), ("log", LogSettings)):
            table = self._table(top, name)
            self._problems.unknown(table, names_of(kind), HOMES)
            parts[name] = read_table(kind, table, self._problems, self._special)
        return parts

    def _table(self, top: Item, name: str) -> Item:
        """The table of that name; an empty one where there is none."""
        found: Item | None = top.value.get(name)
        if found is None:
            return Item({}, (name,))
        if not isinstance(found.value, dict):
            self._problems.wrong(found, f"a table, [{name}]")
            return Item({}, found.path)
        return found

    def _guard(self, top: Item) -> Any:
        given = {key: top.value[key] for key in GUARD_KEYS if key in top.value}
        named = given.pop("guard", None)
        if named is None:
            self._problems.add(
                (), 'no guard; expected guard = "guard.onnx", a file written by blurvote export'
            )
            path = BAD
        else:
            path = self._read(named, str)
        if path is not BAD:
            path = self._folder / path
            if not path.is_file():
                self._problems.wrong(named, f"a guard file; there is none in {path.parent}")
        # With a path that cannot be, what else is wrong is still found.
        return read_table(
            GuardSettings,
            Item(given, ()),
            self._problems,
            self._special,
            path=Path() if path is BAD else path,
        )

    def _sinks(self, top: Item) -> Any:
        if "sinks" not in top.value:
            return ()
        sinks = self._read(top.value["sinks"], tuple[str, ...])
        if sinks is BAD:
            return BAD
        for item in top.value["sinks"].value:
            if self._checked(item, check_sink_kind) is BAD:
                return BAD
        return tuple(placed_sink(uri, self._folder) for uri in sinks)

    def _serve(self, top: Item) -> Any:
        if "serve" not in top.value:
            return None
        table = self._table(top, "serve")
        self._problems.unknown(table, SERVE_KEYS, HOMES)
        given = dict(table.value)
        file = given.pop("token_file", None)
        if file is not None:
            if "token" in given:
                self._problems.add(file.path, "serve has a token and a token_file; keep one")
                return BAD
            token = self._token(file)
            if token is BAD:
                return BAD
            given["token"] = Item(token, file.path, "")
        return read_table(ServeSettings, Item(given, table.path), self._problems, self._special)

    def _token(self, file: Item) -> Any:
        name = self._read(file, str)
        if name is BAD:
            return BAD
        try:
            return read_text(self._folder / name).strip()
        except SettingsError as error:
            self._problems.add(file.path, f"{dotted(file.path)}: {error}")
            return BAD

    # ---- cameras ----

    def _cameras(self, top: Item) -> Any:
        defaults = self._table(top, "defaults")
        self._problems.unknown(defaults, DEFAULT_KEYS, HOMES)
        found: Item | None = top.value.get("cameras")
        if found is None or found.value == []:
            self._problems.add(
                () if found is None else found.path,
                "no cameras; expected at least one [[cameras]] table with a uri",
            )
            return BAD
        if not isinstance(found.value, list):
            self._problems.add(found.path, "cameras is no list; write [[cameras]] for each camera")
            return BAD
        cameras = []
        for item in found.value:
            if isinstance(item.value, dict):
                cameras.append(self._camera(item, defaults))
            else:
                self._problems.wrong(item, "a table with a uri")
        self._refuse_twins(found.value)
        return tuple(cameras)

    def _refuse_twins(self, items: list[Item]) -> None:
        """Notes cameras of one name."""
        first: dict[str, Item] = {}
        for item in items:
            if not isinstance(item.value, dict) or not (name := _name(item)):
                continue
            if name in first:
                other = first[name].path
                self._problems.add(
                    item.value.get("name", item).path,
                    f"{dotted(item.path)} is called {name} as is {dotted(other)} in line "
                    f"{self._problems.line(other)}; give each a name of its own",
                )
            first.setdefault(name, item)

    def _camera(self, item: Item, defaults: Item) -> Any:
        self._problems.unknown(item, CAMERA_KEYS, HOMES)
        table = merge(defaults, item)
        # TOML has no null, and what defaults say must be possible to undo.
        keys = {key: value for key, value in table.value.items() if not _for_ever(key, value)}
        option_keys = set(names_of(SourceOptions))
        options = read_table(
            SourceOptions,
            Item({key: keys[key] for key in keys if key in option_keys}, table.path),
            self._problems,
            self._special,
        )
        uri = self._uri(item)
        given = {"uri": uri if uri is BAD else placed_source(uri, self._folder)}
        if not keys.get("name", Item("", ())).value:
            given["name"] = _name(item)
        rest = {key: keys[key] for key in keys if key in set(CAMERA_KEYS) - option_keys}
        camera = read_table(
            CameraSettings,
            Item(rest, table.path),
            self._problems,
            self._special,
            options=SourceOptions() if options is BAD else options,
            **given,
        )
        return BAD if options is BAD else camera

    def _uri(self, item: Item) -> Any:
        found = item.value.get("uri")
        if found is None:
            self._problems.add(item.path, f"{dotted(item.path)} has no uri")
            return BAD
        if found.value == "":
            self._problems.wrong(found, 'a camera, stream or file, such as "rtsp://10.0.0.7/live"')
            return BAD
        return self._checked(found, check_source_kind)

    def _checked(self, item: Item, check: Callable[[str], None]) -> Any:
        """Text that `check` has nothing against."""
        text = self._read(item, str)
        if text is not BAD:
            try:
                check(text)
            except BlurvoteError as error:
                self._problems.add(item.path, str(error))
                return BAD
        return text

    def _smoothing(self, item: Item) -> Any:
        if item.value is False:
            return None
        if isinstance(item.value, str) and (found := _OF_N.fullmatch(item.value)):
            numbers = {key: Item(int(found[i]), item.path) for i, key in ((1, "k"), (2, "n"))}
            return read_table(Smoothing, Item(numbers, item.path), self._problems, {})
        if isinstance(item.value, dict):
            return self._read(item, Smoothing)
        self._problems.wrong(item, 'such as "3 of 5", {k = 3, n = 5} or false')
        return BAD

    def _alarm(self, item: Item) -> Any:
        if isinstance(item.value, bool):
            return AlarmOptions() if item.value else None
        if isinstance(item.value, dict):
            return self._read(item, AlarmOptions)
        self._problems.wrong(item, "true, false or a table of its settings")
        return BAD

    def _options(self, item: Item) -> Any:
        if not isinstance(item.value, dict):
            self._problems.wrong(item, 'a table, such as {CACHE_DIR = "/var/cache/ov"}')
            return BAD
        for each in item.value.values():
            if not isinstance(each.value, (str, int, bool)):
                self._problems.wrong(each, "text in quotes, an integer, true or false")
                return BAD
        return {name: each.value for name, each in item.value.items()}

    def _read(self, item: Item, kind: Any) -> Any:
        return read_value(item, kind, self._problems, self._special)


def _name(item: Item) -> str:
    """What a camera is called, if that can be told."""
    for key in ("name", "uri"):
        found = item.value.get(key)
        if found is not None and isinstance(found.value, str) and found.value:
            return without_password(found.value)
    return ""


def _for_ever(key: str, item: Item) -> bool:
    return key == "reconnect" and item.value == "forever"
