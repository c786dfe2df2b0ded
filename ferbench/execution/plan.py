"""From a request to jobs: what is checked before anything runs, and what is there already."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from ferbench.cells.method_plan import MethodPlan, plan_of
from ferbench.cells.request import Grid, RequestedCell, RunRequest, Start
from ferbench.cells.resolve import ResolvedCell
from ferbench.cells.select import NotOnDiskError, Policy, check_counts, select, train_sizes
from ferbench.contract.backbone import token_backbone
from ferbench.contract.executor import INLINE, Job
from ferbench.contract.protocol import Recipe
from ferbench.discovery.registry import Registry
from ferbench.errors import FerbenchError, PluginError, UsageError
from ferbench.execution.build import build_backbone
from ferbench.execution.devices import check_device
from ferbench.execution.executors import make_executor
from ferbench.execution.record_builder import finished_record, has_model
from ferbench.execution.weights import check_init, resolve_init
from ferbench.records.cell import Cell
from ferbench.records.schema import Fingerprints, Record
from ferbench.records.store import RunStore
from ferbench.training.distributed import check_parts, check_processes

if TYPE_CHECKING:
    from ferbench.contract.method import Method


@dataclass(frozen=True)
class PlannedCell:
    """A checked cell, how to run it, and whether its result is already there."""

    cell: Cell
    job: Job
    cached: bool
    departures: tuple[str, ...] = ()
    """Why its record will not be standard."""


def make_plan(
    request: RunRequest, registry: Registry, *, check_data: bool = True, pack: bool = True
) -> list[PlannedCell]:
    """Every cell of the grid, checked as far as is possible without training; the cheapest mistakes come first.

    Raises UsageError, PluginError or DataError for the first cell that cannot run. With `check_data` the executor is
    asked whether it can run them, and the data is packed and split, so that a cached result of other data counts as
    missing; without `pack` the labels of a set that is not packed are counted alone. A cell stands before those that
    test its model on other sets; where such a test is missing and the model is too, the cell counts as missing.
    """
    planner, store = _Planner(request, registry), RunStore(request.runs)
    found = {resolved.cell.cell_id: (resolved, job) for resolved, job in planner.cells()}
    if check_data:
        planner.executor.places([job for _, job in found.values()], None)  # refused before anything is packed
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
    return planned


class _Planner:
    """Checks the nets of one request and makes its jobs. What cells share is hashed, split and built once."""

    def __init__(self, request: RunRequest, registry: Registry) -> None:
        self.request, self.registry = request, registry
        self.executor = make_executor(registry, request.executor, request.executor_options)
        check_device(request.device)
        # By what was asked for, never by this machine: a cell is the same wherever it is planned.
        precision = "bf16" if request.device.startswith("cuda") else "fp32"
        self.grid = Grid(request, registry, self._start_of, precision)
        # Kept for this plan only: files may change until the next one.
        self._init = cache(resolve_init)
        self._check_init = cache(check_init)
        self._check_backbone = cache(check_backbone)
        self._train_sizes = cache(train_sizes)
        self._data: dict[tuple[Any, ...], tuple[Fingerprints, int]] = {}

    def cells(self) -> Iterator[tuple[ResolvedCell, Job]]:
        """The grid in its order, each cell with how it is run."""
        for requested in self.grid.cells():
            yield requested.resolved, self._job(requested)

    def checked_data(self, resolved: ResolvedCell, job: Job, pack: bool) -> Fingerprints | None:
        """What the cell's data is, now; raises UsageError for a pool that its method cannot learn from.

        None where the data is not packed and is not to be.
        """
        cell, needs = resolved.cell, (resolved.wants_boxes, resolved.relabels)
        size = resolved.recipe.packed_size
        key = (job.dataset, job.pool, job.test_on, size, cell.classes, cell.budget, cell.seed, needs)
        if key not in self._data:
            try:
                data = select(resolved) if pack else select(resolved, Policy.IF_ON_DISK)
            except NotOnDiskError:
                check_counts(resolved, self._train_sizes(resolved.dataset))
                return None
            self._data[key] = data.fingerprints, data.n_unlabeled
        fingerprints, n_unlabeled = self._data[key]
        method = resolved.declared
        if method.uses_unlabeled and (problem := method.pool_problem(n_unlabeled)):
            pool = cell.pool or f"{cell.dataset} with {cell.budget.title()}"
            raise UsageError(f"method '{cell.method}': {problem} (the pool of {pool} has {n_unlabeled} images)")
        return fingerprints

    def _start_of(self, backbone: str, recipe: Recipe, method: "Method") -> Start:
        check_processes(recipe, self.request.device, self.request.processes)
        size, tokens = recipe.image_size, "tokens" in method.requires
        self._check_backbone(self.registry, backbone, size, tokens, self.request.processes)
        start = Start(*self._init(self.registry, self.request.init, backbone, size))
        if start.path is not None:
            self._check_init(self.registry, backbone, size, start.path)
        return start

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
            # A pass over some images is not worth several processes.
            processes=1 if cell.test_on else request.processes,
            timeout=request.timeout,
            test_on=sources.test_on,
            executor=request.executor,
        )


OTHER_SIZE = 224


def check_backbone(registry: Registry, name: str, image_size: int, tokens: bool = False, processes: int = 1) -> None:
    """Build the net without memory and send two images through; one that cannot be is a UsageError.

    So is one without `tokens`, where the method wants them, and one that several processes cannot share. A builder that
    fails whatever the size of images is a PluginError.
    """
    problem: Exception | None = None
    # A net that looks at values fails on meta tensors; then the real ones decide.
    for device in ("meta", "cpu"):
        try:
            _send_images(registry, name, image_size, tokens, processes, device)
            return
        except FerbenchError:
            raise
        except Exception as error:  # whatever a builder raises
            problem = error
    reason = " ".join(f"{type(problem).__name__}: {problem}".split()).removesuffix(":")[:200]
    try:
        build_backbone(registry, name, OTHER_SIZE, None)
    except Exception:  # it is not the size
        entry = registry.get("backbones", name.partition("/")[0])
        raise PluginError(
            f"backbone '{name}' of {entry.distribution} {entry.version} cannot be built ({reason}); choose another "
            f"--backbone, or mend {entry.target}"
        ) from problem
    raise UsageError(
        f"backbone '{name}' does not take images of {image_size} px ({reason}); "
        "choose another --backbone or --set image_size=..."
    )


def _send_images(registry: Registry, name: str, image_size: int, tokens: bool, processes: int, device: str) -> None:
    with torch.device(device), torch.no_grad():
        backbone = build_backbone(registry, name, image_size, None)
        backbone(torch.empty(2, 3, image_size, image_size))
    if tokens:
        token_backbone(backbone, name)
    check_parts(backbone, processes)
