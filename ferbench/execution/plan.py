"""From what a person asked for to a grid of checked cells."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from ferbench.contract.backbone import token_backbone
from ferbench.contract.dataset import Dataset
from ferbench.contract.executor import Job
from ferbench.contract.method import Method
from ferbench.contract.protocol import Protocol
from ferbench.contract.streams import StreamedDataset
from ferbench.data.cross import CrossTest
from ferbench.data.sources import classes_of, open_dataset
from ferbench.data.splits import fold_of
from ferbench.errors import UsageError, suggestion
from ferbench.execution.overrides import config_changes, recipe_changes, sort_settings
from ferbench.execution.weights import resolve_init
from ferbench.plugins import registry
from ferbench.records.cell import REST, Budget, Cell
from ferbench.records.schema import Record, first_problem
from ferbench.records.store import RunStore
from ferbench.training.attempt import finished_record, has_model
from ferbench.training.processes import check_parts, check_processes
from ferbench.training.resolution import (
    Resolved,
    build_backbone,
    check_groups,
    load_method,
    load_protocol,
    method_config,
    recipe_of,
)
from ferbench.training.task import cross_test_of, no_pool_text, split_of

SYNTHFACES = "synthfaces"


@dataclass(frozen=True)
class RunRequest:
    """The options of `ferbench run`; lists multiply into a grid.

    A method is named as its row is: `fixmatch`, `supervised@strong`, `fixmatch+leaf`. `set` maps `steps` or
    `fixmatch.threshold` to values. Without `protocol` ratios go to ratio-v1, numbers of labels to count-v1; without
    `allocation` the protocol's first is taken. `unlabeled` names a set that stands instead of the rest of the training
    set, or as `rest+NAME` beside it. `test_on` are further sets that every trained model is tested on.
    """

    methods: Sequence[str]
    datasets: Sequence[str] = (SYNTHFACES,)
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
    set: Mapping[str, Any] = field(default_factory=dict)
    precision: str | None = None
    device: str = "auto"
    threads: int = 1
    processes: int = 1
    runs: Path = Path("runs")
    timeout: float | None = None


@dataclass(frozen=True)
class PlannedCell:
    """A checked cell, how to run it, and whether its result is already there."""

    cell: Cell
    job: Job
    cached: bool


def make_plan(request: RunRequest, *, check_data: bool = True) -> list[PlannedCell]:
    """Every cell of the grid, checked as far as is possible without training; the cheapest mistakes come first.

    Raises UsageError, PluginError or DataError for the first cell that cannot run. With `check_data` the data is
    packed and split, so that a cached result of other data counts as missing. A cell stands before those that test
    its model on other sets; where such a test is missing and the model is too, the cell counts as missing.
    """
    planner, store = _Planner(request), RunStore(request.runs)
    found = {resolved.cell.cell_id: (resolved, job) for resolved, job in planner.cells()}
    done: dict[str, Record | None] = {}
    for cell_id, (resolved, job) in found.items():
        fingerprints = planner.fingerprints(resolved, job) if check_data else {}
        done[cell_id] = finished_record(store, resolved, fingerprints, done.get(resolved.base.cell.cell_id))
    needed = {
        resolved.base.cell.cell_id
        for cell_id, (resolved, _) in found.items()
        if resolved.test_set is not None and done[cell_id] is None
    }
    planned = []
    for cell_id, (resolved, job) in found.items():
        cached = done[cell_id] is not None and (cell_id not in needed or has_model(store, done[cell_id]))
        planned.append(PlannedCell(resolved.cell, replace(job, needs_model=cell_id in needed), cached))
    return planned


class _Planner:
    """Makes the cells of one request. What cells share is opened, hashed, split and built once."""

    def __init__(self, request: RunRequest) -> None:
        self.request = request
        self.protocol = load_protocol(request.protocol or ("ratio-v1" if request.ratios else "count-v1"))
        for seed in request.seeds:
            fold_of(self.protocol, seed)
        self.device = choose_device(request.device)
        self.budgets = _budgets(request, self.protocol)
        self.methods = [parse_row(row)[0] for row in request.methods]
        # Kept for this plan only: files may change until the next one.
        self._opened = cache(_open)
        self._init = cache(resolve_init)
        self._check_backbone = cache(check_backbone)
        self._fingerprints: dict[tuple[Any, ...], dict[str, str]] = {}
        self._cross_tests: dict[tuple[Any, ...], CrossTest] = {}

    def cells(self) -> Iterator[tuple[Resolved, Job]]:
        """The grid in its order, each cell before those that test its model elsewhere; a cell may occur twice."""
        request = self.request
        grid = itertools.product(request.datasets, self.budgets, request.methods, request.seeds)
        for dataset, budget, row, seed in grid:
            usual = self.protocol.recipe_for(self._opened(dataset).info.family).backbone
            for backbone in request.backbones or (usual,):
                resolved, init = self._cell(dataset, budget, row, seed, backbone)
                job = self._job(resolved.cell, dataset, init)
                yield resolved, job
                for name in request.test_on:
                    tested = resolved.on(self._opened(name))
                    # A pass over some images is not worth several processes.
                    yield tested, replace(job, cell=tested.cell.model_dump(mode="json"), test_on=name, processes=1)

    def fingerprints(self, resolved: Resolved, job: Job) -> dict[str, str]:
        """What the cell's data is, now."""
        cell, size = resolved.cell, resolved.recipe.image_size
        key = (
            job.dataset,
            job.pool,
            size,
            cell.classes,
            cell.budget,
            cell.seed,
            resolved.relabels,
            resolved.wants_boxes,
        )
        if key not in self._fingerprints:
            self._fingerprints[key] = split_of(resolved.base).fingerprints
        if resolved.test_set is None:
            return self._fingerprints[key]
        elsewhere = job.dataset, job.pool, job.test_on, size, cell.classes
        if elsewhere not in self._cross_tests:
            self._cross_tests[elsewhere] = cross_test_of(resolved.base, resolved.test_set)
        return self._cross_tests[elsewhere].fingerprints(self._fingerprints[key])

    def _cell(
        self, dataset_name: str, budget: Budget, row: str, seed: int, backbone: str
    ) -> tuple[Resolved, str | None]:
        """A checked cell, and the file of its initial weights."""
        request, protocol, dataset = self.request, self.protocol, self._opened(dataset_name)
        method, variant, head = parse_row(row)
        method_class = load_method(method)
        variant = variant or request.variant or next(iter(method_class.variants))
        fields, options = sort_settings(request.set, self.methods, method)
        check_groups(protocol, dataset.info)
        task, class_names = classes_of(dataset, request.classes)
        recipe = recipe_of(protocol, dataset, backbone, fields)
        configured = partial(method_config, method, method_class, variant, recipe)
        config = configured(options)
        built = method_class(config)
        check_processes(recipe, self.device, request.processes)
        self._check_backbone(backbone, recipe.image_size, "tokens" in built.requires, request.processes)
        init, init_path = self._init(request.init, backbone, recipe.image_size)
        uses_unlabeled = built.uses_unlabeled
        pool = self._opened(request.unlabeled.removeprefix(REST)) if request.unlabeled and uses_unlabeled else None
        beside = REST if (request.unlabeled or "").startswith(REST) else ""
        if isinstance(pool, StreamedDataset) and "pool_index" in built.requires:
            raise UsageError(
                f"method '{method}' keeps something for every image of the pool, and '{pool.info.name}' is a stream; "
                "name a packed pool with --unlabeled"
            )
        try:
            cell = Cell(
                protocol=protocol.name,
                dataset=dataset.info.name,
                classes=task,
                pool=f"{beside}{pool.info.name}" if pool else None,
                budget=budget,
                method=method,
                variant=variant,
                head=_head(head or request.head, built),
                backbone=backbone,
                init=init,
                seed=seed,
                overrides={
                    "protocol": recipe_changes(recipe_of(protocol, dataset, backbone, {}), recipe),
                    "method": config_changes(configured, options),
                },
                precision=request.precision or ("bf16" if self.device.startswith("cuda") else "fp32"),
            )
        except ValidationError as error:
            raise UsageError(f"this cell cannot be: {first_problem(error)}") from None
        resolved = Resolved(
            cell=cell,
            protocol=protocol,
            recipe=recipe,
            dataset=dataset,
            pool=pool,
            class_names=class_names,
            method_class=method_class,
            config=config,
        )
        if uses_unlabeled and pool is None and (protocol.needs_pool or budget.ratio == "1"):
            raise UsageError(no_pool_text(resolved))
        return resolved, init_path

    def _job(self, cell: Cell, dataset: str, init: str | None) -> Job:
        request = self.request
        return Job(
            cell=cell.model_dump(mode="json"),
            dataset=dataset,
            pool=(request.unlabeled or "").removeprefix(REST) if cell.pool else None,
            init=init,
            runs=request.runs,
            device=self.device,
            threads=request.threads,
            processes=request.processes,
            timeout=request.timeout,
        )


