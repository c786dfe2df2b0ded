"""Check the data of a record against pinned fingerprints and counts, or against recomputed ones."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from ferbench.records.cell import Cell
from ferbench.records.checks import RecordCheck, passed
from ferbench.records.known import Counts, Known, PinnedSplit, split_key
from ferbench.records.schema import Fingerprints, Result

SPLIT = "split"
NO_DATA = "this check does not recompute anything from the data"
WITH_DATA = "run `ferbench verify` on a machine where the data is prepared"


@dataclass(frozen=True)
class Recomputed:
    """The fingerprints and counts of a cell, recomputed from the data on this machine.

    `unchecked` maps the fingerprints that could not be recomputed to the reason. `tests` are id and class of every
    test image, in the order of the split; empty if there is no data.
    """

    values: Mapping[str, str]
    unchecked: Mapping[str, str]
    counts: Counts = field(default_factory=lambda: MappingProxyType({}))
    tests: Sequence[tuple[str, str]] = ()


Recompute = Callable[[Cell, Fingerprints], Recomputed]


def pinned_split(cell: Cell, known: Known) -> PinnedSplit | None:
    """Return the pinned split of a cell, if any.

    There is none for a pool or another test dataset with overrides of the protocol: their near-duplicates depend on
    the image size.
    """
    pins = known.pins.get(cell.dataset)
    if pins is None or ((cell.pool or cell.test_on) and cell.overrides.protocol):
        return None
    found = pins.splits.get(split_key(cell))
    return found and found.model_copy(update={"fingerprints": {"data": pins.data, **found.fingerprints}})


def is_pinned_whole(pinned: PinnedSplit | None, recorded: Fingerprints) -> bool:
    """Whether all recorded fingerprints are pinned, so that nothing must be recomputed."""
    return pinned is not None and recorded.by_name().keys() <= pinned.fingerprints.keys()


def split_checks(result: Result, pinned: PinnedSplit | None, recomputed: Recomputed | None) -> Iterator[RecordCheck]:
    """Compare every fingerprint and count of a record with a pinned or recomputed one, or name it as unchecked."""
    names = result.fingerprints.by_name()
    found = recomputed or Recomputed({}, dict.fromkeys(names, NO_DATA))
    pins = pinned or PinnedSplit(fingerprints={}, counts={})
    values, counts = {**found.values, **pins.fingerprints}, {**found.counts, **pins.counts}
    unchecked = {name: why for name, why in found.unchecked.items() if name not in pins.fingerprints}
    wrong = [
        f"{name} differs from {'the pinned one' if name in pins.fingerprints else 'that of the data on this machine'}"
        for name in sorted((names.keys() | values.keys()) - unchecked.keys())
        if names.get(name) != values.get(name)
    ]
    wrong += [
        f"{name} is {recorded}, but the data gives {value}"
        for name, value in counts.items()
        if (recorded := getattr(result, name)) != value and not (name == "n_unlabeled" and recorded is None)
    ]
    if wrong or len(unchecked) < len(names):
        yield passed(SPLIT, wrong)
    for reason in dict.fromkeys(unchecked.values()):
        unknown = [name for name, why in unchecked.items() if why == reason]
        whole = SPLIT if len(unknown) == len(names) else f"{SPLIT}: {', '.join(unknown)}"
        # If some of them could be recomputed, the data is here, and the reason says what to do.
        yield RecordCheck(whole, "unchecked", reason, "" if found.values else WITH_DATA)
