"""A guard as torch sees it: the same views and the same backbone, with gradients.

An attack needs the gradient of the logits with respect to the frame, which ONNX Runtime does not
give. The twin builds the views with the exact matrices of the defence (dense, from the definition,
not from the C++ kernel) and runs the guard's own backbone, converted by onnx2torch. It is worth
nothing unless it answers as the guard does, so `twin_check` compares the two before any attack.

Of an adaptive guard it also has the denoiser, converted likewise, and reads the noise as the guard
does: a frame has the logits of the views that its reading chooses. The choice itself is hard and
has no gradient, nor has the level that the denoiser is told.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from blurvote.benchmarks.robustness.defenses import noisy_places, plain
from blurvote.benchmarks.robustness.denoiser_module import denoiser_module
from blurvote.benchmarks.robustness.quantised import has_quantised_operators
from blurvote.benchmarks.torch_module import torch_module
from blurvote.runtime.defense import Defense
from blurvote.runtime.engines.onnx_metadata import read_metadata
from blurvote.runtime.errors import GuardError, ProviderError
from blurvote.runtime.metadata import GuardMetadata

if TYPE_CHECKING:
    import torch

    from blurvote.benchmarks.robustness.noise_twin import NoiseTwin

__all__ = ["Twin"]

_SIZES_KEPT = 64  # of matrices; a 1080p frame's take 8 MB


class Twin:
    """The differentiable twin of a guard.

    Attributes:
        path: the guard, or the file that its backbone was taken from.
        defense: the defence whose views are built.
        labels: class names; may be empty.
        backbone: `(B, 3, h, w)` float32 views to `(B, C)` logits, in evaluation mode.
        classes: C.
        device: where it computes, such as `"cpu"`.
        noise: how the noise of frames is read; None unless the defence is adaptive.
    """

    def __init__(
        self,
        path: Path,
        defense: Defense,
        backbone: Any,
        labels: tuple[str, ...] = (),
        device: str = "cpu",
        denoiser: Any = None,
    ) -> None:
        import torch

        self.path, self.defense, self.labels, self.device = path, defense, labels, device
        try:
            # Channels last is 1.2 to 2 times as fast on CPUs, and changes no value's meaning.
            self.backbone = backbone.to(device).to(memory_format=torch.channels_last).eval()
        except (RuntimeError, AssertionError) as error:
            raise ProviderError(
                f"torch cannot compute on {device!r}: {error}; use --device cpu"
            ) from error
        self.noise: NoiseTwin | None = None
        self.denoiser = denoiser
        if defense.adaptive:
            from blurvote.benchmarks.robustness.noise_twin import NoiseTwin

            self.noise, self.denoiser = NoiseTwin(defense), denoiser.to(device).eval()
        for module in (self.backbone, self.denoiser):
            for parameter in () if module is None else module.parameters():
                parameter.requires_grad_(False)
        self._mean = torch.tensor(defense.mean, device=device)[:, None, None]
        self._std = torch.tensor(defense.std, device=device)[:, None, None]
        self._clean = plain(defense, (0,))
        self._matrices: OrderedDict[tuple[tuple[int, ...], int, int], _Matrices] = OrderedDict()
        with torch.no_grad():
            self.classes = int(
                self.backbone(torch.zeros(2, 3, *defense.crop, device=device)).shape[1]
            )

    @classmethod
    def load(cls, guard: Path, backbone: Path | None = None, device: str = "cpu") -> Twin:
        """The twin of a guard file.

        Args:
            guard: the guard whose defence and labels count.
            backbone: where the backbone is taken from, if not from `guard`: a `views` guard, or any
                ONNX classifier of normalised pictures. An int8 guard is attacked through its fp32
                export, a `frames` guard through its `views` export. A model that takes one
                picture at a time is given one at a time.
            device: torch's device.

        Raises:
            GuardError: `guard` is not a guard, its graph cannot serve as backbone, or `backbone`
                has another number of classes.
            ProviderError: a package is missing, or onnx2torch cannot convert the model.
        """
        metadata = GuardMetadata.from_map(read_metadata(guard), str(guard))
        source = Path(backbone or guard)
        kind = metadata.kind if backbone is None else _kind(source)
        if kind == "frames":
            raise GuardError(
                f"{source} builds its views in its graph, which gradients cannot be taken through; "
                f"export the same model with --input views and pass it as --twin"
            )
        defense, labels = metadata.defense, metadata.labels
        try:
            module = torch_module(source, (1, 3, *defense.crop))
        except ProviderError as error:
            if isinstance(error.__cause__, ImportError):
                raise
            if not has_quantised_operators(Path(source)):
                raise
            raise GuardError(
                f"{source} computes in integers, which have no gradients; attack it through the "
                f"fp32 export of the same model: pass that as --twin"
            ) from error
        shape = (3, *defense.crop)
        denoiser = _denoiser(metadata, guard, source) if defense.adaptive else None
        twin = cls(source, defense, _for_any_batch(module, shape), labels, device, denoiser)
        if labels and twin.classes != len(labels):
            raise GuardError(
                f"{source} has {twin.classes} classes, but {guard} has {len(labels)} labels; the "
                "twin's backbone must be the guard's own model"
            )
        return twin

    def views(self, frames: torch.Tensor) -> torch.Tensor:
        """Normalised views of frames of one size, differentiable; of an adaptive defence the quiet
        ones.

        Args:
            frames: `(N, 3, H, W)` float32 RGB in [0, 1].

        Returns:
            `(N, V, 3, h, w)` float32.

        Raises:
            DefenseError: the defence cannot serve that frame size.
        """
        return self._build(self.defense, frames)

    def _build(self, defense: Defense, frames: torch.Tensor) -> torch.Tensor:
        import torch

        matrices = self._of_size(defense, int(frames.shape[2]), int(frames.shape[3]))
        cut = frames[:, :, matrices.top : matrices.bottom, matrices.left : matrices.right]
        tall = torch.einsum("vhH,ncHW->nvchW", matrices.rows, cut)
        built: torch.Tensor = torch.einsum("vwW,nvchW->nvchw", matrices.cols, tall)
        return (built - self._mean) / self._std

    def view_logits(self, views: torch.Tensor) -> torch.Tensor:
        """Logits `(B, C)` of normalised views `(B, 3, h, w)`."""
        import torch

        logits: torch.Tensor = self.backbone(views.contiguous(memory_format=torch.channels_last))
        return logits

    def logits(self, frames: torch.Tensor) -> torch.Tensor:
        """Logits `(N, V, C)` of all views of frames `(N, 3, H, W)` in [0, 1].

        Of an adaptive defence each frame's are those of the views that its noise chooses.
        """
        if self.noise is None:
            return self.set_logits(frames, False)
        import torch

        noisy = self.noise.noisy(frames)
        if bool(noisy.all()) or not bool(noisy.any()):
            return self.set_logits(frames, bool(noisy[0]))
        of_noisy, of_quiet = (self.set_logits(frames, chosen) for chosen in (True, False))
        return torch.where(noisy[:, None, None], of_noisy, of_quiet)

    def set_logits(self, frames: torch.Tensor, noisy: bool) -> torch.Tensor:
        """Logits `(N, V, C)` of the views of noisy frames or of quiet ones, whatever the noise is.

        Args:
            frames: `(N, 3, H, W)` in [0, 1].
            noisy: of an adaptive defence. The denoiser is told the level read, or that of the
                switch where it reads less: no noisy frame has less.
        """
        views = self.noisy_views(frames) if noisy else self.views(frames)
        return self.view_logits(views.flatten(0, 1)).reshape(*views.shape[:2], -1)

    def noisy_views(self, frames: torch.Tensor) -> torch.Tensor:
        """Normalised views `(N, V, 3, h, w)` of noisy frames, see `set_logits`; differentiable."""
        import torch

        assert self.noise is not None  # else there are none
        quiet, level = self.views(frames), self.noise.levels(frames)
        level = level.nan_to_num(0.0).clamp(min=self.defense.noise_switch[1])
        clean = quiet[:, self.defense.passes.index(0)]
        told = level[:, None, None, None].expand(-1, 1, *clean.shape[2:])
        denoised = self.denoiser(torch.cat([clean, told], dim=1))
        return torch.cat([quiet, denoised], dim=1)[:, noisy_places(self.defense)]

    def clean_logits(self, frames: torch.Tensor) -> torch.Tensor:
        """Logits `(N, C)` of the undefended model: frames `(N, 3, H, W)` in [0, 1], not blurred."""
        return self.view_logits(self._build(self._clean, frames)[:, 0])

    def _of_size(self, defense: Defense, height: int, width: int) -> _Matrices:
        key = (defense.passes, height, width)
        matrices = self._matrices.pop(key, None)
        if matrices is None:
            matrices = _Matrices(defense, height, width, self.device)
            if len(self._matrices) >= _SIZES_KEPT:
                self._matrices.popitem(last=False)
        self._matrices[key] = matrices
        return matrices


class _Matrices:
    """The views' matrices of one frame size, cut to the pixels that any view reads."""

    def __init__(self, defense: Defense, height: int, width: int, device: str) -> None:
        import torch

        from blurvote.export.reference import view_matrices

        exact = view_matrices(defense, height, width)
        self.top, self.bottom = _range_read(exact.rows)
        self.left, self.right = _range_read(exact.cols)
        rows = exact.rows[:, :, self.top : self.bottom]
        cols = exact.cols[:, :, self.left : self.right]
        self.rows = torch.tensor(rows, dtype=torch.float32, device=device)
        self.cols = torch.tensor(cols, dtype=torch.float32, device=device)