def _open(name: str) -> Dataset:
    dataset = open_dataset(name)
    # The hash reads every file of the source, and each split asks for it.
    dataset.source_digest = cache(dataset.source_digest)  # type: ignore[method-assign]
    return dataset


def choose_device(name: str) -> str:
    """`auto` is the GPU if there is one."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device {name}: not a device; use auto, cpu, cuda or cuda:0") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {name}: only cpu and cuda are supported")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device {name}: this machine has no CUDA device; use --device cpu")
    if device.type == "cuda" and (device.index or 0) >= (count := torch.cuda.device_count()):
        raise UsageError(f"--device {name}: this machine has cuda:0 to cuda:{count - 1}")
    return name


def check_backbone(name: str, image_size: int, tokens: bool = False, processes: int = 1) -> None:
    """Build the net without memory and send two images through; one that cannot be is a UsageError.

    So is one without `tokens`, where the method wants them, and one that several processes cannot share.
    """
    problem: Exception | None = None
    # A net that looks at values fails on meta tensors; then the real ones decide.
    for device in ("meta", "cpu"):
        try:
            with torch.device(device), torch.no_grad():
                backbone = build_backbone(name, image_size, None)
                backbone(torch.empty(2, 3, image_size, image_size))
            if tokens:
                token_backbone(backbone, name)
            check_parts(backbone, processes)
            return
        except (RuntimeError, ValueError, AssertionError) as error:
            problem = error
    reason = " ".join(str(problem).split()) or type(problem).__name__
    raise UsageError(
        f"backbone '{name}' does not take images of {image_size} px ({reason[:200]}); "
        "choose another --backbone or --set image_size=..."
    )


def _head(name: str | None, method: Method) -> str | None:
    """A registered head, None if the method has one of its kind anyway: its options are then the method's."""
    if name is None:
        return None
    head = registry().get("heads", name).load()
    return None if type(method.make_head(8, 2)) is head else name


def _budgets(request: RunRequest, protocol: Protocol) -> list[Budget]:
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


def parse_row(row: str) -> tuple[str, str | None, str | None]:
    """`method[@variant][+head]` to its parts."""
    rest, _, head = row.partition("+")
    method, _, variant = rest.partition("@")
    return method, variant or None, head or None
