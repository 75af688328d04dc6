"""Where engines that were built for this machine are kept, so that none is built twice.

An engine is machine code that will be run as whoever loads it, so a place that others can write to
is refused. It is good for one guard, one GPU, one TensorRT and one set of options, which its key
holds; it appears whole or not at all.

::

    blurvote/engines/                the user's cache folder, or the option cache_dir
        3f9c1e7a2b6d-0a1b2c3d4e5f/   guard and key, of their SHA-256
            engine.json              what it is, and the files that belong to it
            ...                      what ONNX Runtime wrote
        timings-9d8c7b6a5f4e/        what TensorRT learned about kernels, for any guard's next build
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blurvote.runtime.errors import ProviderError
from blurvote.runtime.whole_file import write_whole

__all__ = ["BuiltEngine", "EngineCache", "default_folder"]

SCHEMA = 1
_MANIFEST = "engine.json"
_MODE = 0o755
_FILE_MODE = 0o644


def default_folder() -> Path:
    """`blurvote/engines` in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    return Path(cache) / "blurvote" / "engines"


@dataclass(frozen=True)
class BuiltEngine:
    """One engine in the cache.

    Attributes:
        folder: where it is.
        facts: what it was built of and for: its key, as plain values.
        files: names and sizes in bytes of what ONNX Runtime wrote.
        seconds: how long the build took.
        built_at: ISO 8601, UTC.
    """

    folder: Path
    facts: Mapping[str, Any]
    files: Mapping[str, int]
    seconds: float
    built_at: str

    @property
    def megabytes(self) -> float:
        """Of all its files."""
        return sum(self.files.values()) / 1e6


