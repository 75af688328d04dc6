"""Sensor faults, laid over frames as they come from the camera, each at a chosen severity.

Gaussian noise, as the blog adds it, has a standard deviation for a severity. Shot, impulse and
speckle noise, JPEG, defocus and motion blur take the five severities of ImageNet-C (Hendrycks and
Dietterich 2019, arXiv 1903.12261); low light, which ImageNet-C does not have, takes five of ours.

Two things differ from ImageNet-C, because frames here keep their native size:

- **Blur kernels grow with the frame.** ImageNet-C degrades pictures whose short side was first
  resized to 256 pixels, so a radius of `r` pixels there is `r / 256` of the short side here (the
  centre crop to 224 cuts the picture and scales nothing). The same rule takes the defocus radii to
  0.4 to 1.25 pixels at 32 x 32, close to the 0.3 to 1.5 that the authors chose for CIFAR-10-C.
- **Noise and JPEG stay per native pixel**, as a sensor and an encoder make them. A guard that
  shrinks a large frame averages much of the noise away, so figures on large frames are not
  comparable with published ImageNet-C errors. ImageNet-C also stores its pictures as JPEG of
  quality 85 afterwards, which is not done here.
"""

from blurvote.benchmarks.robustness.degradations.specification import (
    BLOG_SIGMAS,
    NAMES,
    SEVERITIES,
    Degradation,
    Delivery,
    parse_degradations,
)

__all__ = [
    "BLOG_SIGMAS",
    "NAMES",
    "SEVERITIES",
    "Degradation",
    "Delivery",
    "parse_degradations",
]
