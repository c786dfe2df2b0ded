"""Label noise against a count of its own, and validation against the rule."""

import hashlib
import json
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import binomtest

from ferbench.contract.protocol import ConfusionNoise, LabelNoise, SymmetricNoise, Validation
from ferbench.data.load.image_store import ImageStore
from ferbench.data.prepare.pack import ensure_packed
from ferbench.data.select.label_noise import DrawnNoise, seen_labels
from ferbench.data.select.splits import Selection, make_split
from ferbench.errors import UsageError
from ferbench.readers.parquet import ParquetDataset
from ferbench.records.cell import Budget
from ferbench.records.predictions import labeled_fingerprint
from tests.support.pattern_set import CLASSES, write_pattern_set
from tests.support.refusals import refused

NEUTRAL, HAPPINESS, SADNESS = CLASSES
NOISE = SymmetricNoise(rate=0.3)
# What a crowd said of faces: rows are true classes.
CONFUSION = {
    NEUTRAL: {NEUTRAL: 0.8, SADNESS: 0.2},
    HAPPINESS: {HAPPINESS: 1.0},
    SADNESS: {NEUTRAL: 0.35, HAPPINESS: 0.05, SADNESS: 0.6},
}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    folder = tmp_path_factory.mktemp("many") / "many"
    counts = {NEUTRAL: 600, HAPPINESS: 500, SADNESS: 500}
    return ImageStore(ensure_packed(ParquetDataset(write_pattern_set(folder, name="many", counts=counts, size=8)), 8))


def split(
    packed: ImageStore,
    ratio: str = "0.5",
    seed: int = 0,
    noise: LabelNoise | None = None,
    validation: Validation | None = None,
    names: tuple[str, ...] = CLASSES,
) -> Selection:
    drawn = DrawnNoise(noise, "sha256-v1", seed) if noise else None
    return make_split(packed, names, Budget(ratio=ratio), seed, rule="sha256-v1", noise=drawn, validation=validation)


def plausible(hits: int, n: int, rate: float) -> bool:
    """Whether a count is one that draws of this rate give, but for one in a thousand."""
    return binomtest(hits, n, rate).pvalue > 1e-3


def test_the_rate_of_wrong_labels_is_the_declared_one(packed: ImageStore) -> None:
    made = split(packed, "1", noise=NOISE)
    wrong = Counter((packed.labels[row], made.seen.labels[row]) for row in made.labeled)
    for true in CLASSES:
        n = sum(1 for row in made.labeled if packed.labels[row] == true)
        others = [wrong[true, seen] for seen in CLASSES if seen != true]
        assert plausible(sum(others), n, 0.3)
        assert plausible(others[0], sum(others), 0.5)


def test_confusions_are_those_of_the_table(packed: ImageStore) -> None:
    made = split(packed, "1", noise=ConfusionNoise(confusion=CONFUSION))
    for true, row in CONFUSION.items():
        rows = [each for each in made.labeled if packed.labels[each] == true]
        seen = Counter(made.seen.labels[each] for each in rows)
        assert seen.keys() <= row.keys()
        assert all(plausible(seen[label], len(rows), chance) for label, chance in row.items() if chance < 1)


def test_the_drawn_label_is_that_of_the_hash(packed: ImageStore) -> None:
    rows = split(packed, "0.1").labeled
    seen = seen_labels(packed, rows, CLASSES, NOISE, "sha256-v1", 7)
    for row in rows:
        text = json.dumps(["sha256-v1/label-noise", "many", 7, packed.ids[row]])
        digest = hashlib.sha256(text.encode()).hexdigest()
        first, second = (int(part, 16) / 2**52 for part in (digest[:13], digest[13:26]))
        others = sorted(set(CLASSES) - {str(packed.labels[row])})
        assert seen[row] == (others[int(2 * second)] if first < 0.3 else packed.labels[row])


