"""Turn a request into jobs: check everything before anything runs, and find existing results."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from ferbench.cells.method_facts import RowFacts
from ferbench.cells.method_plan import MethodPlan, plan_of
from ferbench.cells.request import Grid, GridRow, RequestedCell, RunRequest, Start
from ferbench.cells.resolve import ResolvedCell
from ferbench.cells.select import NotOnDiskError, Policy, check_counts, check_sources, select, train_sizes
from ferbench.contract.executor import INLINE, Job
from ferbench.contract.protocol import Recipe
from ferbench.discovery.registry import Registry
from ferbench.errors import UsageError
from ferbench.execution.devices import check_device
from ferbench.execution.executors import make_executor
from ferbench.execution.record_builder import finished_record, has_model
from ferbench.execution.row_facts import RememberedRows
from ferbench.execution.weights import resolve_init
from ferbench.records import lease
from ferbench.records.cell import Cell
from ferbench.records.schema import Fingerprints, Record
from ferbench.records.store import RunStore


@dataclass(frozen=True)
class PlannedCell:
    """A checked cell, its job, and whether its result already exists."""

    cell: Cell
    job: Job
    cached: bool
    departures: tuple[str, ...] = ()
    """Reasons why its record will not be standard."""


def make_plan(
    request: RunRequest, registry: Registry, *, check_data: bool = True, pack: bool = True
) -> list[PlannedCell]:
    """Return every cell of the grid, checked as far as possible without training. Cheap checks come first.

    Raises UsageError, PluginError or DataError for the first cell that cannot run. With `check_data` the executor is
    asked whether it can run the cells. The data is then packed and split, so that a cached result of other data counts
    as missing. Without `pack`, a dataset that is not packed is not packed now; only its labels are counted. Each cell
    comes before the cells that test its model on other datasets. If such a test and the model are both missing, the
    cell counts as missing too.
    """
    planner, store = Planner(request, registry), RunStore(request.runs)
    found = {resolved.cell.cell_id: (resolved, job) for resolved, job in planner.cells()}
    if check_data:
        planner.executor.places([job for _, job in found.values()], None)  # refuses before anything is packed
    plans = {cell_id: MethodPlan.model_validate(dict(job.plan)) for cell_id, (_, job) in found.items()}
    done: dict[str, Record | None] = {}
    for cell_id, (resolved, job) in found.items():
        fingerprints = planner.checked_data(resolved, job, pack) if check_data else None
        done[cell_id] = finished_record(
            store, resolved, plans[cell_id], fingerprints, done.get(resolved.base.cell.cell_id), job.executor
        )
    needed = {
        resolved.base.cell.cell_id
        for cell_id, (resolved, _) in found.items()
        if resolved.test_set is not None and done[cell_id] is None
    }
    planned = []
    for cell_id, (resolved, job) in found.items():
        cached = done[cell_id] is not None and (cell_id not in needed or has_model(store, done[cell_id]))
        job, reasons = replace(job, needs_model=cell_id in needed), tuple(resolved.departures)
        if job.executor == INLINE:
            reasons += ("runs inline",)
        planned.append(PlannedCell(resolved.cell, job, cached, reasons))
    if not all(item.cached for item in planned):
        store.check_format()
    return planned


class Planner:
    """Checks the nets of one request and makes its jobs. Data and nets that cells share are processed only once."""

    def __init__(self, request: RunRequest, registry: Registry) -> None:
        self.request, self.registry = request, registry
        self.executor = make_executor(registry, request.executor, request.executor_options)
        lease.seconds()  # a wrong value would fail every cell
        check_device(request.device)
        if "-" in request.device and not self.executor.spreads_over_gpus:
            raise UsageError(
                f"--device {request.device}: executor '{request.executor}' gives each cell one device; write "
                "--device cuda, or choose --executor local"
            )
        # It depends only on the request, never on this machine: a cell is the same wherever it is planned.
        precision = "bf16" if request.device.startswith("cuda") else "fp32"
        self.grid = Grid(request, registry, self.start_of, self._facts, precision)
        self.remembered = RememberedRows(self.grid)
        # Kept for this plan only, because files may change before the next one.
        self._init = cache(resolve_init)
        self._train_sizes = cache(train_sizes)
        self._checked: set[tuple[object, ...]] = set()
        self._readable: set[tuple[object, ...]] = set()
        self._data: dict[tuple[Any, ...], tuple[Fingerprints, int]] = {}

    def cells(self) -> Iterator[tuple[ResolvedCell, Job]]:
        """The grid in its order: each cell with its job."""
        for requested in self.grid.cells():
            yield requested.resolved, self._job(requested)

    def checked_data(self, resolved: ResolvedCell, job: Job, pack: bool) -> Fingerprints | None:
        """The fingerprints of the cell's data now; raises UsageError for a pool that its method cannot learn from.

        None if the data is not packed and must not be packed now.
        """
        cell, needs = resolved.cell, ("boxes" in resolved.facts.requires, resolved.facts.relabeled)
        size = resolved.recipe.packed_size
        key = (job.dataset, job.pool, job.test_on, size, cell.classes, cell.budget, cell.seed, needs)
        if not pack and key[:4] not in self._readable:
            check_sources(resolved)
            self._readable.add(key[:4])
        if key not in self._data:
            try:
                data = select(resolved) if pack else select(resolved, Policy.IF_ON_DISK)
            except NotOnDiskError:
                check_counts(resolved, self._train_sizes(resolved.dataset))
                return None
            self._data[key] = data.fingerprints, data.n_unlabeled
        fingerprints, n_unlabeled = self._data[key]
        limited = resolved.facts.unlabeled and resolved.facts.limits_pool
        if limited and (problem := resolved.declared.pool_problem(n_unlabeled)):
            pool = cell.pool or f"{cell.dataset} with {cell.budget.title()}"
            raise UsageError(f"method '{cell.method}': {problem} (the pool of {pool} has {n_unlabeled} images)")
        return fingerprints

    def checked_facts(self, row: GridRow) -> RowFacts:
        """Ask the code of a row's method for its facts, and check the net; raises UsageError if either fails."""
        from ferbench.execution.nets import check_backbone, check_init  # torch, not needed for known facts
        from ferbench.training.distributed import check_processes

        facts, request = self.grid.facts(row), self.request
        recipe = self.grid.recipe(row, facts)
        check_processes(recipe, request.device, request.processes)
        net = (self.registry, row.backbone, recipe.image_size)
        if (key := (*net[1:], "tokens" in facts.method.requires)) not in self._checked:
            check_backbone(*net, "tokens" in facts.method.requires, request.processes)
            if (path := self.start_of(row.backbone, recipe).path) is not None:
                check_init(*net, path)
            self._checked.add(key)
        return facts

    def _facts(self, row: GridRow) -> RowFacts:
        return self.remembered.find(row) or self.checked_facts(row)

    def start_of(self, backbone: str, recipe: Recipe) -> Start:
        return Start(*self._init(self.registry, self.request.init, backbone, recipe.image_size))

    def _job(self, requested: RequestedCell) -> Job:
        request, sources, cell = self.request, requested.sources, requested.resolved.cell
        return Job(
            cell=cell.model_dump(mode="json"),
            plan=plan_of(requested.resolved).model_dump(mode="json"),
            dataset=sources.dataset or cell.dataset,
            pool=sources.pool,
            init=sources.init,
            runs=request.runs,
            device=request.device,
            threads=request.threads,
            # One pass over some images is not worth several processes.
            processes=1 if cell.test_on else request.processes,
            timeout=request.timeout,
            test_on=sources.test_on,
            executor=request.executor,
        )
