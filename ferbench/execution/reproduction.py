"""Runs a record's cell again, audits it for leaks, and lists what differs between this machine and the record's."""

import tempfile
from pathlib import Path

import torch

from ferbench.cells.code_stamps import named_parts, stamp
from ferbench.cells.method_plan import plan_of
from ferbench.cells.resolve import resolve
from ferbench.contract.executor import Job
from ferbench.discovery.registry import Registry
from ferbench.errors import FerbenchError, PluginError, UsageError, VerificationError
from ferbench.execution import api
from ferbench.execution.audit import audit
from ferbench.execution.provenance import environment
from ferbench.execution.stopping import StopRequests
from ferbench.execution.weights import resolve_init
from ferbench.records.formats import ENGINE_VERSION
from ferbench.records.reproduction import Difference, Sources, run_options, text_differences
from ferbench.records.schema import PluginStamp, Record, Result
from ferbench.records.store import RunStore


def run_again(record: Record, runs: Path, sources: Sources, device: str) -> Result:
    """Run the cell of a record in a folder without it. If its model is tested on another dataset, it is trained first.

    Raises UsageError if the folder already has the cell, FerbenchError if the cell fails, and VerificationError if the
    record's options lead to another cell.
    """
    target = RunStore(runs).folder(record.cell)
    if target.exists():
        raise UsageError(f"{target} exists, so nothing would be run; name a fresh folder with --runs")
    made = api.run(runs=runs, device=device, threads=_threads(record), **run_options(record.cell, sources))
    errors = [one.error.line for one in made if one.error]
    now = made[-1] if made else None  # the record of the training comes before that of its test on another dataset
    if now is None or now.result is None:
        raise FerbenchError(f"the cell failed here: {errors[0] if errors else 'it left no record'}; see {target}")
    if now.cell != record.cell:
        options = "--init, --dataset, --unlabeled and --test-on"
        raise VerificationError(f"another cell was run: {now.cell.folder()}; check {options}")
    return now.result


def check_leaks(record: Record, registry: Registry, sources: Sources, device: str) -> None:
    """Train the cell of a record twice, for as many steps as the record, the second time with other hidden labels.

    Raises VerificationError if the trained parts differ, and UsageError if there is nothing to audit.
    """
    stop = StopRequests()
    with tempfile.TemporaryDirectory(prefix="ferbench-audit-") as folder, stop.heeding_signals():
        job = _job(record, registry, sources, device, Path(folder) / "runs")
        found = audit(job, registry, Path(folder), lambda event: None, stop)
    if found:
        parts = ", ".join(found)
        raise VerificationError(f"leak audit: with other labels of unlabeled images and other tests, {parts} differ")


def circumstances(record: Record, registry: Registry) -> list[Difference]:
    """Versions, hardware and code that differ from those of the record."""
    on_gpu = record.measured.device != "cpu" and torch.cuda.is_available()
    here = environment(torch.device("cuda" if on_gpu else "cpu"))
    differences = text_differences(record.environment, here)
    if record.engine_version != ENGINE_VERSION:
        differences.append(Difference("engine version", str(record.engine_version), str(ENGINE_VERSION)))
    recorded = {role: _code(one) for role, one in {"method": record.plugin, **record.plugins}.items()}
    names, code_here = named_parts(record.cell), {}
    for role in recorded.keys() & names.keys():
        try:
            code_here[role] = _code(stamp(registry, *names[role]))
        except (PluginError, UsageError):
            code_here[role] = "not installed"
    return differences + text_differences(recorded, code_here)


def _code(stamp: PluginStamp) -> str:
    return f"{stamp.distribution} {stamp.version}, code {stamp.source_hash[:12]}"


def _threads(record: Record) -> int:
    """The record's number of threads: sums over several threads depend on it."""
    return record.measured.threads or 1


def _job(record: Record, registry: Registry, sources: Sources, device: str, runs: Path) -> Job:
    cell = record.cell
    resolved = resolve(cell, registry, sources)
    _, init = resolve_init(registry, sources.init or "scratch", cell.backbone, resolved.recipe.image_size)
    return Job(
        cell=cell.model_dump(mode="json"),
        plan=plan_of(resolved).model_dump(mode="json"),
        dataset=sources.dataset or cell.dataset,
        pool=sources.pool,
        init=init,
        runs=runs,
        device=device,
        threads=_threads(record),
    )
