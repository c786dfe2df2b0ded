"""The detector against the boxes that the built-in faces were rendered with, and what becomes of its cache."""

import io
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ferbench.contract.dataset import Sample
from ferbench.data.load.image_set import image_set
from ferbench.data.load.image_store import CENTRAL_BOX, ImageStore
from ferbench.data.prepare import face_boxes
from ferbench.data.prepare.face_boxes import boxes_path, detect, find_boxes, read_boxes
from ferbench.data.prepare.pack import ensure_packed
from ferbench.data.sources import open_dataset
from ferbench.discovery.loader import load_registry
from ferbench.errors import DataError, UsageError
from tests.support.pool_set import PoolSet

COUNT = 40


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "cache"))
    return iter(())


@pytest.fixture(scope="module")
def skimage() -> None:
    """The detector, which is an optional dependency."""
    pytest.importorskip("skimage")


@pytest.fixture(scope="module")
def faces() -> list[Sample]:
    """Rendered faces with the boxes that the renderer knows."""
    return list(islice(open_dataset(load_registry(), "synthfaces").samples(), COUNT))


def image_of(sample: Sample) -> Image.Image:
    assert isinstance(sample.image, bytes)
    return Image.open(io.BytesIO(sample.image)).convert("RGB")


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    shared = np.clip(np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2]), 0, None).prod()
    areas = [(box[2:] - box[:2]).prod() for box in (first, second)]
    return float(shared / (sum(areas) - shared))


@pytest.mark.slow
@pytest.mark.usefixtures("skimage")
def test_faces_are_found_where_they_were_rendered(faces: list[Sample]) -> None:
    overlaps = []
    for sample in faces:
        image, box = image_of(sample), detect(image_of(sample))
        if box is not None:
            assert all(0 <= side <= 1 for side in box)
            overlaps.append(overlap(np.array(box) * image.width, np.array(sample.box)))
    assert len(overlaps) > 0.7 * COUNT
    assert np.mean(overlaps) > 0.6


@pytest.mark.usefixtures("skimage")
def test_no_face_and_several_have_no_box(faces: list[Sample]) -> None:
    assert detect(Image.new("RGB", (80, 60), "grey")) is None
    alone = next(image_of(sample) for sample in faces if detect(image_of(sample)))
    pair = Image.new("RGB", (2 * alone.width, alone.height), "grey")
    pair.paste(alone, (0, 0))
    pair.paste(alone, (alone.width, 0))
    assert detect(pair) is None


@pytest.mark.usefixtures("skimage")
@pytest.mark.process
def test_what_is_found_once_is_what_a_cell_gets(faces: list[Sample]) -> None:
    blank = io.BytesIO()
    Image.new("RGB", (64, 64), "grey").save(blank, "PNG")
    known = Sample("known", faces[0].image, "unlabeled", box=(1.0, 2.0, 33.0, 60.0))
    pictures = [sample.image for sample in faces[:10] if isinstance(sample.image, bytes)]
    dataset = PoolSet([*pictures, blank.getvalue()], [known], name="boxless")
    before = ImageStore(ensure_packed(dataset, 32))
    assert before.box_sources(list(range(12))) == {"manifest": 1, "central": 11}

    *_, (looked, found) = find_boxes(dataset)
    assert looked == 11
    assert 7 <= found <= 10
    packed = ImageStore(ensure_packed(dataset, 32))
    assert packed.box_sources(list(range(12))) == {"manifest": 1, "detected": found, "central": 11 - found}
    assert packed.detected_boxes != before.detected_boxes
    boxes = dict(zip(packed.ids, image_set(packed, list(range(12)), torch.device("cpu")).boxes, strict=True))
    for name, box in read_boxes("boxless", dataset.source_digest()).items():
        assert torch.allclose(boxes[name], 32 * torch.tensor(box), atol=1e-4)
    assert torch.allclose(boxes["boxless-0010"], 32 * torch.tensor(CENTRAL_BOX))
    assert torch.allclose(boxes["known"], torch.tensor(known.box) / 2)


def test_without_the_detector_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    face_boxes.detector.cache_clear()
    with pytest.raises(UsageError, match=r"pip install 'ferbench\[boxes\]'"):
        next(find_boxes(PoolSet([b""])))
    face_boxes.detector.cache_clear()


@pytest.mark.usefixtures("skimage")
@pytest.mark.process
def test_an_image_that_cannot_be_read_and_a_damaged_cache_are_named() -> None:
    dataset = PoolSet([b"no image"], name="bad")
    with pytest.raises(DataError, match="bad-0000: these 8 bytes are not an image"):
        next(find_boxes(dataset))
    dataset.on_bad_record = "skip"
    assert list(find_boxes(dataset)) == [(1, 0)]
    path = boxes_path("bad", dataset.source_digest())
    path.unlink()
    path.write_bytes(b"PAR1")
    with pytest.raises(DataError, match="damaged cache of face boxes"):
        read_boxes("bad", dataset.source_digest())
