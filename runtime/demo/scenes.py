"""Drawn road scenes and a drawn camera clip, each with one road sign of a known class.

Everything comes from the generator or the seed that is handed in: the same seed gives the same
pixels (on one version of OpenCV, whose filters may round differently in another).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from blurvote.runtime.demo.camera import (
    FRAME_HEIGHT,
    FRAME_WIDTH,
    Placement,
    Prop,
    Scene,
    Shot,
    render,
)
from blurvote.runtime.demo.pen import Layer, Pixels, Points, as_u8, to_u8
from blurvote.runtime.demo.scenery import (
    Stock,
    Weather,
    draw_backdrop,
    held_out_stock,
    training_stock,
)
from blurvote.runtime.demo.signs import CLASSES, FACE_RADIUS, sign_face

__all__ = [
    "CLASSES",
    "FRAME_HEIGHT",
    "FRAME_WIDTH",
    "ClipFrame",
    "add_noise",
    "draw_clip",
    "draw_scene",
]

_CLIP_STREAM = 2
"""Mixed into the clip's seed, so that no clip shares random numbers with a plain seed."""


@dataclass(frozen=True)
class ClipFrame:
    """One frame of the clip.

    pixels: (FRAME_HEIGHT, FRAME_WIDTH, 3) uint8 RGB. label: index of ``CLASSES``.
    sign_px: the sign's width. time_s: time since the clip began.
    """

    pixels: Pixels
    label: int
    sign_px: float
    time_s: float


def draw_scene(
    label: int,
    rng: np.random.Generator,
    *,
    scenery: Literal["training", "held_out"] = "training",
) -> Pixels:
    """Draw one scene with a sign of class ``label`` near the middle of the picture.

    Returns (FRAME_HEIGHT, FRAME_WIDTH, 3) uint8 RGB.
    """
    size = float(np.exp(rng.uniform(np.log(31), np.log(122))))
    room = max(8.0, 104 - size / 2)
    reach_u, reach_v = min(44.0, room), min(26.0, room)
    speed = rng.uniform(0, 4) * rng.uniform(0, 1)
    direction = rng.uniform(0, np.pi)
    shot = Shot(
        sign_px=size,
        u=FRAME_WIDTH / 2 + rng.uniform(-reach_u, reach_u),
        v=FRAME_HEIGHT / 2 + rng.uniform(-reach_v, reach_v),
        smear_u=speed * np.cos(direction),
        smear_v=speed * np.sin(direction),
    )
    stock = training_stock() if scenery == "training" else held_out_stock()
    return render(_compose(label, rng, stock, [shot]), shot, rng)


def draw_clip(
    seed: int, *, frames_per_sign: int = 24, frames_per_s: float = 15.0
) -> Iterator[ClipFrame]:
    """Drive past one sign of every class, in an order that the seed chooses.

    Yields ``len(CLASSES) * frames_per_sign`` frames; the picture cuts from sign to sign.
    """
    rng = np.random.default_rng([_CLIP_STREAM, seed])
    count = 0
    for label in rng.permutation(len(CLASSES)):
        shots = _approach(rng, frames_per_sign)
        scene = _compose(int(label), rng, held_out_stock(), shots)
        for shot in shots:
            yield ClipFrame(
                render(scene, shot, rng), int(label), shot.sign_px, count / frames_per_s
            )
            count += 1


