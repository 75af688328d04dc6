"""Where built engines are kept: whole or not at all, and by nobody but this user."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from pathlib import Path

import pytest

from blurvote.runtime import ProviderError
from blurvote.runtime.engines.engine_cache import EngineCache, default_folder

FACTS = {"guard": "0123456789abcdef" * 4, "gpu": "H100", "options": {"a": "1"}, "pair": (1, 2)}


@pytest.fixture
def cache(tmp_path):
    return EngineCache(tmp_path / "engines")


def make(folder: Path, text: str = "machine code") -> None:
    (folder / "one.engine").write_text(text)
    (folder / "one.profile").write_text("shapes")


def test_an_engine_is_found_by_exactly_its_facts(cache):
    assert cache.find(FACTS) is None
    built = cache.build(FACTS, make)
    assert cache.find(FACTS) == built
    assert (built.folder / "one.engine").read_text() == "machine code"
    assert built.files == {"one.engine": 12, "one.profile": 6}
    assert built.megabytes == pytest.approx(18e-6)
    for name, value in (("gpu", "H200"), ("options", {"a": "2"}), ("guard", "f" * 64)):
        assert cache.find({**FACTS, name: value}) is None
        assert cache.place({**FACTS, name: value}) != cache.place(FACTS)
    assert built.folder.name.startswith("0123456789ab-")
    assert cache.engines() == [built]


def test_what_was_built_is_not_built_again(cache):
    cache.build(FACTS, make)
    cache.build(FACTS, lambda folder: pytest.fail("built twice"))


def test_a_build_that_fails_leaves_nothing(cache):
    def fail(folder):
        make(folder)
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        cache.build(FACTS, fail)
    assert cache.find(FACTS) is None
    assert [path.name for path in cache.folder.iterdir() if path.is_dir()] == []


def test_a_build_that_was_killed_is_swept_away_by_the_next(cache):
    half = cache.folder / f".{cache.place(FACTS).name}.building"
    half.mkdir(parents=True)
    (half / "half.engine").write_text("half")
    assert cache.find(FACTS) is None
    assert cache.engines() == []
    built = cache.build(FACTS, make)
    assert set(built.files) == {"one.engine", "one.profile"}
    assert not half.exists()


def test_a_build_without_an_engine_is_an_error(cache):
    with pytest.raises(ProviderError, match="the build ended without an engine"):
        cache.build(FACTS, lambda folder: None)


@pytest.mark.parametrize("harm", ["truncate", "remove", "manifest", "schema", "facts"])
def test_a_damaged_engine_does_not_count_and_is_built_anew(harm, cache):
    built = cache.build(FACTS, make)
    manifest = built.folder / "engine.json"
    values = json.loads(manifest.read_text())
    if harm == "truncate":
        (built.folder / "one.engine").write_text("mach")
    elif harm == "remove":
        (built.folder / "one.engine").unlink()
    elif harm == "manifest":
        manifest.write_text("{")
    elif harm == "schema":
        manifest.write_text(json.dumps({**values, "schema_version": 99}))
    else:
        manifest.write_text(json.dumps({**values, "facts": {**values["facts"], "gpu": "other"}}))
    assert cache.find(FACTS) is None
    again = cache.build(FACTS, lambda folder: make(folder, "new machine code"))
    assert (again.folder / "one.engine").read_text() == "new machine code"


def test_two_builders_of_one_engine_build_it_once(cache):
    started, builds = threading.Event(), []

    def slowly(folder):
        builds.append(folder)
        started.set()
        time.sleep(0.3)
        make(folder)

    first = threading.Thread(target=cache.build, args=(FACTS, slowly))
    first.start()
    assert started.wait(10)
    built = EngineCache(cache.folder).build(FACTS, slowly)  # locks are between open files
    first.join()
    assert len(builds) == 1
    assert cache.find(FACTS) == built


def test_timings_are_shared_between_builds_that_end_well(cache, tmp_path):
    def build(text, fail=False):
        work = tmp_path / "work"
        work.mkdir()
        try:
            with cache.timings({"gpu": "H100"}, work) as folder:
                seen = {file.name: file.read_text() for file in folder.iterdir()}
                (folder / "sm90.timing").write_text(text)
                if fail:
                    raise RuntimeError
        except RuntimeError:
            (folder / "sm90.timing").unlink()
            folder.rmdir()
        assert not folder.exists()
        work.rmdir()
        return seen

    cache.build(FACTS, make)
    assert build("one") == {}
    assert build("two") == {"sm90.timing": "one"}
    assert build("three", fail=True) == {"sm90.timing": "two"}
    assert build("four") == {"sm90.timing": "two"}
    assert len(cache.engines()) == 1


@pytest.fixture
def group_may_write():
    before = os.umask(0o002)  # the default of several distributions
    yield
    os.umask(before)


def test_what_was_written_with_a_lenient_umask_is_not_refused(cache, tmp_path, group_may_write):
    cache.build(FACTS, make)
    assert cache.find(FACTS)
    for seen in ([], ["sm90.timing"]):
        with cache.timings({"gpu": "H100"}, tmp_path) as folder:
            assert [file.name for file in folder.iterdir()] == seen
            (folder / "sm90.timing").write_text("timings")


def test_timings_that_another_build_is_writing_are_left_alone(cache, tmp_path):
    cache.build(FACTS, make)
    with cache.timings({"gpu": "H100"}, tmp_path) as folder:
        (folder / "sm90.timing").write_text("timings")
    (shared,) = cache.folder.glob("timings-*")
    (shared / ".sm90.timing.x7y").write_text("tim")
    with cache.timings({"gpu": "H100"}, tmp_path) as folder:
        assert [file.name for file in folder.iterdir()] == ["sm90.timing"]


def test_a_folder_that_somebody_made_meanwhile_is_refused(cache):
    cache.folder.mkdir()
    cache.folder.chmod(0o777)
    with pytest.raises(ProviderError, match="can be written to by others"):
        cache.build(FACTS, make)


@pytest.mark.parametrize("bits", [stat.S_IWOTH, stat.S_IWGRP])
def test_a_folder_that_others_can_write_to_is_refused(bits, tmp_path):
    folder = tmp_path / "engines"
    folder.mkdir()
    folder.chmod(0o755 | bits)
    with pytest.raises(ProviderError, match=r"engines can be written to by others.*chmod go-w"):
        EngineCache(folder)
    folder.chmod(0o755)
    EngineCache(folder)


def test_so_is_one_that_others_can_replace(tmp_path):
    above = tmp_path / "shared"
    (above / "engines").mkdir(parents=True)
    above.chmod(0o777)
    with pytest.raises(ProviderError, match="shared can be written to by others"):
        EngineCache(above / "engines")
    above.chmod(0o1777)  # with the sticky bit, as /tmp has, they cannot
    EngineCache(above / "engines")


def test_so_is_one_behind_a_link(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "link").symlink_to(tmp_path / "open")
    with pytest.raises(ProviderError, match="open can be written to by others"):
        EngineCache(tmp_path / "link")


def test_so_is_an_engine_that_others_can_write_to(cache):
    built = cache.build(FACTS, make)
    (built.folder / "one.engine").chmod(0o666)
    with pytest.raises(ProviderError, match=r"one\.engine can be written to by others"):
        cache.find(FACTS)


def test_so_is_the_folder_of_another_user(cache, monkeypatch):
    cache.build(FACTS, make)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    if cache.folder.stat().st_uid == 0:
        assert cache.find(FACTS)  # root's engines are for everybody
        return
    with pytest.raises(ProviderError, match="belongs to another user"):
        cache.find(FACTS)


def test_so_is_one_in_the_folder_of_another_user(tmp_path, monkeypatch):
    real = Path.stat

    def theirs(path, **options):
        status = real(path, **options)
        if path != tmp_path / "theirs":
            return status
        return os.stat_result((*status[:4], 4711, *status[5:10]))

    (tmp_path / "theirs" / "engines").mkdir(parents=True)
    monkeypatch.setattr(Path, "stat", theirs)
    with pytest.raises(ProviderError, match=r"theirs belongs to another user.*code; choose an"):
        EngineCache(tmp_path / "theirs" / "engines")


def test_what_is_built_can_be_written_to_by_nobody_else(cache):
    before = os.umask(0)
    try:
        built = cache.build(FACTS, make)
    finally:
        os.umask(before)
    for path in (cache.folder, built.folder, *built.folder.iterdir()):
        assert not path.stat().st_mode & 0o022, path


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    cache = EngineCache(tmp_path / "file" / "engines")
    with pytest.raises(ProviderError, match=r"engines cannot be kept in .*Not a directory"):
        cache.build(FACTS, make)


def test_an_engine_can_be_removed(cache):
    built = cache.build(FACTS, make)
    cache.remove(built)
    assert cache.engines() == []
    # The lock stays: unlinked, it would keep out nobody who comes after one that waits for it.
    assert [path.name[0] for path in cache.folder.iterdir()] == ["."]


def test_the_users_cache_folder_is_the_default(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_folder() == Path("/somewhere/blurvote/engines")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_folder() == Path("/home/me/.cache/blurvote/engines")
