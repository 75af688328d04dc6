"""Scripted cameras, and what a pipeline says of them."""

from __future__ import annotations

from typing import Any

from blurvote.runtime.pipeline import CameraSettings, Pipeline
from blurvote.runtime.sources import register_source
from blurvote.runtime.sources.fake import Script

scripts: dict[str, Script] = {}


def camera(name: str, *opens: Any, live: bool = True, **settings: Any) -> CameraSettings:
    """A camera that plays a script, registered under its name."""
    script = Script(opens, live=live)
    register_source(name, script.open)
    scripts[name] = script
    return CameraSettings(f"{name}:", name, **settings)


def states(pipeline: Pipeline, name: str) -> list[str]:
    """The states that were told of a camera."""
    return [e.data["state"] for e in pipeline.events() if e.kind == "state" and e.camera == name]


def only(pipeline: Pipeline) -> dict[str, Any]:
    """The snapshot of the only camera."""
    (one,) = pipeline.snapshot()["cameras"]
    return one


def only_of(pipeline: Pipeline, name: str) -> dict[str, Any]:
    """The snapshot of one camera."""
    (one,) = [one for one in pipeline.snapshot()["cameras"] if one["name"] == name]
    return one
