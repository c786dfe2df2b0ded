"""Compute the splits of a dataset for all cells of the protocols, to pin them next to a board's records."""

from collections.abc import Iterable, Iterator, Sequence

from ferbench.cells.fingerprints import counts_of
from ferbench.cells.known import known_protocols
from ferbench.cells.resolve import resolve
from ferbench.cells.select import CellData, DataNeeds, select
from ferbench.contract.protocol import Protocol
from ferbench.data.sources import open_dataset
from ferbench.discovery.registry import Registry
from ferbench.errors import DataError, UsageError
from ferbench.records.cell import Budget, Cell
from ferbench.records.known import PinnedSplit, Pins, split_key
from ferbench.records.names import REST


def pin(registry: Registry, name: str, pools: Sequence[str], command: str) -> Pins:
    """Return the fingerprints and counts of a dataset under every protocol that is not a draft; packs it if needed.

    `pools` are the unlabeled pools for protocols that need one. Cells that the data cannot give, for example because a
    class has too few images, are omitted. Raises UsageError or DataError if the dataset cannot be opened or gives none.
    """
    dataset = open_dataset(registry, name)
    opened = {name: dataset, **{pool: open_dataset(registry, pool) for pool in pools}}
    data, splits = "", {}
    for protocol in known_protocols(registry).values():
        for cell in () if protocol.draft else _cells(protocol, name, dataset.info.classes, pools):
            try:
                found = select(resolve(cell, registry, opened=opened.__getitem__), needs=DataNeeds())
            except (DataError, UsageError):
                continue
            data, splits[split_key(cell)] = found.images.fingerprint, pinned(found)
    if not splits:
        raise DataError(f"dataset '{name}' cannot give a cell of any protocol; `ferbench splits show` tells why")
    return Pins(command=command, dataset=name, data=data, splits=splits)


def pinned(data: CellData) -> PinnedSplit:
    """Return the split of a cell in the form in which it is pinned."""
    prints = {name: value for name, value in data.fingerprints.by_name().items() if name != "data"}
    counts = {name: dict(n) if isinstance(n, dict) else n for name, n in counts_of(data).items()}
    return PinnedSplit.model_validate({"fingerprints": prints, "counts": counts})


def _cells(protocol: Protocol, name: str, tasks: Iterable[str], pools: Sequence[str]) -> Iterator[Cell]:
    kinds = [None, *(prefix + pool for pool in pools for prefix in ("", REST))] if protocol.needs_pool else [None]
    for task in tasks:
        for budget in budgets_of(protocol):
            for pool in kinds:
                for seed in protocol.seeds:
                    yield Cell(
                        protocol=protocol.name,
                        dataset=name,
                        classes=task,
                        pool=pool,
                        budget=budget,
                        method="any",
                        backbone="any",
                        seed=seed,
                    )


def budgets_of(protocol: Protocol) -> list[Budget]:
    """Return every label budget in the tables of a protocol."""
    amounts = [{"ratio": ratio} for ratio in protocol.ratios] + [{"count": count} for count in protocol.counts]
    spread = [{**amount, "allocation": allocation} for amount in amounts for allocation in protocol.allocations]
    return [Budget.model_validate(each) for each in [*spread, *({"per_class": n} for n in protocol.per_class)]]
