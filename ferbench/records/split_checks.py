"""Whether the data of a record is the data: against what is pinned of it, or recomputed here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from ferbench.records.cell import Cell
from ferbench.records.checks import RecordCheck, passed
from ferbench.records.known import Counts, Known, PinnedSplit, split_key
from ferbench.records.schema import Fingerprints, Result

SPLIT = "split"
NO_DATA = "nothing is recomputed from data here"


@dataclass(frozen=True)
class Recomputed:
    """The fingerprints and counts of a cell as the data at hand gives them, and which could not be recomputed, and why.

    `tests` are id and class of every test image, in the order of the split; empty where there is no data.
    """

    values: Mapping[str, str]
    unchecked: Mapping[str, str]
    counts: Counts = field(default_factory=lambda: MappingProxyType({}))
    tests: Sequence[tuple[str, str]] = ()


Recompute = Callable[[Cell, Fingerprints], Recomputed]


def pinned_split(cell: Cell, known: Known) -> PinnedSplit | None:
    """What is pinned of the rows of a cell; which images look alike depends on the size, so on overrides."""
    pins = known.pins.get(cell.dataset)
    if pins is None or ((cell.pool or cell.test_on) and cell.overrides.protocol):
        return None
    found = pins.splits.get(split_key(cell))
    return found and found.model_copy(update={"fingerprints": {"data": pins.data, **found.fingerprints}})


def is_pinned_whole(pinned: PinnedSplit | None, recorded: Fingerprints) -> bool:
    """Whether nothing of the record's data is left to recompute."""
    return pinned is not None and recorded.by_name().keys() <= pinned.fingerprints.keys()


def split_checks(result: Result, pinned: PinnedSplit | None, recomputed: Recomputed | None) -> Iterator[RecordCheck]:
    """Every fingerprint and count of a record is compared with a pinned or recomputed one, or named as unchecked."""
    names = result.fingerprints.by_name()
    found = recomputed or Recomputed({}, dict.fromkeys(names, NO_DATA))
    pins = pinned or PinnedSplit(fingerprints={}, counts={})
    values, counts = {**found.values, **pins.fingerprints}, {**found.counts, **pins.counts}
    unchecked = {name: why for name, why in found.unchecked.items() if name not in pins.fingerprints}
    wrong = [
        f"{name} is not that {'which is pinned' if name in pins.fingerprints else 'of the data on this machine'}"
        for name in sorted((names.keys() | values.keys()) - unchecked.keys())
        if names.get(name) != values.get(name)
    ]
    wrong += [
        f"{name} is {recorded}, the data gives {value}"
        for name, value in counts.items()
        if (recorded := getattr(result, name)) != value and not (name == "n_unlabeled" and recorded is None)
    ]
    if wrong or len(unchecked) < len(names):
        yield passed(SPLIT, wrong)
    for reason in dict.fromkeys(unchecked.values()):
        unknown = [name for name, why in unchecked.items() if why == reason]
        whole = SPLIT if len(unknown) == len(names) else f"{SPLIT}: {', '.join(unknown)}"
        yield RecordCheck(whole, "unchecked", reason)
