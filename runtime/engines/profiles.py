"""TensorRT's profile shapes: the sizes of batch that an engine is built for.

An engine serves the shapes between its profile's least and largest, and is fastest at the one in
the middle. Without a profile, ONNX Runtime would build for the first shape it meets and again, for
minutes in the middle of a video, at the first one outside it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import chain

from blurvote.runtime.errors import ProviderError
from blurvote.runtime.metadata import GuardMetadata

__all__ = ["MAX_FRAMES", "PROFILE_OPTIONS", "batch_profiles", "check_profiles", "guard_profiles"]

MAX_FRAMES = 8  # frames in one inference that an engine is built for, as a pipeline takes on a GPU

Shape = tuple[int, ...]
PROFILE_OPTIONS = ("trt_profile_min_shapes", "trt_profile_opt_shapes", "trt_profile_max_shapes")
_SHAPE = re.compile(r"([^:,]+):(\d+(?:x\d+)*)")


def guard_profiles(metadata: GuardMetadata, max_frames: int = MAX_FRAMES) -> dict[str, str]:
    """The three profile options for a guard.

    A `views` guard gets one view (a cascade's third) at least, all views of one frame at best, and
    the views of `max_frames` frames or boxes at most; a `frames` guard one frame at best.

    Raises:
        ProviderError: a `frames` guard of dynamic size, for which there is no best size.
    """
    if metadata.kind == "views":
        views = len(metadata.defense.views)
        counts, rest, name = (1, views, views * max_frames), (3, *metadata.defense.crop), "views"
    else:
        if metadata.frame_size is None:
            raise ProviderError(
                "a frames guard of dynamic size has no shapes to build a TensorRT engine for; "
                "export it with --frame-size HEIGHTxWIDTH, or as --input views"
            )
        counts, rest, name = (1, 1, max_frames), (*metadata.frame_size, 3), "frames"
    return batch_profiles(name, counts, rest)


def batch_profiles(name: str, counts: tuple[int, int, int], item: Shape) -> dict[str, str]:
    """The three profile options for batches of one input.

    Args:
        name: of the input.
        counts: items of the least, the best and the largest batch.
        item: shape of one item.
    """
    return {
        option: f"{name}:{'x'.join(map(str, (count, *item)))}"
        for option, count in zip(PROFILE_OPTIONS, counts, strict=True)
    }


def check_profiles(options: Mapping[str, str]) -> None:
    """Checks the three profile options against each other; none at all is right, too.

    Raises:
        ProviderError: some without the others, a wrong format, different inputs or ranks, or shapes
            out of order.
    """
    given = [name for name in PROFILE_OPTIONS if options.get(name)]
    if not given:
        return
    missing = [name for name in PROFILE_OPTIONS if name not in given]
    if missing:
        raise ProviderError(
            f"option {given[0]!r} needs {' and '.join(map(repr, missing))}, too: TensorRT takes "
            "all three profile shapes together"
        )
    least, best, largest = (_parse(name, options[name]) for name in PROFILE_OPTIONS)
    if not least.keys() == best.keys() == largest.keys():
        names = sorted(set(chain(least, best, largest)))
        raise ProviderError(
            f"the three profile options name different inputs ({', '.join(names)} in all)"
        )
    for name in least:
        shapes = least[name], best[name], largest[name]
        if len({len(shape) for shape in shapes}) > 1:
            raise ProviderError(f"the profile shapes of {name!r} differ in rank: {_say(shapes)}")
        if not all(a <= b <= c for a, b, c in zip(*shapes, strict=True)):
            raise ProviderError(
                f"the profile shapes of {name!r} are {_say(shapes)}; expected min <= opt <= max"
            )


def _parse(option: str, text: str) -> dict[str, Shape]:
    shapes = {}
    for part in text.split(","):
        match = _SHAPE.fullmatch(part.strip())
        if match is None:
            raise ProviderError(
                f"option {option!r} is {text!r}; expected NAME:SHAPE, such as 'views:3x3x224x224'"
            )
        shapes[match[1]] = tuple(map(int, match[2].split("x")))
    return shapes


def _say(shapes: tuple[Shape, ...]) -> str:
    return ", ".join("x".join(map(str, shape)) for shape in shapes)
