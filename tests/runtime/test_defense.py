"""The Defense: what it accepts, what it refuses and with which words, and its JSON."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError, asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blurvote.runtime import Defense, DefenseError

ODD = "an odd integer from 3 to 31"
SIGMA = "a number from 0.01 to 100, in pixels"
PASSES = "1 to 8 strictly increasing integers from 0 to 16, such as (0, 1, 2)"
RESIZE = "an integer from 1 to 4096, in pixels"
CROP = "one or two integers (height, width) from 1 to 4096, in pixels"
RGB = "three finite numbers, for R, G and B in [0, 1]"
HUGE = 10**400  # has no float

# Fields, the field that is complained about, and what was expected of it.
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    *(({"kernel_size": bad}, "kernel_size", ODD) for bad in (4, 1, 33, -5, 5.0, "5", None, True)),
    *(
        ({"sigma": bad}, "sigma", SIGMA)
        for bad in (0, -1.0, 0.009, 100.1, math.nan, math.inf, HUGE, "1", None, True)
    ),
    *(
        ({"passes": bad}, "passes", PASSES)
        for bad in ((), (2, 1), (1, 1), (-1, 0), (0, 17), tuple(range(9)), (0, 1.0), "012", 3)
    ),
    ({"blur_at": "lens"}, "blur_at", "one of 'frame', 'model'"),
    ({"border": "zero"}, "border", "one of 'reflect'"),
    ({"interpolation": "nearest"}, "interpolation", "one of 'bilinear', 'bicubic'"),
    ({"fit": ["crop"]}, "fit", "one of 'crop', 'stretch'"),
    ({"decision": "max"}, "decision", "one of 'majority', 'single', 'mean'"),
    ({"antialias": 1}, "antialias", "True or False"),
    *(({"resize": bad}, "resize", RESIZE) for bad in (0, 4097, 256.0, True, None)),
    *(({"crop": bad}, "crop", CROP) for bad in (0, (0, 5), (5, 4097), (1, 2, 3), (5.0, 5), "5")),
    ({"crop": (300, 257)}, "crop", "at least one side no longer than resize = 256"),
    *(({"mean": bad}, "mean", RGB) for bad in (0.5, (0.5, 0.5), (0, 0, math.nan), (0, 0, HUGE))),
    ({"std": (1, 1, "1")}, "std", RGB),
    *(({"std": bad}, "std", "three numbers above 0") for bad in ((1, 0, 1), (1, 1, -0.1))),
    (
        {"passes": (0, 2), "decision": "single"},
        "passes",
        "a view of one pass, which the decision 'single' uses",
    ),
    *(
        ({"decision": "mean", "threshold": bad}, "threshold", "a number from 0 to 1, or None")
        for bad in (-0.1, 1.1, math.nan, "0.5", True)
    ),
    (
        {"threshold": 0.5},
        "threshold",
        "None: only the decision 'mean' has a threshold, not 'majority'",
    ),
]


@pytest.mark.parametrize(("values", "field", "expected"), REFUSED)
def test_impossible_fields_are_refused(values: dict[str, Any], field: str, expected: str) -> None:
    given_value = values.get(field)
    if field == "crop" and type(given_value) is int:
        given_value = (given_value, given_value)
    with pytest.raises(DefenseError) as caught:
        Defense(**values)
    assert str(caught.value) == f"Defense.{field} is {given_value!r}; expected {expected}"


@st.composite
def defenses(draw: st.DrawFn) -> Defense:
    unit = st.floats(0, 1)
    resize = draw(st.integers(1, 600))
    crop = (draw(st.integers(1, resize)), draw(st.integers(1, 4096)))
    passes = draw(st.sets(st.integers(0, 16), min_size=1, max_size=8))
    decision = draw(st.sampled_from(["majority", "single", "mean"]))
    if decision == "single":
        passes = {*sorted(passes)[:7], 1}
    return Defense(
        kernel_size=draw(st.integers(1, 15)) * 2 + 1,
        sigma=draw(st.floats(0.01, 100)),
        passes=tuple(sorted(passes)),
        blur_at=draw(st.sampled_from(["frame", "model"])),
        antialias=draw(st.booleans()),
        interpolation=draw(st.sampled_from(["bilinear", "bicubic"])),
        fit=draw(st.sampled_from(["crop", "stretch"])),
        resize=resize,
        crop=crop,
        mean=draw(st.tuples(unit, unit, unit)),
        std=draw(st.tuples(*[st.floats(0.001, 1)] * 3)),
        decision=decision,
        threshold=draw(st.none() | unit) if decision == "mean" else None,
    )


@settings(deadline=None)
@given(defense=defenses())
def test_json_keeps_every_field(defense: Defense) -> None:
    again = Defense.from_json(defense.to_json())
    assert again == defense
    assert hash(again) == hash(defense)
    assert json.loads(defense.to_json())["schema_version"] == 1


@settings(deadline=None)
@given(defense=defenses())
def test_taps_are_a_normalised_gaussian(defense: Defense) -> None:
    taps = defense.gaussian_taps()
    radius = defense.kernel_size // 2
    assert len(taps) == defense.kernel_size
    assert math.fsum(taps) == pytest.approx(1)
    assert taps == taps[::-1]
    for k, tap in enumerate(taps):
        expected = taps[radius] * math.exp(-((k - radius) ** 2) / (2 * defense.sigma**2))
        assert tap == pytest.approx(expected, abs=1e-15)


@settings(deadline=None)
@given(defense=defenses())
def test_the_decision_names_its_views(defense: Defense) -> None:
    names = [defense.view_name(view) for view in defense.views]
    if defense.decision == "single":
        assert names == ["single-blur"]
    else:
        assert len(names) == len(defense.passes)


def test_view_names() -> None:
    defense = Defense(passes=(0, 1, 2, 3))
    assert [defense.view_name(k) for k in range(4)] == [
        "clean",
        "single-blur",
        "double-blur",
        "3-blur",
    ]


def test_lists_and_a_square_crop_become_tuples() -> None:
    defense = Defense(passes=[0, 1], crop=96, mean=[0, 0, 0], std=[1, 1, 1])  # type: ignore[arg-type]
    assert defense == Defense(passes=(0, 1), crop=(96, 96), mean=(0, 0, 0), std=(1, 1, 1))


def test_a_defense_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Defense().sigma = 2.0  # type: ignore[misc]


def with_field(**changes: Any) -> str:
    return json.dumps({"schema_version": 1, **asdict(Defense()), **changes})


BROKEN_JSON: dict[str, tuple[str, str]] = {
    "empty": ("", "the defence is not valid JSON: Expecting value"),
    "cut": (Defense().to_json()[:-5], "the defence is not valid JSON: "),
    "endless integer": (f"1{'0' * 5000}", "the defence is "),
    "a list": ("[]", "the defence is a JSON list; expected an object"),
    "no version": (
        json.dumps(asdict(Defense())),
        "the defence has schema_version None; this blurvote reads 1 and 2: install the blurvote "
        "that wrote it, or export again",
    ),
    "newer": (
        with_field(schema_version=3),
        "the defence has schema_version 3; this blurvote reads 1 and 2: install the blurvote "
        "that wrote it, or export again",
    ),
    "unknown": (
        with_field(zoom=2, angle=1),
        "the defence has unknown fields: angle, zoom",
    ),
    "impossible": (with_field(sigma=-1), "Defense.sigma is -1; expected "),
    "null": (with_field(crop=None), "Defense.crop is None; expected "),
}


@pytest.mark.parametrize(("text", "starts"), BROKEN_JSON.values(), ids=BROKEN_JSON.keys())
def test_json_that_is_no_defense(text: str, starts: str) -> None:
    with pytest.raises(DefenseError) as caught:
        Defense.from_json(text)
    assert str(caught.value).startswith(starts)
