"""Sheets hold the pixels that training would see, and tables the errors that the model is surest of."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file

from ferbench.contract.batch import ViewSpec
from ferbench.data.load.image_set import image_set
from ferbench.data.load.views import ViewMaker
from ferbench.data.seeds import derive
from ferbench.discovery.loader import load_registry
from ferbench.discovery.registry import Registry
from ferbench.errors import DataError, FerbenchError
from ferbench.readers.parquet import ParquetDataset
from ferbench.records.predictions import Predictions
from ferbench.records.schema import Fingerprints, Record
from ferbench.reporting.face_sheets import (
    COLUMNS,
    CPU,
    LABELED_VIEWS,
    face_row,
    labeled_sheet,
    picture_sheets,
    spread_over_classes,
    unlabeled_sheet,
)
from ferbench.reporting.local_data import LocalData, open_data
from ferbench.reporting.pictures import LARGEST
from ferbench.reporting.sure_errors import SureError, sure_errors, with_pictures
from tests.support.pattern_set import CLASSES, write_pattern_set
from tests.unit.records.factory import make_cell, make_history, make_predictions, make_record

SIZE = 48  # the size of the protocol's recipe for the family of the pattern set


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> ParquetDataset:
    return ParquetDataset(write_pattern_set(tmp_path_factory.mktemp("data"), size=SIZE))


def record_with(protocol: dict[str, Any] | None = None, fingerprints: Fingerprints | None = None) -> Record:
    """A record on the pattern set; a failed one, which has no fingerprints, unless they are given."""
    cell = make_cell(dataset="patterns", classes="3", overrides={"protocol": protocol or {}})
    record = make_record(cell, make_predictions(), make_history()).model_dump(mode="json")
    if fingerprints is None:
        error = {"type": "E", "message": "m"}
        return Record.model_validate({**record, "status": "failed", "result": None, "error": error})
    record["result"]["fingerprints"] = fingerprints.by_name()
    return Record.model_validate(record)


@pytest.fixture(scope="module")
def data(dataset: ParquetDataset) -> LocalData:
    return open_data(record_with(), load_registry(), dataset)


def pixels(uri: str) -> np.ndarray:
    """The pixels of one face."""
    kind, _, content = uri.partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))


def test_views_are_those_of_training(data: LocalData) -> None:
    sheet = labeled_sheet(data, seed=3)
    pool = image_set(data.data.images, spread_over_classes(data.data.images, data.data.selection, CLASSES), CPU)
    maker = ViewMaker(data.recipe, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), CPU)
    for number, kind in enumerate(LABELED_VIEWS):
        generator = torch.Generator().manual_seed(derive(3, "report", kind, number))
        view, _ = maker.pixels(ViewSpec(kind), pool.images, pool.boxes, generator)
        for column in range(len(pool)):
            np.testing.assert_array_equal(pixels(sheet.rows[number][1][column]), view[column].numpy())
    assert [title for title, _ in sheet.rows] == ["stored", "weak", "weak", "strong", "strong"]


def test_labeled_images_are_spread_over_the_classes(data: LocalData) -> None:
    rows = spread_over_classes(data.data.images, data.data.selection, CLASSES)
    labels = [data.data.images.labels[row] for row in rows]
    assert labels == ["neutral", "neutral", "neutral", "happiness", "happiness", "sadness"]
    assert set(rows) <= set(data.data.selection.labeled)
    assert labeled_sheet(data, 0).captions == [(label,) for label in labels]


def test_unlabeled_images_have_views_and_no_names(data: LocalData) -> None:
    sheet = unlabeled_sheet(data, seed=0)
    assert sheet is not None
    assert sheet.captions == ()
    assert [len(faces) for _, faces in sheet.rows] == [COLUMNS] * 3


@pytest.mark.slow
def test_sheets_are_equal_for_equal_seeds(data: LocalData) -> None:
    assert labeled_sheet(data, 5) == labeled_sheet(data, 5)
    assert labeled_sheet(data, 5) != labeled_sheet(data, 6)


def test_the_surest_errors_come_first() -> None:
    logits = np.array([[9, 0, 0], [0, 9, 0], [0, 4, 0], [2, 0, 0], [0, 4, 0]], np.float16)
    predictions = Predictions(["e", "d", "c", "b", "a"], np.array([0, 0, 0, 2, 2]), logits)
    found = sure_errors(predictions, count=3)
    assert [(error.id, error.label, error.predicted) for error in found] == [("d", 0, 1), ("a", 2, 1), ("c", 0, 1)]
    assert found[0].confidence == pytest.approx(np.exp(9) / (np.exp(9) + 2))
    assert found[0].probability == pytest.approx(1 / (np.exp(9) + 2))


def test_errors_have_the_pictures_of_images_that_are_here(data: LocalData) -> None:
    image = data.data.images.ids[data.data.selection.test[3]]
    shown, unknown = with_pictures([SureError(image, 0, 2, 0.9, 0.1), SureError("?", 0, 2, 0.9, 0.1)], data.data.images)
    stored = image_set(data.data.images, [data.data.images.ids.index(image)], CPU).images[0]
    np.testing.assert_array_equal(pixels(shown.picture), stored.numpy())
    assert unknown.picture == ""


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        ({"image_size": 100_000}, "a report does not draw"),
        ({"stored_size": 100_000}, "a report does not draw"),
        ({"image_size": 40}, "not packed at 40 pixels"),
        ({"stored_size": 40}, "not packed at 40 pixels"),
        ({"strong.operations": 10**9}, "a report does not draw"),
        ({"weak.padding": 10**9}, "must be below image_size"),
        ({"steps": "many"}, "steps"),
        ({"optimizer": None}, "optimizer"),
    ],
)
def test_a_recipe_that_costs_too_much_is_not_drawn(
    dataset: ParquetDataset, protocol: dict[str, Any], words: str
) -> None:
    with pytest.raises(FerbenchError, match=words):
        open_data(record_with(protocol), load_registry(), dataset)


def test_other_data_is_not_shown(dataset: ParquetDataset, data: LocalData, registry: Registry) -> None:
    prints = data.data.fingerprints
    found = open_data(record_with(fingerprints=prints), registry, dataset)
    assert found.data.selection == data.data.selection
    other = prints.model_copy(update={"data": "0", "test": "0"})
    with pytest.raises(DataError, match="not the record's: data, test differ"):
        open_data(record_with(fingerprints=other), registry, dataset)


@pytest.mark.parametrize("size", [16, 48, 96, 112, 300])
def test_a_face_has_its_own_pixels_and_a_large_one_is_made_smaller(size: int) -> None:
    title, faces = face_row("weak", np.full((3, size, size, 3), 200, np.uint8))
    assert (title, len(faces)) == ("weak", 3)
    shown = pixels(faces[0])
    assert shown.shape == (min(size, LARGEST), min(size, LARGEST), 3)
    assert (shown == 200).all()


def test_pictures_of_a_stage_become_a_sheet_and_nonsense_is_left_out(tmp_path: Path) -> None:
    faces = np.random.default_rng(0).integers(0, 255, (3, 16, 16, 3), dtype=np.uint8)
    save_file({"masked": faces // 2, "original": faces}, tmp_path / "pictures-reconstruct.safetensors")
    save_file({"huge": np.zeros((1, 600, 600, 3), np.uint8)}, tmp_path / "pictures-a.safetensors")
    save_file({"float": np.zeros((1, 16, 16, 3))}, tmp_path / "pictures-b.safetensors")
    (tmp_path / "pictures-c.safetensors").write_bytes(b"no tensors")
    ((stage, sheet),) = picture_sheets(tmp_path).items()
    assert stage == "reconstruct"
    assert [title for title, _ in sheet.rows] == ["masked", "original"]
