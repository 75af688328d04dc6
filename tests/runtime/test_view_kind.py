"""View kinds and their names, and the views of noisy frames in a defence."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blurvote.runtime import Defense, DefenseError
from blurvote.runtime.view_kind import MAX_PASSES, ViewKind, view_kind

NOISY = ("90%-denoised", "denoised", "double-blur")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("clean", ViewKind()),
        ("single-blur", ViewKind(1)),
        ("double-blur", ViewKind(2)),
        ("16-blur", ViewKind(16)),
        ("denoised", ViewKind(0, True)),
        ("denoised-single-blur", ViewKind(1, True)),
        ("70%-denoised", ViewKind(0, True, 70)),
        ("5%-denoised-3-blur", ViewKind(3, True, 5)),
    ],
)
def test_names(name: str, kind: ViewKind) -> None:
    assert view_kind(name) == kind
    assert kind.name == name


@given(passes=st.integers(0, MAX_PASSES), denoised=st.booleans(), strength=st.integers(1, 100))
def test_every_name_is_understood(passes: int, denoised: bool, strength: int) -> None:
    kind = ViewKind(passes, denoised, strength if denoised else 100)
    assert view_kind(kind.name) == kind


@pytest.mark.parametrize(
    "name",
    [
        *("", "blur", "1-blur", "2-blur", "17-blur", "-single-blur", "clean-blur", "Clean"),
        *("denoised-", "denoised-clean", "100%-denoised", "0%-denoised", "07%-denoised"),
        *("70%", "70%-single-blur", "denoised single-blur", "denoisedsingle-blur"),
    ],
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(DefenseError, match="no view is called"):
        view_kind(name)


def test_noisy_frames_have_views_of_their_own() -> None:
    defense = Defense(noisy_views=NOISY)
    assert defense.adaptive
    assert [kind.name for kind in defense.kinds(noisy=True)] == list(NOISY)
    assert [kind.name for kind in defense.kinds()] == ["clean", "single-blur", "double-blur"]
    assert defense.denoised_kinds == (ViewKind(0, True, 90), ViewKind(0, True))
    assert defense.view_name(2, noisy=True) == "double-blur"
    assert defense.view_name(1) == "single-blur"
    assert Defense.from_json(defense.to_json()) == defense
    assert json.loads(defense.to_json())["schema_version"] == 2


def test_without_them_nothing_changes() -> None:
    defense = Defense(noise_switch=(0.1, 0.2))
    assert not defense.adaptive
    assert defense.denoised_kinds == ()
    assert defense.kinds(noisy=True) == defense.kinds()
    written = json.loads(defense.to_json())
    assert written["schema_version"] == 1
    assert not {"noisy_views", "noise_switch", "noisy_threshold"} & set(written)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"noisy_views": ("denoised",)}, "expected no names, or 3 different ones"),
        ({"noisy_views": ("denoised", "denoised", "clean")}, "expected no names, or 3 different"),
        ({"noisy_views": "denoised"}, "expected no names, or 3 different ones"),
        ({"noisy_views": ("denoised", 1, "clean")}, "expected no names, or 3 different ones"),
        ({"noisy_views": ("clean", "single-blur", "double-blur")}, "at least one view that is"),
        ({"noisy_views": ("denoised", "clean", "3-blur")}, r"or among passes = \(0, 1, 2\)"),
        ({"noisy_views": ("denoised", "clean", "soft")}, "no view is called 'soft'"),
        ({"noisy_views": NOISY, "passes": (1, 2, 3)}, "expected 0 as the first of them"),
        ({"noisy_views": NOISY, "noise_switch": (0.2, 0.1)}, "0 <= low <= high <= 1"),
        ({"noisy_views": NOISY, "noise_switch": (0.1,)}, "two noise levels"),
        ({"noisy_views": NOISY, "noise_switch": (0.0, float("nan"))}, "two noise levels"),
        ({"noisy_views": NOISY, "noisy_threshold": 0.5}, "only the decision 'mean' has a thresh"),
        ({"decision": "mean", "noisy_threshold": 0.5}, "without noisy_views no frame is noisy"),
    ],
)
def test_impossible_ones_are_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(DefenseError, match=said):
        Defense(**fields)  # type: ignore[arg-type]


def test_both_thresholds_of_mean() -> None:
    defense = Defense(decision="mean", noisy_views=NOISY, threshold=0.5, noisy_threshold=0.25)
    assert Defense.from_json(defense.to_json()) == defense
    assert replace(defense, noisy_threshold=None).noisy_threshold is None