def add_noise(frame: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    """Add Gaussian noise to (H, W, 3) uint8, clamped and rounded back to 8 bits.

    sigma: standard deviation on the scale where the frame's values span [0, 1].
    """
    noisy = rng.standard_normal(frame.shape, dtype=np.float32) * np.float32(sigma * 255)
    noisy += frame
    return to_u8(noisy)


def _approach(rng: np.random.Generator, frames: int) -> list[Shot]:
    """Plan a drive at constant speed towards a sign: it grows as one over the distance."""
    first, last = rng.uniform(34, 41), rng.uniform(98, 114)
    sizes = 1 / np.linspace(1 / first, 1 / last, frames)
    t = np.arange(frames + 1) / max(1, frames)
    u = np.linspace(rng.uniform(148, 166), rng.uniform(166, 190), frames + 1)
    v = np.linspace(rng.uniform(112, 126), rng.uniform(104, 118), frames + 1)
    for swing, cycles in ((2.6, 1.1), (1.4, 2.7), (0.7, 5.3)):
        u += swing * np.sin(2 * np.pi * (cycles * t + rng.random()))
        v += swing * 0.8 * np.sin(2 * np.pi * (cycles * t + rng.random()))
    # The shutter stays open for half of the time between two frames.
    smear_u, smear_v = np.diff(u) / 2, np.diff(v) / 2
    return [
        Shot(*map(float, row)) for row in zip(sizes, u[:-1], v[:-1], smear_u, smear_v, strict=True)
    ]


def _compose(label: int, rng: np.random.Generator, stock: Stock, shots: Sequence[Shot]) -> Scene:
    """Choose weather, place, light and lens for one sign, seen by all of ``shots``."""
    weather = stock.weathers[int(rng.integers(len(stock.weathers)))]
    placement = Placement(
        focal_px=float(rng.uniform(560, 960)),
        sign_x_m=float(rng.uniform(1.5, 2.3)),
        sign_above_camera_m=float(rng.uniform(0.25, 0.5)),
    )
    points = np.array([placement.vanishing_point(shot) for shot in shots])
    (u_low, v_low), (u_high, v_high) = points.min(axis=0), points.max(axis=0)
    backdrop = draw_backdrop(
        stock,
        weather,
        rng,
        width=FRAME_WIDTH + int(np.ceil(u_high - u_low)) + 1,
        height=FRAME_HEIGHT + int(np.ceil(v_high - v_low)) + 1,
        horizon_row=float(v_high),
    )
    return Scene(
        placement=placement,
        face=_light(label, rng),
        corners=_turned(rng),
        plate=bool(rng.random() < 0.2),
        props=_props(rng, stock, placement, shots),
        haze=weather.horizon,
        ground=stock.grounds[int(rng.integers(len(stock.grounds)))],
        backdrop=backdrop,
        backdrop_u=float(u_high),
        backdrop_v=float(v_high),
        shade=_shade(rng),
        tones=_tones(rng, weather),
        focus_sigma_px=float(rng.uniform(0, 0.6)),
        sensor_noise=float(255 * rng.uniform(0.003, 0.025)),
        jpeg_quality=int(rng.integers(60, 96)) if rng.random() < 0.3 else None,
    )


def _turned(rng: np.random.Generator) -> Points:
    """Turn the corners of the sign's picture about three axes: (4, 3) float64 in sign radii."""
    yaw, pitch, roll = np.radians(rng.normal(0, (14, 5, 3)))
    side = 1 / FACE_RADIUS
    flat = np.array([(-side, -side, 0), (side, -side, 0), (side, side, 0), (-side, side, 0)])
    about_z = [[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]]
    about_x = [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
    about_y = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
    turn = np.array(about_y) @ np.array(about_x) @ np.array(about_z)
    return np.asarray(flat @ turn.T, np.float64)


def _light(label: int, rng: np.random.Generator) -> tuple[Layer, ...]:
    """Light the sign: a soft gradient, and now and then the edge of a shadow across it."""
    y, x = np.mgrid[-1:1:32j, -1:1:32j]
    slope = rng.normal(0, 0.09, 2)
    light = rng.uniform(0.74, 1.04) + slope[0] * x + slope[1] * y
    if rng.random() < 0.35:
        turn = rng.uniform(0, 2 * np.pi)
        edge = x * np.cos(turn) + y * np.sin(turn) - rng.uniform(-0.7, 0.7)
        wave = 0.12 * np.sin(5 * (x * np.sin(turn) - y * np.cos(turn)) + rng.uniform(0, 6))
        light *= 1 - rng.uniform(0.25, 0.5) / (1 + np.exp(-14 * (edge + wave)))
    gain = to_u8(light * 200)
    lit: list[Layer] = []
    for layer in sign_face(label)[1:]:
        side = layer.clear.shape[0]
        spread = cv2.cvtColor(cv2.resize(gain, (side, side)), cv2.COLOR_GRAY2RGB)
        lit.append(Layer(as_u8(cv2.multiply(layer.colour, spread, scale=1 / 200)), layer.clear))
    return tuple(lit)


def _props(
    rng: np.random.Generator, stock: Stock, placement: Placement, shots: Sequence[Shot]
) -> tuple[Prop, ...]:
    """Scatter objects over the picture of the middle shot, but not onto the road."""
    shot = shots[len(shots) // 2]
    u, _ = placement.vanishing_point(shot)
    sign_z = placement.distance_m(shot)
    props: list[Prop] = []
    for kind, count, nearest_m, farthest_m, kerb_m in (
        (stock.tall, int(rng.integers(7, 13)), 16.0, 85.0, 6.0),
        (stock.low, int(rng.integers(2, 6)), 9.0, 40.0, 3.4),
    ):
        for _ in range(count):
            behind = float(nearest_m * (farthest_m / nearest_m) ** rng.random())
            at_u = rng.uniform(-40, FRAME_WIDTH + 60)
            x = float((at_u - u) * (sign_z + behind) / placement.focal_px)
            sprite = kind[int(rng.integers(len(kind)))]
            reach = sprite.width_m / 2
            right, left = kerb_m + reach, -7.5 - reach
            if left < x < right:
                x = right if x > (left + right) / 2 or rng.random() < 0.5 else left
            props.append(Prop(sprite, x, behind))
    return tuple(sorted(props, key=lambda prop: -prop.behind_sign_m))


def _shade(rng: np.random.Generator) -> Pixels:
    """Uneven light over the picture; 200 leaves a pixel as it is."""
    patches = rng.uniform(178, 218, (3, 4)).astype(np.float32)
    smooth = cv2.resize(patches, (FRAME_WIDTH, FRAME_HEIGHT), interpolation=cv2.INTER_CUBIC)
    grey = to_u8(np.asarray(smooth, np.float32))
    return as_u8(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB))


def _tones(rng: np.random.Generator, weather: Weather) -> Pixels:
    """Exposure, contrast, gamma and colour cast as a table: (1, 256, 3) uint8."""
    value = np.linspace(0, 1, 256)[:, None]
    gain = weather.gain * rng.uniform(0.9, 1.15)
    contrast, gamma = rng.uniform(0.82, 1.08), rng.uniform(0.85, 1.15)
    cast = np.asarray(weather.cast) * rng.normal(1, 0.018, 3)
    curve = gain * cast * ((value - 0.5) * contrast + 0.5).clip(0, 1) ** gamma
    return to_u8(curve * 255)[None]
