"""From a classifier to a guard: one ONNX file with the classifier, its defence and its labels.

::

    from blurvote.export import export_guard

    report = export_guard("model.onnx", "guard.onnx")
    print(report.parity.table())

Needs onnx; torch and torchvision only for models that are not ONNX yet. Names are imported when
they are first used, so that the command line's help works without any of the three.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from blurvote.runtime.errors import ExportError

if TYPE_CHECKING:
    from blurvote.export.calibration import CalibrationReport, calibrate
    from blurvote.export.classifier import ModelOptions
    from blurvote.export.parity import FrameParity, ParityReport
    from blurvote.export.pipeline import ExportReport, export_guard
    from blurvote.export.precision.options import PrecisionOptions

__all__ = [
    "CalibrationReport",
    "ExportReport",
    "FrameParity",
    "ModelOptions",
    "ParityReport",
    "PrecisionOptions",
    "calibrate",
    "export_guard",
]

_HOMES = {
    "CalibrationReport": "calibration",
    "ExportReport": "pipeline",
    "FrameParity": "parity",
    "ModelOptions": "classifier",
    "ParityReport": "parity",
    "PrecisionOptions": "precision.options",
    "calibrate": "calibration",
    "export_guard": "pipeline",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        importlib.import_module("onnx")
    except ImportError as error:
        raise ExportError(
            f"blurvote.export needs onnx, which cannot be imported ({error}); pip install onnx"
        ) from error
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value  # also in place of a submodule of the same name
    return value
