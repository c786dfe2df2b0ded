"""From what a person asked for to the cells of a grid, each checked as far as names and options go."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ferbench.cells.method_facts import MethodFacts, RowFacts, facts_of
from ferbench.cells.overrides import config_changes, recipe_changes, sort_settings
from ferbench.cells.resolve import (
    ResolvedCell,
    check_groups,
    method_class,
    method_config,
    recipe_of,
    resolve,
    tuning_of,
)
from ferbench.contract.dataset import Dataset
from ferbench.contract.protocol import Protocol, Recipe
from ferbench.data.select.folds import fold_of
from ferbench.data.sources import DEFAULT_DATASET, classes_of, open_dataset
from ferbench.discovery.registry import Registry
from ferbench.errors import UsageError, suggestion
from ferbench.readers.streams import StreamedDataset
from ferbench.records.cell import Budget, Cell, Overrides
from ferbench.records.names import PoolName, RowName
from ferbench.records.reproduction import Sources
from ferbench.records.schema import first_problem

if TYPE_CHECKING:
    from ferbench.contract.method import Method


@dataclass(frozen=True)
class RunRequest:
    """The options of `ferbench run`; lists multiply into a grid.

    A method is named as its row is: `fixmatch`, `supervised@strong`, `fixmatch+leaf`. `overrides` map `steps` or
    `fixmatch.threshold` to values. Without `protocol` ratios go to ratio-v1, numbers of labels to count-v1; without
    `allocation` the protocol's first is taken. `unlabeled` names a set that stands instead of the rest of the training
    set, or as `rest+NAME` beside it. `test_on` are further sets that every trained model is tested on.
    """

    methods: Sequence[str]
    datasets: Sequence[str] = (DEFAULT_DATASET,)
    ratios: Sequence[str] = ()
    counts: Sequence[int] = ()
    per_class: Sequence[int] = ()
    allocation: str | None = None
    seeds: Sequence[int] = (0,)
    protocol: str | None = None
    classes: str | None = None
    unlabeled: str | None = None
    test_on: Sequence[str] = ()
    variant: str | None = None
    head: str | None = None
    backbones: Sequence[str] = ()
    init: str = "scratch"
    overrides: Mapping[str, Any] = field(default_factory=dict)
    precision: str | None = None
    device: str = "auto"
    threads: int = 1
    processes: int = 1
    runs: Path = Path("runs")
    timeout: float | None = None
    executor: str = "local"
    executor_options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Start:
    """Where a net starts from: `scratch` or the hash of a file, and that file."""

    init: str = "scratch"
    path: str | None = None


StartOf = Callable[[str, Recipe], Start]
"""Where a backbone starts from, for a recipe."""
Ask = Callable[["GridRow"], RowFacts]
"""Has a row's method code asked, and its net checked."""


@dataclass(frozen=True)
class GridRow:
    """What the cells of a grid share that differ in labels and seeds only."""

    dataset: str
    row: RowName
    backbone: str


@dataclass(frozen=True)
class RequestedCell:
    """A cell of the grid, where its datasets are opened, and the file of its initial weights."""

    resolved: ResolvedCell
    sources: Sources

    def on(self, name: str, dataset: Dataset) -> "RequestedCell":
        """The same cell, tested on another dataset, which is opened by `name`."""
        sources = Sources(self.sources.dataset, self.sources.pool, self.sources.init, name)
        return RequestedCell(self.resolved.on(dataset), sources)


