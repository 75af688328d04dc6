"""Guarded inference at the edge: frames in, verdicts out.

::

    from blurvote.runtime import Guard

    guard = Guard("guard.onnx")
    verdict = guard.classify(frame)          # (H, W, 3) uint8
    print(verdict.name if verdict.accepted else verdict.reason)

Needs numpy, OpenCV and one of the onnxruntime wheels; never torch or onnx.
"""

from blurvote.runtime.defense import Defense
from blurvote.runtime.errors import (
    BlurvoteError,
    DefenseError,
    EngineNotBuiltError,
    ExportError,
    FrameError,
    GuardError,
    ParityError,
    PlanError,
    PrecisionError,
    ProviderError,
    SettingsError,
    SinkError,
    SourceError,
    StreamLostError,
)
from blurvote.runtime.frame import Frame
from blurvote.runtime.guard import Guard
from blurvote.runtime.metadata import GuardMetadata
from blurvote.runtime.verdict import StageTimes, Verdict
from blurvote.runtime.views import ViewBuilder
from blurvote.runtime.vote import Votes, majority_vote

__all__ = [
    "BlurvoteError",
    "Defense",
    "DefenseError",
    "EngineNotBuiltError",
    "ExportError",
    "Frame",
    "FrameError",
    "Guard",
    "GuardError",
    "GuardMetadata",
    "ParityError",
    "PlanError",
    "PrecisionError",
    "ProviderError",
    "SettingsError",
    "SinkError",
    "SourceError",
    "StageTimes",
    "StreamLostError",
    "Verdict",
    "ViewBuilder",
    "Votes",
    "majority_vote",
]
