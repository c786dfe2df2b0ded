"""Test images from a secret seed: the same generator, other faces."""

import json
from itertools import islice

import pytest

pytest.importorskip("numba", reason="the renderer needs the extra `render`")

from ferbench.contract.dataset import Sample
from ferbench_synthfaces.dataset import SynthFaces, packaged
from ferbench_synthfaces.render.plan import class_counts
from ferbench_synthfaces.render.redraw import redrawn

DESCRIPTION = json.loads((packaged("synthfaces") / "dataset.json").read_text("utf-8"))
SECRET = 0x9B1D_55E3_0C6F_42A7_81F0_3D2E_6A94_C758


def shipped(n: int) -> list[Sample]:
    return list(islice((sample for sample in SynthFaces().samples() if sample.split == "test"), n))


def test_the_shipped_seed_gives_the_shipped_test_images() -> None:
    mine = list(islice(SynthFaces().redrawn_test(DESCRIPTION["generator"]["seed"]), 8))
    own = shipped(8)
    assert [(s.id, s.label, s.subject) for s in mine] == [(s.id, s.label, s.subject) for s in own]
    # libraries of images and of floats may differ in a pixel between machines
    assert [s.box for s in mine] == [pytest.approx(s.box, abs=0.01) for s in own]


@pytest.mark.parametrize("bit", [0, 40, 64, 100, 127])
def test_each_of_the_128_bits_of_a_seed_gives_other_faces(bit: int) -> None:
    images = [next(redrawn(DESCRIPTION, seed, count=20)).image for seed in (SECRET, SECRET ^ (1 << bit))]
    assert images[0] != images[1]
    assert next(redrawn(DESCRIPTION, SECRET, count=20)).image == images[0]


def test_a_redrawn_split_has_the_class_counts_of_any_other_and_does_not_tell_its_seed() -> None:
    samples = list(redrawn(DESCRIPTION, SECRET, count=40))
    labels = [sample.label for sample in samples]
    assert {name: labels.count(name) for name in class_counts(40)} == class_counts(40)
    assert str(SECRET) not in repr(samples) and f"{SECRET:x}" not in repr(samples)
