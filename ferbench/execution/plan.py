"""From what a person asked for to a grid of checked cells."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from ferbench.contract.dataset import Dataset
from ferbench.contract.executor import Job
from ferbench.contract.protocol import Recipe
from ferbench.data.sources import classes_of, open_dataset
from ferbench.errors import UsageError, suggestion
from ferbench.execution.weights import resolve_init
from ferbench.plugins import registry
from ferbench.records.cell import Budget, Cell
from ferbench.records.schema import first_problem
from ferbench.records.store import RunStore
from ferbench.training.resolution import build_backbone, load_method, load_protocol, recipe_of, resolve
from ferbench.training.task import no_pool_text, split_of

SYNTHFACES = "synthfaces"


@dataclass(frozen=True)
class RunRequest:
    """The options of `ferbench run`; lists multiply into a grid.

    A method is named as its row is: `fixmatch`, `supervised@strong`, `fixmatch+leaf`. `set` maps `steps` or
    `fixmatch.threshold` to values.
    """

    methods: Sequence[str]
    datasets: Sequence[str] = (SYNTHFACES,)
    ratios: Sequence[str] = ()
    counts: Sequence[int] = ()
    per_class: Sequence[int] = ()
    allocation: str = "proportional"
    seeds: Sequence[int] = (0,)
    protocol: str = "ratio-v1"
    classes: str | None = None
    unlabeled: str | None = None
    variant: str | None = None
    head: str | None = None
    backbones: Sequence[str] = ()
    init: str = "scratch"
    set: Mapping[str, Any] = field(default_factory=dict)
    precision: str | None = None
    device: str = "auto"
    threads: int = 1
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
    packed and split, so that a cached result of other data counts as missing.
    """
    protocol = load_protocol(request.protocol)
    device = choose_device(request.device)
    budgets = _budgets(request, protocol.budget)
    store = RunStore(request.runs)
    planned = []
    for dataset_name, budget, row, seed in itertools.product(request.datasets, budgets, request.methods, request.seeds):
        dataset = _opened(dataset_name)
        for backbone in request.backbones or (recipe_of(protocol, dataset, {}).backbone,):
            cell, init = _cell(request, protocol, dataset, budget, row, seed, backbone, device)
            pool = request.unlabeled
            job = Job(
                cell=cell.model_dump(mode="json"),
                dataset=dataset_name,
                pool=pool,
                init=init,
                runs=request.runs,
                device=device,
                threads=request.threads,
                timeout=request.timeout,
            )
            planned.append(PlannedCell(cell, job, _is_cached(store, cell, dataset_name, pool, check_data)))
    unique = {item.cell.cell_id: item for item in planned}
    return list(unique.values())


