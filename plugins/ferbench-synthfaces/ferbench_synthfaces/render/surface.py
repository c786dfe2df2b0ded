"""The visible surface: the attributes that paint and light need at every pixel of the head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferbench_synthfaces.render.assets import Assets, Part
from ferbench_synthfaces.render.camera import Camera
from ferbench_synthfaces.render.mesh import HeadMesh
from ferbench_synthfaces.render.rasterizer import interpolate, rasterize
from ferbench_synthfaces.render.vectors import unit

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Surface:
    """N visible points of a head. `x`, `y`, `z` are positions on the undeformed template, in dm."""

    covered: NDArray[np.bool_]  # (H, W) pixels that show the head; the other fields follow their order
    part: NDArray[np.uint8]  # (N,) Part codes
    x: Floats  # (N,) to the subject's left
    y: Floats  # (N,) up
    z: Floats  # (N,) forward
    normal: Floats  # (N, 3) unit, in the view
    ambient: Floats  # (N,) share of the sky seen
    lips: Floats  # (N,) mask
    eyelids: Floats  # (N,) mask
    hair_height: Floats  # (N,) degrees above the hairline
    key_visible: Floats  # (N,) share of the key light that arrives

    @property
    def across(self) -> Floats:
        """(N,) distance from the middle of the face, dm."""
        return np.abs(self.x)

    def where(self, *parts: Part) -> NDArray[np.bool_]:
        """(N,) points that belong to one of `parts`."""
        return np.isin(self.part, parts)


def visible_surface(assets: Assets, head: HeadMesh, view: Floats, camera: Camera, key_visible: Floats) -> Surface:
    """Draw the head and gather its attributes.

    Args:
        assets: masks of the head.
        head: the mesh, N vertices.
        view: (N, 3) vertices in the view.
        camera: projects the vertices to the canvas.
        key_visible: (N,) share of the key light that reaches each vertex.
    """
    one_sided = ~np.isin(head.parts, (Part.LASHES, Part.LONG_HAIR))
    size = camera.canvas
    fragments = rasterize(camera.to_canvas(view), -view[:, 2], head.faces, one_sided, size, size)
    covered = fragments.face >= 0
    hit = fragments.face[covered]
    extra = len(view) - len(assets.template)
    columns = [
        head.paint,
        camera.turn(head.normals),
        np.pad(assets.ambient_occlusion, (0, extra), constant_values=1)[:, None],
        np.pad(assets.lips, (0, extra))[:, None],
        np.pad(assets.eyelids, (0, extra))[:, None],
        head.hair_height[:, None],
        key_visible[:, None],
    ]
    attributes = np.concatenate(columns, 1).astype(np.float32)
    values = interpolate(attributes, head.faces, hit, fragments.barycentric[covered])
    normal = unit(values[:, 3:6])
    x, y, z = np.ascontiguousarray(values[:, :3].T)
    ambient, lips, eyelids, hair_height, visible = np.ascontiguousarray(values[:, 6:].T)
    return Surface(covered, head.parts[hit], x, y, z, normal, ambient, lips, eyelids, hair_height, visible)
