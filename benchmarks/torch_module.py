"""The guard's own backbone as a torch module, so that weights and outputs are the same."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from blurvote.benchmarks import onnx2torch_gaps
from blurvote.benchmarks.folded import fold
from blurvote.benchmarks.optional import require
from blurvote.runtime.errors import ProviderError

__all__ = ["torch_module"]


def torch_module(path: Path, shape: tuple[int, int, int, int]) -> Any:
    """A `torch.nn.Module` in evaluation mode: float32 views of `shape` to logits.

    Raises:
        ProviderError: a package is missing, or onnx2torch cannot convert the model.
    """
    torch, onnx, onnx2torch = require(
        "a guard as a torch module", ("torch", "onnx", "onnx2torch"), "torch onnx onnx2torch"
    )
    onnx2torch_gaps.register()
    with tempfile.TemporaryDirectory() as folder:
        model = onnx.load(str(fold(path, shape[0], Path(folder) / "folded.onnx")))
    try:
        module = onnx2torch.convert(onnx2torch_gaps.without_allowzero(model))
        module = _relu_in_place(module.eval())
        with torch.inference_mode():
            module(torch.zeros(shape))
    except Exception as error:  # converters raise whatever they like
        text = " ".join(str(error).split())[:300]
        raise ProviderError(
            f"{path} cannot be turned into a torch module: onnx2torch {type(error).__name__}: "
            f"{text}. It takes a float model of operators that onnx2torch knows"
        ) from error
    return module


def _relu_in_place(module: Any) -> Any:
    """ReLUs overwrite their input where nothing else reads it, as torchvision's own models do.

    Without it torch allocates anew for each, and the page faults take up to a third of the time.
    """
    import torch

    # Their output is fresh memory: no view of the input or of what another operator reads.
    fresh = ("Conv2d", "Sequential", "Linear", "BatchNorm2d", "OnnxBinaryMathOperation")
    calls = {node: module.get_submodule(node.target) for node in module.graph.nodes if _calls(node)}
    for node, operator in calls.items():
        if isinstance(operator, (torch.nn.ReLU, torch.nn.ReLU6)):
            source = node.args[0]
            if len(source.users) == 1 and type(calls.get(source)).__name__ in fresh:
                operator.inplace = True
    return module


def _calls(node: Any) -> bool:
    return bool(node.op == "call_module")