class Grid:
    """The cells of one request. What cells share is opened once, as files may change until the next request."""

    def __init__(
        self, request: RunRequest, registry: Registry, start_of: StartOf, ask: Ask, precision: str = "fp32"
    ) -> None:
        """`ask` may remember what `facts` has said; `precision` is that of cells for which none is asked."""
        self.request, self.registry, self.start_of, self.ask = request, registry, start_of, cache(ask)
        self.precision = request.precision or precision
        self.protocol: Protocol = registry.load(
            "protocols", request.protocol or ("ratio-v1" if request.ratios else "count-v1")
        )
        for seed in request.seeds:
            fold_of(self.protocol, seed)
        self.budgets = budgets_of(request, self.protocol)
        self.rows = [RowName.parse(row) for row in request.methods]
        self.unlabeled = PoolName.parse(request.unlabeled) if request.unlabeled else None
        self.opened = cache(partial(_open, registry))

    def cells(self) -> Iterator[RequestedCell]:
        """The grid in its order, each cell before those that test its model elsewhere; a cell may occur twice."""
        request = self.request
        for dataset, budget, row, seed in itertools.product(request.datasets, self.budgets, self.rows, request.seeds):
            for backbone in self._backbones(dataset):
                requested = self._requested(GridRow(dataset, row, backbone), budget, seed)
                yield requested
                for name in request.test_on:
                    yield requested.on(name, self.opened(name))

    def grid_rows(self) -> Iterator[GridRow]:
        """What the cells have in common."""
        for dataset, row in itertools.product(self.request.datasets, self.rows):
            for backbone in self._backbones(dataset):
                yield GridRow(dataset, row, backbone)

    def facts(self, row: GridRow) -> RowFacts:
        """What a row comes to, by its method's code; raises UsageError for unknown names and options."""
        dataset, name = self.opened(row.dataset), row.row.method
        method = method_class(self.registry, name)
        variant = row.row.variant or self.request.variant or next(iter(method.variants))
        names = [each.method for each in self.rows]
        fields, options = sort_settings(self.registry, self.request.overrides, names, name)
        recipe_with = partial(recipe_of, self.registry, self.protocol, dataset, row.backbone)
        recipe = recipe_with(fields)
        tuned = tuning_of(self.registry, self.protocol, dataset.info.family, "method", name, variant)
        configured = partial(method_config, name, method, variant, tuned)
        built = method(configured(options))
        with _naming_what_cannot_be():
            changes = Overrides(
                protocol=recipe_changes(recipe_with({}), recipe), method=config_changes(configured, options)
            )
        head = _head(self.registry, row.row.head or self.request.head, built)
        return RowFacts(variant=variant, head=head, overrides=changes, method=facts_of(built, recipe, self.protocol))

    def recipe(self, row: GridRow, facts: RowFacts) -> Recipe:
        """How the cells of a row are trained."""
        dataset = self.opened(row.dataset)
        return recipe_of(self.registry, self.protocol, dataset, row.backbone, facts.overrides.protocol)

    def _backbones(self, dataset: str) -> Sequence[str]:
        return self.request.backbones or (self.protocol.recipe_for(self.opened(dataset).info.family).backbone,)

    def _requested(self, row: GridRow, budget: Budget, seed: int) -> RequestedCell:
        dataset = self.opened(row.dataset)
        check_groups(self.registry, self.protocol, dataset.info)
        task, _ = classes_of(dataset, self.request.classes)
        facts = self.ask(row)
        method = facts.method
        start = self.start_of(row.backbone, self.recipe(row, facts))
        pool = self._pool(row.row.method, method)
        with _naming_what_cannot_be():
            cell = Cell(
                protocol=self.protocol.name,
                dataset=dataset.info.name,
                classes=task,
                pool=str(replace(self.unlabeled, dataset=pool.info.name)) if self.unlabeled and pool else None,
                budget=budget,
                method=row.row.method,
                variant=facts.variant,
                head=facts.head,
                backbone=row.backbone,
                init=start.init,
                seed=seed,
                overrides=facts.overrides,
                precision=self.precision,
            )
        if method.unlabeled and pool is None and (self.protocol.needs_pool or budget.ratio == "1"):
            raise UsageError(no_pool_text(cell, self.protocol))
        if "validation" in method.requires and self.protocol.validation is None:
            raise UsageError(
                f"method '{cell.method}' chooses on held-out labels, and protocol '{cell.protocol}' holds none out; "
                "name a --protocol with validation (`ferbench list protocols`)"
            )
        if "init" in method.requires and start.path is None:
            raise UsageError(
                f"method '{cell.method}' trains little beside initial weights, and without them its net would stay "
                "random; name them with --init (a file, or hub where the backbone has weights there)"
            )
        sources = Sources(row.dataset, self.unlabeled.dataset if self.unlabeled and pool else None, start.path)
        return RequestedCell(resolve(cell, self.registry, sources, opened=self.opened, known=method), sources)

    def _pool(self, name: str, method: MethodFacts) -> Dataset | None:
        """The named pool, if the method uses one; raises UsageError for a stream that the method cannot use."""
        if not (self.unlabeled and method.unlabeled):
            return None
        pool = self.opened(self.unlabeled.dataset)
        if isinstance(pool, StreamedDataset) and "pool_index" in method.requires:
            raise UsageError(
                f"method '{name}' keeps something for every image of the pool, and '{pool.info.name}' is a stream; "
                "name a packed pool with --unlabeled"
            )
        return pool


