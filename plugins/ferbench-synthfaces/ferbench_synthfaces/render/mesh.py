"""A complete head: one person's mesh with an expression, scalp hair and, for some people, long hair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferbench_synthfaces.render.assets import Assets, Part
from ferbench_synthfaces.render.curves import smoothstep
from ferbench_synthfaces.render.expression import Expression
from ferbench_synthfaces.render.identity import Hair, Identity
from ferbench_synthfaces.render.rasterizer import vertex_normals
from ferbench_synthfaces.render.vectors import unit

Floats = NDArray[np.float32]

# Height of the hairline (degrees above the skull's centre) by azimuth; the first three depend on the person.
HAIRLINE_AZIMUTH = (0, 25, 50, 68, 82, 95, 110, 135, 180)
HAIRLINE_ELEVATION = (33, 34, 26, 10, 2, -2, -26, -38, -42)
NO_HAIR = -60.0  # degrees below any hairline

SHELL_COLUMNS, SHELL_ROWS = 28, 12
SHELL_TOP = 8.35  # dm
TEMPLATE_TOP = 8.49  # dm; taller heads lift the shell


@dataclass(frozen=True)
class HeadMesh:
    """A head that is ready to be drawn. Long hair appends vertices and faces to those of the assets."""

    vertices: Floats  # (N, 3) with hair
    normals: Floats  # (N, 3)
    skin: Floats  # (V, 3) without hair: positions of eyes, mouth and face
    faces: NDArray[np.int32]  # (F, 3)
    parts: NDArray[np.uint8]  # (F,) Part codes
    paint: Floats  # (N, 3) position on the undeformed template, where the procedural paint is defined
    hair_height: Floats  # (N,) degrees above the hairline, negative on bare skin


def build_head(assets: Assets, identity: Identity, expression: Expression) -> HeadMesh:
    """Deform a person's neutral head by an expression and add the hair."""
    skin = identity.vertices.copy()
    assets.action.add(skin, expression.actions)
    normals = vertex_normals(skin, assets.faces)
    hair_height = height_above_hairline(assets, identity.hair)
    lift = smoothstep(-2, 14, hair_height) * np.float32(identity.hair.volume)
    vertices = skin + lift[:, None] * normals
    head = HeadMesh(vertices, normals, skin, assets.faces, assets.parts, assets.template, hair_height)
    if identity.hair.long_to is None:
        return head
    return _add_long_hair(head, assets, identity.hair.long_to)


def height_above_hairline(assets: Assets, hair: Hair) -> Floats:
    """(V,) signed height in degrees; NO_HAIR for vertices without hair."""
    if hair.bald:
        return np.full(len(assets.template), NO_HAIR, np.float32)
    line = np.array(HAIRLINE_ELEVATION, np.float64)
    line[:2] += hair.hairline - hair.fringe
    line[2] += 0.8 * hair.hairline
    height = assets.elevation - np.interp(assets.azimuth, HAIRLINE_AZIMUTH, line)
    return np.where(assets.skin_vertices & ~assets.ear_vertices, height, NO_HAIR).astype(np.float32)


def _add_long_hair(head: HeadMesh, assets: Assets, end: float) -> HeadMesh:
    """A shell around back and sides of the head, down to the height `end`."""
    skin, template_y = assets.skin_vertices, assets.template[:, 1]
    top = head.vertices[skin, 1].max()
    half_width = np.abs(head.vertices[skin & (template_y > 7.2) & ~assets.ear_vertices, 0]).max()
    angle = np.radians(np.linspace(62, 298, SHELL_COLUMNS))[None, :]
    y = np.linspace(SHELL_TOP, end, SHELL_ROWS)[:, None]
    radius = np.where(y > 7.55, np.sqrt(np.clip(1 - ((y - 7.55) / 1.02) ** 2, 0.02, 1)), 1.0)
    flare = 1 + 0.04 * np.clip(7.5 - y, 0, None)
    x = (half_width + 0.1) * radius * np.sin(angle) * flare
    z = 0.42 + 1.02 * radius * np.cos(angle)
    shell = np.stack([x, np.broadcast_to(y + top - TEMPLATE_TOP, x.shape), z], -1).reshape(-1, 3).astype(np.float32)
    outward = unit((shell - np.array([0, 7.4, 0.42], np.float32)) * np.array([1, 0.3, 1], np.float32))
    faces = _shell_faces() + np.int32(len(head.vertices))
    return HeadMesh(
        vertices=np.concatenate([head.vertices, shell]),
        normals=np.concatenate([head.normals, outward]),
        skin=head.skin,
        faces=np.concatenate([head.faces, faces]),
        parts=np.concatenate([head.parts, np.full(len(faces), Part.LONG_HAIR, np.uint8)]),
        paint=np.concatenate([head.paint, shell]),
        hair_height=np.concatenate([head.hair_height, np.full(len(shell), 30, np.float32)]),
    )


def _shell_faces() -> NDArray[np.int32]:
    grid = np.arange(SHELL_ROWS * SHELL_COLUMNS, dtype=np.int32).reshape(SHELL_ROWS, SHELL_COLUMNS)
    a, b, c, d = (corner.ravel() for corner in (grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]))
    return np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
