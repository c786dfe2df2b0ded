"""Turn a request into the cells of a grid; names and options of each cell are checked."""

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
from ferbench.records.cell import Budget, Cell, Compile, Overrides
from ferbench.records.names import PoolName, RowName
from ferbench.records.reproduction import Sources
from ferbench.records.schema import first_problem

if TYPE_CHECKING:
    from ferbench.contract.method import Method


@dataclass(frozen=True)
class RunRequest:
    """The options of `ferbench run`; lists multiply into a grid.

    A method is named like its row: `fixmatch`, `supervised@strong`, `fixmatch+leaf`. `overrides` maps `steps` or
    `fixmatch.threshold` to values. The default `protocol` is ratio-v1 for ratios and count-v1 for numbers of labels;
    the default `allocation` is the protocol's first. `unlabeled` names a pool that replaces the rest of the training
    set or, as `rest+NAME`, is added to it. `test_on` names further datasets on which every trained model is tested.
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
    compile: Compile = "off"
    device: str = "auto"
    threads: int = 1
    processes: int = 1
    runs: Path = Path("runs")
    timeout: float | None = None
    executor: str = "local"
    executor_options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Start:
    """The initial weights of a net: `scratch` or the hash of a file, and the path of that file."""

    init: str = "scratch"
    path: str | None = None


StartOf = Callable[[str, Recipe], Start]
"""Returns the initial weights of a backbone, for a recipe."""
Ask = Callable[["GridRow"], RowFacts]
"""Asks the code of a row's method for its facts, and checks its net."""


@dataclass(frozen=True)
class GridRow:
    """What a group of cells has in common: the cells differ only in labels and seed."""

    dataset: str
    row: RowName
    backbone: str


@dataclass(frozen=True)
class RequestedCell:
    """A cell of the grid, with the sources of its datasets and the file of its initial weights."""

    resolved: ResolvedCell
    sources: Sources

    def on(self, name: str, dataset: Dataset) -> "RequestedCell":
        """Return the same cell, tested on another dataset, which is opened by `name`."""
        sources = Sources(self.sources.dataset, self.sources.pool, self.sources.init, name)
        return RequestedCell(self.resolved.on(dataset), sources)


class Grid:
    """The cells of one request. Each dataset is opened once per request, because its files may change later."""

    def __init__(
        self, request: RunRequest, registry: Registry, start_of: StartOf, ask: Ask, precision: str = "fp32"
    ) -> None:
        """`ask` returns the facts of a row, perhaps from a cache; `precision` applies if the request has none."""
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
        """Yield the grid in order, each cell before those that test its model on other datasets; cells may repeat."""
        request = self.request
        for dataset, budget, row, seed in itertools.product(request.datasets, self.budgets, self.rows, request.seeds):
            for backbone in self._backbones(dataset):
                requested = self._requested(GridRow(dataset, row, backbone), budget, seed)
                yield requested
                for name in request.test_on:
                    yield requested.on(name, self.opened(name))

    def grid_rows(self) -> Iterator[GridRow]:
        """Yield the rows of the grid."""
        for dataset, row in itertools.product(self.request.datasets, self.rows):
            for backbone in self._backbones(dataset):
                yield GridRow(dataset, row, backbone)

    def facts(self, row: GridRow) -> RowFacts:
        """Resolve a row with the code of its method; raises UsageError for unknown names and options."""
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
        """Return the recipe of the cells of a row."""
        dataset = self.opened(row.dataset)
        return recipe_of(self.registry, self.protocol, dataset, row.backbone, facts.overrides.protocol)

    def _backbones(self, dataset: str) -> Sequence[str]:
        return self.request.backbones or (self.protocol.recipe_for(self.opened(dataset).info.family).backbone,)

    def _requested(self, row: GridRow, budget: Budget, seed: int) -> RequestedCell:
        dataset = self.opened(row.dataset)
        check_groups(self.registry, self.protocol, dataset.info)
        task, _ = classes_of(dataset, self.request.classes)
        facts, request = self.ask(row), self.request
        method = facts.method
        check_compile(request, row.row.method, method)
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
                compile=request.compile,
            )
        if method.unlabeled and pool is None and (self.protocol.needs_pool or budget.ratio == "1"):
            raise UsageError(no_pool_text(cell, self.protocol))
        if "validation" in method.requires and self.protocol.validation is None:
            raise UsageError(
                f"method '{cell.method}' needs held-out labels, but protocol '{cell.protocol}' holds none out; "
                "choose a --protocol with validation (`ferbench list protocols`)"
            )
        if "init" in method.requires and start.path is None:
            raise UsageError(
                f"method '{cell.method}' needs initial weights, because it trains only a small part of the net; "
                "name them with --init (a file, or hub if the backbone has weights there)"
            )
        sources = Sources(row.dataset, self.unlabeled.dataset if self.unlabeled and pool else None, start.path)
        return RequestedCell(resolve(cell, self.registry, sources, opened=self.opened, known=method), sources)

    def _pool(self, name: str, method: MethodFacts) -> Dataset | None:
        """Return the named pool if the method uses one; raises UsageError for a stream that the method cannot use."""
        if not (self.unlabeled and method.unlabeled):
            return None
        pool = self.opened(self.unlabeled.dataset)
        if isinstance(pool, StreamedDataset) and "pool_index" in method.requires:
            raise UsageError(
                f"method '{name}' keeps a value for every image of the pool, but '{pool.info.name}' is a stream; "
                "name a packed pool with --unlabeled"
            )
        return pool


