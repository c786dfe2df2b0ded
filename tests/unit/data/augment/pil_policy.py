"""The reference: the views as plain PIL calls on one image, with every parameter given. Imports nothing of ferbench."""

import random
from collections.abc import Callable

from PIL import Image, ImageDraw, ImageEnhance, ImageOps

Picture = Image.Image


def _affine(image: Picture, *matrix: float) -> Picture:
    return image.transform(image.size, Image.Transform.AFFINE, matrix)


# name: (operation(image, magnitude), lowest magnitude, highest magnitude)
OPERATIONS: dict[str, tuple[Callable[[Picture, float], Picture], float, float]] = {
    "AUTOCONTRAST": (lambda image, _: ImageOps.autocontrast(image), 0, 0),
    "BRIGHTNESS": (lambda image, v: ImageEnhance.Brightness(image).enhance(v), 0.05, 0.95),
    "COLOR": (lambda image, v: ImageEnhance.Color(image).enhance(v), 0.05, 0.95),
    "CONTRAST": (lambda image, v: ImageEnhance.Contrast(image).enhance(v), 0.05, 0.95),
    "EQUALIZE": (lambda image, _: ImageOps.equalize(image), 0, 0),
    "IDENTITY": (lambda image, _: image, 0, 0),
    "POSTERIZE": (lambda image, v: ImageOps.posterize(image, int(v)), 4, 8),
    "ROTATE": (lambda image, v: image.rotate(v), -30, 30),
    "SHARPNESS": (lambda image, v: ImageEnhance.Sharpness(image).enhance(v), 0.05, 0.95),
    "SHEAR_X": (lambda image, v: _affine(image, 1, v, 0, 0, 1, 0), -0.3, 0.3),
    "SHEAR_Y": (lambda image, v: _affine(image, 1, 0, 0, v, 1, 0), -0.3, 0.3),
    "SOLARIZE": (lambda image, v: ImageOps.solarize(image, v), 0, 256),  # type: ignore[arg-type]
    "TRANSLATE_X": (lambda image, v: _affine(image, 1, 0, v * image.width, 0, 1, 0), -0.3, 0.3),
    "TRANSLATE_Y": (lambda image, v: _affine(image, 1, 0, 0, 0, 1, v * image.height), -0.3, 0.3),
}


def apply(image: Picture, name: str, magnitude: float) -> Picture:
    """One operation of RandAugment."""
    return OPERATIONS[name][0](image, magnitude)


def cutout_corners(width: int, height: int, side: float, x: float, y: float) -> tuple[float, float, float, float]:
    """The square of `side` pixels about (x, y) as the official code hands it to PIL."""
    x0 = int(max(0, x - side / 2))
    y0 = int(max(0, y - side / 2))
    return x0, y0, min(width, x0 + side), min(height, y0 + side)


def cutout(image: Picture, corners: tuple[float, float, float, float]) -> Picture:
    """A filled rectangle on a copy."""
    image = image.copy()
    ImageDraw.Draw(image).rectangle(corners, (125, 123, 114))
    return image


def weak(image: Picture, dx: int, dy: int, flip: bool) -> Picture:
    """The crop that starts at (dx, dy), black outside the image, then the flip."""
    image = image.crop((dx, dy, dx + image.width, dy + image.height))
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else image


def strong(image: Picture, randomness: random.Random) -> Picture:
    """The whole policy with its own draws: what a data loader would run per image."""
    for _ in range(3):
        operation, low, high = OPERATIONS[randomness.choice(_NAMES)]
        image = operation(image, randomness.uniform(low, high))
    width, height = image.size
    side = randomness.uniform(0, 0.5) * width
    centre = randomness.uniform(0, width), randomness.uniform(0, height)
    image = cutout(image, cutout_corners(width, height, side, *centre))
    moved = randomness.random() < 0.5
    dx, dy = (randomness.randint(-4, 4) if moved else 0 for _ in range(2))
    return weak(image, dx, dy, randomness.random() < 0.5)


_NAMES = list(OPERATIONS)