def test_noise_depends_on_seed_and_image_alone(packed: ImageStore) -> None:
    few, many, again = (split(packed, ratio, noise=NOISE) for ratio in ("0.05", "0.5", "0.5"))
    assert [few.seen.labels[row] for row in few.labeled] == [many.seen.labels[row] for row in few.labeled]
    assert again.fingerprints == many.fingerprints
    assert split(packed, "0.5", 1, noise=NOISE).fingerprints.label_noise != many.fingerprints.label_noise
    assert split(packed, "0.5", noise=NOISE, names=CLASSES[::-1]).seen.labels == many.seen.labels
    # A lower rate errs on a part of the same images.
    low = split(packed, "0.5", noise=SymmetricNoise(rate=0.1))
    changed = [{row for row in made.labeled if made.seen.labels[row] != packed.labels[row]} for made in (low, many)]
    assert changed[0] < changed[1]


def test_noise_moves_no_image_and_no_test_label(packed: ImageStore) -> None:
    plain, noisy = split(packed), split(packed, noise=NOISE)
    assert (noisy.labeled, noisy.unlabeled, noisy.test) == (plain.labeled, plain.unlabeled, plain.test)
    untouched = noisy.test + noisy.unlabeled
    assert [noisy.seen.labels[row] for row in untouched] == [packed.labels[row] for row in untouched]
    before, after = plain.fingerprints.by_name(), noisy.fingerprints.by_name()
    assert {name for name in after if after[name] != before.get(name)} == {"labeled", "label_noise"}
    seen = [str(noisy.seen.labels[row]) for row in noisy.labeled]
    assert noisy.fingerprints.labeled == labeled_fingerprint([packed.ids[row] for row in noisy.labeled], seen)
    assert noisy.labeled_counts == Counter(seen)
    assert sum(noisy.labeled_counts.values()) == len(noisy.labeled)


def test_shares_of_annotators_do_not_tell_the_true_label(packed: ImageStore) -> None:
    made = split(packed, noise=NOISE)
    shares = made.seen.label_shares(made.labeled, CLASSES)
    assert (shares.argmax(1) == made.seen.label_positions(made.labeled, CLASSES)).all()
    assert (np.sort(shares, 1)[:, :-1] == 0).all()


def test_a_table_of_other_classes_is_refused(packed: ImageStore) -> None:
    table = {name: {name: 1.0} for name in (NEUTRAL, HAPPINESS, "fear")}
    with refused(UsageError, SADNESS, "fear", "--classes"):
        split(packed, noise=ConfusionNoise(confusion=table))


# -- validation


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
def test_validation_images_are_a_share_of_each_class_and_of_nothing_else(packed: ImageStore, share: float) -> None:
    plain, made = split(packed, "0.1"), split(packed, "0.1", validation=Validation(share=share))
    assert sorted(made.labeled + made.validation) == sorted(plain.labeled)
    assert not set(made.labeled) & set(made.validation)
    assert (made.unlabeled, made.test) == (plain.unlabeled, plain.test)
    held = Counter(packed.labels[row] for row in made.validation)
    assert held == {name: int(plain.labeled_counts[name] * share + 1e-9) for name in CLASSES}
    assert made.labeled_counts == {name: plain.labeled_counts[name] - held[name] for name in CLASSES}
    ids, labels = ([str(each[row]) for row in made.validation] for each in (packed.ids, packed.labels))
    assert made.fingerprints.validation == labeled_fingerprint(ids, labels)


def test_validation_is_nested_in_that_of_more_labels(packed: ImageStore) -> None:
    made = [split(packed, ratio, validation=Validation(share=0.2)) for ratio in ("0.05", "0.1", "0.5", "1")]
    for few, many in pairwise(made):
        assert set(few.validation) < set(many.validation)
        assert set(few.labeled) < set(many.labeled)


def test_one_label_of_a_class_is_trained_on(packed: ImageStore) -> None:
    with refused(UsageError, "0.9", "larger budget"):
        split(packed, "0.001", validation=Validation(share=0.9))


def test_validation_labels_are_as_noisy_as_those_of_training(packed: ImageStore) -> None:
    made = split(packed, "1", validation=Validation(share=0.5), noise=NOISE)
    wrong = sum(made.seen.labels[row] != packed.labels[row] for row in made.validation)
    assert plausible(wrong, len(made.validation), 0.3)