def choose_device(name: str) -> str:
    """`auto` is the GPU if there is one."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(name).type
    except RuntimeError:
        raise UsageError(f"--device {name}: not a device; use auto, cpu, cuda or cuda:0") from None
    if kind not in ("cpu", "cuda"):
        raise UsageError(f"--device {name}: only cpu and cuda are supported")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device {name}: this machine has no CUDA device; use --device cpu")
    return name


def _budgets(request: RunRequest, kind: str) -> list[Budget]:
    wanted: list[tuple[str, str, Any]] = [("ratio", "--ratio", value) for value in request.ratios]
    wanted += [("count", "--labels", value) for value in request.counts]
    wanted += [("per_class", "--per-class", value) for value in request.per_class]
    if not wanted:
        raise UsageError("how many labels? give --ratio 0.05, for example (1 = all labels)")
    budgets = []
    for name, option, value in wanted:
        try:
            budgets.append(Budget.model_validate({name: value, "allocation": request.allocation}))
        except ValidationError as error:
            text = first_problem(error).partition("Value error, ")[2] or first_problem(error)
            raise UsageError(f"{option} {value}: {text}") from None
        if (kind == "ratio") != (name == "ratio"):
            raise UsageError(f"{option} {value}: protocol '{request.protocol}' counts labels by --{kind}")
    return budgets


def _cell(
    request: RunRequest,
    protocol: Any,
    dataset: Dataset,
    budget: Budget,
    row: str,
    seed: int,
    backbone: str,
    device: str,
) -> tuple[Cell, str | None]:
    method, variant, head = parse_row(row)
    method_class = load_method(method)
    overrides = sort_overrides(request.set, [parse_row(name)[0] for name in request.methods], method, protocol, dataset)
    task, _ = classes_of(dataset, request.classes)
    recipe = recipe_of(protocol, dataset, overrides["protocol"])
    _check_backbone(backbone, recipe.image_size)
    init, init_path = resolve_init(request.init, backbone, recipe.image_size)
    try:
        cell = Cell(
            protocol=protocol.name,
            dataset=dataset.info.name,
            classes=task,
            pool=_opened(request.unlabeled).info.name if request.unlabeled else None,
            budget=budget,
            method=method,
            variant=variant or request.variant or next(iter(method_class.variants)),
            head=head or request.head or "linear",
            backbone=backbone,
            init=init,
            seed=seed,
            overrides={kind: fields for kind, fields in overrides.items() if fields},  # type: ignore[misc]
            precision=request.precision or ("bf16" if device.startswith("cuda") else "fp32"),
        )
    except ValidationError as error:
        raise UsageError(f"this cell cannot be: {first_problem(error)}") from None
    registry().get("heads", cell.head)
    resolved = resolve(cell, _source(request.datasets, dataset), request.unlabeled)
    uses_unlabeled = method_class(resolved.config).uses_unlabeled
    if uses_unlabeled and cell.pool is None and budget.ratio == "1":
        raise UsageError(no_pool_text(resolved))
    if request.unlabeled and not uses_unlabeled:
        cell = cell.model_copy(update={"pool": None})
    return cell, init_path


def _source(names: Sequence[str], dataset: Dataset) -> str:
    return next(name for name in names if _opened(name) is dataset)


@lru_cache(maxsize=16)
def _opened(name: str) -> Dataset:
    return open_dataset(name)


@lru_cache(maxsize=64)
def _check_backbone(name: str, image_size: int) -> None:
    with torch.device("meta"):
        build_backbone(name, image_size, None)


def parse_row(row: str) -> tuple[str, str | None, str | None]:
    """`method[@variant][+head]` to its parts."""
    rest, _, head = row.partition("+")
    method, _, variant = rest.partition("@")
    return method, variant or None, head or None


def sort_overrides(
    values: Mapping[str, Any], methods: Sequence[str], method: str, protocol: Any, dataset: Dataset
) -> dict[str, dict[str, Any]]:
    """Which of the `--set` values belong to the protocol and which to this method; unknown keys are errors."""
    recipe_fields = set(Recipe.model_fields) - {"method_defaults", "backbone"}
    overrides: dict[str, dict[str, Any]] = {"protocol": {}, "method": {}}
    for key, value in values.items():
        prefix, _, option = key.partition(".")
        if prefix in methods and option:
            _check_option(key, option, prefix)
            if prefix == method:
                overrides["method"][option] = value
        elif prefix in recipe_fields:
            overrides["protocol"][key] = value
        elif len(set(methods)) == 1 and key in load_method(method).Config.model_fields:
            overrides["method"][key] = value
        else:
            raise UsageError(_unknown_key(key, methods, recipe_fields))
    _drop_defaults(overrides["protocol"], recipe_of(protocol, dataset, overrides["protocol"]), protocol, dataset)
    return overrides


def _check_option(key: str, option: str, method: str) -> None:
    fields = load_method(method).Config.model_fields
    if option not in fields:
        known = ", ".join(fields) or "none"
        raise UsageError(
            f"--set {key}: method '{method}' has no option '{option}' (it has {known}){suggestion(option, fields)}"
        )


def _unknown_key(key: str, methods: Sequence[str], recipe_fields: set[str]) -> str:
    options = {name: load_method(name).Config.model_fields for name in dict.fromkeys(methods)}
    owners = [name for name, fields in options.items() if key in fields]
    if owners:
        return f"--set {key}: say whose option it is, as in --set {owners[0]}.{key}=..."
    known = sorted(recipe_fields) + (list(next(iter(options.values()))) if len(options) == 1 else [])
    known += [f"{name}.{option}" for name, fields in options.items() for option in fields] if len(options) > 1 else []
    return f"--set {key}: neither the protocol nor the method has this option{suggestion(key, known)}"


def _drop_defaults(values: dict[str, Any], recipe: Recipe, protocol: Any, dataset: Dataset) -> None:
    # A field set to what it already is changes nothing, so the cell stays the standard one.
    default = recipe_of(protocol, dataset, {})
    for key in list(values):
        if _field(recipe, key) == _field(default, key):
            del values[key]


def _field(recipe: Recipe, key: str) -> Any:
    value: Any = recipe
    for part in key.split("."):
        value = getattr(value, part)
    return value


def _is_cached(store: RunStore, cell: Cell, dataset: str, pool: str | None, check_data: bool) -> bool:
    if not check_data:
        return store.is_done(cell)
    return store.is_done(cell, split_of(resolve(cell, dataset, pool)).fingerprints)
