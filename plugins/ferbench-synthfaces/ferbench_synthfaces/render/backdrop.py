"""Everything behind and in front of the head: backgrounds, glasses, patches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ferbench_synthfaces.render.assets import Assets
from ferbench_synthfaces.render.camera import Camera
from ferbench_synthfaces.render.identity import Colour

Floats = NDArray[np.float32]


def background(size: int, rng: np.random.Generator) -> Floats:
    """A background (size, size, 3): a gradient between two muted colours, in 60 % of the images with soft blotches."""
    saturation = rng.uniform(0.1, 0.6)
    first, second = _mute(rng.uniform(0.05, 0.95, (2, 3)), saturation)
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    ramp = np.clip(0.5 + x * np.cos(angle) + y * np.sin(angle), 0, 1)[..., None]
    picture = first * (1 - ramp) + second * ramp
    if rng.random() < 0.6:
        coarse = rng.integers(0, 256, (*rng.integers(3, 9, 2), 3), np.uint8)
        smooth = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
        picture = 0.5 * picture + 0.5 * _mute(np.asarray(smooth) / 255, saturation)
    return picture.astype(np.float32)


def _mute(colour: NDArray[np.float64], saturation: float) -> NDArray[np.float64]:
    grey = colour.mean(-1, keepdims=True)
    return grey + (colour - grey) * saturation


def draw_glasses(picture: Floats, frame: Colour, assets: Assets, skin: Floats, camera: Camera) -> Floats:
    """Rounded frames around the eyes of a head with `skin` vertices (V, 3), drawn over the picture."""
    image, draw = _open(picture)
    width, colour = max(1, int(camera.canvas * 0.014)), _rgb(frame)

    def stroke(points: list[list[float]] | Floats) -> None:
        pixels = camera.to_canvas(camera.view(np.asarray(points, np.float32)))
        draw.line([(float(x), float(y)) for x, y in pixels], fill=colour, width=width)

    right, left = assets.eye_centres_of(skin)
    for side, (x, y, z) in ((-1, right), (1, left)):
        turn = np.linspace(0, 2 * np.pi, 24)
        across, upward = _rounded(np.cos(turn)), _rounded(np.sin(turn))
        swept_back = 0.1 * np.abs(across) * (side * across > 0)  # the outer half follows the head's curve
        stroke(np.stack([x + 0.24 * across, y - 0.02 + 0.17 * upward, z + 0.33 - swept_back], 1))
        if side * np.radians(camera.pose.yaw) <= 0.12:  # the far temple is hidden by the head
            stroke([[x + side * 0.24, y, z + 0.23], [x + side * 0.5, y - 0.02, z - 0.7]])
    stroke([[right[0] + 0.24, right[1], right[2] + 0.33], [left[0] - 0.24, left[1], left[2] + 0.33]])
    return _close(image)


def _rounded(wave: NDArray[np.float64]) -> NDArray[np.float64]:
    """A coordinate of a circle, moved towards that of a rounded square."""
    return np.sign(wave) * np.abs(wave) ** 0.75


def draw_patch(picture: Floats, skin: Colour, rng: np.random.Generator) -> Floats:
    """A hand-coloured or random flat patch, a rectangle or an ellipse, anywhere on the picture."""
    image, draw = _open(picture)
    size = len(picture)
    width, height = rng.uniform(0.18, 0.45, 2) * size
    x, y = rng.uniform(0.05, 0.95, 2) * size
    fill = _rgb(skin * np.float32(0.7) if rng.random() < 0.5 else rng.uniform(0.04, 0.94, 3).astype(np.float32))
    shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
    shape((x - width / 2, y - height / 2, x + width / 2, y + height / 2), fill=fill)
    return _close(image)


def _open(picture: Floats) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.fromarray((picture.clip(0, 1) * 255).astype(np.uint8))
    return image, ImageDraw.Draw(image)


def _close(image: Image.Image) -> Floats:
    return np.asarray(image, np.float32) / np.float32(255)


def _rgb(colour: Colour) -> tuple[int, int, int]:
    red, green, blue = (int(255 * value) for value in colour)
    return red, green, blue
