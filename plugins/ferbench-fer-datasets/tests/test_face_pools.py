"""Face-recognition sets as streams: which images of a layout are drawn from, and under which ids."""

import shutil
from pathlib import Path
from types import ModuleType

import pytest
from tests.support.refusals import refused

from ferbench.contract.dataset import Damage
from ferbench.errors import DataError
from ferbench.readers.streams import StreamedDataset

from fer_lookalikes import (
    casia_webface,
    casia_webface_112,
    celeba,
    lfw,
    vggface2,
)
from fer_lookalikes.expected import open_set, read, write_image

POOLS = (
    casia_webface,
    casia_webface_112,
    celeba,
    lfw,
    vggface2,
)


NAMES = ("casia-webface", "casia-webface-112", "celeba", "lfw", "vggface2")


def pool(name: str, root: Path) -> StreamedDataset:
    dataset = open_set(name, root)
    assert isinstance(dataset, StreamedDataset)
    return dataset


def damages(name: str, root: Path) -> list[Damage]:
    dataset = pool(name, root)
    return [place for shard in dataset.shards() for place in dataset.places(shard) if isinstance(place, Damage)]


@pytest.mark.parametrize("look_alike", POOLS)
def test_round_trip_from_any_root_above_the_images(look_alike: ModuleType, tmp_path: Path) -> None:
    ((name, expected),) = look_alike.build(tmp_path / "set").items()
    for root in (tmp_path / "set", tmp_path):
        assert read(name, root) == (expected, [])
        assert damages(name, root) == []


@pytest.mark.parametrize("name", NAMES)
def test_another_layout_is_one_error_with_a_remedy(name: str, tmp_path: Path) -> None:
    write_image(tmp_path / "holidays" / "beach.jpg")
    with refused(DataError, "2 folders below", "--root"):
        pool(name, tmp_path).shards()


def test_what_the_list_of_celeba_names_must_be_there(tmp_path: Path) -> None:
    expected = celeba.build(tmp_path)["celeba"]
    images = tmp_path / "celeba" / "img_align_celeba" / "img_align_celeba"
    for number in (2, 4):
        (images / f"{number:06d}.jpg").unlink()
    (images / "000001.jpg").rename(images.parent / "elsewhere.jpg")
    (images / "000001.jpg").symlink_to("/etc/hostname")
    assert read("celeba", tmp_path)[0] == [expected[2], expected[4]]
    link, *missing = damages("celeba", tmp_path)
    assert (link.record, "leads out of" in link.reason) == ("000001.jpg", True)
    assert missing == [
        Damage("000002.jpg", "is missing, but list_eval_partition.txt:2 lists it"),
        Damage("000004.jpg", "is missing, but list_eval_partition.txt:4 lists it"),
    ]


def test_celeba_without_its_list(tmp_path: Path) -> None:
    expected = celeba.build(tmp_path)["celeba"]
    (tmp_path / "celeba" / "list_eval_partition.txt").unlink()
    assert read("celeba", tmp_path) == (expected, [])


def test_people_that_a_link_leads_to_are_refused(tmp_path: Path) -> None:
    lfw.build(tmp_path / "set")
    (tmp_path / "root").mkdir()
    shutil.move(tmp_path / "set" / "lfw", tmp_path / "outside")
    (tmp_path / "root" / "lfw").symlink_to(tmp_path / "outside")
    with pytest.raises(DataError):
        pool("lfw", tmp_path / "root").shards()
