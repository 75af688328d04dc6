"""PSNR of denoisers on the backbone's grid, where blurvote denoises.

    python -m blurvote.benchmarks.robustness.psnr PICTURES --denoiser ffdnet=ffdnet.onnx

Gaussian noise is added to each picture at its own resolution and rounded to 8 bits; the clean view
(resized, cropped) of the noisy picture is denoised and compared with that of the picture itself.
Learned denoisers are told the true level on the grid; `shipped, level read` is told what the view
kernel estimates from the noisy picture alone, which is all that a guard has.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.robustness.denoiser import Denoiser
from blurvote.export.denoiser.loading import SHIPPED_FILE
from blurvote.export.denoiser.network import MULTIPLE
from blurvote.runtime.command import natural, positive_int
from blurvote.runtime.defense import Defense
from blurvote.runtime.demo.scenes import add_noise
from blurvote.runtime.errors import BlurvoteError, SourceError
from blurvote.runtime.sources import read_image
from blurvote.runtime.views import ViewBuilder

__all__ = ["main", "measure"]

Image = NDArray[np.float32]
Method = Callable[[Image, float, float], Image]

SIGMAS = (0.0625, 0.125, 0.25, 0.375)
_STREAM = 60


def _learned(model: Denoiser, read: bool) -> Method:
    def denoise(view: Image, level: float, estimate: float) -> Image:
        planes = view.transpose(2, 0, 1)[None]
        denoised = model(planes, estimate if read else level)[0]
        return np.asarray(denoised.transpose(1, 2, 0), np.float32)

    return denoise


def _median(side: int) -> Method:
    def denoise(view: Image, level: float, estimate: float) -> Image:
        import cv2

        return np.divide(cv2.medianBlur(_bytes(view), side), 255, dtype=np.float32)

    return denoise


def _nlm(strength: float) -> Method:
    """OpenCV's non-local means, its filter strength in units of the level."""

    def denoise(view: Image, level: float, estimate: float) -> Image:
        import cv2

        h = strength * 255 * level
        denoised = cv2.fastNlMeansDenoisingColored(_bytes(view), None, h, h, 5, 15)
        return np.divide(denoised, 255, dtype=np.float32)

    return denoise


def _bytes(view: Image) -> NDArray[np.uint8]:
    return np.clip(np.rint(view * 255), 0, 255).astype(np.uint8)


def methods(denoisers: dict[str, Path]) -> dict[str, Method]:
    """What is compared, by name.

    Raises:
        SourceError: a file is no denoiser.
    """
    shipped = Denoiser(SHIPPED_FILE, multiple=MULTIPLE)
    found: dict[str, Method] = {
        "noisy": lambda view, level, estimate: view,
        "shipped": _learned(shipped, read=False),
        "shipped, level read": _learned(shipped, read=True),
    }
    for name, path in denoisers.items():
        found[name] = _learned(Denoiser(path, multiple=8), read=False)
    return {
        **found,
        "median 3x3": _median(3),
        "median 5x5": _median(5),
        "NLM, h = 0.8 level": _nlm(0.8),
        "NLM, h = 1.2 level": _nlm(1.2),
    }


def measure(
    pictures: Sequence[Path],
    compared: dict[str, Method],
    sigmas: Sequence[float],
    seed: int,
    say: Callable[[str], None],
) -> tuple[dict[str, dict[str, list[float]]], list[list[Image]]]:
    """PSNR in dB of every picture: `{method: {sigma: [...]}}`, and rows of images to look at.

    Raises:
        SourceError: a picture cannot be read.
    """
    builder = ViewBuilder(Defense(passes=(0,)))
    mean, std = (
        np.array(value, np.float32) for value in (builder.defense.mean, builder.defense.std)
    )
    found: dict[str, dict[str, list[float]]] = {
        name: {f"{sigma:g}": [] for sigma in sigmas} for name in compared
    }
    rows: list[list[Image]] = []
    out = np.empty((1, 3, *builder.defense.crop), np.float32)
    for number, path in enumerate(pictures):
        pixels = np.ascontiguousarray(read_image(str(path))[..., ::-1])
        clean = builder.build(pixels)[0].transpose(1, 2, 0) * std + mean
        gain = builder.noise_gain(*pixels.shape[:2])
        for sigma in sigmas:
            random = np.random.default_rng([_STREAM, seed, number, round(1e4 * sigma)])
            estimate = builder.build_noise(add_noise(pixels, sigma, random), out)
            view = np.clip(out[0].transpose(1, 2, 0) * std + mean, 0, 1)
            images = []
            for name, method in compared.items():
                denoised = np.clip(method(view, sigma * gain, (estimate or 0.0) * gain), 0, 1)
                error = float(np.mean((denoised - clean) ** 2))
                found[name][f"{sigma:g}"].append(-10 * float(np.log10(error)))
                images.append(denoised)
            if (
                len(rows) < 8
                and number % 2 == len(rows) % 2
                and sigma == sigmas[len(rows) % len(sigmas)]
            ):
                rows.append([clean, *images])
        if (number + 1) % 10 == 0:
            say(f"{number + 1} of {len(pictures)} pictures")
    return found, rows


