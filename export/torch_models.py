"""Classifiers that torch builds: torchvision's, and those of any factory function.

The only module of `blurvote.export` that imports torch, and only when it is asked for a model.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import importlib
import io
import logging
import sys
import urllib.error
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from blurvote.export.classifier import Classifier, Reference
from blurvote.runtime.errors import ExportError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

__all__ = ["OPSET", "load_factory", "load_torchvision"]

OPSET = 18


def load_torchvision(name: str, weights: str, crop: tuple[int, int] | None) -> Classifier:
    """A classifier of `torchvision.models`, with the preprocessing of its weights.

    Args:
        name: such as `"resnet50"`.
        weights: `"default"` (downloaded when not cached), `"none"` (random: for latency work), or
            the path of a state dict.
        crop: `(height, width)` of the views that it is to take; None takes the weights' own.

    Raises:
        ExportError: torchvision is missing or has no such classifier, or the weights cannot be
            had or do not fit.
    """
    models = _import("torchvision").models
    names = models.list_models(module=models)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3) or ["resnet50", "mobilenet_v2"]
        raise ExportError(
            f"torchvision has no classifier called {name!r}. Did you mean {', '.join(near)}?"
        )
    default = models.get_model_weights(name).DEFAULT
    if weights == "default":
        module = _download(models, name, default)
    else:
        module = models.get_model(name, weights=None, **_inception_options(name))
        if weights != "none":
            _load_state(module, Path(weights), name)
    preprocessing = _preprocessing(default.transforms())
    if crop is not None:
        preprocessing["crop"] = crop
    stated = {"default": str(default), "none": "none (random)"}.get(weights, Path(weights).name)
    provenance = {"source": f"torchvision:{name}", "weights": stated}
    # The names of the default weights' classes hold for any weights that fit the same head.
    labels = tuple(default.meta.get("categories", ()))
    return _convert(module, f"torchvision:{name}", provenance, preprocessing, labels)


def load_factory(target: str, crop: tuple[int, int]) -> Classifier:
    """The classifier that `package.module:factory` returns; the working folder is importable.

    Args:
        target: a callable without arguments that returns a `torch.nn.Module`, whose attribute
            `classes`, when present, names the classes.
        crop: `(height, width)` of the views that it takes, in pixels.

    Raises:
        ExportError: the factory cannot be imported or called, or returns something else.
    """
    torch = _import("torch")
    module_name, _, attribute = target.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        factory: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            factory = getattr(factory, part)
    except (ImportError, AttributeError) as error:
        raise ExportError(
            f"cannot import {target}: {error}. Expected package.module:factory, importable from "
            f"{Path.cwd()} or installed"
        ) from error
    try:
        module = factory()
    except Exception as error:
        raise ExportError(f"{target}() failed: {type(error).__name__}: {error}") from error
    if not isinstance(module, torch.nn.Module):
        raise ExportError(
            f"{target}() returned {type(module).__qualname__}; expected a torch.nn.Module"
        )
    return load_module(module, target, crop)


def load_module(module: Any, origin: str, crop: tuple[int, int]) -> Classifier:
    """The classifier that a `torch.nn.Module` is; its attribute `classes` may name the classes.

    Args:
        module: `(N, 3, *crop)` float32 views to `(N, C)` logits.
        origin: how to call it in messages and in the guard's provenance.
        crop: `(height, width)` of the views that it takes, in pixels.

    Raises:
        ExportError: it is no module, or cannot be converted.
    """
    if not isinstance(module, _import("torch").nn.Module):
        raise ExportError(
            f"the model is of type {type(module).__qualname__}; expected a torch.nn.Module, or the "
            "name of a model"
        )
    labels = tuple(str(label) for label in getattr(module, "classes", ()))
    return _convert(module, origin, {"source": origin}, {"crop": crop}, labels)


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ExportError(
            f"this model needs {name}, which cannot be imported ({error}). Install it: "
            "pip install torch torchvision onnxscript. ONNX models do not need it"
        ) from error


def _inception_options(name: str) -> dict[str, Any]:
    """Options that keep torchvision's constructors from warning about their own defaults."""
    return {"init_weights": True} if name in ("googlenet", "inception_v3") else {}


def _download(models: Any, name: str, weights: Any) -> torch.nn.Module:
    try:
        module: torch.nn.Module = models.get_model(name, weights=weights, progress=False)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise ExportError(
            f"cannot download the weights of torchvision:{name} from {weights.url} ({error}). "
            "Without a network, name a local file: --weights FILE.pth, or --weights none for "
            "random weights"
        ) from error
    return module


def _load_state(module: torch.nn.Module, path: Path, name: str) -> None:
    torch = _import("torch")
    if not path.is_file():
        raise ExportError(
            f"there is no weights file at {path}; --weights is a path, 'default' or 'none'"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
            state = state["state_dict"]
        module.load_state_dict(state)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ExportError(f"{path} does not fit torchvision:{name}: {reason[:300]}") from error


def _preprocessing(transforms: Any) -> dict[str, Any]:
    """`Defense` fields from a torchvision preset."""
    interpolation = transforms.interpolation.value
    if interpolation not in ("bilinear", "bicubic"):
        raise ExportError(
            f"the model's own preprocessing resizes by {interpolation!r} interpolation; a defence "
            "can do bilinear and bicubic: choose one with --interpolation"
        )
    return {
        "resize": int(transforms.resize_size[0]),
        "crop": int(transforms.crop_size[0]),
        "interpolation": interpolation,
        "antialias": transforms.antialias is not False,
        "mean": tuple(float(value) for value in transforms.mean),
        "std": tuple(float(value) for value in transforms.std),
    }


def _convert(
    module: torch.nn.Module,
    origin: str,
    provenance: dict[str, Any],
    preprocessing: dict[str, Any],
    labels: tuple[str, ...],
) -> Classifier:
    torch = _import("torch")
    _import("onnxscript")
    module = module.eval().cpu().float()
    crop = preprocessing["crop"]
    height, width = (crop, crop) if isinstance(crop, int) else crop
    example = torch.zeros(2, 3, height, width)
    with torch.inference_mode():
        try:
            result = module(example)
        except Exception as error:
            raise ExportError(
                f"{origin} cannot classify views of {width}x{height} px: "
                f"{type(error).__name__}: {error}. Choose another size with --crop"
            ) from error
    if not isinstance(result, torch.Tensor):
        raise ExportError(
            f"{origin} returns {type(result).__qualname__}; expected one tensor (N, C) of logits"
        )
    try:
        with _quiet():
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                opset_version=OPSET,
                input_names=["views"],
                output_names=["logits"],
                verbose=False,
            )
        assert program is not None
        proto: onnx.ModelProto = program.model_proto
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise ExportError(
            f"torch cannot turn {origin} into ONNX: {reason[0] if reason else error!r}"
        ) from error
    provenance = {**provenance, "sha256": _hash_state(module), "torch": str(torch.__version__)}
    return Classifier(proto, origin, provenance, preprocessing, labels, _reference(module))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences the exporter: torch 2.13 warns about its own deprecated calls and logs progress."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _hash_state(module: torch.nn.Module) -> str:
    """SHA-256 over names, shapes and values of all weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _reference(module: torch.nn.Module) -> Reference:
    torch = _import("torch")

    def run(views: NDArray[np.float32]) -> NDArray[np.float64]:
        with torch.inference_mode():
            logits = module(torch.from_numpy(np.ascontiguousarray(views)))
        return np.asarray(logits.numpy(), np.float64)

    return run
