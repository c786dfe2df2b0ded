"""JAFFE: subject and label from names with three dots."""

from pathlib import Path

import pytest

from ferbench.contract.dataset import Damage
from ferbench.errors import DataError
from ferbench_fer_datasets.jaffe import Jaffe

from fer_lookalikes.expected import read, write_image
from fer_lookalikes.jaffe import build


def test_round_trip(tmp_path: Path) -> None:
    expected = build(tmp_path)["jaffe"]
    assert len(expected) == 28
    assert read("jaffe", tmp_path) == (expected, [])
    assert read("jaffe", tmp_path / "jaffe") == (expected, [])
    assert sum(Jaffe(tmp_path).info.official["train"].values()) == 213


def test_names_in_lower_case_give_the_same_ids(tmp_path: Path) -> None:
    expected = build(tmp_path)["jaffe"]
    for path in (tmp_path / "jaffe").glob("*.tiff"):
        path.rename(path.with_name(path.name.lower().replace(".tiff", ".TIF")))
    assert read("jaffe", tmp_path) == (expected, [])


def test_every_misnamed_image_is_reported(tmp_path: Path) -> None:
    expected = build(tmp_path)["jaffe"]
    names = ("KA.CO1.39.tiff", "KA.HA.39.tiff", "KAT.HA1.39.tiff", "KA.HA1.tiff", "KA.HA1.39.copy.tiff", "sheet.gif")
    for name in names:
        write_image(tmp_path / "jaffe" / name)
    samples, damages = read("jaffe", tmp_path)
    assert samples == expected
    assert damages == [Damage(f"jaffe/{name}", "is not named like KA.AN1.39.tiff") for name in sorted(names)]


def test_a_folder_without_images_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images here or up to 3 folders below; --root is"):
        read("jaffe", tmp_path)
