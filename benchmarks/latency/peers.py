"""How others would make the three views of a frame, each in its best reasonable layout.

All take `(H, W, 3)` uint8 pixels and return what the backbone eats: `(3, 3, 224, 224)` float32,
clean, single-blur and double-blur, ImageNet-normalised.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blurvote.runtime import Defense

__all__ = ["BLOG", "kornia_views", "opencv_area_views", "opencv_fastest_views", "to_tensor"]

BLOG = Defense()
_KERNEL, _SIGMA = (5, 5), (1.0, 1.0)
_MEAN = np.array(BLOG.mean, np.float32)
_STD = np.array(BLOG.std, np.float32)


def to_tensor(frame: NDArray[np.uint8]) -> Any:
    """torchvision's `ToTensor`: contiguous (1, 3, H, W) float32 in [0, 1]."""
    import torchvision.transforms.functional as transforms

    return transforms.to_tensor(frame)[None]


def kornia_views(image: Any) -> Any:
    """The blog's code: kornia's blur, torchvision's resize, crop and normalise; from a tensor."""
    import kornia
    import torch
    import torchvision.transforms.functional as transforms

    views = []
    for passes in BLOG.passes:
        if passes:
            image = kornia.filters.gaussian_blur2d(image, _KERNEL, _SIGMA)
        view = transforms.resize(image, [256], antialias=True)
        view = transforms.center_crop(view, [224, 224])
        views.append(transforms.normalize(view, list(BLOG.mean), list(BLOG.std)))
    return torch.cat(views)


def opencv_area_views(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """OpenCV with an antialiasing resize (INTER_AREA), 8-bit in between, NumPy for the rest."""
    views = np.empty((3, 3, 224, 224), np.float32)
    for k in BLOG.passes:
        if k:
            frame = _blur(frame)
        small = _crop(cv2.resize(frame, _target(frame), interpolation=cv2.INTER_AREA))
        views[k] = ((small.astype(np.float32) / 255 - _MEAN) / _STD).transpose(2, 0, 1)
    return views


def opencv_fastest_views(frame: NDArray[np.uint8]) -> Any:
    """OpenCV's fastest way: INTER_LINEAR, which aliases, and one blob for the three views."""
    crops = []
    for k in BLOG.passes:
        if k:
            frame = _blur(frame)
        crops.append(_crop(cv2.resize(frame, _target(frame), interpolation=cv2.INTER_LINEAR)))
    parameters = cv2.dnn.Image2BlobParams()
    parameters.scalefactor = tuple(1 / (255 * s) for s in BLOG.std)
    parameters.mean = tuple(255 * m for m in BLOG.mean)
    return cv2.dnn.blobFromImagesWithParams(crops, parameters)


def _blur(frame: NDArray[np.uint8]) -> Any:
    return cv2.GaussianBlur(frame, _KERNEL, 1.0)


def _target(frame: NDArray[np.uint8]) -> tuple[int, int]:
    height, width = frame.shape[:2]
    if width <= height:
        return 256, int(256 * height / width)
    return int(256 * width / height), 256


def _crop(image: Any) -> Any:
    top, left = round((image.shape[0] - 224) / 2), round((image.shape[1] - 224) / 2)
    return image[top : top + 224, left : left + 224]
