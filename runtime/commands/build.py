"""`blurvote build`: prepares a guard for engines that are built for the machine they run on."""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blurvote.runtime.command import Command
from blurvote.runtime.engines.arguments import option

if TYPE_CHECKING:
    from blurvote.runtime.engines.engine_cache import BuiltEngine, EngineCache
    from blurvote.runtime.engines.protocol import EngineSettings, OptionValue

__all__ = ["COMMAND"]

_LOOK_S = 0.5
_QUIET_S = 30.0  # between two lines where there is no terminal
_FOLDER_OPTIONS = {"tensorrt": "cache_dir", "openvino": "CACHE_DIR"}


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("guard", nargs="?", help="guard file, written by blurvote export")
    parser.add_argument("--provider", choices=sorted(_FOLDER_OPTIONS), default="tensorrt")
    parser.add_argument(
        "--compute",
        choices=("fp32", "tf32", "bf16", "fp16"),
        default="fp32",
        help="as the guard will be run with (default: fp32)",
    )
    parser.add_argument(
        "--option",
        dest="options",
        action="append",
        default=[],
        type=option,
        metavar="NAME=VALUE",
        help="a setting of the provider, as the guard will be run with; may be given again",
    )
    parser.add_argument(
        "--cache-dir",
        metavar="FOLDER",
        help="where engines are kept (default for tensorrt: blurvote/engines in the user's cache)",
    )
    parser.add_argument(
        "--ep-context",
        metavar="FILE",
        help="also write the engine as an ONNX file of its own, which is a guard for this machine; "
        "the engine of a denoiser stays in the cache, where that guard looks for it",
    )
    parser.add_argument("--list", action="store_true", help="show the TensorRT engines that exist")
    parser.add_argument(
        "--remove",
        action="append",
        default=[],
        metavar="NAME",
        help="delete an engine, by its name in --list; may be given again",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(parser=parser)


def _run(args: argparse.Namespace) -> int:
    if args.list or args.remove:
        return _manage(args)
    if args.guard is None:
        args.parser.error("the following arguments are required: guard (or --list, --remove NAME)")
    settings = _settings(args)
    result = _build(Path(args.guard), settings, sys.stderr.isatty() and not args.json)
    if args.json:
        print(json.dumps(result, indent=2))
    else:
        done = f"built in {result['seconds']:.0f} s" if result["built"] else "was built already"
        took = f"{result['trial_ms']:.2f} ms"
        if result["denoiser_trial_ms"] is not None:
            took += f", and one of its denoiser {result['denoiser_trial_ms']:.2f} ms"
        print(f"{args.guard}: {done}; a trial run took {took}")
        if args.ep_context:
            there = f"{args.ep_context}: a guard for this machine's {args.provider}"
            if result["denoiser_trial_ms"] is not None:
                there += f", with the engine of its denoiser in {_folder(settings)}"
            print(there)
    return 0


def _settings(args: argparse.Namespace) -> EngineSettings:
    from blurvote.runtime.engines.protocol import EngineSettings
    from blurvote.runtime.errors import ProviderError

    options: dict[str, OptionValue] = dict(args.options)
    if args.cache_dir:
        options[_FOLDER_OPTIONS[args.provider]] = args.cache_dir
    if args.provider == "tensorrt":
        options["build"] = True
        if args.ep_context:
            options["ep_context"] = args.ep_context
    elif args.ep_context:
        raise ProviderError("--ep-context is for --provider tensorrt")
    elif "CACHE_DIR" not in options:
        raise ProviderError(
            "openvino keeps compiled models only where it is told to; give --cache-dir FOLDER, and "
            "run the guard with the option CACHE_DIR=FOLDER"
        )
    return EngineSettings(args.provider, args.compute, options=options)


def _build(path: Path, settings: EngineSettings, terminal: bool) -> dict[str, Any]:
    """Opens the engines, which builds them, while this thread says how it goes."""
    from blurvote.runtime.denoising import open_denoiser_engine
    from blurvote.runtime.engines.onnx_metadata import read_metadata
    from blurvote.runtime.engines.registry import open_engine
    from blurvote.runtime.metadata import GuardMetadata

    metadata = GuardMetadata.from_map(read_metadata(path), str(path))
    result: dict[str, Any] = {"guard": str(path), "provider": settings.provider}
    result["denoiser_trial_ms"] = None
    failures: list[BaseException] = []

    def work() -> None:
        try:
            engine = open_engine(path, settings)
            result["trial_ms"] = _trial(engine, *_grey_batch(metadata))
            result["options"] = engine.provider_options
            engine.close()
            denoiser = open_denoiser_engine(path, metadata, settings, settings.provider)
            if denoiser is not None:
                size = (1, 4, *metadata.defense.crop)
                result["denoiser_trial_ms"] = _trial(denoiser, size, "float32")
                denoiser.close()
        except BaseException as error:  # raised again below, in the thread that is waited for
            failures.append(error)

    folder = _folder(settings)
    before = _entries(folder)
    started = time.monotonic()
    worker = threading.Thread(target=work, name="blurvote-build", daemon=True)
    worker.start()
    _show_progress(worker, path, terminal)
    if failures:
        raise failures[0]
    result["seconds"] = time.monotonic() - started
    result["built"] = _entries(folder) != before
    return result


def _folder(settings: EngineSettings) -> Path:
    """Where the provider keeps what it builds."""
    from blurvote.runtime.engines.engine_cache import default_folder

    given = settings.options.get(_FOLDER_OPTIONS[settings.provider])
    if not given:
        return default_folder()
    return Path(str(given)).expanduser() if settings.provider == "tensorrt" else Path(str(given))


def _entries(folder: Path) -> set[tuple[str, int]]:
    """Names and times, for an engine that was damaged is built anew under its name."""
    there = folder.iterdir() if folder.is_dir() else ()
    return {(path.name, path.stat().st_mtime_ns) for path in there if path.name[0] != "."}


def _grey_batch(metadata: Any) -> tuple[tuple[int, ...], str, int]:
    """Shape, dtype and value of one grey frame, or of one view of it, as the guard takes it."""
    if metadata.kind == "views":
        return (1, 3, *metadata.defense.crop), "float32", 0
    return (1, *(metadata.frame_size or (480, 640)), 3), "uint8", 127


def _trial(engine: Any, shape: tuple[int, ...], dtype: str, value: int = 0) -> float:
    """Milliseconds of the second of two runs on a batch of one."""
    import numpy as np

    batch = np.full(shape, value, dtype)
    engine.run(batch)
    started = time.perf_counter()
    engine.run(batch)
    return (time.perf_counter() - started) * 1e3


def _show_progress(worker: threading.Thread, path: Path, terminal: bool) -> None:
    """How long it has taken: how long it will, neither TensorRT nor anyone else can tell."""
    started = said = time.monotonic()
    while worker.is_alive():
        worker.join(_LOOK_S)
        now = time.monotonic()
        minutes, seconds = divmod(int(now - started), 60)
        if terminal:
            print(f"\r\033[K[{minutes}:{seconds:02d}] building {path}", end="", file=sys.stderr)
            sys.stderr.flush()
        elif now - said >= _QUIET_S:
            said = now
            print(f"[{minutes}:{seconds:02d}] still building {path}", file=sys.stderr, flush=True)
    if terminal:
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def _manage(args: argparse.Namespace) -> int:
    from blurvote.runtime.engines.engine_cache import EngineCache, default_folder
    from blurvote.runtime.errors import ProviderError

    cache = EngineCache(Path(args.cache_dir) if args.cache_dir else default_folder())
    there = {built.folder.name: built for built in cache.engines()}
    for name in args.remove:
        if name not in there:
            raise ProviderError(f"there is no engine {name!r} in {cache.folder}; see --list")
        cache.remove(there.pop(name))
    if args.json:
        print(json.dumps([_plain(built) for built in there.values()], indent=2))
    elif args.list:
        print("\n".join(_lines(cache, list(there.values()))))
    return 0


def _plain(built: BuiltEngine) -> dict[str, Any]:
    return {
        "name": built.folder.name,
        "folder": str(built.folder),
        "megabytes": built.megabytes,
        "seconds": built.seconds,
        "built_at": built.built_at,
        **built.facts,
    }


def _lines(cache: EngineCache, engines: list[BuiltEngine]) -> list[str]:
    if not engines:
        return [f"no engines in {cache.folder}"]
    lines = [f"{cache.folder}:"]
    for built in engines:
        facts = built.facts
        lines.append(
            f"  {built.folder.name}  {facts['file']}, {facts['compute']}, {facts['gpu']}, TensorRT "
            f"{facts['tensorrt']}, onnxruntime {facts['onnxruntime']}: {built.megabytes:.1f} MB, "
            f"built {built.built_at} in {built.seconds:.0f} s"
        )
    return lines


COMMAND = Command(
    name="build",
    help="prebuild a guard's engine for this machine (TensorRT, OpenVINO)",
    description="Builds the engine that a provider makes for this machine, so that loading the "
    "guard does not take minutes. Run it with the provider, compute and options that the guard "
    "will be run with. Exit status: 0 built or there already, 2 error, 130 Ctrl-C.",
    examples="""
blurvote build guard.onnx --provider tensorrt
blurvote build guard.onnx --provider tensorrt --compute fp16 --option max_frames=4
blurvote build guard.onnx --provider tensorrt --ep-context guard_here.onnx
blurvote build guard.onnx --provider openvino --cache-dir /var/cache/blurvote
blurvote build --list
""",
    configure=_configure,
    run=_run,
)
