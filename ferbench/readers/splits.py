"""Names of splits: how copies spell them."""

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
    """The split that a name stands for, in any case; raises ValueError for none."""
    if text.strip().lower() not in SPLITS:
        raise ValueError(f"{quoted(text)} is no split")
    return SPLITS[text.strip().lower()]
