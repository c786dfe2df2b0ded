"""The plan of a dataset before rendering: expression and person of each image."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ferbench_synthfaces.render.difficulty import LEVELS, Difficulty

CLASSES = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")

RAF_DB_TRAIN = {  # images per class of RAF-DB's training set, single labels
    "neutral": 2524,
    "happiness": 4772,
    "sadness": 1982,
    "surprise": 1290,
    "fear": 281,
    "disgust": 717,
    "anger": 705,
}
CONTEMPT_SHARE = 0.03
POOL_SHARES = {  # mostly mild everyday faces, as in face-recognition datasets
    "neutral": 0.60,
    "happiness": 0.25,
    "sadness": 0.04,
    "surprise": 0.04,
    "fear": 0.01,
    "disgust": 0.02,
    "anger": 0.03,
    "contempt": 0.01,
}
POOL_INTENSITY = (0.1, 0.6)

TRAIN, TEST, POOL, IDENTITIES = "train", "test", "unlabeled", "identities"
SPLIT_CODES = {TRAIN: 1, TEST: 2, POOL: 3, IDENTITIES: 4}
UNLABELED = (POOL, IDENTITIES)
"""Splits like face-recognition datasets; the split of identities shows each person often."""
IMAGES_PER_IDENTITY = 10

# Random streams differ in the last word of their seed. The stream of an image has none, which numpy treats as 0.
IDENTITY_STREAM, PLAN_STREAM = 1, 2


@dataclass(frozen=True)
class SetPlan:
    """All settings that determine the content of a dataset."""

    name: str
    seed: int
    size: int  # pixels
    train: int  # images
    test: int
    pool: int
    level: str = "standard"
    identities: int = 0

    @property
    def splits(self) -> dict[str, int]:
        """Images per split, without empty splits."""
        counts = {TRAIN: self.train, TEST: self.test, POOL: self.pool, IDENTITIES: self.identities}
        return {split: count for split, count in counts.items() if count}

    def difficulty(self, split: str) -> Difficulty:
        """The parameters of a split: expressions of unlabeled splits are milder."""
        level = LEVELS[self.level]
        return replace(level, intensity=POOL_INTENSITY) if split in UNLABELED else level


@dataclass(frozen=True)
class SplitPlan:
    """The N images of a split, in their final order."""

    labels: tuple[str, ...]  # class of each image
    subjects: NDArray[np.int64]  # (N,) person of each image, numbered within the split


def plan_split(seed: int, split: str, count: int) -> SplitPlan:
    """Assign classes and people to `count` images; both are shuffled, so that neighbours are independent."""
    rng = np.random.default_rng([seed, SPLIT_CODES[split], 0, PLAN_STREAM])
    counts = pool_counts(count) if split in UNLABELED else class_counts(count)
    labels = rng.permutation(np.repeat(list(counts), list(counts.values())))
    # Each person appears in one to three images; in the split of identities in IMAGES_PER_IDENTITY.
    times = IMAGES_PER_IDENTITY if split == IDENTITIES else rng.integers(1, 4, count)
    people = np.repeat(np.arange(count), times)[:count]
    return SplitPlan(tuple(str(label) for label in labels), rng.permutation(people))


def class_counts(count: int) -> dict[str, int]:
    """Images per class of a labeled split: 3 % contempt, the rest in RAF-DB's proportions."""
    contempt = round(CONTEMPT_SHARE * count)
    return {**_apportion(count - contempt, RAF_DB_TRAIN), "contempt": contempt}


def pool_counts(count: int) -> dict[str, int]:
    """Images per class of an unlabeled split."""
    return _apportion(count, POOL_SHARES)


def _apportion(count: int, shares: dict[str, int] | dict[str, float]) -> dict[str, int]:
    """Whole numbers in proportion to `shares` that sum to `count` (largest remainders)."""
    total = sum(shares.values())
    exact = {name: count * share / total for name, share in shares.items()}
    counts = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in by_remainder[: count - sum(counts.values())]:
        counts[name] += 1
    return counts


def identity_rng(seed: int, split: str, subject: int) -> np.random.Generator:
    """The random stream of a person: the same in every image of the split."""
    return np.random.default_rng([seed, SPLIT_CODES[split], subject, IDENTITY_STREAM])


def image_rng(seed: int, split: str, index: int) -> np.random.Generator:
    """The random stream of an image, for everything except the person."""
    return np.random.default_rng([seed, SPLIT_CODES[split], index])
