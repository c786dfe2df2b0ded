"""What a trainer is given: pixels, numbers that tell nothing, and labels of labeled images alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import cross_val_score
from sklearn.tree import DecisionTreeClassifier

from ferbench.cells.request import RunRequest
from ferbench.cells.resolve import resolve
from ferbench.cells.select import CellData, select
from ferbench.contract.protocol import SymmetricNoise
from ferbench.discovery.registry import Registry
from ferbench.execution.handover import ImageRows
from ferbench.execution.plan import make_plan
from ferbench.execution.rows import TrainingRows, rows_of_tests, training_rows
from ferbench.execution.run_cell import sources_of
from tests.support.pattern_set import CLASSES, write_pattern_set

EACH = 100


@pytest.fixture(scope="module")
def data(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, CellData]:
    """A cell of a dataset whose sorted ids tell the class, as those of class folders do."""
    folder = write_pattern_set(
        tmp_path_factory.mktemp("rows") / "sorted", name="sorted", counts=dict.fromkeys(CLASSES, EACH)
    )
    request = RunRequest(
        methods=["fixmatch"], datasets=[str(folder)], ratios=["0.1"], backbones=["small-resnet/4"],
        overrides={"image_size": 16}, device="cpu", runs=folder / "runs",
    )  # fmt: skip
    (item,) = make_plan(request, registry)
    resolved = resolve(item.cell, registry, sources_of(item.job))
    return resolved, select(resolved)


@pytest.fixture(scope="module")
def rows(data: tuple[Any, CellData]) -> TrainingRows:
    """What its trainer is given."""
    return training_rows(*data, unlabeled=True, everything=True)


def accuracy(feature: np.ndarray, truth: np.ndarray) -> float:
    """How well a class can be told by one number of each image."""
    tree = DecisionTreeClassifier(max_depth=4, random_state=0)
    order = np.random.default_rng(0).permutation(len(feature))
    return float(cross_val_score(tree, feature[order, None], truth[order], cv=10).mean())


def no_better_than_chance(count: int) -> float:
    """Three deviations above it."""
    chance = 1 / len(CLASSES)
    return float(chance + 3 * np.sqrt(chance * (1 - chance) / count))


def test_numbers_tell_the_class_no_better_than_chance(data: tuple[Any, CellData], rows: TrainingRows) -> None:
    resolved, chosen = data
    truth = chosen.images.label_positions(rows.rows["unlabeled"].row.tolist(), resolved.class_names)
    numbers = rows.rows["unlabeled"].numbers
    assert accuracy(np.arange(len(truth)), truth) > 0.9, "positions do, which is why there are numbers"
    assert accuracy(numbers, truth) < no_better_than_chance(len(truth))
    assert sorted(numbers.tolist()) == list(range(len(truth)))


def test_positions_are_those_of_sorted_ids_unless_the_protocol_says_otherwise(
    data: tuple[Any, CellData], rows: TrainingRows
) -> None:
    """The order of all results that there are."""
    resolved, chosen = data
    assert resolved.protocol.pool_order == "id"
    for given in (rows.rows["unlabeled"], rows.rows["everything"]):
        ids = [chosen.images.ids[row] for row in given.row.tolist()]
        assert ids == sorted(ids)


def test_ranked_positions_tell_the_class_no_better_than_chance(data: tuple[Any, CellData], rows: TrainingRows) -> None:
    resolved, chosen = data
    ranked = replace(resolved, protocol=resolved.protocol.model_copy(update={"pool_order": "rank"}))
    given = training_rows(ranked, chosen, unlabeled=True, everything=True)
    for name in ("unlabeled", "everything"):
        images, by_id = given.rows[name], rows.rows[name]
        truth = chosen.images.label_positions(images.row.tolist(), resolved.class_names)
        assert accuracy(np.arange(len(truth)), truth) < no_better_than_chance(len(truth))
        assert sorted(images.row.tolist()) == sorted(by_id.row.tolist()), "the same images"
        assert [given.hidden[name][number] for number in images.numbers.tolist()] == truth.tolist()


def test_hidden_labels_are_known_by_number(data: tuple[Any, CellData], rows: TrainingRows) -> None:
    resolved, chosen = data
    for name, count in (("unlabeled", 0.9 * EACH * len(CLASSES)), ("everything", EACH * len(CLASSES))):
        given, hidden = rows.rows[name], rows.hidden[name]
        assert len(given) == len(hidden) == count
        for row, number in zip(given.row.tolist(), given.numbers.tolist(), strict=True):
            assert chosen.images.labels[row] == resolved.class_names[hidden[number]]


def test_files_hold_labels_of_labeled_images_alone(rows: TrainingRows, tmp_path: Path) -> None:
    for name, given in rows.rows.items():
        given.write(tmp_path / f"{name}.npz")
        read = ImageRows.read(tmp_path / f"{name}.npz")
        assert (read.labels is not None) == (name == "labeled")
        for field, value in vars(given).items():
            np.testing.assert_array_equal(getattr(read, field), value)


def test_labels_are_those_that_the_protocol_lets_a_method_see(data: tuple[Any, CellData]) -> None:
    resolved, _ = data
    noisy = replace(
        resolved,
        protocol=resolved.protocol.model_copy(update={"name": "noisy-v1", "label_noise": SymmetricNoise(rate=0.9)}),
    )
    chosen = select(noisy)
    labels = training_rows(noisy, chosen, unlabeled=True, everything=True).rows["labeled"].labels
    assert labels is not None
    seen = [noisy.class_names.index(str(chosen.selection.seen.labels[row])) for row in chosen.selection.labeled]
    clean = chosen.images.label_positions(chosen.selection.labeled, noisy.class_names)
    assert labels.tolist() == seen
    assert (labels != clean).mean() > 0.5


def test_tests_are_given_in_an_order_that_tells_nothing(data: tuple[Any, CellData]) -> None:
    _, chosen = data
    test = chosen.selection.test
    given, order = rows_of_tests(chosen.images, test)
    assert given.labels is None
    assert [test[position] for position in order] == given.row.tolist()
    assert given.row.tolist() != sorted(given.row.tolist())
    assert abs(np.corrcoef(np.arange(len(order)), order)[0, 1]) < 0.5
