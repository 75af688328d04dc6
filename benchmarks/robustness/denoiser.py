"""Any ONNX image denoiser, run by ONNX Runtime.

What its inputs mean is worked out from their shapes, see `blurvote.export.denoiser.roles`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from blurvote.export.denoiser.roles import EXPECTED, NoiseLevel, Roles, find_roles
from blurvote.runtime.engines.ort import import_onnxruntime
from blurvote.runtime.errors import FrameError, SourceError
from blurvote.runtime.machine import usable_cores

__all__ = ["Denoiser", "NoiseLevel"]

Images = NDArray[np.float32]

_PROBE = 32  # side of the image that tries the model, unless it fixes its own


class Denoiser:
    """One ONNX denoiser, loaded, tried on a small image, and ready to run on the CPU.

    Args:
        path: the ONNX file.
        threads: of one inference; None takes the usable physical cores.
        sees: `"clamped"` clamps noisy images to [0, 1] before the model sees them, `"raw"` does
            not. Choose what the model was trained on: FFDNet's `clip` weights know clamped noise
            only and lose 5 dB at sigma 0.25 on raw noise. Smoothing's certificate allows both,
            because clamping is then part of the classifier that is smoothed.
        multiple: sides are padded at the right and bottom, by their last pixel, to a multiple of
            this many pixels, and cut back. FFDNet halves the image and needs 2, U-Nets need more.

    Attributes:
        path: the file.
        sees: as given.
        noise_level: how it is told the noise level; None where it has no such input and removes
            the noise that it was trained on.

    Raises:
        SourceError: the file is missing, cannot be loaded, or is not such a denoiser.
        ProviderError: onnxruntime is not installed.
    """

    def __init__(
        self,
        path: str | Path,
        threads: int | None = None,
        sees: Literal["clamped", "raw"] = "clamped",
        multiple: int = 2,
    ) -> None:
        self.path = Path(path)
        self.sees = sees
        self._multiple = multiple
        if not self.path.is_file():
            raise SourceError(f"{path} is not a file; {EXPECTED}")
        ort = import_onnxruntime()
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or usable_cores()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors reach the caller as exceptions
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session: Any = ort.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # pybind's exceptions have no common base
            text = " ".join(str(error).split())[:300]
            raise SourceError(f"{path} cannot be loaded as an ONNX model ({text})") from error
        self._roles = self._find_roles()
        self.noise_level: NoiseLevel | None = self._roles.level
        self._try()

    def __call__(self, images: Images, sigma: float) -> Images:
        """The images without their noise; the model's output as it is, not clamped.

        Args:
            images: `(B, 3, h, w)` float32 RGB, in [0, 1] but for the noise.
            sigma: standard deviation of the noise on that scale; unused without `noise_level`.

        Returns:
            `(B, 3, h, w)` float32.

        Raises:
            FrameError: the images are of another shape or dtype, or of a size that the model's
                fixed input does not take.
            SourceError: ONNX Runtime failed.
        """
        if images.ndim != 4 or images.shape[1] != 3 or images.dtype != np.float32:
            raise FrameError(
                f"{self.path.name} was given {images.dtype} images of shape {images.shape}; "
                "expected float32 of shape (B, 3, h, w)"
            )
        if self.sees == "clamped":
            images = np.clip(images, 0, 1)
        height, width = images.shape[2:]
        pad = [(0, 0), (0, 0), (0, -height % self._multiple), (0, -width % self._multiple)]
        padded = np.pad(images, pad, mode="edge") if pad[2][1] or pad[3][1] else images
        roles = self._roles
        for side, fixed in zip(padded.shape[2:], (roles.height, roles.width), strict=True):
            if fixed is not None and side != fixed:
                raise FrameError(
                    f"{self.path.name} was given images of {height} x {width} pixels, but its "
                    f"input is fixed at {roles.height or 'any'} x {roles.width or 'any'}; export "
                    "it with free sides"
                )
        step = roles.batch or len(padded)
        if len(padded) % step:
            raise FrameError(
                f"{self.path.name} was given {len(padded)} images, but its batch is fixed at "
                f"{step}; export it with a free batch"
            )
        parts = [self._run(padded[n : n + step], sigma) for n in range(0, len(padded), step)]
        return np.concatenate(parts)[:, :, :height, :width]

    def _run(self, images: Images, sigma: float) -> Images:
        feeds = {self._roles.image: np.ascontiguousarray(images)}
        if self.noise_level is not None:
            feeds[self.noise_level.name] = self.noise_level.fill(sigma, images)
        try:
            output = self._session.run(None, feeds)[0]
        except Exception as error:
            text = " ".join(str(error).split())[:300]
            raise SourceError(
                f"{self.path} cannot be run on an image of shape {images.shape} ({text}); "
                f"{EXPECTED}"
            ) from error
        return np.asarray(output)

    def _find_roles(self) -> Roles:
        inputs = self._session.get_inputs()
        roles = find_roles(inputs)
        if roles is None:
            described = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs)
            raise SourceError(f"{self.path} has the inputs {described}; {EXPECTED}")
        return roles

    def _try(self) -> None:
        """Runs one small grey image, so that a foreign model is found out before the long run."""
        height, width = self._roles.height or _PROBE, self._roles.width or _PROBE
        probe = np.full((self._roles.batch or 1, 3, height, width), 0.5, np.float32)
        output = self._run(probe, 0.1)
        if output.shape != probe.shape or output.dtype != np.float32:
            raise SourceError(
                f"{self.path} turned images of shape {probe.shape} into {output.dtype} of shape "
                f"{output.shape}; {EXPECTED}"
            )
