"""Face-recognition sets as streams: which images of a layout are drawn from, and under which ids."""

import shutil
from pathlib import Path
from types import ModuleType

import pytest

from ferbench.contract.dataset import Damage
from ferbench.contract.streams import StreamedDataset
from ferbench.errors import DataError

from . import (
    lookalike_casia_webface,
    lookalike_casia_webface_112,
    lookalike_celeba,
    lookalike_lfw,
    lookalike_vggface2,
)
from .expected2 import read, write_image

POOLS = (
    lookalike_casia_webface,
    lookalike_casia_webface_112,
    lookalike_celeba,
    lookalike_lfw,
    lookalike_vggface2,
)


def damages(dataset: StreamedDataset) -> list[Damage]:
    return [place for shard in dataset.shards() for place in dataset.places(shard) if isinstance(place, Damage)]


@pytest.mark.parametrize("pool", POOLS)
def test_round_trip_from_any_root_above_the_images(pool: ModuleType, tmp_path: Path) -> None:
    expected = pool.build(tmp_path / "set")
    for root in (tmp_path / "set", tmp_path):
        dataset = pool.READER(root)
        assert read(dataset) == (expected, [])
        assert damages(dataset) == []


@pytest.mark.parametrize("pool", POOLS)
def test_it_is_described_without_a_name_of_the_user(pool: ModuleType, tmp_path: Path) -> None:
    info = pool.READER(tmp_path).info
    assert not pool.READER.needs_name
    assert info.gated
    assert info.licence
    assert info.classes == {}
    assert info.name == info.family


@pytest.mark.parametrize("pool", POOLS)
def test_another_layout_is_one_error_with_a_remedy(pool: ModuleType, tmp_path: Path) -> None:
    write_image(tmp_path / "holidays" / "beach.jpg")
    with pytest.raises(DataError, match=r"here or up to 2 folders below; --root is the folder"):
        pool.READER(tmp_path).shards()


def test_what_the_list_of_celeba_names_must_be_there(tmp_path: Path) -> None:
    expected = lookalike_celeba.build(tmp_path)
    images = tmp_path / "celeba" / "img_align_celeba" / "img_align_celeba"
    for number in (2, 4):
        (images / f"{number:06d}.jpg").unlink()
    (images / "000001.jpg").rename(images.parent / "elsewhere.jpg")
    (images / "000001.jpg").symlink_to("/etc/hostname")
    dataset = lookalike_celeba.READER(tmp_path)
    assert read(dataset)[0] == [expected[2], expected[4]]
    link, *missing = damages(dataset)
    assert (link.record, "leads out of" in link.reason) == ("000001.jpg", True)
    assert missing == [
        Damage("000002.jpg", "is missing, and list_eval_partition.txt:2 names it"),
        Damage("000004.jpg", "is missing, and list_eval_partition.txt:4 names it"),
    ]


def test_celeba_without_its_list(tmp_path: Path) -> None:
    expected = lookalike_celeba.build(tmp_path)
    (tmp_path / "celeba" / "list_eval_partition.txt").unlink()
    assert read(lookalike_celeba.READER(tmp_path)) == (expected, [])


def test_one_form_of_casia_names_the_other(tmp_path: Path) -> None:
    lookalike_casia_webface.build(tmp_path / "folders")
    lookalike_casia_webface_112.build(tmp_path / "records")
    with pytest.raises(DataError, match=r"train\.rec is read as casia-webface-112"):
        lookalike_casia_webface.READER(tmp_path / "records").shards()
    with pytest.raises(DataError, match="folders of people are read as casia-webface"):
        lookalike_casia_webface_112.READER(tmp_path / "folders").shards()


def test_people_that_a_link_leads_to_are_refused(tmp_path: Path) -> None:
    lookalike_lfw.build(tmp_path / "set")
    (tmp_path / "root").mkdir()
    shutil.move(tmp_path / "set" / "lfw", tmp_path / "outside")
    (tmp_path / "root" / "lfw").symlink_to(tmp_path / "outside")
    with pytest.raises(DataError):
        lookalike_lfw.READER(tmp_path / "root").shards()
