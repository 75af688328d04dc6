"""A guard's metadata: written and read back, and what is said where it is not as written."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blurvote.runtime import Defense, GuardError, GuardMetadata
from blurvote.runtime.metadata import DenoiserEntry

DENOISER = "blurvote.denoiser"
DENOISER_EXPECTED = "an object of name, sha256 (64 hex digits) and onnx (base64)"
GOOD = GuardMetadata("views", Defense(), ("a", "b"), None, {"source": "x"}, {"passed": True})
values = st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.booleans()))


@settings(deadline=None)
@given(
    kind=st.sampled_from(["views", "frames"]),
    labels=st.lists(st.text()),
    size=st.none() | st.tuples(st.integers(1, 9999), st.integers(1, 9999)),
    provenance=values,
    parity=values,
)
def test_what_is_written_is_read_back(
    kind: Any, labels: list[str], size: Any, provenance: Any, parity: Any
) -> None:
    written = GuardMetadata(kind, Defense(), tuple(labels), size, provenance, parity)
    entries = written.to_map()
    assert all(key.startswith("blurvote.") for key in entries)
    assert GuardMetadata.from_map(entries, "g.onnx") == written


def test_entries_of_others_are_left_alone() -> None:
    entries = {"author": "somebody", **GOOD.to_map(), "blurvote.later": "?"}
    assert GuardMetadata.from_map(entries, "g.onnx") == GOOD


LOWER = GuardMetadata(
    "views", Defense(), precision="int8", precision_report={"activations": "uint8", "noise": []}
)


def test_a_lower_precision_is_written_and_read_back() -> None:
    assert GuardMetadata.from_map(LOWER.to_map(), "g.onnx") == LOWER
    name_alone = {**LOWER.to_map(), "blurvote.precision": '{"name": "fp16"}'}
    assert GuardMetadata.from_map(name_alone, "g.onnx").precision == "fp16"


def test_guards_without_the_entry_are_fp32() -> None:
    assert "blurvote.precision" not in GOOD.to_map()
    assert GuardMetadata.from_map(GOOD.to_map(), "g.onnx").precision == "fp32"


ADAPTIVE = Defense(noisy_views=("denoised", "denoised-single-blur", "double-blur"))
ENTRY = DenoiserEntry("shipped", "0123456789abcdef" * 4, bytes(range(256)))


@pytest.mark.parametrize(("kind", "onnx"), [("views", ENTRY.onnx), ("frames", b"")])
def test_a_denoiser_is_written_and_read_back(kind: Any, onnx: bytes) -> None:
    entry = DenoiserEntry("shipped", ENTRY.sha256, onnx)
    written = GuardMetadata(kind, ADAPTIVE, denoiser=entry)
    assert GuardMetadata.from_map(written.to_map(), "g.onnx") == written


def test_the_denoiser_is_base64_of_its_bytes_in_an_object() -> None:
    entry = DenoiserEntry("x", ENTRY.sha256, b"\x00\xff\x10")
    stored = json.loads(GuardMetadata("views", ADAPTIVE, denoiser=entry).to_map()[DENOISER])
    assert stored == {"name": "x", "sha256": ENTRY.sha256, "onnx": "AP8Q"}


def test_guards_without_a_denoiser_have_no_entry() -> None:
    assert DENOISER not in GOOD.to_map()
    assert GuardMetadata.from_map(GOOD.to_map(), "g.onnx").denoiser is None


@pytest.mark.parametrize("entry", [None, DenoiserEntry("shipped", ENTRY.sha256)])
def test_a_views_guard_with_views_of_noisy_frames_needs_its_denoiser(entry: Any) -> None:
    assert refusal({}, GuardMetadata("views", ADAPTIVE, denoiser=entry)) == (
        "g.onnx has views of noisy frames (denoised, denoised-single-blur, double-blur) and no "
        "denoiser in its blurvote.denoiser entry; export it again with --denoiser"
    )


def test_megabytes_are_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = GuardMetadata("views", ADAPTIVE, denoiser=ENTRY).to_map()
    decode, decoded = base64.b64decode, []

    def counted(text: str, *rest: Any, **options: Any) -> bytes:
        decoded.append(text)
        return decode(text, *rest, **options)

    monkeypatch.setattr(base64, "b64decode", counted)
    GuardMetadata.from_map(entries, "g.onnx")
    assert len(decoded) == 1


def test_a_denoiser_too_long_for_a_message_is_cut() -> None:
    said = refusal({DENOISER: json.dumps({"name": "x", "onnx": "A" * 10**6})})
    assert len(said) < 600
    assert said.endswith("expected " + DENOISER_EXPECTED + ". Export it again")


def refusal(changes: dict[str, str | None], written: GuardMetadata = GOOD) -> str:
    entries: dict[str, Any] = {**written.to_map(), **changes}
    with pytest.raises(GuardError) as caught:
        GuardMetadata.from_map({k: v for k, v in entries.items() if v is not None}, "g.onnx")
    return str(caught.value)


def test_a_model_that_is_no_guard() -> None:
    assert refusal({"blurvote.defense": None}) == (
        "g.onnx is not a guard: its ONNX metadata has no blurvote.defense entry. "
        "Turn the model into a guard first: blurvote export g.onnx -o guard.onnx"
    )


@pytest.mark.parametrize("name", ["kind", "labels", "frame_size", "provenance", "parity"])
def test_a_missing_entry(name: str) -> None:
    assert refusal({f"blurvote.{name}": None}) == (
        f"g.onnx has no blurvote.{name} entry in its guard metadata; export it again"
    )


@pytest.mark.parametrize(
    "name", ["kind", "labels", "frame_size", "provenance", "parity", "precision", "denoiser"]
)
def test_an_entry_that_is_not_json(name: str) -> None:
    said = refusal({f"blurvote.{name}": "{"})
    assert said.startswith("g.onnx has broken guard metadata (")
    assert said.endswith("); export it again")


WRONG: list[tuple[str, Any, str]] = [
    *(("kind", bad, "'views' or 'frames'") for bad in ("images", None, 1, ["views"])),
    *(("labels", bad, "a list of texts") for bad in ("abc", 5, None, {"0": "a"}, ["a", 1])),
    *(
        ("frame_size", bad, "[height, width] in pixels, or null")
        for bad in (5, "12", [5], [1, 2, 3], [0, 5], [1.0, 2.0], [True, True], {})
    ),
    *(("provenance", bad, "an object") for bad in (None, [], "x")),
    *(("parity", bad, "an object") for bad in (None, [], "x")),
    *(
        ("precision", bad, "an object whose name is fp32, fp16 or int8")
        for bad in ("int8", None, {}, {"name": "int4"}, {"name": "int8", "report": []})
    ),
    *(
        ("denoiser", {"name": "x", "sha256": "0" * 64, "onnx": "", **bad}, DENOISER_EXPECTED)
        for bad in (
            {"name": None},
            {"sha256": "0" * 63},
            {"sha256": "G" * 64},
            {"sha256": 5},
            {"onnx": "A"},
            {"onnx": "AP8Q*"},
            {"onnx": "\u00e9"},
            {"onnx": None},
        )
    ),
    *(("denoiser", bad, DENOISER_EXPECTED) for bad in ("AP8Q", [], {}, 5)),
]


@pytest.mark.parametrize(("name", "value", "expected"), WRONG)
def test_an_entry_of_the_wrong_kind(name: str, value: Any, expected: str) -> None:
    assert refusal({f"blurvote.{name}": json.dumps(value)}) == (
        f"g.onnx has blurvote.{name} = {value!r} in its guard metadata; expected {expected}. "
        "Export it again"
    )


NEWER = json.dumps({**json.loads(Defense().to_json()), "schema_version": 3})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "the defence is not valid JSON: "),
        (NEWER, "the defence has schema_version 3; this blurvote reads 1 and 2: install the "),
        (Defense().to_json().replace('"sigma": 1.0', '"sigma": -1'), "Defense.sigma is -1; exp"),
    ],
)
def test_a_broken_defence_is_told_with_the_file(text: str, said: str) -> None:
    assert refusal({"blurvote.defense": text}).startswith(f"g.onnx has a broken defence: {said}")
