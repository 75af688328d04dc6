"""Results that survive interruptions, full disks and other settings."""

from __future__ import annotations

import contextlib
import errno
import json
import resource
import signal
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from blurvote.benchmarks.robustness.journal import REVISION, Journal
from blurvote.runtime.errors import SinkError, SourceError

SETTINGS = {"seed": 0, "sigmas": (0.0, 0.25), "guard": "abc"}
ITEMS = {
    "a.png": {"label": 3, "shares": [0.1, None]},
    "ü/ß.png": "text\nof two lines",
    "z": [1e-300, True],
}


@contextlib.contextmanager
def disk_of(size: int) -> Iterator[None]:
    """Lets no file grow beyond `size` bytes, which fails as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def written(path: Path, items: dict[str, object] = ITEMS) -> Path:
    with Journal(path, SETTINGS) as journal:
        for key, result in items.items():
            journal.add(key, result)
    return path


def test_what_goes_in_comes_out_and_is_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "j.jsonl"
    with Journal(path, SETTINGS) as journal:
        assert journal.done == set()
        for n, (key, result) in enumerate(ITEMS.items(), 1):
            journal.add(key, result)
            # At once in the file: a killed run has them.
            assert len(path.read_text().splitlines()) == 1 + n
        assert dict(journal.results()) == ITEMS
        assert journal.done == set(ITEMS)
    header, *rest = map(json.loads, path.read_text().splitlines())
    assert header == {
        "schema": "blurvote.journal/1",
        "settings": {**SETTINGS, "sigmas": [0.0, 0.25], "lab_revision": REVISION},
    }
    assert [(entry["key"], entry["result"]) for entry in rest] == list(ITEMS.items())


def test_a_journal_is_continued(tmp_path: Path) -> None:
    path = written(tmp_path / "j")
    with Journal(path, SETTINGS) as journal:
        assert journal.done == set(ITEMS)
        journal.add("more", 1)
    with Journal(path, SETTINGS) as journal:
        assert dict(journal.results()) == {**ITEMS, "more": 1}


def test_cut_anywhere_it_loses_the_last_line_at_most(tmp_path: Path) -> None:
    whole = written(tmp_path / "j").read_bytes()
    ends = [n + 1 for n, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole)):
        path = tmp_path / "cut"
        path.write_bytes(whole[:cut])
        kept = max(0, sum(end <= cut for end in ends) - 1)
        with Journal(path, SETTINGS) as journal:
            assert len(journal.done) == kept
            for key, result in list(ITEMS.items())[kept:]:
                journal.add(key, result)
        assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "line",
    [b'{"key": "b", "res\n', b"\xff\xfe\n", b"\0\0\0\0\n", b"5\n", b'{"key": "b"}\n', b"\n"],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: bytes) -> None:
    path = written(tmp_path / "j")
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = line
    path.write_bytes(b"".join(lines))
    with pytest.raises(SourceError) as caught:
        Journal(path, SETTINGS)
    assert str(caught.value).startswith(f"{path}, line 3 is damaged (")
    assert str(caught.value).endswith("); start over with --fresh")
    assert path.read_bytes() == b"".join(lines)
    with Journal(path, SETTINGS, fresh=True) as journal:
        assert journal.done == set()


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    path = written(tmp_path / "j")
    before = path.read_bytes()
    with pytest.raises(SourceError) as caught:
        Journal(path, {**SETTINGS, "seed": 1, "sigmas": [0.5], "new": "x" * 99})
    assert str(caught.value) == (
        f'{path} holds results of other settings (new was null, is "{"x" * 56}...; '
        "seed was 0, is 1; sigmas was [0.0, 0.25], is [0.5]); choose another folder with -o, or "
        "start over with --fresh"
    )
    assert path.read_bytes() == before


def test_fresh_starts_over_whatever_is_there(tmp_path: Path) -> None:
    path = written(tmp_path / "j")
    with Journal(path, {"other": 1}, fresh=True) as journal:
        assert list(journal.results()) == []
        journal.add("a", 1)
    with Journal(path, {"other": 1}) as journal:
        assert journal.done == {"a"}


@pytest.mark.parametrize(
    "text",
    [
        "dear diary",  # without a line's end, as a cut first line
        "dear diary\n",
        "[1]\n",
        '{"schema": "blurvote.journal/2", "settings": {}}\n',
        '{"schema": "blurvote.journal/1"}\n',
        '{"schema": "blurvote.evaluate/1"',
    ],
)
def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "j"
    path.write_text(text)
    with pytest.raises(SourceError) as caught:
        Journal(path, SETTINGS)
    assert str(caught.value) == (
        f"{path} is not a journal of this blurvote; choose another folder with -o"
    )
    assert path.read_text() == text


def test_an_empty_file_becomes_a_journal(tmp_path: Path) -> None:
    (tmp_path / "j").touch()
    written(tmp_path / "j")


@pytest.mark.parametrize("partly", [True, False])
def test_a_full_disk_keeps_what_was_written(tmp_path: Path, partly: bool) -> None:
    """Closing raises nothing on top, no half line stays, and with room again the run goes on."""
    path = written(tmp_path / "j")
    before = path.read_bytes()
    with (
        disk_of(len(before) + (40 if partly else 0)),
        pytest.raises(SinkError) as caught,
        Journal(path, SETTINGS) as journal,
    ):
        journal.add("large", "x" * 100)
    assert str(caught.value) == (
        f"{path} cannot be written: File too large; its 3 results are kept. Make room and run the "
        "same command again"
    )
    assert path.read_bytes() == before
    with Journal(path, SETTINGS) as journal:
        assert "large" not in journal.done
        journal.add("large", "x" * 100)
        assert dict(journal.results()) == {**ITEMS, "large": "x" * 100}


def test_a_disk_that_is_full_from_the_start(tmp_path: Path) -> None:
    with disk_of(10), pytest.raises(SinkError, match=r"cannot be written: File too large; its 0"):
        Journal(tmp_path / "j", SETTINGS)
    with Journal(tmp_path / "j", SETTINGS) as journal:
        assert journal.done == set()


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match=r"file/j cannot be written: (File exists|Not a directory)"):
        Journal(tmp_path / "file" / "j", SETTINGS)
    for place in (tmp_path, Path("/dev/null")):
        with pytest.raises(SinkError, match=f"^{place} cannot be written: it is no file$"):
            Journal(place, SETTINGS)


def test_two_runs_do_not_write_one_journal(tmp_path: Path) -> None:
    path = written(tmp_path / "j")
    before = path.read_bytes()
    with Journal(path, SETTINGS):
        for fresh in (True, False):
            with pytest.raises(SinkError) as caught:
                Journal(path, SETTINGS, fresh)
            assert str(caught.value) == (
                f"{path} is being written by another run; wait for it, or choose another folder "
                "with -o"
            )
    assert path.read_bytes() == before
    written(path, {})


def test_a_disk_without_locks_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with Journal(written(tmp_path / "j"), SETTINGS) as journal:
        assert journal.done == set(ITEMS)


def test_many_results_are_read_one_by_one(tmp_path: Path) -> None:
    """50,000 results of 300 bytes, 15 MB together, pass through less than 1 MB."""
    path = tmp_path / "j"
    Journal(path, SETTINGS).__exit__(None, None, None)
    row = json.dumps({"label": 1, "rows": [0.123456789] * 20})
    with path.open("a") as file:
        file.writelines(f'{{"key": "{n}", "result": {row}}}\n' for n in range(50_000))
    assert path.stat().st_size > 14e6
    with Journal(path, SETTINGS) as journal:
        assert len(journal.done) == 50_000
        results = journal.results()
        next(results)
        tracemalloc.start()
        try:
            count = sum(1 for _ in results)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert count == 49_999
    assert peak < 1e6


def test_what_was_skipped_is_tried_again(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.jsonl", SETTINGS) as journal:
        journal.add("a", {"skipped": "the disk was away"})
        journal.add("b", {"label": 1})
        journal.add("c", {"skipped": "truncated"})
    with Journal(tmp_path / "j.jsonl", SETTINGS) as journal:
        assert journal.done == {"b"}
        journal.add("a", {"label": 2})
        journal.add("c", {"skipped": "truncated still"})
        found = list(journal.results())
    assert found == [
        ("b", {"label": 1}),
        ("a", {"label": 2}),
        ("c", {"skipped": "truncated still"}),
    ]


def test_another_revision_of_the_lab_is_not_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal(tmp_path / "j.jsonl", SETTINGS):
        pass
    monkeypatch.setattr("blurvote.benchmarks.robustness.journal.REVISION", REVISION + 1)
    with pytest.raises(SourceError, match=f"lab_revision was {REVISION}, is {REVISION + 1}"):
        Journal(tmp_path / "j.jsonl", SETTINGS)
