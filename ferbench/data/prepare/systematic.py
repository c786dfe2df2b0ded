"""Detect systematic errors of labels. Omitting single entries would not help: other images would keep wrong labels."""

from collections.abc import Iterator, Mapping

from ferbench.contract.account import Account

ALL = "all"
REPEATED = 2
SHARE = 0.01
"""Fraction of all entries: that many entries with the same unknown label are a class in another spelling."""
EXPLAINED = 4
"""Exchanged names must explain all but 1 / EXPLAINED of the differences from the official counts."""
LEAST = 10
"""Number of images: smaller differences are damage, or another version of the dataset."""


def systematic_differences(account: Account, official: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """Messages about systematic errors: an unknown label in many entries, or exchanged classes."""
    entries = account.count("sample") + account.count("damage")
    for label, count in account.unknown_labels.items():
        if count >= max(REPEATED, SHARE * entries):
            yield f"{count:,} of {entries:,} entries have '{label}', which is not a class or split here"
    counts = _with_sums(account)
    for split, known in official.items():
        if ALL not in known and (exchanged := _exchanged(counts.get(split, {}), known)):
            yield f"{split}: the counts match the official counts of other classes: {exchanged}"


def leave_empty_classes(account: Account, official: Mapping[str, Mapping[str, int]]) -> None:
    """Mark classes without images as unused if the publishers have some; the user can accept them with `--ignore`."""
    counts = _with_sums(account)
    for split, known in official.items():
        for name in () if ALL in known else [name for name, n in known.items() if n]:
            if not counts.get(split, {}).get(name):
                reason = f"no image of this class and split; the publishers have {known[name]:,}"
                account.leave("class", f"{split}/{name}", reason)


def _with_sums(account: Account) -> Mapping[str, Mapping[str, int]]:
    total: dict[str, int] = {}
    for names in account.counts.values():
        for name, count in names.items():
            total[name] = total.get(name, 0) + count
    return {**account.counts, ALL: total}


def _exchanged(found: Mapping[str, int], official: Mapping[str, int]) -> str:
    """Pairs of classes with exchanged counts, as text; empty if exchanged names do not explain the differences."""
    here = {name: found.get(name, 0) for name in official}
    off = sum(abs(here[name] - n) for name, n in official.items())
    ranked, publishers = (sorted(counts, key=lambda name: counts[name]) for counts in (here, dict(official)))
    left = sum(abs(here[one] - official[other]) for one, other in zip(ranked, publishers, strict=True))
    if off < LEAST or EXPLAINED * left > off:
        return ""
    pairs = [(one, other) for one, other in zip(ranked, publishers, strict=True) if here[one] != official[one]]
    return ", ".join(f"{one} has {here[one]:,}, the count of {other}" for one, other in pairs)
