"""KDEF: all from the name, where AF is a session of a woman and fear."""

from pathlib import Path

import pytest

from ferbench.contract.dataset import Damage, Sample
from ferbench.errors import DataError
from ferbench_fer_datasets.kdef import Kdef, KdefAllAngles

from fer_lookalikes.expected import read, write_image
from fer_lookalikes.kdef import build


def test_round_trip(tmp_path: Path) -> None:
    expected = build(tmp_path)["kdef"]
    assert len(expected) == 4 * 7
    for root in (tmp_path, tmp_path / "KDEF_and_AKDEF", tmp_path / "KDEF_and_AKDEF" / "KDEF"):
        assert read("kdef", root) == (expected, [])
    assert {sample.subject for sample in expected} == {"F01", "M35"}, "both sessions are one person"


def test_all_angles(tmp_path: Path) -> None:
    expected = build(tmp_path)["kdef-all-angles"]
    assert read("kdef-all-angles", tmp_path) == (expected, [])
    assert KdefAllAngles(tmp_path).info.family == Kdef(tmp_path).info.family


def test_af_is_a_session_and_fear(tmp_path: Path) -> None:
    build(tmp_path)
    found = {sample.id: sample for sample in KdefAllAngles(tmp_path).samples() if isinstance(sample, Sample)}
    assert (found["AF01AFHL"].label, found["AF01ANS"].label, found["BF01AFS"].label) == ("fear", "anger", "fear")
    assert found["BF01AFFL"].attributes == {"session": "B", "angle": "FL"}


def test_official_counts(tmp_path: Path) -> None:
    for reader, total in ((Kdef, 980), (KdefAllAngles, 4900)):
        assert sum(reader(tmp_path).info.official["train"].values()) == total


def test_every_misnamed_image_is_reported_whatever_its_angle(tmp_path: Path) -> None:
    expected = build(tmp_path)["kdef"]
    names = ("AF01COS.JPG", "AF01.JPG", "AF1ANS.JPG", "AF01ANX.JPG", "CF01ANS.JPG", "AX01ANS.JPG", "AF01ANS2.JPG")
    for name in names:
        write_image(tmp_path / "KDEF_and_AKDEF" / "KDEF" / "AF01" / name)
    samples, damages = read("kdef", tmp_path)
    assert samples == expected
    folder = "KDEF_and_AKDEF/KDEF/AF01"
    assert damages == [Damage(f"{folder}/{name}", "is not named like AF01ANS.JPG") for name in sorted(names)]


def test_a_folder_without_images_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images here or in its folders; --root is"):
        read("kdef", tmp_path)
