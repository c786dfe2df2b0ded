"""`ferbench boxes`, and what a cell says of boxes that are missing."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet
import pytest

from ferbench.data.load.image_store import ImageStore
from ferbench.data.prepare.pack import ensure_packed
from ferbench.data.sources import open_dataset
from ferbench.discovery.registry import Registry
from ferbench.execution.run_cell import missing_boxes
from tests.support.command import call


@pytest.fixture
def boxless(patterns: Path, tmp_path: Path) -> Path:
    """The patterns without their boxes."""
    folder = tmp_path / "boxless"
    shutil.copytree(patterns, folder)
    for path in folder.glob("*.parquet"):
        pyarrow.parquet.write_table(pyarrow.parquet.read_table(path).drop(["box"]), path)
    return folder


@pytest.mark.process
def test_faces_are_looked_for_once_and_counted(boxless: Path) -> None:
    pytest.importorskip("skimage")
    done = call("boxes", str(boxless))
    assert done.code == 0, done.err
    text = r"150 images of 'patterns' without a box: one face found in (\d+), none or several in (\d+)"
    found = re.match(text, done.out)
    assert found is not None
    assert int(found[1]) + int(found[2]) == 150
    assert int(found[1]) < 10, "squares and stripes are not faces"
    assert Path(done.out.split("kept in ")[1].strip()).is_file()


def test_a_set_with_boxes_needs_none(patterns: Path) -> None:
    pytest.importorskip("skimage")
    done = call("boxes", str(patterns))
    assert (done.code, done.out) == (0, "every image of 'patterns' has a box; there is nothing to do\n")


def test_a_cell_says_what_stands_formissing_boxes(boxless: Path, registry: Registry) -> None:
    images = ImageStore(ensure_packed(open_dataset(registry, str(boxless)), 16))
    data: Any = SimpleNamespace(images=images, selection=SimpleNamespace(labeled=[0, 1, 2]))
    resolved: Any = SimpleNamespace(recipe=SimpleNamespace(packed_size=100), cell=SimpleNamespace(dataset="patterns"))
    text = str(missing_boxes(resolved, data))
    assert "3 labeled images of 'patterns' have no face box" in text
    assert "(11.0, 11.0, 98.0, 98.0) of 100 pixels" in text
    assert "`ferbench boxes patterns`" in text
    images.__dict__["_detected"] = {images.ids[1]: (0.1, 0.1, 0.9, 0.9)}
    assert "1 have one that the detector found, 2 get the central one" in str(missing_boxes(resolved, data))
