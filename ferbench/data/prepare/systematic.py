"""Differences that no single damage explains: to leave lines out would leave wrong names on right images."""

from collections.abc import Iterator, Mapping

from ferbench.contract.account import Account

ALL = "all"
REPEATED = 2
SHARE = 0.01
"""Of all entries: so many with one label that is no class are a class that is spelled in another way."""
EXPLAINED = 4
"""Exchanged names must explain all but this part of the differences to the official counts."""
LEAST = 10
"""Images: smaller differences are damage, or another version of the set."""


def systematic_differences(account: Account, official: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """What is wrong with all labels, in words: one unknown label again and again, or classes that are exchanged."""
    entries = account.count("sample") + account.count("damage")
    for label, count in account.unknown_labels.items():
        if count >= max(REPEATED, SHARE * entries):
            yield f"{count:,} of {entries:,} entries say '{label}', which is no class or split here"
    counts = _with_sums(account)
    for split, known in official.items():
        if ALL not in known and (exchanged := _exchanged(counts.get(split, {}), known)):
            yield f"{split}: the counts are the official ones of other classes: {exchanged}"


def leave_empty_classes(account: Account, official: Mapping[str, Mapping[str, int]]) -> None:
    """Classes of which there is no image though publishers name some; the user may accept that with `--ignore`."""
    counts = _with_sums(account)
    for split, known in official.items():
        for name in () if ALL in known else [name for name, n in known.items() if n]:
            if not counts.get(split, {}).get(name):
                reason = f"no image of this class and split, where its publishers have {known[name]:,}"
                account.leave("class", f"{split}/{name}", reason)


def _with_sums(account: Account) -> Mapping[str, Mapping[str, int]]:
    total: dict[str, int] = {}
    for names in account.counts.values():
        for name, count in names.items():
            total[name] = total.get(name, 0) + count
    return {**account.counts, ALL: total}


def _exchanged(found: Mapping[str, int], official: Mapping[str, int]) -> str:
    """Which classes have whose counts; empty where names are right, or nothing explains the differences."""
    here = {name: found.get(name, 0) for name in official}
    off = sum(abs(here[name] - n) for name, n in official.items())
    ranked, publishers = (sorted(counts, key=lambda name: counts[name]) for counts in (here, dict(official)))
    left = sum(abs(here[one] - official[other]) for one, other in zip(ranked, publishers, strict=True))
    if off < LEAST or EXPLAINED * left > off:
        return ""
    pairs = [(one, other) for one, other in zip(ranked, publishers, strict=True) if here[one] != official[one]]
    return ", ".join(f"{one} has the {here[one]:,} of {other}" for one, other in pairs)
