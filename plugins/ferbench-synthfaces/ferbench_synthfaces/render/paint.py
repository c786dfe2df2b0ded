"""Procedural paint: the colour of every visible point, before lighting.

Everything is painted on the undeformed template (dm; eyes at x = +-0.31, y = 7.28; lips at y = 6.6..6.85),
so it follows the face through identity, expression and pose.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ferbench_synthfaces.render.assets import Assets, Part
from ferbench_synthfaces.render.curves import blend, line, smoothstep, spot
from ferbench_synthfaces.render.expression import Expression
from ferbench_synthfaces.render.identity import Brows, Identity
from ferbench_synthfaces.render.surface import Surface
from ferbench_synthfaces.render.vectors import length
from ferbench_synthfaces.render.wrinkles import wrinkle_depth

Floats = NDArray[np.float32]

TEETH = np.array([0.86, 0.82, 0.74], np.float32)
TONGUE = np.array([0.55, 0.2, 0.2], np.float32)
LASHES = np.array([0.05, 0.04, 0.04], np.float32)
MOUTH_CAVITY = np.array([0.32, 0.1, 0.1], np.float32)
EYEBALL = np.array([0.9, 0.87, 0.85], np.float32)
PUPIL = np.array([0.02, 0.02, 0.02], np.float32)
SKIN_SHINE, LIP_SHINE, EYE_SHINE = 0.16, 0.28, 0.5


def paint(assets: Assets, identity: Identity, expression: Expression, surface: Surface) -> tuple[Floats, Floats]:
    """Colours (N, 3) and shininess (N,) of the visible points."""
    rng = np.random.default_rng(identity.texture_seed)
    phase = rng.uniform(0, 2 * np.pi, 7).astype(np.float32)
    mottling = _mottling(surface, phase)
    colour = _skin(identity, surface, mottling)
    depth = wrinkle_depth(assets, identity, expression, surface)
    colour = colour * (1 - depth[:, None] * np.array([0.85, 1, 1], np.float32))
    if identity.hair.beard:
        colour = blend(colour, identity.hair.colour * np.float32(0.8), _beard(identity, surface, rng))
    lips = smoothstep(0.25, 0.75, surface.lips)
    colour = blend(colour, identity.lips, lips)
    colour = colour * (1 - 0.25 * smoothstep(0.3, 0.9, surface.eyelids))[:, None]
    colour = blend(colour, identity.brows.colour, _brows(identity.brows, surface))
    hair, strands = _scalp_hair(identity, surface, mottling, phase)
    colour = blend(colour, identity.hair.colour * strands[:, None], hair)
    skin = surface.part == Part.SKIN
    colour[skin & (surface.y < 5.95 - 0.25 * (surface.z - 0.6))] = identity.clothes
    shine = np.where(skin, SKIN_SHINE * (1 - hair), 0).astype(np.float32)
    shine[lips > 0.5] = LIP_SHINE
    _paint_other_parts(assets, identity, surface, colour, shine, phase)
    return colour, shine


def _mottling(surface: Surface, phase: Floats) -> Floats:
    """Slow unevenness of the skin, -1..1."""
    waves = ((5, 3), (-7, 6), (11, -9), (4, 13))
    total = np.zeros_like(surface.x)
    for k, (u, v) in enumerate(waves):
        total += np.sin(surface.x * u + surface.y * v + phase[k])
    return total * np.float32(0.25)


def _skin(identity: Identity, surface: Surface, mottling: Floats) -> Floats:
    """Base colour with rosy cheeks and nose and dark eye sockets."""
    across, y = surface.across, surface.y
    colour = identity.skin * (1 + 0.03 * mottling)[:, None]
    rosy = spot(across, y, (0.42, 6.98), (0.2, 0.16)) + 0.7 * spot(surface.x, y, (0, 6.98), (0.14, 0.1))
    colour = colour * (1 - rosy[:, None] * np.array([0, 0.09, 0.08], np.float32) * (1 - 0.6 * identity.tone))
    return colour * (1 - 0.14 * spot(across, y, (0.33, 7.28), (0.19, 0.1)))[:, None]


def _beard(identity: Identity, surface: Surface, rng: np.random.Generator) -> Floats:
    """Opacity (N,) of a full beard, a goatee or a moustache."""
    across, y = surface.across, surface.y
    if identity.hair.beard_kind == 0:
        region = 1 - smoothstep(6.62, 6.95, y - 0.35 * np.clip(across - 0.3, 0, 1))
    elif identity.hair.beard_kind == 1:
        chin = (1 - smoothstep(6.4, 6.56, y)) * line(across, 0.3)
        region = np.maximum(line(y - 6.86, 0.05) * line(across, 0.25), chin)
    else:
        region = line(y - 6.87, 0.045) * line(across, 0.26)
    region = region * smoothstep(5.95, 6.15, y) * (1 - surface.lips)
    stubble = 0.75 + 0.15 * rng.standard_normal(len(y), np.float32)
    return np.clip(region * identity.hair.beard * stubble, 0, 1)


def _brows(brows: Brows, surface: Surface) -> Floats:
    """Opacity (N,): a band along a curve, flat inside and steep at its edges."""
    across = surface.across
    along = np.clip((across - brows.inner_end) / (brows.outer_end - brows.inner_end), 0, 1)
    curve = brows.arch * np.sin(np.pi * (0.05 + 0.85 * along)) + 0.03 * along - 0.05 * np.clip(along - 0.65, 0, 1)
    offset = (surface.y - (7.455 + brows.raise_ + curve)) / (brows.half_thickness * (1.15 - 0.75 * along * along))
    band = np.exp(-((offset * offset) ** 2))
    ends = smoothstep(brows.inner_end - 0.03, brows.inner_end + 0.03, across)
    ends = ends * (1 - smoothstep(brows.outer_end - 0.05, brows.outer_end + 0.03, across))
    strands = 0.85 + 0.15 * np.sin(across * 140 + surface.y * 90)
    front = (surface.z > 0.9) & (surface.part == Part.SKIN)
    return np.where(front, band * ends * strands * brows.opacity, 0).astype(np.float32)


def _scalp_hair(identity: Identity, surface: Surface, mottling: Floats, phase: Floats) -> tuple[Floats, Floats]:
    """Opacity (N,) of the hair on the scalp, ragged at the hairline, and brightness (N,) of its strands."""
    parting = np.arctan2(surface.x - identity.hair.parting * 0.3, surface.z - 0.4)
    strands = 0.8 + 0.2 * np.sin(parting * 40 + 3 * np.sin(surface.y * 9 + phase[4])) + 0.05 * mottling
    ragged = 2 * np.sin(np.arctan2(surface.x, surface.z - 0.45) * 37 + phase[5])
    opacity = smoothstep(-2.5, 3.5, surface.hair_height + ragged)
    return np.where(surface.part == Part.SKIN, opacity, 0).astype(np.float32), strands


def _paint_other_parts(
    assets: Assets, identity: Identity, surface: Surface, colour: Floats, shine: Floats, phase: Floats
) -> None:
    """Paint all parts that are not skin, in place."""
    for part, flat in (
        (Part.TEETH, TEETH),
        (Part.TONGUE, TONGUE),
        (Part.LASHES, LASHES),
        (Part.MOUTH_CAVITY, MOUTH_CAVITY),
    ):
        colour[surface.part == part] = flat
    long_hair = surface.part == Part.LONG_HAIR
    angle = np.arctan2(surface.x[long_hair], surface.z[long_hair] - 0.4)
    colour[long_hair] = identity.hair.colour * (0.75 + 0.25 * np.sin(angle * 46 + phase[6]))[:, None]
    eye = surface.part == Part.EYE
    colour[eye] = _eyes(assets, identity, surface, eye)
    shine[eye] = EYE_SHINE


def _eyes(assets: Assets, identity: Identity, surface: Surface, eye: NDArray[np.bool_]) -> Floats:
    """Colours of the eyes: white, iris with a dark rim, pupil, as rings by the angle from the eye's axis."""
    point = np.stack([surface.x[eye], surface.y[eye], surface.z[eye]], 1)
    right, left = assets.eye_centres
    radius = point - np.where(point[:, :1] > 0, left, right)
    cosine = radius[:, 2] / length(radius)
    angle = np.arccos(np.clip(cosine, -1, 1))
    rim = line(angle - 0.43, 0.05)
    colour = np.broadcast_to(EYEBALL, point.shape)
    colour = blend(colour, identity.iris * (1.15 - 0.3 * rim)[:, None], 1 - smoothstep(0.43, 0.49, angle))
    return blend(colour, PUPIL, 1 - smoothstep(0.16, 0.21, angle))