@contextmanager
def _naming_what_cannot_be() -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        raise UsageError(f"this combination of options is not possible: {first_problem(error)}") from None


def check_compile(request: RunRequest, name: str, method: MethodFacts) -> None:
    """Raise UsageError if the method's steps, or the device, cannot do what --compile asks for."""
    if request.compile == "off":
        return
    wanted = f"--compile {request.compile}"
    if reason := method.eager.get(request.compile):
        raise UsageError(f"{wanted}: method '{name}' {reason}; omit --compile")
    if request.processes > 1:
        raise UsageError(f"{wanted}: several processes exchange gradients within a step; omit --compile or --processes")
    if request.compile == "step" and not request.device.startswith("cuda"):
        raise UsageError(
            f"{wanted}: only a CUDA device repeats a captured step, and --device is {request.device}; "
            "choose --device cuda or --compile net"
        )


def no_pool_text(cell: Cell, protocol: Protocol) -> str:
    """Return why a semi-supervised cell without unlabeled images is refused, with a remedy."""
    if protocol.needs_pool:
        return (
            f"protocol '{cell.protocol}' takes the unlabeled images of method '{cell.method}' from another dataset; "
            "name it with --unlabeled (such as synthfaces-fr), or choose --protocol ratio-v1"
        )
    return (
        f"method '{cell.method}' learns from unlabeled images, but with {cell.budget.title()} '{cell.dataset}' "
        "has none left; name a pool with --unlabeled (such as synthfaces-fr) or use fewer labels"
    )


def _open(registry: Registry, name: str) -> Dataset:
    dataset = open_dataset(registry, name)
    # The hash looks at every file of the source, and each split needs it.
    dataset.source_digest = cache(dataset.source_digest)  # type: ignore[method-assign]
    return dataset


def _head(registry: Registry, name: str | None, method: "Method") -> str | None:
    """Return the name of a registered head; None if the method's own head is the same class, which sets its options."""
    if name is None:
        return None
    head = registry.get("heads", name).load()
    return None if type(method.make_head(8, 2)) is head else name


def budgets_of(request: RunRequest, protocol: Protocol) -> list[Budget]:
    """Return the budgets of a request; raises UsageError for a kind of budget that the protocol does not use."""
    wanted: list[tuple[str, str, Any]] = [("ratio", "--ratio", value) for value in request.ratios]
    wanted += [("count", "--labels", value) for value in request.counts]
    wanted += [("per_class", "--per-class", value) for value in request.per_class]
    if not wanted:
        raise UsageError("the number of labels is missing; give --ratio 0.05, for example (1 = all labels)")
    allocation = request.allocation or protocol.allocations[0]
    if allocation not in (known := (*protocol.allocations, "per-class")):
        raise UsageError(
            f"--allocation {allocation}: protocol '{protocol.name}' allows {' or '.join(protocol.allocations)}"
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