def _for_any_batch(module: Any, shape: tuple[int, ...]) -> Any:
    """The module, if it takes two items of `shape` as it takes one; else one that runs each alone.

    Graphs that were built for a batch of one, or that compute a shape from the batch (folded to a
    constant before the conversion), fail for two.
    """
    import torch

    try:
        with torch.no_grad():
            one, two = (module(torch.zeros(count, *shape)).shape for count in (1, 2))
        if len(two) == len(one) and two[0] == 2:
            return module
    except RuntimeError:
        pass

    class OneByOne(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, items: torch.Tensor) -> torch.Tensor:
            return torch.cat([self.module(item[None]) for item in items])

    return OneByOne()


def _denoiser(metadata: GuardMetadata, guard: Path, source: Path) -> Any:
    """The guard's denoiser as a torch module: `(B, 4, h, w)` to `(B, K, 3, h, w)`.

    Raises:
        GuardError: neither the guard nor the file of the backbone carries it.
        ProviderError: onnx2torch cannot convert it.
    """
    entry = metadata.denoiser
    if entry is None or not entry.onnx:  # a `frames` guard denoises in its graph
        entries = read_metadata(source)
        if "blurvote.defense" in entries:
            entry = GuardMetadata.from_map(entries, str(source)).denoiser
    if entry is None or not entry.onnx:
        raise GuardError(
            f"neither {guard} nor {source} carries the denoiser of its noisy frames as a model; "
            "export the same model with --input views and the denoiser, and pass it as --twin"
        )
    crop = metadata.defense.crop
    return _for_any_batch(denoiser_module(entry.onnx, crop), (4, *crop))


def _range_read(matrices: Any) -> tuple[int, int]:
    used = np.flatnonzero(np.abs(matrices).max(axis=(0, 1)))
    return int(used[0]), int(used[-1]) + 1


def _kind(path: Path) -> str:
    entries = read_metadata(path)
    if "blurvote.kind" not in entries:
        return "onnx"
    return GuardMetadata.from_map(entries, str(path)).kind
