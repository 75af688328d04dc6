"""The camera of the drawn world: turns a composed scene and one shot into a frame.

It is a pinhole whose principal point follows the sign, as a zoomed traffic-sign camera does: with
the sign so many pixels wide and centred at a chosen point, the horizon and everything else follow
from where the sign stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from blurvote.runtime.demo.pen import Colour, Layer, Pixels, Points, as_u8, rectangle, to_u8
from blurvote.runtime.demo.scenery import (
    GROUND_LEFT_M,
    GROUND_PX_PER_M,
    GROUND_ROWS_PER_M,
    Floats,
)
from blurvote.runtime.demo.sprites import Sprite

FRAME_HEIGHT = 240
FRAME_WIDTH = 320

SIGN_M = 0.95
_CAMERA_HEIGHT_M = 1.4
_FAR_M = 22.0
"""Beyond this distance one picture row spans several ground rows: they are averaged first."""
_FAR_SHRINK = 4
_NOISE_UNIT = 32
"""Grey levels that one standard deviation takes in the stored sensor noise."""


@dataclass(frozen=True)
class Shot:
    """Where a frame sees the sign (width and centre, in pixels), and how far it smears."""

    sign_px: float
    u: float
    v: float
    smear_u: float
    smear_v: float


@dataclass(frozen=True)
class Prop:
    """An object beside the road, ``behind_sign_m`` farther away than the sign."""

    sprite: Sprite
    x_m: float
    behind_sign_m: float


@dataclass(frozen=True)
class Placement:
    """Where the sign stands, seen from the camera's path, and the lens."""

    focal_px: float
    sign_x_m: float
    sign_above_camera_m: float

    def distance_m(self, shot: Shot) -> float:
        """Tell how far away the sign is."""
        return self.focal_px * SIGN_M / shot.sign_px

    def vanishing_point(self, shot: Shot) -> tuple[float, float]:
        """Tell the column and the row at which the road meets the horizon."""
        px_per_m = shot.sign_px / SIGN_M
        return (
            shot.u - px_per_m * self.sign_x_m,
            shot.v + px_per_m * self.sign_above_camera_m,
        )


@dataclass(frozen=True)
class Scene:
    """All that stays the same while the car approaches one sign.

    face: the lit sign. corners: (4, 3) float64, the corners of its picture in sign radii, turned,
    z away from the camera. props: farthest first. backdrop: (h, w, 3) uint8, drawn for a vanishing
    point at column ``backdrop_u`` and row ``backdrop_v``. shade: (FRAME_HEIGHT, FRAME_WIDTH, 3)
    uint8, 200 leaves a pixel as it is. tones: (1, 256, 3) uint8 look-up table.
    sensor_noise: in grey levels.
    """

    placement: Placement
    face: tuple[Layer, ...]
    corners: Points
    plate: bool
    props: tuple[Prop, ...]
    haze: Colour
    ground: Pixels
    backdrop: Pixels
    backdrop_u: float
    backdrop_v: float
    shade: Pixels
    tones: Pixels
    focus_sigma_px: float
    sensor_noise: float
    jpeg_quality: int | None


def render(scene: Scene, shot: Shot, rng: np.random.Generator) -> Pixels:
    """Take one frame: (FRAME_HEIGHT, FRAME_WIDTH, 3) uint8 RGB."""
    u, v = scene.placement.vanishing_point(shot)
    sign_z = scene.placement.distance_m(shot)
    centre = (
        scene.backdrop_u - u + (FRAME_WIDTH - 1) / 2,
        scene.backdrop_v - v + (FRAME_HEIGHT - 1) / 2,
    )
    frame = as_u8(cv2.getRectSubPix(scene.backdrop, (FRAME_WIDTH, FRAME_HEIGHT), centre))
    _lay_ground(frame, scene, u, v, sign_z)
    for prop in scene.props:
        distance = sign_z + prop.behind_sign_m
        px_per_m = scene.placement.focal_px / distance
        width, height = prop.sprite.width_m * px_per_m, prop.sprite.height_m * px_per_m
        left = u + prop.x_m * px_per_m - width / 2
        top = v + _CAMERA_HEIGHT_M * px_per_m - height
        mist = min(0.6, distance / 260)
        _lay_sprite(frame, prop.sprite.layers, (left, top, width, height), scene.haze, mist)
    _lay_sign(frame, scene, shot, sign_z)
    lit = cv2.multiply(frame, scene.shade, scale=1 / 200)
    return _expose(as_u8(cv2.LUT(lit, scene.tones)), scene, shot, rng)


