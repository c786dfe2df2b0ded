"""Folds of subjects: every subject is tested once, over all seeds of a protocol."""

from collections.abc import Sequence
from dataclasses import dataclass

from ferbench.contract.protocol import Protocol
from ferbench.data.load.image_store import ImageStore
from ferbench.data.select.ranks import rank
from ferbench.errors import DataError, UsageError


@dataclass(frozen=True)
class Fold:
    """The subjects that are tested: fold `number`, from 0, of `count`."""

    number: int
    count: int


def fold_of(protocol: Protocol, seed: int) -> Fold | None:
    """The fold that a seed tests, None where the protocol has none; raises UsageError for a seed beyond them."""
    if protocol.folds is None:
        return None
    if seed >= protocol.folds:
        raise UsageError(
            f"--seed {seed}: protocol '{protocol.name}' tests fold k with seed k and has {protocol.folds} folds; "
            f"choose seeds of 0-{protocol.folds - 1}"
        )
    return Fold(seed, protocol.folds)


def subject_folds(packed: ImageStore, rows: Sequence[int], rule: str, count: int) -> list[list[str]]:
    """The subjects of these rows in `count` folds of equal size, give or take one; each fold is sorted.

    Subjects are ranked as images are, with the word `folds` in place of a seed, and dealt out in turn. So folds depend
    on neither seed nor budget nor the order of files.
    """
    subject_of = packed.groups("subject")
    ranked = sorted({subject_of[row] for row in rows}, key=lambda subject: rank(rule, packed.name, "folds", subject))
    if len(ranked) < count:
        raise DataError(
            f"dataset '{packed.name}': {len(ranked)} subjects have images of these classes, too few for {count} folds; "
            "choose another --protocol, such as ratio-v1"
        )
    return [sorted(ranked[number::count]) for number in range(count)]
