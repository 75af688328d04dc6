"""The views of a `frames` guard as a graph: uint8 frames to normalised views.

A view is two banded matrices, one per axis (see `reference`). For a fixed frame size they are
constants, and the frame is first cut to the rows and columns that they read. For a dynamic size
they are computed from the frame's shape (see `axis_graph`). Either way two MatMuls serve all
views: the rows of all views stacked, then each view's columns.

ONNX's own antialiased Resize is not used: measured against torch in float64, the one of ONNX
Runtime 1.31 is off by 0.17 at 500x375 and 0.24 at 1920x1080 (normalised units; the tolerance is
1e-4), and other runtimes differ again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from blurvote.export.axis_graph import AxisMatrices, AxisNames, add_axis, add_frame_size
from blurvote.export.graph_builder import GraphBuilder
from blurvote.export.reference import view_matrices
from blurvote.runtime.defense import Defense

__all__ = ["PREFIX", "VIEWS", "add_views"]

PREFIX = "preprocess/"
VIEWS = "views"


def add_views(
    graph: GraphBuilder,
    frames: str,
    defense: Defense,
    frame_size: tuple[int, int] | None,
    used: Sequence[int] | None = None,
    output: str = VIEWS,
) -> tuple[AxisMatrices, AxisMatrices] | None:
    """Adds views; their tensor is called `output`.

    Args:
        frames: name of a uint8 `(N, H, W, 3)` tensor, RGB.
        frame_size: `(H, W)` in pixels; None where the frames' size is only known when they come.
            Frames that cannot be served become views of NaN, which are rejected.
        used: indices of the views; None means those that the decision uses.

    Returns:
        The vertical and the horizontal axis of frames of no fixed size, else None.

    Adds:
        output: float32 `(N * V, 3, h, w)`, the views of each frame together.

    Raises:
        DefenseError: frames of `frame_size` cannot be served.
    """
    used, axes = list(defense.views if used is None else used), None
    if frame_size is None:
        pixels, rows, cols, axes = _computed_matrices(graph, frames, defense, used)
    else:
        pixels, rows, cols = _constant_matrices(graph, frames, defense, frame_size, used)
    views, (height, width) = len(used), defense.crop

    # (N, H', W', 3) -> rows of all views -> (N, V * h, W' * 3); no transpose is needed so far.
    lines = graph.op(
        "Reshape", [pixels, graph.constant("lines_shape", [0, 0, -1])], "pixels_as_lines"
    )
    by_row = graph.op("MatMul", [rows, lines], "rows_of_views")
    split_shape = graph.constant("split_shape", [0, views, height, -1, 3])
    split = graph.op("Reshape", [by_row, split_shape], "rows_split")
    planes = graph.op("Transpose", [split], "planes", perm=[0, 1, 4, 2, 3])  # (N, V, 3, h, W')
    planes_shape = graph.constant("planes_shape", [0, 0, 3 * height, -1])
    stacked = graph.op("Reshape", [planes, planes_shape], "planes_stacked")
    by_column = graph.op("MatMul", [stacked, cols], "columns_of_views")  # (N, V, 3 * h, w)
    views_shape = graph.constant("views_shape", [-1, 3, height, width])
    unscaled = graph.op("Reshape", [by_column, views_shape], "views_unscaled")

    mean, std = np.array(defense.mean), np.array(defense.std)
    scale = graph.constant("scale", (1 / (255 * std)).astype(np.float32)[:, None, None])
    shift = graph.constant("shift", (-mean / std).astype(np.float32)[:, None, None])
    scaled = graph.op("Mul", [unscaled, scale], "views_scaled")
    graph.op("Add", [scaled, shift], "views_normalised", output=output)
    return axes


def _constant_matrices(
    graph: GraphBuilder,
    frames: str,
    defense: Defense,
    frame_size: tuple[int, int],
    used: list[int],
) -> tuple[str, str, str]:
    """Names of the pixels that are read, `(V * h, H')` rows and `(V, W', w)` columns."""
    matrices = view_matrices(defense, *frame_size)
    rows, cols = matrices.rows[used], matrices.cols[used]
    (top, bottom), (left, right) = (_extent(matrix) for matrix in (rows, cols))
    pixels = frames
    if (top, left, bottom, right) != (0, 0, *frame_size):
        starts, ends = (
            graph.constant("top_left", [top, left]),
            graph.constant("bottom_right", [bottom, right]),
        )
        axes = graph.constant("frame_axes", [1, 2])
        pixels = graph.op("Slice", [frames, starts, ends, axes], "pixels_read")
    pixels = graph.op("Cast", [pixels], "pixels", to=1)
    stacked = rows[:, :, top:bottom].reshape(-1, bottom - top)
    transposed = cols[:, :, left:right].transpose(0, 2, 1)
    return (
        pixels,
        graph.constant("row_matrix", stacked.astype(np.float32)),
        graph.constant("column_matrices", transposed.astype(np.float32)),
    )


def _extent(matrices: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[int, int]:
    """First and one past the last frame pixel that any row of `(V, out, in)` matrices reads."""
    (read,) = np.nonzero(np.abs(matrices).max(axis=(0, 1)))
    return int(read[0]), int(read[-1]) + 1


def _computed_matrices(
    graph: GraphBuilder, frames: str, defense: Defense, used: list[int]
) -> tuple[str, str, str, tuple[AxisMatrices, AxisMatrices]]:
    """The same three names, computed from the shape of `frames`, and both axes."""
    size = add_frame_size(graph, frames, defense)
    rows = add_axis(graph, defense, size, used, AxisNames("row", size.height, defense.crop[0]))
    cols = add_axis(graph, defense, size, used, AxisNames("column", size.width, defense.crop[1]))
    in_rows = graph.op("Gather", [frames, rows.pixels], "frame_rows", axis=1)
    in_both = graph.op("Gather", [in_rows, cols.pixels], "frame_columns", axis=2)
    pixels = graph.op("Cast", [in_both], "pixels", to=1)
    by_view = graph.op("Transpose", [rows.matrices], "row_matrices", perm=[1, 0, 2])
    shape = graph.constant("row_matrix_shape", [len(used) * defense.crop[0], -1])
    stacked = graph.op("Reshape", [by_view, shape], "row_matrix")
    return (
        pixels,
        stacked,
        graph.op("Transpose", [cols.matrices], "column_matrices", perm=[1, 2, 0]),
        (rows, cols),
    )
