"""EPContext models: an engine inside an ONNX file, loaded in the time that it takes to read.

ONNX Runtime writes one for a provider that compiles (its TensorRT provider does). It holds no graph
that anything else could run, and is good for the GPU and the TensorRT that it was built with. It is
a guard all the same: it carries the metadata of the guard it was made of, and beside it what it was
built for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blurvote.runtime.engines.onnx_metadata import append_metadata, read_metadata
from blurvote.runtime.engines.profiles import PROFILE_OPTIONS
from blurvote.runtime.errors import GuardError, ProviderError

__all__ = ["check_context", "context_facts", "context_options", "finish_context"]

_KEY = "blurvote.engine"
_MUST_AGREE = ("tensorrt", "gpu", "compute_capability")


def context_options(file: Path) -> dict[str, str]:
    """ONNX Runtime's options for writing such a file; the engine is in the file itself."""
    return {
        "trt_dump_ep_context_model": "True",
        "trt_ep_context_embed_mode": "1",
        "trt_ep_context_file_path": str(file),
    }


def finish_context(dumped: Path, guard: Path, facts: Mapping[str, Any], to: Path) -> None:
    """Makes a guard of what ONNX Runtime wrote, and moves it to its place.

    Raises:
        ProviderError: ONNX Runtime wrote nothing: a part of the graph runs elsewhere.
        OSError: the file cannot be written.
    """
    if not dumped.is_file():
        raise ProviderError(
            f"ONNX Runtime wrote no EPContext model of {guard}: not all of its graph runs on "
            "TensorRT; leave out --ep-context, and use the engine cache"
        )
    append_metadata(dumped, {**read_metadata(guard), _KEY: json.dumps(facts)})
    dumped.replace(to)


def context_facts(metadata: Mapping[str, str], path: Path) -> dict[str, Any] | None:
    """What an EPContext model was built for; None for a guard with a graph.

    Raises:
        GuardError: the entry is broken.
    """
    if _KEY not in metadata:
        return None
    try:
        facts: dict[str, Any] = json.loads(metadata[_KEY])
        if not facts["options"].keys() >= set(PROFILE_OPTIONS):
            raise ValueError("it lacks the shapes")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise GuardError(f"{path} has a broken {_KEY} entry ({error}); build it again") from error
    return facts


def check_context(built: Mapping[str, Any], here: Mapping[str, Any], path: Path) -> None:
    """Refuses an EPContext model that was built for another machine or another arithmetic.

    Raises:
        ProviderError: it was.
    """
    if built.get("compute") != here["compute"]:
        raise ProviderError(
            f"{path} holds an engine that computes in {built.get('compute')}, and compute is "
            f"{here['compute']!r}; load it with compute={built.get('compute')!r}"
        )
    for name in _MUST_AGREE:
        if built.get(name) != here[name]:
            raise ProviderError(
                f"{path} holds an engine for {name.replace('_', ' ')} {built.get(name)!r}; here it "
                f"is {here[name]!r}. Make it anew from the guard: blurvote build GUARD --provider "
                f"tensorrt --ep-context {path}"
            )
