"""Any ONNX denoiser, in the one form that guards are built from.

Postcondition of `load_denoiser`: two inputs, `IMAGES` float32 `(B, 3, h, w)` RGB in [0, 1] of the
guard's crop and `LEVELS` float32 `(B, 1)` on the same scale; one output, `DENOISED` float32
`(B, 3, h, w)`, not clamped; every other name starts with `denoise/network/`; any batch gives what
its images give one by one, which is run and compared before anything is returned.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from blurvote.export.denoiser.adapting import DENOISED, IMAGES, LEVELS, adapt
from blurvote.export.denoiser.graph import MULTIPLE_KEY
from blurvote.export.denoiser.roles import EXPECTED, Roles, find_roles
from blurvote.export.graph_passes import foreign_operators
from blurvote.export.onnx_models import load_proto
from blurvote.export.ort_session import Session
from blurvote.export.parity_frames import draw_frame
from blurvote.runtime.errors import ExportError

__all__ = ["SHIPPED", "SHIPPED_FILE", "DenoiserModel", "load_denoiser"]

SHIPPED = "shipped"
SHIPPED_FILE = Path(__file__).with_name("denoiser.onnx")
FOREIGN_MULTIPLE = 8  # U-Nets of three levels; more is rare
TOLERANCE = 1e-4  # between batches, in [0, 1]; convolutions may be summed in another order

Images = NDArray[np.float32]
Reference = Callable[[Images, NDArray[np.float32]], Images]


@dataclass(frozen=True)
class DenoiserModel:
    """A denoiser in the form that guards are built from.

    Attributes:
        name: for reports.
        sha256: of its file.
        proto: see this module's postcondition.
        reference: the file as it came, in ONNX Runtime: `(B, 3, h, w)` images and `(B,)` levels,
            one image at a time, to `(B, 3, h, w)`.
    """

    name: str
    sha256: str
    proto: onnx.ModelProto
    reference: Reference


def load_denoiser(source: str | Path, crop: tuple[int, int]) -> DenoiserModel:
    """The denoiser in an ONNX file, or the one that blurvote ships (`SHIPPED`).

    Args:
        source: a path, or `"shipped"`.
        crop: `(height, width)` of the images in pixels. They are padded by their last row and
            column to what the denoiser takes, and cut back after.

    Raises:
        ExportError: the file is not such a denoiser, fixes a batch or sides that do not fit, or
            does not remove noise.
        ProviderError: onnxruntime is not installed.
    """
    path = SHIPPED_FILE if str(source) == SHIPPED else Path(source)
    if not path.is_file():
        raise ExportError(
            f"there is no denoiser at {path}; {EXPECTED}. --denoiser without a path takes the one "
            "that blurvote ships"
        )
    original = load_proto(path)
    try:
        onnx.checker.check_model(original)
    except onnx.checker.ValidationError as error:
        reason = str(error).strip().splitlines()[0]
        raise ExportError(f"{path} is not a valid ONNX model: {reason}") from error
    foreign = foreign_operators(original)
    if foreign:
        raise ExportError(
            f"{path} uses operators outside the ONNX standard: {', '.join(foreign[:5])}. A guard "
            "must run anywhere; export the denoiser without them"
        )
    session = Session(original, str(path))
    roles = find_roles(session.inputs)
    if roles is None:
        described = ", ".join(f"{one.name} {one.type} {one.shape}" for one in session.inputs)
        raise ExportError(f"{path} has the inputs {described}; {EXPECTED}")
    entries = {entry.key: entry.value for entry in original.metadata_props}
    sides = _padded(path, roles, crop, int(entries.get(MULTIPLE_KEY, FOREIGN_MULTIPLE)))
    reference = _reference(session, roles, sides)
    model = DenoiserModel(
        "blurvote" if path == SHIPPED_FILE else path.stem,
        hashlib.sha256(path.read_bytes()).hexdigest(),
        adapt(original, roles, crop, sides),
        reference,
    )
    _try(path, model, crop)
    return model


def _padded(path: Path, roles: Roles, crop: tuple[int, int], multiple: int) -> tuple[int, int]:
    """The sides that the denoiser is given."""
    if roles.batch not in (None, 1):
        raise ExportError(
            f"{path} takes {roles.batch} images at a time; export it with a free batch, or with "
            "one of 1"
        )
    sides = []
    for side, fixed in zip(crop, (roles.height, roles.width), strict=True):
        if fixed is not None and not 0 <= fixed - side < multiple:
            raise ExportError(
                f"{path} takes images of {roles.width or 'any'}x{roles.height or 'any'} px, but "
                f"the views have {crop[1]}x{crop[0]} px; export it with free sides, or for that "
                "size"
            )
        sides.append(side + -side % multiple if fixed is None else fixed)
    return sides[0], sides[1]


def _reference(session: Session, roles: Roles, sides: tuple[int, int]) -> Reference:
    def denoise(images: Images, levels: NDArray[np.float32]) -> Images:
        height, width = images.shape[2:]
        pads = [(0, 0), (0, 0), (0, sides[0] - height), (0, sides[1] - width)]
        rows = []
        for image, level in zip(images, levels, strict=True):
            padded = np.pad(image[None].astype(np.float32), pads, mode="edge")
            feeds = {roles.image: padded}
            if roles.level is not None:
                feeds[roles.level.name] = roles.level.fill(float(level), padded)
            rows.append(session.feed(feeds)[0])
        found = np.concatenate(rows)
        if found.shape != (len(images), 3, *sides) or found.dtype != np.float32:
            raise ExportError(
                f"the denoiser turned images of shape {(1, 3, *sides)} into {rows[0].dtype} of "
                f"shape {rows[0].shape}; {EXPECTED}"
            )
        return found[:, :, :height, :width]

    return denoise


def _try(path: Path, model: DenoiserModel, crop: tuple[int, int]) -> None:
    """Denoises two drawn images, together and one by one."""
    frames = np.stack([draw_frame(*crop, seed) for seed in (0, 1)])
    clean = frames.transpose(0, 3, 1, 2).astype(np.float32) / 255
    levels = np.array([0.25, 0.15], np.float32)
    drawn = np.random.default_rng(0).standard_normal(clean.shape, np.float32)
    noisy = np.clip(clean + drawn * levels[:, None, None, None], 0, 1)
    expected = model.reference(noisy, levels)
    session = Session(model.proto, str(path))
    (found,) = session.feed({IMAGES: noisy, LEVELS: levels[:, None]}, DENOISED)
    apart = float(np.abs(found - expected).max()) if found.shape == expected.shape else np.inf
    if not apart <= TOLERANCE:
        raise ExportError(
            f"{path} does not denoise two images as it denoises each (largest difference "
            f"{apart:.2g}); export it with a free batch"
        )
    before, after = (
        float(np.mean((np.clip(image, 0, 1) - clean) ** 2)) for image in (noisy, found)
    )
    if not after <= before:
        raise ExportError(
            f"{path} does not remove noise: of two drawn images with noise of level 0.25 and 0.15 "
            f"the mean squared error goes from {before:.2g} to {after:.2g}. It must take and give "
            "RGB in [0, 1], and take the noise level on that scale"
        )
