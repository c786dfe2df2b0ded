"""Every fingerprint of a record is recomputed from data that is here, or named as one that cannot be."""

from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from ferbench.cells.fingerprints import recompute
from ferbench.cells.resolve import resolve
from ferbench.cells.select import DataNeeds, Policy, select
from ferbench.contract.dataset import Dataset
from ferbench.data.cache import write_sealed
from ferbench.data.prepare.face_boxes import boxes_path
from ferbench.discovery.registry import Registry
from ferbench.readers.parquet import ParquetDataset
from ferbench.records.cell import Budget, Cell
from ferbench.records.schema import Fingerprints
from tests.support.pattern_set import EIGHT_CLASSES, write_pattern_set
from tests.unit.records.factory import make_cell

SMALL = {"protocol": {"image_size": 16}}


@pytest.fixture(autouse=True)
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Dataset]:
    """Datasets by name, in an empty cache."""
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "cache"))
    found: dict[str, Dataset] = {
        "patterns": ParquetDataset(write_pattern_set(tmp_path / "patterns")),
        "eight": ParquetDataset(write_pattern_set(tmp_path / "eight", name="eight", classes=EIGHT_CLASSES, seed=3)),
        "posed": ParquetDataset(write_pattern_set(tmp_path / "posed", name="posed", n_test=0, subjects=12)),
    }
    monkeypatch.setattr("ferbench.cells.resolve.open_dataset", lambda registry, name: found[name])
    return found


def cell_of(**fields: Any) -> Cell:
    values = {"dataset": "patterns", "classes": "3", "budget": Budget(ratio="0.1"), "overrides": SMALL}
    return make_cell(**{**values, **fields})


def run(cell: Cell, registry: Registry, **needs: bool) -> Fingerprints:
    """What a run of the cell records, of a method with these needs."""
    return select(resolve(cell, registry), Policy.MAKE, DataNeeds(**needs)).fingerprints


@pytest.mark.parametrize(
    "cell",
    [
        cell_of(),
        cell_of(seed=3),
        cell_of(test_on="eight"),
        cell_of(dataset="posed", protocol="subject-folds-v1", seed=4, budget=Budget(ratio="0.25")),
    ],
    ids=lambda cell: f"{cell.dataset}-{cell.seed}-{cell.test_on}",
)
def test_what_a_run_records_is_recomputed(cell: Cell, registry: Registry) -> None:
    recorded = run(cell, registry)
    found = recompute(cell, recorded, registry)
    assert found.values == recorded.by_name()
    assert not found.unchecked


def test_a_second_draw_is_recomputed(registry: Registry) -> None:
    recorded = run(cell_of(), registry, relabeled=True)
    found = recompute(cell_of(), recorded, registry)
    assert found.values["relabeled"] == recorded.relabeled != recorded.labeled


def test_nothing_is_decoded_and_what_is_missing_is_named(registry: Registry, tmp_path: Path) -> None:
    recorded = Fingerprints(data="d", labeled="l", test="t", boxes="b")
    found = recompute(cell_of(), recorded, registry)
    assert not found.values
    assert found.unchecked.keys() == recorded.by_name().keys()
    assert all("'patterns' is not packed at 16 pixels" in reason for reason in found.unchecked.values())
    assert not (tmp_path / "cache").exists()


def test_the_size_matters_only_where_looks_are_compared(registry: Registry) -> None:
    recorded = run(cell_of(), registry)
    other_size = {"protocol": {"image_size": 20}}
    assert recompute(cell_of(overrides=other_size), recorded, registry).values == recorded.by_name()
    crossed = cell_of(overrides=other_size, test_on="eight")
    assert recompute(crossed, recorded, registry).unchecked


def test_invented_fingerprints_are_not_among_those_of_the_data(registry: Registry) -> None:
    recorded = run(cell_of(), registry)
    for name in ("boxes", "relabeled", "folds", "pool", "test_data"):
        invented = recorded.model_copy(update={name: "0" * 64})
        found = recompute(cell_of(), invented, registry)
        assert found.values.get(name) != "0" * 64
        assert name not in found.unchecked


def test_boxes_of_a_detector_are_compared_where_it_was_asked(
    sets: dict[str, Dataset], registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    boxless = _without_boxes(tmp_path / "boxless")
    sets["boxless"] = boxless
    cell = cell_of(dataset="boxless")
    here = run(cell, registry, boxes=True)
    assert here.boxes is None, "nothing was detected yet"
    recorded = here.model_copy(update={"boxes": "0" * 64})
    assert "run `ferbench boxes boxless`" in recompute(cell, recorded, registry).unchecked["boxes"]
    _detect(boxless)
    recorded = run(cell, registry, boxes=True)
    assert recorded.boxes is not None
    assert recompute(cell, recorded, registry).values["boxes"] == recorded.boxes


def _without_boxes(folder: Path) -> Dataset:
    write_pattern_set(folder, name="boxless", seed=5)
    for path in folder.glob("*.parquet"):
        pyarrow.parquet.write_table(pyarrow.parquet.read_table(path).drop_columns(["box"]), path)
    return ParquetDataset(folder)


def _detect(dataset: Dataset) -> None:
    """Leave what a detector would: a box of every image."""
    boxes = {sample.id: [0.1, 0.1, 0.9, 0.9] for sample in dataset.samples()}
    write_sealed(boxes_path(dataset.info.name, dataset.source_digest()), {"boxes": boxes})