def text_table(found: dict[str, dict[str, list[float]]]) -> str:
    """A line per method, a column per noise level: mean dB over the pictures."""
    sigmas = list(next(iter(found.values())))
    lines = ["PSNR in dB by sigma   " + "".join(f"{sigma:>8}" for sigma in sigmas)]
    for name, by_sigma in found.items():
        cells = "".join(f"{np.mean(by_sigma[sigma]):8.2f}" for sigma in sigmas)
        lines.append(f"{name:22}{cells}")
    return "\n".join(lines)


def save_grid(rows: Sequence[Sequence[Image]], names: Sequence[str], path: Path) -> None:
    """One row per picture: the clean view, then each method's."""
    import cv2

    strips = [_bytes(np.concatenate(row, axis=1)) for row in rows]
    grid = np.concatenate(strips)[..., ::-1].copy()
    side = rows[0][0].shape[1]
    for column, name in enumerate(names):
        place = (column * side + 4, 14)
        for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(
                grid, name, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, width, cv2.LINE_AA
            )
    if not cv2.imwrite(str(path), grid):
        raise SourceError(f"{path} cannot be written")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write `psnr.json` and `psnr.png`."""
    parser = argparse.ArgumentParser(
        prog="python -m blurvote.benchmarks.robustness.psnr",
        description=(__doc__ or "").splitlines()[0],
        epilog="example: python -m blurvote.benchmarks.robustness.psnr pictures/ --count 60",
    )
    parser.add_argument("pictures", type=Path, help="a folder of pictures")
    parser.add_argument(
        "--denoiser", action="append", default=[], metavar="NAME=ONNX", help="one more to compare"
    )
    parser.add_argument(
        "--count", type=positive_int, default=60, help="pictures, spread over the folder"
    )
    parser.add_argument("--seed", type=natural, default=0)
    parser.add_argument("--out", type=Path, default=Path("lab-output/psnr"))
    args = parser.parse_args(arguments)
    try:
        given = dict(item.split("=", 1) for item in args.denoiser)
    except ValueError:
        parser.error("--denoiser takes NAME=ONNX, such as ffdnet=ffdnet.onnx")
    paths = sorted(
        p for p in args.pictures.rglob("*") if p.suffix.lower() in (".jpeg", ".jpg", ".png")
    )
    if not paths:
        print(f"error: {args.pictures} holds no pictures", file=sys.stderr)
        return 2
    chosen = [
        paths[k] for k in np.linspace(0, len(paths) - 1, min(args.count, len(paths))).astype(int)
    ]
    try:
        compared = methods({name: Path(path) for name, path in given.items()})
        found, rows = measure(
            chosen, compared, SIGMAS, args.seed, lambda line: print(line, file=sys.stderr)
        )
        print(text_table(found))
        args.out.mkdir(parents=True, exist_ok=True)
        document: dict[str, Any] = {
            "pictures": len(chosen),
            "seed": args.seed,
            "psnr_db": {
                name: {sigma: float(np.mean(values)) for sigma, values in by_sigma.items()}
                for name, by_sigma in found.items()
            },
        }
        (args.out / "psnr.json").write_text(json.dumps(document, indent=1) + "\n")
        save_grid(rows, ["clean", *compared], args.out / "psnr.png")
    except (BlurvoteError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
