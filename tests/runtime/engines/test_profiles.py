"""TensorRT's profile shapes."""

from __future__ import annotations

import pytest

from blurvote.runtime import Defense, GuardMetadata, ProviderError
from blurvote.runtime.engines.profiles import check_profiles, guard_profiles

NAMES = ("trt_profile_min_shapes", "trt_profile_opt_shapes", "trt_profile_max_shapes")


def shapes(*texts):
    return dict(zip(NAMES, texts, strict=True))


def test_a_views_guard_takes_one_view_to_all_views_of_several_frames():
    metadata = GuardMetadata("views", Defense())
    assert guard_profiles(metadata, 4) == shapes(
        "views:1x3x224x224", "views:3x3x224x224", "views:12x3x224x224"
    )


def test_a_single_view_decision_is_at_its_best_with_one_view():
    metadata = GuardMetadata("views", Defense(decision="single"))
    assert guard_profiles(metadata, 2)["trt_profile_opt_shapes"] == "views:1x3x224x224"


def test_a_frames_guard_takes_frames_of_its_size():
    metadata = GuardMetadata("frames", Defense(), frame_size=(1080, 1920))
    assert guard_profiles(metadata) == shapes(
        "frames:1x1080x1920x3", "frames:1x1080x1920x3", "frames:8x1080x1920x3"
    )


def test_a_frames_guard_of_any_size_has_no_profile():
    with pytest.raises(ProviderError, match="dynamic size has no shapes to build"):
        guard_profiles(GuardMetadata("frames", Defense()))


@pytest.mark.parametrize(
    "given",
    [
        {},
        shapes("a:1x3", "a:2x3", "a:2x3"),
        shapes("a:1x3,b:1", "b:4,a:2x3", "a:2x3,b:5"),
    ],
)
def test_profiles_that_belong_together_are_right(given):
    check_profiles(given)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (shapes("a:1x3", "a:2x3", ""), "needs 'trt_profile_max_shapes', too"),
        (shapes("a:1x3", "b:2x3", "a:2x3"), r"different inputs \(a, b in all\)"),
        (shapes("a:1x3", "a:2x3", "a:2x3x4"), "differ in rank: 1x3, 2x3, 2x3x4"),
        (shapes("a:3x3", "a:2x3", "a:4x3"), "expected min <= opt <= max"),
        (shapes("a:1x3", "a:5x3", "a:4x3"), "expected min <= opt <= max"),
        (shapes("a=1x3", "a:2x3", "a:2x3"), "expected NAME:SHAPE"),
        (shapes("a:1x-1", "a:2x3", "a:2x3"), "expected NAME:SHAPE"),
    ],
)
def test_profiles_that_do_not_are_refused(given, told):
    with pytest.raises(ProviderError, match=told):
        check_profiles(given)
