"""The machine's matrix-product peak, measured: what no inference here can exceed by much.

ONNX Runtime's own MatMul (fp32) and MatMulInteger (uint8 x int8) are what the session uses; torch's
fp32 product is a second opinion where torch is installed. The best of them is the peak.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from blurvote.benchmarks.optional import require
from blurvote.runtime.engines.ort import import_onnxruntime

__all__ = ["products"]


def products(threads: int, side: int) -> dict[str, tuple[str, Callable[[], Any]]]:
    """Name to (`"fp32"` or `"int8"`, a call that does `2 side^3` operations).

    Raises:
        ProviderError: the onnx package, which builds the two models, is missing.
    """
    random = np.random.default_rng(0)
    a, b = random.standard_normal((2, side, side), np.float32)
    u8 = random.integers(0, 256, (side, side), dtype=np.uint8)
    # Seven bits: on processors without VNNI, products of eight would saturate.
    s8 = random.integers(-64, 64, (side, side), dtype=np.int8)
    calls = {
        "ONNX Runtime MatMul": ("fp32", _session("MatMul", a, b, threads)),
        "ONNX Runtime MatMulInteger": ("int8", _session("MatMulInteger", u8, s8, threads)),
    }
    try:
        import torch
    except ImportError:
        return calls
    first, second = torch.from_numpy(a), torch.from_numpy(b)

    def product() -> Any:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            return torch.mm(first, second)
        finally:
            torch.set_num_threads(before)

    calls["torch mm"] = ("fp32", product)
    return calls


def _session(op: str, a: Any, b: Any, threads: int) -> Callable[[], Any]:
    """A session that multiplies `a` by the constant `b`, packed once as weights are."""
    (onnx, helper, numpy_helper) = require(
        "measuring the peak", ("onnx", "onnx.helper", "onnx.numpy_helper"), "onnx"
    )
    ort = import_onnxruntime()
    kinds = {"MatMul": (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT)}
    side = len(a)
    taken, given = kinds.get(op, (onnx.TensorProto.UINT8, onnx.TensorProto.INT32))
    graph = helper.make_graph(
        [helper.make_node(op, ["a", "b"], ["product"])],
        "product",
        [helper.make_tensor_value_info("a", taken, [side, side])],
        [helper.make_tensor_value_info("product", given, [side, side])],
        [numpy_helper.from_array(b, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return partial(session.run, None, {"a": a})