class EngineCache:
    """The engines below one folder.

    Args:
        folder: need not exist yet.

    Raises:
        ProviderError: others can write there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().absolute()
        _refuse_open(self.folder)

    def place(self, facts: Mapping[str, Any]) -> Path:
        """The folder of the engine with these facts, of which `guard` is the file's SHA-256."""
        return self.folder / f"{facts['guard'][:12]}-{_digest(facts)}"

    def find(self, facts: Mapping[str, Any]) -> BuiltEngine | None:
        """The engine with exactly these facts; None where there is none, or it is damaged.

        Raises:
            ProviderError: others can write to it.
        """
        place = self.place(facts)
        built = _read(place)
        if built is None or dict(built.facts) != _plain(facts):
            return None
        for path in (place, *(place / name for name in built.files)):
            _refuse_open(path)
        return built

    def build(self, facts: Mapping[str, Any], make: Callable[[Path], object]) -> BuiltEngine:
        """The engine with these facts, built unless another process has done so meanwhile.

        Only one process builds an engine at a time; another waits for it here.

        Args:
            facts: see `place`.
            make: builds into the empty folder that it is given, which then becomes the engine's.

        Raises:
            ProviderError: the folder cannot be written to, or `make` left nothing in it.
        """
        place = self.place(facts)
        work = self.folder / f".{place.name}.building"
        with self._locked(place.name):
            if (built := self.find(facts)) is not None:
                return built
            shutil.rmtree(work, ignore_errors=True)  # of a build that did not end
            try:
                work.mkdir(_MODE)
                started = time.monotonic()
                make(work)
                _finish(work, facts, time.monotonic() - started)
                shutil.rmtree(place, ignore_errors=True)
                work.rename(place)
            except OSError as error:
                raise self._not_kept(error) from error
            finally:
                shutil.rmtree(work, ignore_errors=True)
        built = _read(place)
        if built is None:
            raise ProviderError(f"{place} was removed while it was being built; build it again")
        return built

    @contextlib.contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """Keeps other processes from building the engine of that name."""
        try:
            self.folder.mkdir(_MODE, parents=True, exist_ok=True)
            _refuse_open(self.folder)  # somebody may have made it since
            lock = os.open(self.folder / f".{name}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        except OSError as error:
            raise self._not_kept(error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel gives it back even if we are killed
            yield
        finally:
            os.close(lock)

    def _not_kept(self, error: OSError) -> ProviderError:
        return ProviderError(
            f"engines cannot be kept in {self.folder}: {error.strerror}; the option cache_dir or "
            "XDG_CACHE_HOME names another folder"
        )

    @contextlib.contextmanager
    def timings(self, facts: Mapping[str, Any], work: Path) -> Iterator[Path]:
        """A folder below `work` with the timings of earlier builds, taken back at the end."""
        shared = self.folder / f"timings-{_digest(facts)}"
        own = work / "timings"
        own.mkdir(_MODE)
        if shared.is_dir():
            _refuse_open(shared)
            for file in shared.glob("[!.]*"):  # not what another build is writing just now
                _refuse_open(file)
                shutil.copy(file, own)
        yield own
        shared.mkdir(_MODE, exist_ok=True)
        for file in own.iterdir():
            write_whole(shared / file.name, file.read_bytes(), _FILE_MODE)
        shutil.rmtree(own)

    def engines(self) -> list[BuiltEngine]:
        """All engines, in the order of their folders' names."""
        places = sorted(self.folder.iterdir()) if self.folder.is_dir() else []
        return [built for place in places if (built := _read(place)) is not None]

    def remove(self, built: BuiltEngine) -> None:
        """Deletes an engine.

        Raises:
            OSError: it cannot be deleted.
        """
        shutil.rmtree(built.folder)  # not its lock, for which another process may be waiting


def _finish(work: Path, facts: Mapping[str, Any], seconds: float) -> None:
    files = {file.name: file.stat().st_size for file in sorted(work.iterdir()) if file.is_file()}
    if not files:
        raise ProviderError(
            "the build ended without an engine: no part of the guard runs on this provider"
        )
    for name in files:
        (work / name).chmod(_FILE_MODE)
    manifest = {
        "schema_version": SCHEMA,
        "facts": facts,
        "files": files,
        "seconds": round(seconds, 1),
        "built_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    write_whole(work / _MANIFEST, json.dumps(manifest, indent=1) + "\n", _FILE_MODE)


def _read(place: Path) -> BuiltEngine | None:
    """What is in a folder, if that is a whole engine of this version of the format."""
    try:
        values = json.loads((place / _MANIFEST).read_text())
        if values.pop("schema_version") != SCHEMA:
            return None
        built = BuiltEngine(place, **values)
        whole = all((place / name).stat().st_size == size for name, size in built.files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return built if whole else None


def _digest(facts: Mapping[str, Any]) -> str:
    text = json.dumps({"schema_version": SCHEMA, **facts}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """As they come back from a file."""
    plain: dict[str, Any] = json.loads(json.dumps(facts))
    return plain


def _refuse_open(path: Path) -> None:
    """Refuses what others could have put there: it is run as code.

    The path itself must belong to this user or root and be writable by nobody else; nobody else
    may be able to put another in its place either, which of the folders above it means an owner
    or write access for all without the sticky bit (write access of a group is common there and
    left to the administrator).
    """
    real = path.resolve()
    for place in (real, *real.parents):
        try:
            status = place.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue  # its parent decides who may create it
        except OSError as error:
            raise ProviderError(f"{place} cannot be checked: {error.strerror}") from error
        foreign = status.st_uid not in (os.geteuid(), 0)
        writable = stat.S_IWOTH | (stat.S_IWGRP if place == real else 0)
        sticky = status.st_mode & stat.S_ISVTX and place != real
        if foreign or (status.st_mode & writable and not sticky):
            why = "belongs to another user" if foreign else "can be written to by others"
            remedy = "" if foreign else f"chmod go-w {place}, or "
            raise ProviderError(
                f"{place} {why}, and the engines in {path} would be run as code; "
                f"{remedy}choose another folder with the option cache_dir"
            )
