"""Folds of subjects: every subject is tested once, whatever the order of files, the seed and the labels."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferbench.builtin.protocols import RATIO_V1, SUBJECT_FOLDS_V1
from ferbench.contract.protocol import Protocol
from ferbench.data.load.image_store import ImageStore
from ferbench.data.prepare.pack import ensure_packed
from ferbench.data.select.folds import Fold, fold_of, subject_folds
from ferbench.data.select.splits import Selection, make_split, rows_of
from ferbench.data.select.unlabeled_pool import open_unlabeled_pool
from ferbench.errors import DataError, UsageError
from ferbench.readers.parquet import ParquetDataset
from ferbench.records.cell import Budget
from tests.support.pattern_set import CLASSES, bar_image, encoded, write_pattern_set
from tests.support.pool_set import PoolSet
from tests.support.refusals import refused

SUBJECTS = 23
FOLDS = SUBJECT_FOLDS_V1.folds
assert FOLDS is not None


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set with training and test images of the same subjects: folds join the two."""
    return write_pattern_set(tmp_path_factory.mktemp("folds") / "posed", name="posed", subjects=SUBJECTS)


@pytest.fixture(scope="module")
def packed(source: Path) -> ImageStore:
    return ImageStore(ensure_packed(ParquetDataset(source), 16))


def split(packed: ImageStore, seed: int, ratio: str = "0.25") -> Selection:
    fold = fold_of(SUBJECT_FOLDS_V1, seed)
    return make_split(packed, CLASSES, Budget(ratio=ratio), seed, rule="sha256-v1", fold=fold)


class Posed:
    """As much of a packed set as folds look at."""

    name = "posed"

    def __init__(self, subjects: list[str]) -> None:
        self._subjects = subjects

    def groups(self, kind: str) -> list[str]:
        assert kind == "subject"
        return self._subjects


@settings(deadline=None, max_examples=50)
@given(st.data(), st.integers(2, 12))
def test_every_subject_is_in_one_fold_and_folds_are_of_equal_size(data: st.DataObject, count: int) -> None:
    names = data.draw(st.lists(st.text(max_size=4), min_size=count, max_size=40, unique=True))
    images = data.draw(st.permutations(names * 2))
    folds = subject_folds(Posed(images), range(len(images)), "sha256-v1", count)  # type: ignore[arg-type]
    assert Counter(subject for fold in folds for subject in fold) == dict.fromkeys(names, 1)
    sizes = sorted(map(len, folds))
    assert len(sizes) == count
    assert sizes[-1] - sizes[0] <= 1
    in_order = subject_folds(Posed(sorted(images)), range(len(images)), "sha256-v1", count)  # type: ignore[arg-type]
    assert folds == in_order, "the order of files does not matter"


def test_as_many_subjects_as_folds_are_left_out_one_by_one() -> None:
    jaffe = ["KA", "KL", "KM", "KR", "MK", "NA", "NM", "TM", "UY", "YM"]
    folds = subject_folds(Posed(jaffe), range(10), "sha256-v1", 10)  # type: ignore[arg-type]
    assert sorted(folds) == [[subject] for subject in jaffe]


def test_subjects_are_dealt_out_by_rank(packed: ImageStore) -> None:
    """The written rule, computed a second time."""
    subjects = {f"s{i}" for i in range(SUBJECTS)}
    ranked = sorted(
        subjects, key=lambda s: hashlib.sha256(json.dumps(["sha256-v1", "posed", "folds", s]).encode()).hexdigest()
    )
    subject_of = packed.groups("subject")
    for seed in range(10):
        expected = {subject for place, subject in enumerate(ranked) if place % 10 == seed}
        assert {subject_of[row] for row in split(packed, seed).test} == expected


def test_every_image_is_tested_by_one_seed_and_no_subject_is_on_both_sides(packed: ImageStore) -> None:
    subject_of = packed.groups("subject")
    tested: Counter[int] = Counter()
    for seed in range(10):
        plan = split(packed, seed)
        trained = {subject_of[row] for row in plan.labeled + plan.unlabeled}
        assert not trained & {subject_of[row] for row in plan.test}
        assert sorted(plan.labeled + plan.unlabeled + plan.test) == list(range(len(packed.ids)))
        tested.update(plan.test)
    assert tested == dict.fromkeys(range(150), 1), "training and test split are joined"


