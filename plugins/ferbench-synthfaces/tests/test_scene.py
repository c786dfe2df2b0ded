import numpy as np
import pytest

pytest.importorskip("numba", reason="the renderer needs the extra `render`")

from ferbench_synthfaces.render.assets import Assets, Part
from ferbench_synthfaces.render.camera import Pose, sample_camera
from ferbench_synthfaces.render.difficulty import LEVELS
from ferbench_synthfaces.render.expression import ExpressionSampler
from ferbench_synthfaces.render.identity import sample_identity
from ferbench_synthfaces.render.mesh import build_head
from ferbench_synthfaces.render.scene import SUPERSAMPLING, face_box, take_shot

SIZE = 64


@pytest.mark.parametrize("seed", range(12))
def test_the_box_holds_eyes_and_mouth(assets: Assets, seed: int) -> None:
    level, rng = LEVELS["standard"], np.random.default_rng(seed)
    identity = sample_identity(assets, level, rng)
    expression = ExpressionSampler(assets.action.names).sample("surprise", level, rng)
    camera = sample_camera(assets, identity, level, SIZE * SUPERSAMPLING, rng)
    head = build_head(assets, identity, expression)
    x0, y0, x1, y1 = face_box(assets, head.skin, camera)
    for part in (assets.vertices_of(Part.EYE), assets.lips > 0.5):
        pixels = camera.to_canvas(camera.view(head.skin[part])) / SUPERSAMPLING
        x, y = pixels.clip(0, SIZE).mean(0)
        assert x0 < x < x1
        assert y0 < y < y1
    assert 0 <= x0 < x1 <= SIZE
    assert 0 <= y0 < y1 <= SIZE
    assert (x1 - x0) * (y1 - y0) > 0.3 * SIZE**2


def test_a_shot_depends_on_its_stream_only(assets: Assets) -> None:
    level = LEVELS["standard"]
    identity = sample_identity(assets, level, np.random.default_rng(1))
    expression = ExpressionSampler(assets.action.names).sample("anger", level, np.random.default_rng(2))
    first, again, other = (
        take_shot(assets, identity, expression, level, SIZE, np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    assert first.image.shape == (SIZE, SIZE, 3)
    np.testing.assert_array_equal(first.image, again.image)
    assert (first.image != other.image).mean() > 0.5


def test_a_turned_head_looks_to_its_left(assets: Assets) -> None:
    nose = np.array([0, 0, 1], np.float32)
    assert (Pose(20, 0, 0).matrix() @ nose)[0] > 0.3
    assert (Pose(0, 20, 0).matrix() @ nose)[1] < -0.3
    np.testing.assert_allclose(Pose(10, 20, 30).matrix() @ Pose(10, 20, 30).matrix().T, np.eye(3), atol=1e-6)


def test_long_hair_adds_a_shell(assets: Assets) -> None:
    level = LEVELS["standard"]
    sampler = ExpressionSampler(assets.action.names)
    lengths = set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        identity = sample_identity(assets, level, rng)
        head = build_head(assets, identity, sampler.sample("neutral", level, rng))
        has_shell = len(head.vertices) > len(assets.template)
        assert has_shell == (identity.hair.long_to is not None) == (Part.LONG_HAIR in head.parts)
        assert np.isfinite(head.vertices).all()
        lengths.add(has_shell)
    assert lengths == {True, False}
