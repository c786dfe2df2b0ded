"""ExpW: boxes in an order of their own, repeated lines, and a split by the image."""

from pathlib import Path

import pytest
from tests.support.refusals import refused

from ferbench.contract.dataset import Sample
from ferbench.errors import DataError
from ferbench_fer_datasets.expw import ExpW

from fer_lookalikes.expected import read, write
from fer_lookalikes.expw import FACES, LINES, build


def test_round_trip(tmp_path: Path) -> None:
    expected = build(tmp_path)["expw"]
    assert read("expw", tmp_path) == (expected, [])


def test_faces_of_an_image_are_in_one_split_whose_part_is_that_of_the_rule(tmp_path: Path) -> None:
    build(tmp_path)
    lines = [f"of_many_{i}.jpg {face} 0 0 5 5 1.0 {face}" for i in range(4000) for face in (0, 1)]
    write(tmp_path / "label" / "label.lst", "\n".join(lines))
    split = {sample.id: sample.split for sample in ExpW(tmp_path).samples() if isinstance(sample, Sample)}
    assert all(split[f"of_many_{i}/0"] == split[f"of_many_{i}/1"] for i in range(4000))
    assert sum(side == "test" for side in split.values()) / len(split) == pytest.approx(0.15, abs=0.02)


def test_every_malformed_line_is_reported_with_its_number(tmp_path: Path) -> None:
    build(tmp_path)
    lines = {
        "a.jpg 0 1 1 5 5 9.0": "7 fields instead of image_name, face_id, top",
        "a.jpg x 1 1 5 5 9.0 0": "invalid literal for int",
        "a.jpg 0 1 one 5 5 9.0 0": "could not convert string to float",
        "a.jpg 0 1 5 5 9 9.0 0": "the box from 5, 1 to 5, 9 has no area",
        "a.jpg 0 1 5 nan 9 9.0 0": "has no area",
        "a.jpg 0 1 5 inf 9 9.0 0": "has no area",
        "a.jpg 0 1 1 5 5 9.0 7": "label '7' must be one of 0, 1, 2, 3, 4, 5, 6",
        "../a.jpg 0 1 1 5 5 9.0 0": "is not a path below",
        "/etc/a.jpg 0 1 1 5 5 9.0 0": "is not a path below",
    }
    write(tmp_path / "label" / "label.lst", "\n".join([*lines, LINES]))
    samples, damages = read("expw", tmp_path)
    assert samples == FACES
    assert [damage.record for damage in damages] == [f"label/label.lst:{n}" for n in range(1, len(lines) + 1)]
    for damage, reason in zip(damages, lines.values(), strict=True):
        assert reason in damage.reason


def test_confidence_is_kept_and_the_image_is_the_one_named(tmp_path: Path) -> None:
    build(tmp_path)
    sample = next(iter(ExpW(tmp_path).samples()))
    assert isinstance(sample, Sample)
    assert sample.attributes == {"confidence": 22.9362}
    assert sample.image == tmp_path / "data" / "image" / "origin" / "angry_actor_104.jpg"
    assert ExpW(tmp_path).crop == 0.0


def test_another_layout_is_one_error(tmp_path: Path) -> None:
    with refused(DataError, "label/label.lst", "--root"):
        read("expw", tmp_path)
    write(tmp_path / "label" / "label.lst", LINES)
    with pytest.raises(DataError, match=r"no data/image/origin or .*; unpack the parts"):
        read("expw", tmp_path)
    build(tmp_path)
    (tmp_path / "label" / "label.lst").write_bytes(b"a.jpg 0 1 1 5 5 9.0 0\n\xff.jpg")
    with pytest.raises(DataError, match=r"label\.lst:2: not UTF-8"):
        read("expw", tmp_path)


def test_counts_of_the_papers(tmp_path: Path) -> None:
    assert sum(ExpW(tmp_path).info.official["all"].values()) == 91_793
