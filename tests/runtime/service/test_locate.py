"""Lines of keys in TOML documents, fixed ones and generated ones."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blurvote.runtime import SettingsError
from blurvote.runtime.service.locate import Path, line_of, locate, parse_toml

DOCUMENT = '''\
# a comment with key = "value" and [table]
guard = "g.onnx"   # and [[another]]
text = """
[not.a.table]
not = "a key" \\""" still
""""
raw = \'\'\'
[[cameras]]
\'\'\'
list = [ # one
  1, "two, ] # three",
  # four
  [3, 4], { a = 1, b.c = 2 },
]
[flow]
max_batch = 8
"quoted key" = 1
'lit#eral' = 2
a."b.c" . d = 3
[[cameras]]
uri = "a"
[cameras.alarm]
odds = 2
[[cameras]]

uri = "b"
smoothing = { k = 3, n = 5 }
[[cameras.zones]]
x = 1
[[ cameras . "zones" ]]
x = 2
[ "a b".c ]
z = 1979-05-27 07:32:00Z
'''
LINES: dict[Path, int] = {
    ("guard",): 2,
    ("text",): 3,
    ("raw",): 7,
    ("list",): 10,
    ("list", 0): 11,
    ("list", 1): 11,
    ("list", 2): 13,
    ("list", 2, 1): 13,
    ("list", 3, "a"): 13,
    ("list", 3, "b", "c"): 13,
    ("flow",): 15,
    ("flow", "max_batch"): 16,
    ("flow", "quoted key"): 17,
    ("flow", "lit#eral"): 18,
    ("flow", "a", "b.c", "d"): 19,
    ("cameras",): 20,
    ("cameras", 0): 20,
    ("cameras", 0, "uri"): 21,
    ("cameras", 0, "alarm"): 22,
    ("cameras", 0, "alarm", "odds"): 23,
    ("cameras", 1): 24,
    ("cameras", 1, "uri"): 26,
    ("cameras", 1, "smoothing", "n"): 27,
    ("cameras", 1, "zones", 0): 28,
    ("cameras", 1, "zones", 0, "x"): 29,
    ("cameras", 1, "zones", 1, "x"): 31,
    ("a b", "c"): 32,
    ("a b", "c", "z"): 33,
}


def paths(value: Any, path: Path = ()) -> set[Path]:
    """Every path in parsed values."""
    found = {path}
    if isinstance(value, dict):
        for key, inner in value.items():
            found |= paths(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found |= paths(inner, (*path, index))
    return found


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_lines(newline: str) -> None:
    text = DOCUMENT.replace("\n", newline)
    lines = locate(text)
    assert set(lines) == paths(parse_toml(text))
    assert {path: lines[path] for path in LINES} == LINES


def test_what_is_not_there_takes_the_line_of_what_it_would_be_in() -> None:
    lines = locate(DOCUMENT)
    assert line_of(lines, ("cameras", 1, "fps")) == 24
    assert line_of(lines, ("serve", "token")) == 1


@pytest.mark.parametrize("text", ["", "\n", "# only", "a = 1", "[a]", "a.b = {}", "a = []"])
def test_small_documents(text: str) -> None:
    assert set(locate(text)) == paths(parse_toml(text))


# ---- generated documents ----

NOISE = ['# [x] y = "', "", "   ", "\t# '''", '# """']
STRINGS = [
    '"plain"',
    "'lit # eral'",
    '"# [no] \\" = \\\\"',
    '"""\n[not]\na = 1 # \\""" no\n"""',
    "'''\n]]\n'' a = 2\n'''",
    '""" x """""',
    "''''quoted'''''",
    '""',
    "''",
    '""""""',
    "''''''",
]
SCALARS = [*STRINGS, "1", "-1.5e3", "true", "inf", "1979-05-27T07:32:00Z", "1979-05-27 07:32:00"]


class Writer:
    """Writes a random document; every key is `k` and a number of its own, in varied spelling."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.count = 0

    def pick(self, options: list[str]) -> str:
        return self.draw(st.sampled_from(options))

    def key(self) -> str:
        self.count += 1
        name = f"k{self.count}_"
        return self.pick([name, f'"{name}"', f"'{name}'", f'"{name} .]#"', f"'{name}\"= '"])

    def dotted(self) -> str:
        joints = [self.pick([".", " . ", "\t."]) for _ in range(self.draw(st.integers(0, 2)))]
        return self.key() + "".join(joint + self.key() for joint in joints)

    def value(self, depth: int, inline: bool = False) -> str:
        kind = self.pick(["scalar", "scalar", "array", "table"]) if depth else "scalar"
        count = self.draw(st.integers(0, 3))
        if kind == "scalar":
            return self.pick([s for s in SCALARS if not (inline and "\n" in s)])
        if kind == "table":
            pairs = [f"{self.dotted()} = {self.value(depth - 1, True)}" for _ in range(count)]
            return "{ " + ", ".join(pairs) + " }"
        gap = " " if inline else self.pick(["", " ", "\n", " # ] , x\n  "])
        values = [self.value(depth - 1, inline) for _ in range(count)]
        tail = self.pick(["", ","]) if values else ""
        return "[" + gap + f",{gap}".join(values) + tail + gap + "]"

    def pairs(self) -> list[str]:
        lines = []
        for _ in range(self.draw(st.integers(0, 3))):
            lines.append(f"{self.pick(['', '  '])}{self.dotted()}={self.value(2)}")
            lines.append(self.pick(NOISE))
        return lines

    def document(self) -> str:
        lines = self.pairs()
        arrays: list[str] = []
        for _ in range(self.draw(st.integers(0, 5))):
            kind = self.pick(["table", "array", "again", "inside", "array inside"])
            name = self.dotted()
            if kind in ("again", "inside", "array inside") and arrays:
                base = self.pick(arrays)
                name = base if kind == "again" else f"{base}.{self.key()}"
            if kind == "table" or (kind == "inside" and arrays):
                lines.append(f"[{name}] # c")
            else:
                lines.append(f"[[ {name} ]]")
                if name not in arrays:
                    arrays.append(name)
                if kind == "again":  # arrays inside begin anew
                    arrays = [each for each in arrays if not each.startswith(f"{name}.")]
            lines += self.pairs()
        return "\n".join(lines)


@st.composite
def documents(draw: st.DrawFn) -> str:
    return Writer(draw).document()


@settings(max_examples=150, deadline=None, database=None)
@given(documents())
def test_generated_documents(text: str) -> None:
    values = parse_toml(text)
    lines = locate(text)
    assert set(lines) == paths(values)
    rows = text.split("\n")
    for path, line in lines.items():
        if path and isinstance(path[-1], str):
            name = re.match(r"k\d+_", path[-1])
            assert name is not None
            assert name[0] in rows[line - 1]


# ---- documents that are none ----


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = 1\nb = = 2\n", 2),
        ("a = 1\n\n[b\n", 3),
        ('a = "x\nb = 1', 1),
        ('a = """\nnever\nended\n\n', 3),
        ("a = 1\na = 2", 2),
        ("a = [1,\n2", 2),
    ],
)
def test_syntax_errors_have_a_line(text: str, line: int) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_toml(text)
    said, at = caught.value.args
    assert at == line
    assert "(at" not in said


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(SettingsError):
        parse_toml("a = " + "[" * 100_000)
