"""Stages that many cells share, such as pre-training: computed once per content key, locked across processes."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor, nn

from ferbench.contract.events import EpochRow
from ferbench.contract.stage import Stage
from ferbench.records.cell import digest
from ferbench.records.in_progress import said_file, snapshot_file
from ferbench.records.lease import Lease
from ferbench.records.tensor_files import DamagedTensorsError
from ferbench.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from ferbench.training.run import COSTS, Run, RunProgress, Stop

log = logging.getLogger(__name__)


class StageCache:
    """Keeps the results of finished stages that declare `cache=True` or `pretraining=True`.

    `content` is everything that determines a stage besides its own declaration: the code of the method and its
    options, the images that it sees, initial weights, recipe, precision, device, seed and engine version. `shared`
    returns the same for a pre-training stage, which does not depend on labels, on the seed or on most options.
    """

    def __init__(
        self,
        folder: Path,
        content: Mapping[str, object],
        shared: Callable[[Stage], Mapping[str, object]] | None = None,
    ) -> None:
        self.folder, self.content, self.shared = folder, content, shared
        self._lease: Lease | None = None

    def restore(self, stage: Stage, stop: Stop, *, begun: bool) -> Checkpoint | None:
        """The stage's result from another cell. If there is none, returns None and locks the stage until `keep`.

        While another process trains the stage this waits. It raises what `stop` returns.
        """
        path = self.path(stage)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lease = Lease(path.with_suffix(".lease")).wait(stop)
        if path.is_file() and not begun:
            try:
                found = read_checkpoint(path)
            except DamagedTensorsError as error:
                log.warning("%s: %s; the stage is trained again", path, error.problem)
            else:
                self.release()
                return found
        return None

    def read(self, stage: Stage) -> Checkpoint:
        """The result of a stage that another process has found."""
        return read_checkpoint(self.path(stage))

    def keep(self, stage: Stage, checkpoint: Checkpoint) -> None:
        """Store the stage's result for other cells."""
        write_checkpoint(self.path(stage), checkpoint)
        self.release()

    def release(self) -> None:
        """Unlock the stage that this process has locked, if any, so that others may train it."""
        if self._lease is not None:
            self._lease.release()
            self._lease = None

    def path(self, stage: Stage) -> Path:
        """The file of a stage, whether or not it exists."""
        views = {
            role: {name: [spec.kind, dict(spec.options)] for name, spec in (declared or {}).items()}
            for role, declared in (("labeled", stage.views.labeled), ("unlabeled", stage.views.unlabeled))
        }
        settings = stage.optimizer.values if stage.optimizer else {}
        declaration = [stage.name, stage.data, stage.sampler, stage.share, settings, views]
        content = self.shared(stage) if stage.pretraining and self.shared else self.content
        return self.folder / f"{stage.name}-{digest([declaration, dict(content)])[:16]}.safetensors"


def restore_stage(
    cache: StageCache, run: Run, stage: Stage, progress: RunProgress, folder: Path, stop: Stop
) -> dict[str, Tensor] | None:
    """Take a finished stage from the cache: nets, the method's state, rows of the history, their files and the cost.

    Returns its pictures. Returns None for a stage that is not cached, or not in the cache; it must then be trained.
    """
    if not stage.is_cached:
        return None
    saved = None
    if run.processes.rank == 0:
        saved = cache.restore(stage, stop, begun=progress.step > 0)
    if not run.anywhere(saved is not None):
        return None
    saved = saved or cache.read(stage)
    for prefix, module in _kept_modules(run, stage).items():
        module.load_state_dict(saved.get(prefix))
    progress.history += map(EpochRow.model_validate, saved.state["history"])
    progress.evaluated += saved.state["evaluated"]
    for row in progress.history if run.processes.rank == 0 else ():
        for path in (said_file(folder, row.epoch), snapshot_file(folder, row.epoch)):
            if tensors := saved.get(_prefix(path)):
                write_checkpoint(path, Checkpoint(tensors))
    # What the stage cost the run that trained it, so that cells can be compared.
    for name in COSTS:
        setattr(progress, name, getattr(progress, name) + saved.state[name])
    progress.wall_seconds += saved.state["train_seconds"]
    return saved.get("pictures")


def kept_stage(run: Run, stage: Stage, progress: RunProgress, folder: Path, pictures: dict[str, Tensor]) -> Checkpoint:
    """What a finished stage stores for other cells."""
    cost = {name: getattr(progress, name) - progress.before[name] for name in COSTS}
    rows = [row for row in progress.history if row.stage == stage.name]
    evaluated = [row.epoch for row in rows if row.epoch in progress.evaluated]
    checkpoint = Checkpoint(state={"history": [row.to_json() for row in rows], "evaluated": evaluated, **cost})
    for row in rows:
        for path in (said_file(folder, row.epoch), snapshot_file(folder, row.epoch)):
            checkpoint.put(_prefix(path), read_checkpoint(path).tensors if path.is_file() else {})
    for prefix, module in _kept_modules(run, stage).items():
        checkpoint.put(prefix, module.state_dict())
    checkpoint.put("pictures", pictures)
    return checkpoint


def _prefix(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def _kept_modules(run: Run, stage: Stage) -> dict[str, nn.Module]:
    """Modules saved for a cached stage. Pre-training saves only the backbone: everything else depends on the cell."""
    return {"backbone": run.net.backbone} if stage.pretraining else run.modules
