"""Light: a key light with a soft shadow, sky light, a weak fill, and a tone curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferbench_synthfaces.render.assets import Part
from ferbench_synthfaces.render.difficulty import Difficulty
from ferbench_synthfaces.render.rasterizer import visible_along
from ferbench_synthfaces.render.surface import Surface
from ferbench_synthfaces.render.vectors import dot, unit

Floats = NDArray[np.float32]

DISPLAY_TO_LINEAR = 1.8  # painted colours are display-referred
SHADOW_TAPS = 4
INNER_PARTS = (Part.TEETH, Part.TONGUE, Part.MOUTH_CAVITY)


@dataclass(frozen=True)
class Light:
    """The light of one image."""

    azimuth: float  # degrees, 0 = from the camera, positive = from the right of the image
    elevation: float  # degrees above the horizon
    ambient: float  # sky light, of full white
    key: float  # key light, of full white
    warmth: float  # red gain of the key light; blue loses as much
    shadow_spread: Floats  # (SHADOW_TAPS, 3) offsets of the light's direction, to soften its shadow

    @property
    def direction(self) -> Floats:
        """Unit vector (3,) in the view, towards the key light."""
        azimuth, elevation = np.radians([self.azimuth, self.elevation])
        across = np.cos(elevation)
        return np.array([np.sin(azimuth) * across, np.sin(elevation), np.cos(azimuth) * across], np.float32)


def sample_light(difficulty: Difficulty, rng: np.random.Generator) -> Light:
    """Draw the light of an image."""
    return Light(
        azimuth=rng.normal(0, 45) * difficulty.light_spread,
        elevation=30 + rng.normal(0, 22) * difficulty.light_spread,
        ambient=difficulty.ambient * rng.uniform(0.75, 1.35),
        key=difficulty.key * rng.uniform(0.7, 1.25),
        warmth=rng.normal(0, 0.05),
        shadow_spread=rng.normal(0, 0.13, (SHADOW_TAPS, 3)).astype(np.float32),
    )


def key_light_visible(light: Light, view: Floats, faces: NDArray[np.int32]) -> Floats:
    """Share (V,) of the key light that reaches each vertex of `view` (V, 3)."""
    total = np.zeros(len(view), np.float32)
    for offset in light.shadow_spread:
        total += visible_along(unit(light.direction + offset), view, faces)
    return total / np.float32(len(light.shadow_spread))


def shade(surface: Surface, colour: Floats, shine: Floats, light: Light) -> Floats:
    """Light the painted `colour` (N, 3) and `shine` (N,) of the visible points -> displayed colours (N, 3), 0..1."""
    eye, inner, teeth = surface.where(Part.EYE), surface.where(*INNER_PARTS), surface.where(Part.TEETH)
    normal, direction = surface.normal, light.direction
    diffuse = np.clip((dot(normal, direction) + 0.15) / 1.15, 0, 1) * (0.25 + 0.75 * surface.key_visible)
    # Teeth, tongue and the inside of the mouth get less light the deeper they are.
    diffuse = diffuse * np.where(teeth, 0.7, np.where(inner, 0.45, 1))
    sunken = np.where(inner, np.clip(0.35 + 1.3 * (surface.z - 0.9), 0.12, 1), 1)
    open_sky = np.clip(surface.ambient, 0.05, 1) ** 0.9
    open_sky = np.where(eye, 0.55 + 0.45 * open_sky, np.where(inner, 0.75, open_sky))
    sky = light.ambient * (0.75 + 0.25 * normal[:, 1])
    fill = 0.18 * np.clip(dot(normal, np.array([-direction[0], 0.1, 0.8], np.float32)), 0, 1)
    warm = light.key * (1 + light.warmth * np.array([1, 0, -1], np.float32))
    half_way = unit(direction + np.array([0, 0, 1], np.float32))
    gloss = shine * np.clip(dot(normal, half_way), 0, 1) ** np.where(eye, 60, 18) * surface.key_visible
    received = ((sky + fill) * open_sky)[:, None] + diffuse[:, None] * warm
    linear = colour**DISPLAY_TO_LINEAR * received * sunken[:, None] + (0.35 * light.key * gloss)[:, None]
    return _tone(linear.astype(np.float32))


def _tone(linear: Floats) -> Floats:
    """Apply exposure, compression of highlights, and the display curve."""
    exposed = 1.25 * linear
    rolled = np.where(exposed > 0.6, 0.6 + 0.4 * np.tanh((exposed - 0.6) / 0.5), exposed)
    return np.sqrt(np.clip(rolled, 0, 1)).astype(np.float32)
