"""Folds of subjects: over all seeds of a protocol, every subject is tested once."""

from collections.abc import Sequence
from dataclasses import dataclass

from ferbench.contract.protocol import Protocol
from ferbench.data.load.image_store import ImageStore
from ferbench.data.select.ranks import rank
from ferbench.errors import DataError, UsageError


@dataclass(frozen=True)
class Fold:
    """The tested fold: `number` (from 0) of `count`."""

    number: int
    count: int


def fold_of(protocol: Protocol, seed: int) -> Fold | None:
    """The fold that a seed tests, None if the protocol has no folds; raises UsageError if the seed has no fold."""
    if protocol.folds is None:
        return None
    if seed >= protocol.folds:
        raise UsageError(
            f"--seed {seed}: protocol '{protocol.name}' tests fold k with seed k and has {protocol.folds} folds; "
            f"choose seeds from 0-{protocol.folds - 1}"
        )
    return Fold(seed, protocol.folds)


def subject_folds(packed: ImageStore, rows: Sequence[int], rule: str, count: int) -> list[list[str]]:
    """The subjects of these rows in `count` folds whose sizes differ by at most one; each fold is sorted.

    Subjects are ranked like images, with the word `folds` in place of a seed, and dealt out in turn. So folds do not
    depend on seed, budget or order of files.
    """
    subject_of = packed.groups("subject")
    ranked = sorted({subject_of[row] for row in rows}, key=lambda subject: rank(rule, packed.name, "folds", subject))
    if len(ranked) < count:
        raise DataError(
            f"dataset '{packed.name}': only {len(ranked)} subjects have images of these classes, too few for {count} "
            "folds; choose another --protocol, such as ratio-v1"
        )
    return [sorted(ranked[number::count]) for number in range(count)]
