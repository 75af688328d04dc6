"""Many cameras through one guard, for weeks.

::

    from blurvote.runtime import Guard
    from blurvote.runtime.pipeline import Pipeline

    with Guard("guard.onnx") as guard:
        for seen in Pipeline(guard, ["rtsp://gate/live", "rtsp://yard/live"], ["verdicts.jsonl"]):
            print(seen.camera, seen.verdict.name, seen.verdict.age_ms)
"""

from blurvote.runtime.observation import Event, Observation
from blurvote.runtime.pipeline.alarm_options import AlarmOptions
from blurvote.runtime.pipeline.pipeline import Pipeline
from blurvote.runtime.pipeline.settings import CameraSettings, Flow, Smoothing

__all__ = [
    "AlarmOptions",
    "CameraSettings",
    "Event",
    "Flow",
    "Observation",
    "Pipeline",
    "Smoothing",
]
