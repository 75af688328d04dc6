"""OpenCV's fastest views, OpenVINO for the rest.

In float32 and, where that runs, in bfloat16; a file with quantised operators in 8-bit integers.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from blurvote.benchmarks.folded import fold
from blurvote.benchmarks.latency.peers import views_opencv
from blurvote.benchmarks.latency.peers.needs import Progress, Skip, attempt
from blurvote.benchmarks.latency.peers.peer import FLOAT32, Floats, Peer
from blurvote.benchmarks.optional import require
from blurvote.benchmarks.robustness.deployed import has_quantised_operators
from blurvote.runtime.defense import Defense
from blurvote.runtime.engines.openvino import shared_core
from blurvote.runtime.errors import ProviderError

__all__ = ["load", "ran_in"]

# bfloat16 keeps 8 bits; integers are rounded where each library's fusions put the rounding.
_TOLERANCES = {"f32": FLOAT32, "bf16": 5e-2, "int8": 1e-1}
_RAN_AS = {"f32": ("f32",), "bf16": ("bf16",), "int8": ("i8", "u8")}  # as OpenVINO reports it
_HEAVY = {"Convolution", "FullyConnected", "MatMul"}


def load(path: Path, defense: Defense, progress: Progress, skip: Skip | None) -> list[Peer]:
    """One peer per precision.

    Raises:
        ProviderError: openvino is missing, cannot read the model, or (without `skip`) ran another
            precision than it was asked for.
    """
    require("a peer on OpenVINO", ("openvino",), "openvino")
    shape = (len(defense.passes), 3, *defense.crop)
    core = shared_core()
    peers = []
    precisions = ("int8",) if has_quantised_operators(path) else ("f32", "bf16")
    for precision in precisions:
        name = f"OpenCV fastest + OpenVINO {precision}, batch of {shape[0]}"
        progress(f"compiling {name}")

        def bring(name: str = name, precision: str = precision) -> Peer:
            return _peer(name, _compile(core, path, shape, precision), precision, defense)

        peer = attempt(name, bring, skip)
        peers += [peer] if peer else []
    return peers


def ran_in(compiled: Any) -> dict[str, int]:
    """Precision to the number of convolutions and matrix products that run in it."""
    counts: dict[str, int] = {}
    for node in compiled.get_runtime_model().get_ordered_ops():
        facts = node.get_rt_info()
        if "layerType" in facts and str(_plain(facts["layerType"])) in _HEAVY:
            precision = str(_plain(facts["runtimePrecision"]))
            counts[precision] = counts.get(precision, 0) + 1
    return counts


def _plain(value: Any) -> Any:
    return getattr(value, "value", value)


def _peer(name: str, compiled: Any, precision: str, defense: Defense) -> Peer:
    heavy = ran_in(compiled)
    ran = sum(heavy.get(kind, 0) for kind in _RAN_AS[precision])
    if not ran:
        found = ", ".join(f"{count} in {kind}" for kind, count in heavy.items()) or "none at all"
        raise ProviderError(
            f"OpenVINO was asked for {precision} but ran convolutions and matrix products "
            f"otherwise ({found}); this processor may not have {precision}, see the flag "
            "avx512_bf16 or amx_bf16 in /proc/cpuinfo"
        )
    request = compiled.create_infer_request()

    def infer(views: Floats) -> Floats:
        # Shared both ways: nothing but the logits is copied.
        return np.array(request.infer([views], share_inputs=True, share_outputs=True)[0])

    way = views_opencv.fastest(defense)
    threads = compiled.get_property("INFERENCE_NUM_THREADS")
    return Peer(
        name,
        "openvino",
        f"{way.layout}; float32 NCHW in, {ran} of {sum(heavy.values())} convolutions "
        f"and products in {precision}, latency hint",
        f"{way.threads}, OpenVINO {threads}",
        way,
        infer,
        _TOLERANCES[precision],
    )


def _compile(core: Any, path: Path, shape: tuple[int, ...], precision: str) -> Any:
    """The guard's file as it is or, where OpenVINO cannot read that, folded by ONNX Runtime."""
    try:
        return _compile_file(core, path, shape, precision)
    except RuntimeError:
        with tempfile.TemporaryDirectory() as folder:
            folded = fold(path, shape[0], Path(folder) / "folded.onnx")
            try:
                return _compile_file(core, folded, shape, precision)
            except RuntimeError as error:
                text = " ".join(str(error).split())[:300]
                raise ProviderError(f"{path} cannot be compiled by OpenVINO: {text}") from error


def _compile_file(core: Any, path: Path, shape: tuple[int, ...], precision: str) -> Any:
    model = core.read_model(str(path))
    model.reshape(list(shape))
    # What is quantised in the file runs in integers; the hint is for the rest.
    floats = "f32" if precision == "int8" else precision
    return core.compile_model(
        model, "CPU", {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": floats}
    )
