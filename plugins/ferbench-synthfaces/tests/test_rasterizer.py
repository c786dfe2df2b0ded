import numpy as np
import pytest

pytest.importorskip("numba", reason="the renderer needs the extra `render`")

from ferbench_synthfaces.render.rasterizer import FAR, interpolate, rasterize, vertex_normals, visible_along

HEIGHT, WIDTH = 24, 31


def brute_force(points, depth, faces, cull):
    """Every pixel against every triangle."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    nearest = np.full((HEIGHT, WIDTH), float(FAR))
    face = np.full((HEIGHT, WIDTH), -1)
    for number, corners in enumerate(faces):
        (ax, ay), (bx, by), (cx, cy) = points[corners].astype(np.float64)
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if abs(area) < 1e-9 or (cull[number] and area >= 0):
            continue
        wa = ((bx - x) * (cy - y) - (cx - x) * (by - y)) / area
        wb = ((cx - x) * (ay - y) - (ax - x) * (cy - y)) / area
        weights = np.stack([wa, wb, 1 - wa - wb])
        z = (weights * depth[corners][:, None, None]).sum(0)
        hit = (weights >= -1e-6).all(0) & (z < nearest)
        nearest[hit], face[hit] = z[hit], number
    return face, nearest


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("culled", [False, True])
def test_against_brute_force(seed: int, culled: bool) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform(-8, 40, (60, 2)).astype(np.float32)  # some lie outside the canvas
    depth = rng.uniform(0, 10, 60).astype(np.float32)
    faces = rng.integers(0, 60, (40, 3)).astype(np.int32)  # some are degenerate
    cull = np.full(40, culled)
    fragments = rasterize(points, depth, faces, cull, HEIGHT, WIDTH)
    face, nearest = brute_force(points, depth, faces, cull)
    np.testing.assert_array_equal(fragments.face, face)
    np.testing.assert_allclose(fragments.depth, nearest, rtol=1e-4)
    assert (face >= 0).mean() > 0.2


def test_interpolation_is_exact_at_pixel_centres() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 24, (30, 2)).astype(np.float32)
    faces = np.arange(30, dtype=np.int32).reshape(10, 3)
    fragments = rasterize(points, np.ones(30, np.float32), faces, np.zeros(10, bool), HEIGHT, WIDTH)
    hit = fragments.face >= 0
    values = interpolate(points, faces, fragments.face[hit], fragments.barycentric[hit])
    row, column = np.nonzero(hit)
    np.testing.assert_allclose(values, np.stack([column, row], 1) + 0.5, atol=1e-3)


def test_normals_of_a_square_in_front_of_the_viewer() -> None:
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
    normals = vertex_normals(square, np.array([[0, 1, 2], [0, 2, 3]], np.int32))
    np.testing.assert_allclose(normals, np.tile([0, 0, 1], (4, 1)), atol=1e-6)


def test_a_wall_hides_what_stands_behind_it() -> None:
    wall = np.array([[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]], np.float32)
    behind = (wall * [0.2, 0.2, 0]).astype(np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]], np.int32)
    vertices = np.concatenate([wall, behind])
    from_front = visible_along(np.array([0, 0, 1], np.float32), vertices, faces)
    from_back = visible_along(np.array([0, 0, -1], np.float32), vertices, faces)
    assert not from_front[4:].any()
    assert from_back[4:].all()
