import hashlib

import numpy as np
import pytest

pytest.importorskip("numba", reason="the renderer needs the extra `render`")

from ferbench_synthfaces.render.assets import Assets, Part, default_path
from ferbench_synthfaces.render.identity import Phenotype, phenotype_weights
from ferbench_synthfaces.render.shapes import ShapeTable

EXPECTED = {"phenotype": 96, "increase": 137, "decrease": 137, "head": 7, "asymmetry": 58, "action": 52}


def test_the_packaged_file_is_the_one_that_its_licence_note_names() -> None:
    digest = hashlib.sha256(default_path().read_bytes()).hexdigest()
    assert digest in default_path().with_name("LICENSE.md").read_text("utf-8")


@pytest.mark.parametrize(("family", "count"), EXPECTED.items())
def test_every_family_is_complete_and_points_at_vertices(assets: Assets, family: str, count: int) -> None:
    table: ShapeTable = getattr(assets, family)
    assert len(table.names) == len(set(table.names)) == count == len(table.starts) - 1
    assert table.starts[-1] == len(table.vertices) == len(table.deltas)
    assert 0 <= table.vertices.min() <= table.vertices.max() < len(assets.template)
    # dm; a baby's whole head lies 1 m lower than the template's
    assert np.abs(table.deltas).max() < (11 if family == "phenotype" else 1)


def test_mesh_parts_and_masks(assets: Assets) -> None:
    assert assets.faces.max() < len(assets.template)
    assert set(np.unique(assets.parts)) == set(Part) - {Part.LONG_HAIR}
    for mask in (assets.lips, assets.eyelids, assets.ambient_occlusion):
        assert mask.shape == (len(assets.template),)
        assert mask.min() >= 0
        assert mask.max() <= 1
    assert 6.5 < assets.template[assets.lips > 0.5, 1].mean() < 6.9
    cavity = assets.ambient_occlusion[assets.vertices_of(Part.TEETH)].mean()
    assert cavity < 0.3 < assets.ambient_occlusion[assets.face_vertices].mean()


def test_landmarks_are_mirrored(assets: Assets) -> None:
    right, left = assets.eye_centres
    np.testing.assert_allclose(right * [-1, 1, 1], left, atol=0.01)
    lips = assets.template[assets.lips > 0.5]
    assert abs(lips[:, 0].mean()) < 0.02  # the mask is painted by hand


def test_left_actions_mirror_right_actions(assets: Assets) -> None:
    pairs = [name for name in assets.action.names if name.endswith("Left") and name not in ("mouthLeft", "jawLeft")]
    assert len(pairs) == 18
    for left in pairs:
        moved = [_moved(assets, name) for name in (left, left.removesuffix("Left") + "Right")]
        np.testing.assert_allclose(moved[0] * [-1, 1, 1], moved[1], atol=0.05, err_msg=left)


def _moved(assets: Assets, action: str) -> np.ndarray:
    """Centre of what an action moves, weighted by how far."""
    mesh = np.zeros_like(assets.template)
    assets.action.add(mesh, np.eye(52, dtype=np.float32)[assets.action.index[action]])
    length = np.sqrt((mesh**2).sum(1))
    return (assets.template * length[:, None]).sum(0) / length.sum()


def test_mixing_weights_against_values_worked_out_by_hand(assets: Assets) -> None:
    table = assets.phenotype
    phenotype = Phenotype(age=0.8, gender=0.3, muscle=0.4, weight=0.7, ancestry=(0.2, 0.5, 0.3))
    weights = dict(zip(table.names, phenotype_weights(table, phenotype).tolist(), strict=True))
    # Age 0.8 lies 40 % of the way from young (2/3) to old (1); muscle 0.4 is 20 % min and 80 % average;
    # weight 0.7 is 60 % average and 40 % max; gender 0.3 is 70 % male.
    by_hand = {
        "universal-male-young-averagemuscle-averageweight": 0.7 * 0.6 * 0.8 * 0.6,
        "universal-female-old-minmuscle-maxweight": 0.3 * 0.4 * 0.2 * 0.4,
        "universal-male-child-averagemuscle-averageweight": 0,
        "universal-male-young-maxmuscle-averageweight": 0,
        "asian-female-old": 0.5 * 0.3 * 0.4,
        "african-male-young": 0.2 * 0.7 * 0.6,
    }
    assert {name: weights[name] for name in by_hand} == pytest.approx(by_hand, abs=1e-6)
    macro = sum(weight for name, weight in weights.items() if name.startswith("universal"))
    assert macro == pytest.approx(1, abs=1e-6)
    assert sum(weights.values()) - macro == pytest.approx(1, abs=1e-6)


def test_shapes_add_up(assets: Assets) -> None:
    table = assets.head
    weights = np.array([0.5, 0, 0, -0.25, 0, 0, 1], np.float32)
    expected = np.zeros_like(assets.template)
    for row, weight in enumerate(weights):
        entries = slice(table.starts[row], table.starts[row + 1])
        expected[table.vertices[entries]] += weight * table.deltas[entries]
    mesh = np.zeros_like(assets.template)
    table.add(mesh, weights)
    np.testing.assert_allclose(mesh, expected, atol=1e-6)
