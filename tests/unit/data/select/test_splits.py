"""Splits against the written rule, computed here a second time, and against the counts of SSFER's released code."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest

from ferbench.data.load.image_store import ImageStore
from ferbench.data.prepare.pack import ensure_packed
from ferbench.data.select.allocations import proportional_count
from ferbench.data.select.splits import make_split, rank
from ferbench.errors import DataError, UsageError
from ferbench.readers.parquet import ParquetDataset
from ferbench.records.cell import Budget
from tests.support.pattern_set import CLASSES, write_pattern_set
from tests.support.refusals import refused

RAF_DB = (1290, 281, 717, 4772, 1982, 705, 2524)  # surprise, fear, disgust, happiness, sadness, anger, neutral


@pytest.fixture(scope="module")
def packed(patterns: Path) -> ImageStore:
    return ImageStore(ensure_packed(ParquetDataset(patterns), 16))


def split(packed: ImageStore, ratio: str, seed: int = 0, names: tuple[str, ...] = CLASSES):  # type: ignore[no-untyped-def]
    return make_split(packed, names, Budget(ratio=ratio), seed, rule="sha256-v1")


def test_the_counts_of_ssfer_on_raf_db() -> None:
    """The released code keeps max(1, round(ratio * n)) of each class: 613 images at 5 % (facts of papers.md 3b)."""
    assert [proportional_count("0.05", n) for n in RAF_DB] == [64, 14, 36, 239, 99, 35, 126]
    assert sum(proportional_count("0.1", n) for n in RAF_DB) == 1226
    assert sum(proportional_count("0.25", n) for n in RAF_DB) == 3067


@pytest.mark.parametrize(("ratio", "n", "count"), [("0.5", 5, 2), ("0.5", 7, 4), ("0.01", 3, 1), ("1", 9, 9)])
def test_halves_go_to_the_even_number_and_no_class_is_left_out(ratio: str, n: int, count: int) -> None:
    assert proportional_count(ratio, n) == count


def test_the_rank_is_the_sha256_of_the_json_list() -> None:
    text = '["sha256-v1", "raf-db", 3, "Gesicht-ü"]'
    assert json.loads(text) == ["sha256-v1", "raf-db", 3, "Gesicht-ü"]
    assert rank("sha256-v1", "raf-db", 3, "Gesicht-ü") == hashlib.sha256(text.encode("utf-8")).hexdigest()


def test_labeled_are_the_first_of_each_class_by_rank(packed: ImageStore) -> None:
    made = split(packed, "0.1", seed=4)
    for name in CLASSES:
        ids = [
            i
            for i, s, label in zip(packed.ids, packed.splits, packed.labels, strict=True)
            if (s, label) == ("train", name)
        ]
        by_rank = sorted(
            ids, key=lambda i: hashlib.sha256(json.dumps(["sha256-v1", "patterns", 4, i]).encode()).hexdigest()
        )
        chosen = {packed.ids[row] for row in made.labeled if packed.labels[row] == name}
        assert chosen == set(by_rank[: round(0.1 * len(ids))])


def test_splits_are_nested_and_complete(packed: ImageStore) -> None:
    small, large, full = (split(packed, ratio) for ratio in ("0.05", "0.25", "1"))
    assert set(small.labeled) < set(large.labeled) < set(full.labeled)
    assert full.unlabeled == []
    for made in (small, large):
        assert not set(made.labeled) & set(made.unlabeled)
        assert sorted(made.labeled + made.unlabeled) == sorted(full.labeled)
        assert made.labeled_counts == Counter(packed.labels[row] for row in made.labeled)


def test_the_seed_moves_the_split_and_nothing_else_does(packed: ImageStore, tmp_path: Path) -> None:
    assert split(packed, "0.1", 0).fingerprints == split(packed, "0.1", 0).fingerprints
    assert split(packed, "0.1", 0).fingerprints.labeled != split(packed, "0.1", 1).fingerprints.labeled
    assert split(packed, "0.1", 0).fingerprints.test == split(packed, "0.1", 1).fingerprints.test


def test_the_order_of_files_does_not_move_the_split(packed: ImageStore, patterns: Path, tmp_path: Path) -> None:
    class Reversed(ParquetDataset):
        def samples(self):  # type: ignore[no-untyped-def]
            return reversed(list(super().samples()))

        def source_digest(self) -> str:
            return "other"

    other = ImageStore(ensure_packed(Reversed(patterns), 16))
    assert other.ids == packed.ids[::-1]
    assert split(other, "0.1").fingerprints == split(packed, "0.1").fingerprints


def test_a_class_without_training_images_is_named(packed: ImageStore) -> None:
    with pytest.raises(DataError, match="no training image of the class anger"):
        split(packed, "0.1", names=(*CLASSES, "anger"))


def test_a_set_without_a_test_split_is_sent_to_folds(tmp_path: Path) -> None:
    packed = ImageStore(
        ensure_packed(ParquetDataset(write_pattern_set(tmp_path / "whole", name="whole", n_test=0)), 16)
    )
    with refused(DataError, "'whole'", "--protocol subject-folds-v1"):
        split(packed, "0.1")


def test_numbers_of_labels_take_the_same_ranks_as_ratios(packed: ImageStore) -> None:
    def labeled(budget: Budget) -> Counter[str]:
        made = make_split(packed, CLASSES, budget, 0, rule="sha256-v1")
        assert sorted(made.labeled + made.unlabeled) == sorted(split(packed, "1").labeled)
        assert made.labeled_counts == Counter(packed.labels[row] for row in made.labeled)
        return Counter(made.labeled)

    few, more = labeled(Budget(per_class=5)), labeled(Budget(count=40, allocation="balanced"))
    assert (few.total(), more.total()) == (15, 39)
    assert few <= more
    with pytest.raises(UsageError, match=r"sadness \(20 images, 21 wanted\)"):
        labeled(Budget(per_class=21))


def test_a_task_of_fewer_classes_leaves_the_others_out(tmp_path: Path) -> None:
    packed = ImageStore(ensure_packed(ParquetDataset(write_pattern_set(tmp_path / "two", name="two")), 16))
    made = split(packed, "0.1", names=CLASSES[:2])
    assert {packed.labels[row] for row in made.labeled + made.unlabeled + made.test} == set(CLASSES[:2])
