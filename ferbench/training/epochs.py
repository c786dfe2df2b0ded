"""The end of an epoch: its row of the history, the files kept for the evaluation, and what a method may look at."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ferbench.contract.backbone import Network
from ferbench.contract.batch import PoolPredictions, UnlabeledPredictions, ViewSpec
from ferbench.contract.counting import counting
from ferbench.contract.events import EpochRow
from ferbench.contract.stage import StageContext
from ferbench.data.load.image_set import LabeledImages
from ferbench.data.seeds import derive
from ferbench.errors import PluginError
from ferbench.records.in_progress import said_file, snapshot_file
from ferbench.training.checkpoint import Checkpoint, write_checkpoint
from ferbench.training.epoch_stats import EpochStats, Said
from ferbench.training.evaluation import logits_of, unlabeled_logits
from ferbench.training.run import Run, RunProgress
from ferbench.training.stages import PlannedStage


def epoch_row(
    run: Run, planned: PlannedStage, progress: RunProgress, stats: EpochStats, learning_rate: float
) -> EpochRow:
    """The row of the epoch that has just ended. Calls the method's `end_epoch` and resets the statistics."""
    epoch, step = len(progress.history) + 1, planned.begins + progress.step
    row = {"epoch": epoch, "stage": planned.stage.name, "step": step, "learning_rate": learning_rate, **stats.read()}
    with counting(progress):
        row["method"] = _extras(run.method.end_epoch(_Context(epoch, run, planned)))
    return EpochRow.model_validate(row)


def keep_epoch(run: Run, planned: PlannedStage, progress: RunProgress, said: Said | None, folder: Path) -> None:
    """Keep two files that are joined with labels after training: what was said in this epoch, and a snapshot.

    The last evaluation has no snapshot: its net is the trained one, which is kept anyway.
    """
    epoch, step = len(progress.history), progress.history[-1].step - planned.extra
    previous = max(0, progress.history[-2].step - planned.extra) if epoch > 1 else 0
    evaluated = not planned.stage.pretraining and run.recipe.is_evaluated(step, previous)
    if evaluated:
        progress.evaluated.append(epoch)
    if said is not None:
        _check_said(run, said)
    if run.processes.rank > 0:
        return
    if said is not None:
        write_checkpoint(said_file(folder, epoch), Checkpoint(said._asdict()))
    if evaluated and step < run.recipe.steps:
        state = dict(run.method.evaluation_net().state_dict())
        write_checkpoint(snapshot_file(folder, epoch), Checkpoint(state))


def _check_said(run: Run, said: Said) -> None:
    """Check what was said. This runs once an epoch, since looking at values waits for the device."""
    name, n = type(run.method).__name__, run.info.n_classes
    if not bool(((said.mask >= 0) & (said.mask <= 1)).all()):
        raise PluginError(f"{name}: the mask has values outside 0..1; it is the part that each unlabeled image trains")
    if not bool(((said.pseudo_label >= 0) & (said.pseudo_label < n)).all()):
        raise PluginError(
            f"{name}: pseudo_label has numbers outside 0..{n - 1}, which are not classes; mask such images"
        )


def stage_context(run: Run, planned: PlannedStage) -> StageContext:
    """What a method may use before the first step of a stage. Its random numbers differ from those of every epoch."""
    return _Context(-1 - planned.number, run, planned)


@dataclass(frozen=True)
class _Context:
    """What a method sees between steps; `epoch` is below 0 before the first step of a stage."""

    epoch: int
    _run: Run
    _planned: PlannedStage

    def predict(
        self, pool: str, *, view: Any = "plain", net: Any = "teacher", drop_last: bool = False
    ) -> Any:  # by the overloads of the contract
        if self._planned.stage.pretraining:
            raise PluginError("predict: no predictions in a pre-training stage, which cells of all label budgets share")
        run = self._run
        chosen: Network = {"teacher": run.teacher.net, "student": run.net}[net] if isinstance(net, str) else net
        spec = ViewSpec(view) if isinstance(view, str) else view
        if pool == "unlabeled":
            return self._predict_unlabeled(chosen, spec)
        pools = {"labeled": run.task.labeled, "validation": run.task.validation}
        if (labeled := pools.get(pool)) is None:
            there = [name for name, images in pools.items() if images is not None]
            known = ", ".join(f"'{name}'" for name in [*there, "unlabeled"])
            raise PluginError(f"predict('{pool}'): under this protocol there are the pools {known}")
        return self._predict_labeled(labeled, chosen, spec, drop_last)

    def _predict_labeled(
        self, labeled: LabeledImages, net: Network, view: ViewSpec, drop_last: bool
    ) -> PoolPredictions:
        run = self._run
        logits = logits_of(
            net, labeled, run.task.maker, run.recipe.evaluation_batch, view=view, seed=self._seed("predict")
        )
        kept = torch.arange(len(labeled), device=logits.device)
        if drop_last:
            generator = torch.Generator().manual_seed(self._seed("drop"))
            batch = run.recipe.labeled_batch
            kept = torch.randperm(len(labeled), generator=generator)[: len(labeled) // batch * batch]
            kept = kept.sort().values.to(logits.device)
        return PoolPredictions(logits[kept], labeled.labels[kept], kept)

    def _predict_unlabeled(self, net: Network, view: ViewSpec) -> Iterator[UnlabeledPredictions]:
        run, pool = self._run, self._run.task.unlabeled
        if pool is None:
            raise PluginError(
                "predict('unlabeled'): the method declares no view of unlabeled images, so there are none"
            )
        return unlabeled_logits(
            net, pool, run.task.maker, run.recipe.evaluation_batch, view=view, seed=self._seed("predict unlabeled")
        )

    def _seed(self, purpose: str) -> int:
        return derive(self._run.seed, purpose, self.epoch)


def _extras(values: Mapping[str, Tensor]) -> dict[str, Any]:
    for name, value in values.items():
        if not isinstance(value, Tensor):
            raise PluginError(f"end_epoch gave '{name}' as {type(value).__name__}; give a tensor")
        if not bool(value.isfinite().all()):
            raise PluginError(f"end_epoch gave '{name}' with a value that is not finite; use 0 or omit it")
    return {name: value.detach().double().cpu().tolist() for name, value in values.items()}
