"""What a guard file says about itself: its ONNX metadata, read and written in one place."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from blurvote.runtime.defense import Defense
from blurvote.runtime.errors import DefenseError, GuardError

__all__ = ["DenoiserEntry", "GuardMetadata", "Precision"]

PREFIX = "blurvote."

Precision = Literal["fp32", "fp16", "int8"]


@dataclass(frozen=True)
class DenoiserEntry:
    """The denoiser of a guard whose noisy frames have views of their own.

    Attributes:
        name: what the denoiser is called, in reports.
        sha256: of the denoiser's own file that it was made of; 64 lower-case hex digits.
        onnx: of a `views` guard, the bytes of an ONNX model with the input `noisy`
            `(B, 4, h, w)` float32 (the normalised clean view and the noise level on the backbone's
            grid, constant per image, in [0, 1] RGB units) and the output `views`
            `(B, K, 3, h, w)` float32 (normalised, one for each of `Defense.denoised_kinds`).
            Empty for a `frames` guard, whose own graph denoises.
    """

    name: str
    sha256: str
    onnx: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class GuardMetadata:
    """The `blurvote.*` entries of a guard's ONNX metadata, each a JSON text.

    Attributes:
        kind: `"views"` (input: normalised views) or `"frames"` (input: uint8 frames).
        defense: the defence that the guard was exported with.
        labels: class names in index order; empty where the model has none.
        frame_size: `(height, width)` in pixels that a `frames` guard is built for; None for a
            `views` guard and for a `frames` guard of dynamic size.
        provenance: where the backbone comes from: source, its SHA-256, tool versions, time.
        parity: the report of the comparison that let the file be written; of a guard of lower
            precision, that of the fp32 guard it was made of.
        precision: what the backbone's weights and activations are kept in.
        precision_report: what a precision below fp32 cost, and the settings that it was made with;
            empty for fp32.
        denoiser: what denoises the views of noisy frames; None unless `defense.adaptive`.
    """

    kind: Literal["views", "frames"]
    defense: Defense
    labels: tuple[str, ...] = ()
    frame_size: tuple[int, int] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    parity: Mapping[str, Any] = field(default_factory=dict)
    precision: Precision = "fp32"
    precision_report: Mapping[str, Any] = field(default_factory=dict)
    denoiser: DenoiserEntry | None = None

    def to_map(self) -> dict[str, str]:
        """The entries to store, key to JSON text (see `from_map`)."""
        entries = {
            PREFIX + "kind": json.dumps(self.kind),
            PREFIX + "defense": self.defense.to_json(),
            PREFIX + "labels": json.dumps(list(self.labels), ensure_ascii=False),
            PREFIX + "frame_size": json.dumps(self.frame_size),
            PREFIX + "provenance": json.dumps(dict(self.provenance)),
            PREFIX + "parity": json.dumps(dict(self.parity)),
        }
        if self.precision != "fp32":  # absent from the guards of earlier versions, which are fp32
            entries[PREFIX + "precision"] = json.dumps(
                {"name": self.precision, "report": dict(self.precision_report)}
            )
        if self.denoiser is not None:
            entry = {"name": self.denoiser.name, "sha256": self.denoiser.sha256}
            entry["onnx"] = base64.b64encode(self.denoiser.onnx).decode("ascii")
            entries[PREFIX + "denoiser"] = json.dumps(entry)
        return entries

    @classmethod
    def from_map(cls, entries: Mapping[str, str], origin: str) -> GuardMetadata:
        """The metadata that `to_map` wrote; `origin` names the file in errors.

        Raises:
            GuardError: an entry is missing or is not what `to_map` writes.
        """
        if PREFIX + "defense" not in entries:
            raise GuardError(
                f"{origin} is not a guard: its ONNX metadata has no {PREFIX}defense entry. "
                f"Turn the model into a guard first: blurvote export {origin} -o guard.onnx"
            )
        try:
            texts = {**_ABSENT, **entries}
            values = {name: json.loads(texts[PREFIX + name]) for name in _ENTRIES}
            defense = Defense.from_json(entries[PREFIX + "defense"])
        except KeyError as error:
            raise GuardError(
                f"{origin} has no {error.args[0]} entry in its guard metadata; export it again"
            ) from error
        except DefenseError as error:
            raise GuardError(f"{origin} has a broken defence: {error}") from error
        except ValueError as error:
            raise GuardError(
                f"{origin} has broken guard metadata ({error}); export it again"
            ) from error
        for name, (is_right, _) in _ENTRIES.items():
            if not is_right(values[name]):
                raise _wrong(origin, name, values[name])
        try:
            denoiser = _denoiser(values["denoiser"])
        except ValueError as error:  # told apart by decoding alone, which megabytes take once
            raise _wrong(origin, "denoiser", values["denoiser"]) from error
        if defense.adaptive and values["kind"] == "views" and not (denoiser and denoiser.onnx):
            raise GuardError(
                f"{origin} has views of noisy frames ({', '.join(defense.noisy_views)}) and no "
                f"denoiser in its {PREFIX}denoiser entry; export it again with --denoiser"
            )
        size = values["frame_size"]
        return cls(
            kind=values["kind"],
            defense=defense,
            labels=tuple(values["labels"]),
            frame_size=None if size is None else (size[0], size[1]),
            provenance=values["provenance"],
            parity=values["parity"],
            precision=values["precision"]["name"],
            precision_report=values["precision"].get("report", {}),
            denoiser=denoiser,
        )


def _wrong(origin: str, name: str, value: Any) -> GuardError:
    return GuardError(
        f"{origin} has {PREFIX}{name} = {_short(value)} in its guard metadata; "
        f"expected {_ENTRIES[name][1]}. Export it again"
    )


def _denoiser(value: dict[str, str] | None) -> DenoiserEntry | None:
    """Raises ValueError where the bytes are not base64."""
    if value is None:
        return None
    onnx = base64.b64decode(value["onnx"], validate=True)
    return DenoiserEntry(value["name"], value["sha256"], onnx)


def _short(value: Any) -> str:
    """For a message: a denoiser's bytes would fill megabytes."""
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:297]}..."


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_size(value: Any) -> bool:
    if value is None:
        return True
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(type(side) is int and side > 0 for side in value)
    )


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_precision(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.get("name") in ("fp32", "fp16", "int8")
        and isinstance(value.get("report", {}), dict)
    )


def _is_denoiser(value: Any) -> bool:
    if value is None:
        return True
    if not isinstance(value, dict):
        return False
    texts = [value.get(name) for name in ("name", "sha256", "onnx")]
    if not all(isinstance(text, str) for text in texts):
        return False
    return re.fullmatch("[0-9a-f]{64}", value["sha256"]) is not None


# What guards of earlier versions, and those without the thing, leave out.
_ABSENT = {PREFIX + "precision": '{"name": "fp32"}', PREFIX + "denoiser": "null"}

_ENTRIES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "kind": (lambda value: value in ("views", "frames"), "'views' or 'frames'"),
    "labels": (_is_names, "a list of texts"),
    "frame_size": (_is_size, "[height, width] in pixels, or null"),
    "provenance": (_is_object, "an object"),
    "parity": (_is_object, "an object"),
    "precision": (_is_precision, "an object whose name is fp32, fp16 or int8"),
    "denoiser": (_is_denoiser, "an object of name, sha256 (64 hex digits) and onnx (base64)"),
}