@contextmanager
def _naming_what_cannot_be() -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        raise UsageError(f"this cell cannot be: {first_problem(error)}") from None


def no_pool_text(cell: Cell, protocol: Protocol) -> str:
    """Why a semi-supervised cell without unlabeled images is refused."""
    if protocol.needs_pool:
        return (
            f"protocol '{cell.protocol}' takes the unlabeled images of method '{cell.method}' from another dataset; "
            "name it with --unlabeled (such as synthfaces-fr), or choose --protocol ratio-v1"
        )
    return (
        f"method '{cell.method}' learns from unlabeled images, and with {cell.budget.title()} '{cell.dataset}' "
        "has none left; name a pool with --unlabeled (such as synthfaces-fr) or fewer labels"
    )


def _open(registry: Registry, name: str) -> Dataset:
    dataset = open_dataset(registry, name)
    # The hash reads every file of the source, and each split asks for it.
    dataset.source_digest = cache(dataset.source_digest)  # type: ignore[method-assign]
    return dataset


def _head(registry: Registry, name: str | None, method: "Method") -> str | None:
    """A registered head, None if the method has one of its kind anyway: its options are then the method's."""
    if name is None:
        return None
    head = registry.get("heads", name).load()
    return None if type(method.make_head(8, 2)) is head else name


def budgets_of(request: RunRequest, protocol: Protocol) -> list[Budget]:
    """The budgets that a request asks for; raises UsageError for one that the protocol does not count by."""
    wanted: list[tuple[str, str, Any]] = [("ratio", "--ratio", value) for value in request.ratios]
    wanted += [("count", "--labels", value) for value in request.counts]
    wanted += [("per_class", "--per-class", value) for value in request.per_class]
    if not wanted:
        raise UsageError("how many labels? give --ratio 0.05, for example (1 = all labels)")
    allocation = request.allocation or protocol.allocations[0]
    if allocation not in (known := (*protocol.allocations, "per-class")):
        raise UsageError(
            f"--allocation {allocation}: choose {' or '.join(protocol.allocations)} in protocol '{protocol.name}'"
            f"{suggestion(allocation, known)}"
        )
    budgets = []
    for name, option, value in wanted:
        if (protocol.budget == "ratio") != (name == "ratio"):
            raise UsageError(f"{option} {value}: protocol '{protocol.name}' counts labels by --{_option(protocol)}")
        try:
            spread = {} if name == "per_class" and request.allocation is None else {"allocation": allocation}
            budgets.append(Budget.model_validate({name: value, **spread}))
        except ValidationError as error:
            text = first_problem(error).partition("Value error, ")[2] or first_problem(error)
            raise UsageError(f"{option} {value}: {text}") from None
    return budgets


def _option(protocol: Protocol) -> str:
    return "ratio" if protocol.budget == "ratio" else "labels or --per-class"
