"""Numbers of FERPlus images that each rule keeps, by class, counted from the two published files of votes.

The two files disagree on 1,602 images. Keys are names of datasets; datasets with unknown counts are missing.
"""

from collections import Counter

from ferbench_fer_datasets.ferplus_rules import EMOTIONS

Counts = tuple[int, ...]


def _table(train: Counts, validation: Counts, test: Counts) -> dict[str, dict[str, int]]:
    splits = {"train": train, "validation": validation, "test": test}
    return {split: dict(zip(EMOTIONS, counts, strict=True)) for split, counts in splits.items()}


def _without_validation(table: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    return {"train": dict(Counter(table["train"]) + Counter(table["validation"])), "test": table["test"]}


_LABEL_CSV = _table(
    (8733, 7284, 3136, 3022, 2098, 116, 536, 120),
    (1180, 862, 411, 348, 289, 25, 60, 16),
    (1083, 892, 394, 382, 269, 16, 86, 15),
)
OFFICIAL = {
    "ferplus": _table(
        (8740, 7287, 3149, 3014, 2100, 119, 532, 119),
        (1182, 865, 415, 351, 287, 24, 62, 13),
        (1090, 893, 396, 384, 273, 18, 83, 16),
    ),
    "ferplus-argmax": _table(
        (10309, 7528, 3562, 3515, 2467, 191, 652, 165),
        (1335, 899, 456, 412, 319, 34, 74, 24),
        (1262, 928, 444, 444, 325, 23, 93, 27),
    ),
    "ferplus-argmax-emotions": _table(
        (10390, 7539, 3588, 3549, 2478, 194, 656, 167),
        (1347, 899, 459, 418, 320, 36, 75, 25),
        (1279, 929, 446, 448, 326, 23, 94, 29),
    ),
    "ferplus-label-csv": _LABEL_CSV,
    "ferplus-leaf": _without_validation(_LABEL_CSV),
}
