"""Names of splits, in the spellings of common copies."""

from collections.abc import Mapping

from ferbench.contract.dataset import SplitName
from ferbench.readers.text import quoted

SPLITS: Mapping[str, SplitName] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "unlabeled": "unlabeled",
    "unlabelled": "unlabeled",
}


def split_name(text: str) -> SplitName:
    """The split with this name, in any case; raises ValueError if there is none."""
    if text.strip().lower() not in SPLITS:
        raise ValueError(f"{quoted(text)} is not a split")
    return SPLITS[text.strip().lower()]
