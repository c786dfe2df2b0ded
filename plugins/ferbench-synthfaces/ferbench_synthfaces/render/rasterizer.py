"""Triangle kernels: z-buffer, attribute interpolation, normals, visibility along a direction.

Compiled by numba without `fastmath`: with strict IEEE arithmetic these kernels give the same bits on
every tested x86-64 CPU (see the data card), and relaxing it was not measurably faster.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ferbench_synthfaces.render.vectors import dot, unit

Floats = NDArray[np.float32]
FAR = np.float32(1e9)


class Fragments(NamedTuple):
    """The visible triangle at each pixel of an (H, W) canvas."""

    face: NDArray[np.int32]  # (H, W) triangle index, -1 where nothing is hit
    barycentric: Floats  # (H, W, 3) weights of the triangle's corners
    depth: Floats  # (H, W) distance along the viewing direction, FAR where nothing is hit


def rasterize(
    points: Floats, depth: Floats, faces: NDArray[np.int32], cull: NDArray[np.bool_], height: int, width: int
) -> Fragments:
    """Nearest triangle at every pixel centre.

    Args:
        points: (V, 2) pixel coordinates, y down.
        depth: (V,) distance from the viewer.
        faces: (F, 3) corners, counter-clockwise seen from the front (y up).
        cull: (F,) whether a triangle is invisible from behind.
        height: rows of the canvas.
        width: columns of the canvas.
    """
    face = np.full((height, width), -1, np.int32)
    barycentric = np.zeros((height, width, 3), np.float32)
    nearest = np.full((height, width), FAR, np.float32)
    _rasterize(points, depth, faces, cull, face, barycentric, nearest)
    return Fragments(face, barycentric, nearest)


@njit(cache=True)
def _rasterize(points, depth, faces, cull, face, barycentric, nearest):  # type: ignore[no-untyped-def]
    height, width = face.shape
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay = points[a, 0], points[a, 1]
        bx, by = points[b, 0], points[b, 1]
        cx, cy = points[c, 0], points[c, 1]
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if cull[f] and area >= 0:  # y points down, so a front face has a negative area
            continue
        if abs(area) < 1e-9:
            continue
        top = max(0, int(np.ceil(min(ay, by, cy) - 0.5)))
        bottom = min(height - 1, int(np.floor(max(ay, by, cy) - 0.5)))
        left = max(0, int(np.ceil(min(ax, bx, cx) - 0.5)))
        right = min(width - 1, int(np.floor(max(ax, bx, cx) - 0.5)))
        inverse = 1.0 / area
        for i in range(top, bottom + 1):
            py = i + 0.5
            for j in range(left, right + 1):
                px = j + 0.5
                wa = ((bx - px) * (cy - py) - (cx - px) * (by - py)) * inverse
                wb = ((cx - px) * (ay - py) - (ax - px) * (cy - py)) * inverse
                wc = 1.0 - wa - wb
                if wa < -1e-6 or wb < -1e-6 or wc < -1e-6:  # the slack closes seams between neighbours
                    continue
                z = wa * depth[a] + wb * depth[b] + wc * depth[c]
                if z < nearest[i, j]:
                    nearest[i, j] = z
                    face[i, j] = f
                    barycentric[i, j, 0] = wa
                    barycentric[i, j, 1] = wb
                    barycentric[i, j, 2] = wc


def interpolate(attributes: Floats, faces: NDArray[np.int32], hit: NDArray[np.int32], weights: Floats) -> Floats:
    """Vertex `attributes` (V, C) at N points, each in a triangle `hit` (N,) with corner `weights` (N, 3) -> (N, C)."""
    result = np.empty((len(hit), attributes.shape[1]), np.float32)
    _interpolate(attributes, faces, hit, weights, result)
    return result


@njit(cache=True)
def _interpolate(attributes, faces, hit, weights, result):  # type: ignore[no-untyped-def]
    for n in range(len(hit)):
        a, b, c = faces[hit[n], 0], faces[hit[n], 1], faces[hit[n], 2]
        wa, wb, wc = weights[n, 0], weights[n, 1], weights[n, 2]
        for k in range(attributes.shape[1]):
            result[n, k] = wa * attributes[a, k] + wb * attributes[b, k] + wc * attributes[c, k]


@njit(cache=True)
def _vertex_normals(vertices, faces, normals):  # type: ignore[no-untyped-def]
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for k in (a, b, c):
            normals[k, 0] += nx
            normals[k, 1] += ny
            normals[k, 2] += nz
    for i in range(len(normals)):
        length = np.sqrt(normals[i, 0] ** 2 + normals[i, 1] ** 2 + normals[i, 2] ** 2) + 1e-12
        for axis in range(3):
            normals[i, axis] /= length


def vertex_normals(vertices: Floats, faces: NDArray[np.int32]) -> Floats:
    """Area-weighted unit normals (V, 3)."""
    normals = np.zeros_like(vertices)
    _vertex_normals(vertices, faces, normals)
    return normals


def visible_along(
    direction: Floats, vertices: Floats, faces: NDArray[np.int32], resolution: int = 96
) -> NDArray[np.bool_]:
    """Whether a distant light in `direction` (unit vector towards the light) reaches each of `vertices` (V, 3) -> (V,).

    Uses an orthographic depth map seen from the light. A vertex may be 0.03 dm behind it, so that a surface does not
    shadow itself.
    """
    helper = np.array([0, 1, 0] if abs(direction[1]) < 0.9 else [1, 0, 0], np.float32)
    across = unit(np.cross(helper, direction))
    x, y = dot(vertices, across), -dot(vertices, np.cross(direction, across))
    left, top = x.min(), y.min()
    scale = (resolution - 2) / max(x.max() - left, y.max() - top)
    points = np.stack([(x - left) * scale + 1, (y - top) * scale + 1], 1)
    depth = -dot(vertices, direction)
    both_sides = np.zeros(len(faces), np.bool_)
    depth_map = rasterize(points, depth, faces, both_sides, resolution, resolution).depth
    column, row = np.clip(points.astype(np.int64), 0, resolution - 1).T
    lit: NDArray[np.bool_] = depth - 0.03 <= depth_map[row, column]
    return lit
