"""The views that judge a frame, as a graph: from uint8 frames to what the backbone sees.

Without views of noisy frames these are the quiet ones, `view_graph`'s. With them a frame's noise is
measured (`noise_graph`), both sets are made, and one of them is chosen for each frame:

    frames -> preprocess/ -> quiet views --------------------> Where -> views
       |            \\-> clean view -> denoise/ -> noisy views ---/
       \\-> noise/ -> level, is_noisy ----------------------------/
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from blurvote.export import noise_graph, view_graph
from blurvote.export.denoiser.adapting import PREFIX as DENOISE
from blurvote.export.denoiser.loading import DenoiserModel
from blurvote.export.denoiser.views_graph import add_denoised_views
from blurvote.export.graph_builder import GraphBuilder
from blurvote.export.noise_graph import Noise
from blurvote.export.noise_sampling import computed_sampling, constant_sampling
from blurvote.export.view_graph import VIEWS
from blurvote.runtime.defense import Defense

__all__ = ["IS_NOISY", "PREFIXES", "add_judged_views"]

PREFIXES = (view_graph.PREFIX, noise_graph.PREFIX, DENOISE)
IS_NOISY = noise_graph.PREFIX + "is_noisy"


def add_judged_views(
    frames: str,
    defense: Defense,
    frame_size: tuple[int, int] | None,
    denoiser: DenoiserModel | None,
) -> list[GraphBuilder]:
    """Makes `views`, float32 `(N * V, 3, h, w)`, the views that the decision uses of each frame.

    Args:
        frames: name of a uint8 `(N, H, W, 3)` tensor, RGB.
        frame_size: `(H, W)` in pixels; None where it is only known when the frames come.
        denoiser: of a defence with views of noisy frames; there is a tensor `noise` then, float32
            `(N,)`, and `IS_NOISY`, bool `(N,)`.

    Returns:
        The parts of the graph, in order.

    Raises:
        DefenseError: frames of `frame_size` cannot be served, or the crop is too small.
    """
    preprocess = GraphBuilder(view_graph.PREFIX)
    if not defense.adaptive:
        view_graph.add_views(preprocess, frames, defense, frame_size)
        return [preprocess]
    assert denoiser is not None
    noisy = [defense.kinds(noisy=True)[view] for view in defense.views]
    needed = {0, *defense.views}
    needed |= {defense.passes.index(kind.passes) for kind in noisy if not kind.denoised}
    made = sorted(needed)
    blurred = f"{view_graph.PREFIX}views"
    axes = view_graph.add_views(preprocess, frames, defense, frame_size, made, blurred)

    estimate = GraphBuilder(noise_graph.PREFIX)
    if frame_size is None:
        assert axes is not None
        sampling = computed_sampling(estimate, defense, *axes)
    else:
        sampling = constant_sampling(estimate, defense, frame_size)
    noise = noise_graph.add_noise(estimate, frames, defense, sampling)

    denoise = GraphBuilder(DENOISE)
    crop = [3, *defense.crop]
    shape = denoise.constant("views_shape", [-1, len(made), *crop])
    by_frame = denoise.op("Reshape", [blurred, shape], "views_by_frame")
    quiet = _gather(denoise, by_frame, [made.index(view) for view in defense.views], "quiet_views")
    others = _noisy(denoise, denoiser, defense, by_frame, made, noise)
    column = denoise.constant("frame_column", [-1, 1, 1, 1, 1])
    flag = denoise.op("Reshape", [noise.is_noisy, column], "is_noisy_column")
    chosen = denoise.op("Where", [flag, others, quiet], "chosen_views")
    rows = denoise.constant("rows_shape", [-1, *crop])
    denoise.op("Reshape", [chosen, rows], "chosen_rows", output=VIEWS)
    return [preprocess, estimate, denoise]


def _noisy(
    graph: GraphBuilder,
    denoiser: DenoiserModel,
    defense: Defense,
    by_frame: str,
    made: list[int],
    noise: Noise,
) -> str:
    """`(N, V, 3, h, w)`: the views of noisy frames."""
    noisy = [defense.kinds(noisy=True)[view] for view in defense.views]
    axis = graph.constant("views_axis", [1])
    denoised = tuple(kind for kind in noisy if kind.denoised)
    views = {}
    if denoised:
        first = graph.constant("clean_place", 0)
        clean = graph.op("Gather", [by_frame, first], "clean_view", axis=1)
        zero = graph.constant("no_noise", np.array(0, np.float32))
        # A quiet frame's denoised views are made and thrown away; it may have no level at all.
        known = graph.op("Where", [noise.is_noisy, noise.grid_level, zero], "level")
        graph.op("Unsqueeze", [known, axis], "levels")
        names = add_denoised_views(graph, denoiser, clean, defense, denoised)
        views = dict(zip(denoised, names, strict=True))
    apart = []
    for kind in noisy:
        if kind.denoised:
            name = kind.name.replace("%", "")
            apart.append(graph.op("Unsqueeze", [views[kind], axis], f"{name}_of_frame"))
        else:
            place = made.index(defense.passes.index(kind.passes))
            apart.append(_gather(graph, by_frame, [place], f"{kind.name}_of_frame"))
    return graph.op("Concat", apart, "noisy_views", axis=1)


def _gather(graph: GraphBuilder, by_frame: str, places: Sequence[int], name: str) -> str:
    indices = graph.constant(f"{name}_places", np.array(places, np.int64))
    return graph.op("Gather", [by_frame, indices], name, axis=1)