def test_labels_are_those_of_first_rank_among_the_other_subjects_and_nested(packed: ImageStore) -> None:
    small, large, full = (split(packed, 3, ratio) for ratio in ("0.05", "0.25", "1"))
    assert set(small.labeled) < set(large.labeled) < set(full.labeled)
    assert full.unlabeled == []
    assert small.test == large.test == full.test
    for name in CLASSES:
        ids = [packed.ids[row] for row in full.labeled if packed.labels[row] == name]
        by_rank = sorted(ids, key=lambda i: hashlib.sha256(f'["sha256-v1", "posed", 3, "{i}"]'.encode()).hexdigest())
        chosen = {packed.ids[row] for row in large.labeled if packed.labels[row] == name}
        assert chosen == set(by_rank[: round(0.25 * len(ids))])


def test_fingerprints_name_the_folds_and_no_order_of_files_moves_them(packed: ImageStore, source: Path) -> None:
    class Reversed(ParquetDataset):
        def samples(self):  # type: ignore[no-untyped-def]
            return reversed(list(super().samples()))

        def source_digest(self) -> str:
            return "reversed"

    other = ImageStore(ensure_packed(Reversed(source), 16))
    made = [split(packed, seed).fingerprints for seed in range(10)]
    assert [split(other, seed).fingerprints for seed in range(10)] == made
    assert len({prints.folds for prints in made}) == 1
    assert len({prints.test for prints in made}) == 10


def test_without_folds_nothing_speaks_of_them(packed: ImageStore) -> None:
    assert fold_of(RATIO_V1, 7) is None
    plan = make_split(packed, CLASSES, Budget(ratio="0.1"), 0, rule="sha256-v1")
    assert set(plan.fingerprints.by_name()) == {"data", "labeled", "unlabeled", "test", "split_rule"}
    assert {packed.splits[row] for row in plan.test} == {"test"}


def test_a_set_without_subjects_or_with_too_few_is_refused(packed: ImageStore, tmp_path: Path) -> None:
    nobody = write_pattern_set(tmp_path / "nobody", name="nobody", subjects=0)
    with refused(DataError, "'nobody'", "subject", "150 of 150", "--protocol"):
        split(ImageStore(ensure_packed(ParquetDataset(nobody), 16)), 0)
    few = write_pattern_set(tmp_path / "few", name="few", subjects=9, n_test=0)
    with refused(DataError, "'few'", "9 subjects", "10 folds", "--protocol"):
        split(ImageStore(ensure_packed(ParquetDataset(few), 16)), 0)


def test_a_seed_without_a_fold_is_refused() -> None:
    assert fold_of(SUBJECT_FOLDS_V1, 9) == Fold(9, 10)
    with pytest.raises(UsageError, match=r"--seed 10: .*10 folds; choose seeds from 0-9"):
        fold_of(SUBJECT_FOLDS_V1, 10)


def test_the_seeds_of_a_protocol_are_its_folds() -> None:
    fields = {**SUBJECT_FOLDS_V1.model_dump(), "seeds": (0, 1, 2)}
    with pytest.raises(ValueError, match=r"10 folds.*0 to 9"):
        Protocol.model_validate(fields)


def test_a_pool_is_compared_with_the_images_of_every_fold(packed: ImageStore, source: Path) -> None:
    """So that all seeds draw the same images of it."""
    training = next(bytes(s.image) for s in ParquetDataset(source).samples() if s.split == "train")  # type: ignore[arg-type]
    other = encoded(bar_image(1, np.random.default_rng(77)))
    assert sorted(rows_of(packed, "test", Fold(0, 10))) == list(range(150))
    assert len(open_unlabeled_pool(PoolSet([other], name="others"), packed, Fold(0, 10)).rows) == 1
    open_unlabeled_pool(PoolSet([training], name="taken"), packed)
    with pytest.raises(DataError, match="1 image\\(s\\) equal test images of 'posed'"):
        open_unlabeled_pool(PoolSet([training], name="taken"), packed, Fold(0, 10))