def _lay_ground(frame: Pixels, scene: Scene, u: float, v: float, sign_z: float) -> None:
    first = max(0, int(np.floor(v)) + 2)
    if first >= FRAME_HEIGHT:
        return
    rows = np.arange(first, FRAME_HEIGHT, dtype=np.float32) - np.float32(v)
    depth_m = np.float32(scene.placement.focal_px * _CAMERA_HEIGHT_M) / rows
    # The sign stands at z = 0 of the ground, so its lines run towards the car as it drives.
    along = (depth_m - np.float32(sign_z)) * GROUND_ROWS_PER_M
    columns = np.arange(FRAME_WIDTH, dtype=np.float32) - np.float32(u)
    across = columns[None] * (depth_m / np.float32(scene.placement.focal_px))[:, None]
    across = (across - np.float32(GROUND_LEFT_M)) * GROUND_PX_PER_M
    split = int(np.searchsorted(-depth_m, -_FAR_M))
    coarse = as_u8(cv2.blur(scene.ground, (5, _FAR_SHRINK)))
    parts = [
        _look_up(ground, across[part], along[part])
        for ground, part in ((coarse, slice(0, split)), (scene.ground, slice(split, None)))
        if across[part].size
    ]
    mist = np.clip(depth_m / 260, 0, 0.75)[:, None, None]
    seen = np.concatenate(parts).astype(np.float32)
    frame[first:] = seen + (np.asarray(scene.haze, np.float32) - seen) * mist


def _look_up(ground: Pixels, across: Floats, along: Floats) -> Pixels:
    """Sample the ground, which repeats along the road: two (h, w)-like maps to (h, w, 3)."""
    rows = np.broadcast_to(np.mod(along, ground.shape[0])[:, None], across.shape)
    return as_u8(
        cv2.remap(
            ground, across, np.ascontiguousarray(rows), cv2.INTER_LINEAR, None, cv2.BORDER_REFLECT
        )
    )


def _lay_sprite(
    frame: Pixels,
    layers: Sequence[Layer],
    box: tuple[float, float, float, float],
    haze: Colour,
    mist: float,
) -> None:
    """Lay a sprite into ``box`` (left, top, width, height), with ``mist`` in [0, 1] before it."""
    left, top, width, height = box
    x0, y0 = max(0, int(np.floor(left))), max(0, int(np.floor(top)))
    x1 = min(FRAME_WIDTH, int(np.ceil(left + width)))
    y1 = min(FRAME_HEIGHT, int(np.ceil(top + height)))
    if x1 <= x0 or y1 <= y0:
        return
    layer = _nearest(layers, max(width, height))
    rows, columns = layer.clear.shape[:2]
    x_scale, y_scale = width / columns, height / rows
    matrix = np.array(
        [
            [x_scale, 0, left - x0 + x_scale / 2 - 0.5],
            [0, y_scale, top - y0 + y_scale / 2 - 0.5],
        ]
    )
    size = (x1 - x0, y1 - y0)
    colour = cv2.warpAffine(layer.colour, matrix, size, flags=cv2.INTER_LINEAR)
    clear = cv2.warpAffine(
        layer.clear, matrix, size, flags=cv2.INTER_LINEAR, borderValue=(255, 255, 255)
    )
    if mist > 0.04:
        # Four numbers: OpenCV takes them for one value per channel.
        air = cv2.multiply(cv2.bitwise_not(clear), np.array([*haze, 0.0]), scale=mist / 255)
        colour = cv2.addWeighted(colour, 1 - mist, air, 1, 0)
    below = frame[y0:y1, x0:x1]
    below[:] = cv2.add(cv2.multiply(below, clear, scale=1 / 255), colour)


def _nearest(layers: Sequence[Layer], pixels: float) -> Layer:
    """Choose the smallest layer that is at least about as large as it will be shown."""
    for layer in reversed(layers):
        if max(layer.clear.shape[:2]) >= 0.8 * pixels:
            return layer
    return layers[0]


