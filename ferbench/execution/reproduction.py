"""A record's cell run again, and looked at for leaks; and what is different here from where the record was made."""

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
    """Run the cell of a record in a folder that has none of it; a model that is tested on another set is trained first.

    Raises UsageError where the folder has it, FerbenchError where the cell fails, VerificationError where the options
    of the record give another cell.
    """
    target = RunStore(runs).folder(record.cell)
    if target.exists():
        raise UsageError(f"{target} exists, so nothing would be run; name a fresh folder with --runs")
    made = api.run(runs=runs, device=device, threads=_threads(record), **run_options(record.cell, sources))
    errors = [one.error.line for one in made if one.error]
    now = made[-1] if made else None  # the record of the training stands before that of a test on another set
    if now is None or now.result is None:
        raise FerbenchError(f"the cell failed here: {errors[0] if errors else 'it left no record'}; see {target}")
    if now.cell != record.cell:
        options = "--init, --dataset, --unlabeled and --test-on"
        raise VerificationError(f"another cell was run: {now.cell.folder()}; check {options}")
    return now.result


def check_leaks(record: Record, registry: Registry, sources: Sources, device: str) -> None:
    """Train the cell of a record twice, as long as the record's, the second time with other hidden labels.

    Raises VerificationError where what is trained differs, UsageError where there is nothing to audit.
    """
    stop = StopRequests()
    with tempfile.TemporaryDirectory(prefix="ferbench-audit-") as folder, stop.heeding_signals():
        job = _job(record, registry, sources, device, Path(folder) / "runs")
        found = audit(job, registry, Path(folder), lambda event: None, stop)
    if found:
        parts = ", ".join(found)
        raise VerificationError(f"leak audit: with other labels of unlabeled images and other tests, {parts} differ")


def circumstances(record: Record, registry: Registry) -> list[Difference]:
    """Versions, hardware and code that are not those of the record."""
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
    """Those of the record: sums over several threads depend on their number."""
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
