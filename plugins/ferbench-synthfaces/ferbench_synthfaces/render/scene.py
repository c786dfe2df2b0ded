"""One image: a person with an expression in front of a camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferbench_synthfaces.render.assets import Assets
from ferbench_synthfaces.render.backdrop import background, draw_glasses, draw_patch
from ferbench_synthfaces.render.camera import Camera, Pose, sample_camera
from ferbench_synthfaces.render.degrade import photograph
from ferbench_synthfaces.render.difficulty import Difficulty
from ferbench_synthfaces.render.expression import Expression
from ferbench_synthfaces.render.identity import Identity
from ferbench_synthfaces.render.mesh import build_head
from ferbench_synthfaces.render.paint import paint
from ferbench_synthfaces.render.shading import Light, key_light_visible, sample_light, shade
from ferbench_synthfaces.render.surface import visible_surface

SUPERSAMPLING = 2

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Shot:
    """A finished image with its pose, light, face box and flags."""

    image: NDArray[np.uint8]  # (size, size, 3)
    pose: Pose
    light: Light
    box: Box  # x0, y0, x1, y1 of the face in pixels, without hair; clipped to the image
    occluded: bool
    grey: bool


def take_shot(
    assets: Assets,
    identity: Identity,
    expression: Expression,
    difficulty: Difficulty,
    size: int,
    rng: np.random.Generator,
) -> Shot:
    """Render one image of `size` x `size` pixels; everything else is drawn from `rng`."""
    camera = sample_camera(assets, identity, difficulty, size * SUPERSAMPLING, rng)
    light = sample_light(difficulty, rng)
    head = build_head(assets, identity, expression)
    view = camera.view(head.vertices)
    surface = visible_surface(assets, head, view, camera, key_light_visible(light, view, head.faces))
    colour, shine = paint(assets, identity, expression, surface)
    picture = background(camera.canvas, rng)
    picture[surface.covered] = shade(surface, colour, shine, light)
    if identity.glasses is not None:
        picture = draw_glasses(picture, identity.glasses, assets, head.skin, camera)
    occluded = bool(rng.random() < difficulty.occlusion)
    if occluded:
        picture = draw_patch(picture, identity.skin, rng)
    small = picture.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING, 3).mean((1, 3))
    image, grey = photograph(small, difficulty, rng)
    return Shot(image, camera.pose, light, face_box(assets, head.skin, camera), occluded, grey)


def face_box(assets: Assets, skin: NDArray[np.float32], camera: Camera) -> Box:
    """Bounds, in pixels of the finished image, of the projected face of a head with `skin` vertices (V, 3)."""
    pixels = camera.to_canvas(camera.view(skin[assets.face_vertices])) / SUPERSAMPLING
    size = camera.canvas / SUPERSAMPLING
    (x0, y0), (x1, y1) = pixels.min(0).clip(0, size), pixels.max(0).clip(0, size)
    return float(x0), float(y0), float(x1), float(y1)