def _lay_sign(frame: Pixels, scene: Scene, shot: Shot, sign_z: float) -> None:
    radius = shot.sign_px / 2
    above_ground = _CAMERA_HEIGHT_M + scene.placement.sign_above_camera_m
    foot = above_ground / (SIGN_M / 2)
    for left, right, grey in ((-0.076, 0.076, 96), (-0.057, 0.027, 158), (-0.03, 0.0, 186)):
        _box(frame, shot, (left, -0.3, right, foot), grey)
    if scene.plate:
        _box(frame, shot, (-0.8, 1.14, 0.8, 1.64), 60)
        _box(frame, shot, (-0.76, 1.18, 0.76, 1.6), 226)
        for row in (1.31, 1.44):
            _box(frame, shot, (-0.5, row - 0.03, 0.5, row + 0.03), 70)
    # Perspective inside the sign: corners that are turned away are a little farther.
    shrink = 1 / (1 + scene.corners[:, 2:] * (SIGN_M / 2) / sign_z)
    corners = scene.corners[:, :2] * radius * shrink + (shot.u, shot.v)
    layer = _nearest(scene.face, shot.sign_px)
    side = float(layer.clear.shape[0]) - 0.5
    picture = np.array([(-0.5, -0.5), (side, -0.5), (side, side), (-0.5, side)], np.float32)
    x0, y0 = (max(0, int(np.floor(low)) - 1) for low in corners.min(axis=0))
    x1 = min(FRAME_WIDTH, int(np.ceil(corners[:, 0].max())) + 2)
    y1 = min(FRAME_HEIGHT, int(np.ceil(corners[:, 1].max())) + 2)
    matrix = cv2.getPerspectiveTransform(picture, (corners - (x0, y0)).astype(np.float32))
    size = (x1 - x0, y1 - y0)
    colour = cv2.warpPerspective(layer.colour, matrix, size, flags=cv2.INTER_LINEAR)
    clear = cv2.warpPerspective(
        layer.clear, matrix, size, flags=cv2.INTER_LINEAR, borderValue=(255, 255, 255)
    )
    below = frame[y0:y1, x0:x1]
    below[:] = cv2.add(cv2.multiply(below, clear, scale=1 / 255), colour)


def _box(frame: Pixels, shot: Shot, box: tuple[float, float, float, float], grey: int) -> None:
    """Fill a box (left, top, right, bottom) given in sign radii from the sign's centre."""
    fixed = (rectangle(*box) * (shot.sign_px / 2) + (shot.u, shot.v)) * 16
    corners = [np.rint(fixed).astype(np.int32)]
    cv2.fillPoly(frame, corners, (grey, grey, grey + 3), cv2.LINE_AA, 4)


def _expose(frame: Pixels, scene: Scene, shot: Shot, rng: np.random.Generator) -> Pixels:
    """Add what lens, shutter, sensor and encoder add."""
    length = float(np.hypot(shot.smear_u, shot.smear_v))
    if length > 0.6:
        frame = as_u8(cv2.filter2D(frame, -1, _smear(shot.smear_u, shot.smear_v)))
    if scene.focus_sigma_px > 0.2:
        frame = as_u8(cv2.GaussianBlur(frame, (3, 3), scene.focus_sigma_px))
    noise = _sensor_noise(rng)
    gain = scene.sensor_noise / _NOISE_UNIT
    frame = as_u8(cv2.addWeighted(frame, 1, noise, gain, -128 * gain))
    if scene.jpeg_quality is not None:
        _, file = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, scene.jpeg_quality])
        frame = as_u8(np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR)))
    return frame


def _smear(across: float, down: float) -> Floats:
    """Make a line kernel of the given extent in pixels, normalised: (k, k) float32."""
    reach = int(np.ceil(max(abs(across), abs(down)) / 2))
    kernel = np.zeros((2 * reach + 2, 2 * reach + 2), np.float32)
    for step in np.linspace(-0.5, 0.5, 33):
        x, y = reach + step * across, reach + step * down
        column, row = int(x), int(y)
        right, below = x - column, y - row
        kernel[row : row + 2, column : column + 2] += np.outer(
            (1 - below, below), (1 - right, right)
        ).astype(np.float32)
    return np.asarray(kernel[:-1, :-1] / kernel.sum(), np.float32)


@cache
def _noise_tile() -> Pixels:
    shape = (FRAME_HEIGHT + 64, FRAME_WIDTH + 64, 3)
    return to_u8(np.random.default_rng(5).normal(128, _NOISE_UNIT, shape))


def _sensor_noise(rng: np.random.Generator) -> Pixels:
    """Cut sensor noise at a random place from one stored picture: drawing it anew costs more."""
    y, x = rng.integers(0, 64, 2)
    return _noise_tile()[y : y + FRAME_HEIGHT, x : x + FRAME_WIDTH]
