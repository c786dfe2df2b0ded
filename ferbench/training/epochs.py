"""The end of an epoch: its row of the history, the evaluation, and what a method may look at."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from ferbench.contract.batch import PoolPredictions
from ferbench.contract.events import EpochRow
from ferbench.data.seeds import derive
from ferbench.errors import PluginError
from ferbench.records.metrics import HEADLINES, evaluate
from ferbench.training.epoch_stats import EpochStats
from ferbench.training.evaluation import logits_of, stored_logits
from ferbench.training.run import Run, RunProgress
from ferbench.training.stages import PlannedStage


def epoch_row(
    run: Run, planned: PlannedStage, progress: RunProgress, stats: EpochStats, learning_rate: float
) -> EpochRow:
    """The row of the epoch that has just ended; the method's `end_epoch` is called, and statistics begin anew."""
    epoch, step = len(progress.history) + 1, planned.begins + progress.step
    row = {"epoch": epoch, "stage": planned.stage.name, "step": step, "learning_rate": learning_rate, **stats.read()}
    row["method"] = _extras(run.method.end_epoch(_EpochContext(epoch, run, planned)))
    if not planned.stage.pretraining and _is_evaluated(run, planned, progress, step):
        row["evaluation"] = _evaluate(run)
    return EpochRow.model_validate(row)


def _is_evaluated(run: Run, planned: PlannedStage, progress: RunProgress, step: int) -> bool:
    total, count, now = run.recipe.steps, run.recipe.evaluations, step - planned.ema_begins
    previous = max(0, progress.history[-1].step - planned.ema_begins) if progress.history else 0
    return now == total or (now * count // total > previous * count // total and now * count // total < count)


def _evaluate(run: Run) -> dict[str, float]:
    test = run.task.test
    logits = logits_of(run.method.evaluation_net(), test, run.task.maker, run.recipe.evaluation_batch)
    metrics, _ = evaluate(stored_logits(logits), test.labels.cpu().numpy(), run.task.class_names)
    return {metric.key: getattr(metrics, metric.key) for metric in HEADLINES}


@dataclass(frozen=True)
class _EpochContext:
    """What a method sees at the end of an epoch."""

    epoch: int
    _run: Run
    _planned: PlannedStage

    def predict(
        self,
        pool: Literal["labeled", "validation"],
        *,
        view: str = "plain",
        net: Literal["teacher", "student"] = "teacher",
        drop_last: bool = False,
    ) -> PoolPredictions:
        pools = {"labeled": self._run.task.labeled, "validation": self._run.task.validation}
        if (labeled := pools.get(pool)) is None:
            known = [name for name, images in pools.items() if images is not None]
            raise PluginError(f"predict('{pool}'): under this protocol {' or '.join(known)} may be predicted")
        if self._planned.stage.pretraining:
            raise PluginError("predict: no labels in a pre-training stage, which cells of all label budgets share")
        run = self._run
        logits = logits_of(
            run.teacher.net if net == "teacher" else run.net,
            labeled,
            run.task.maker,
            run.recipe.evaluation_batch,
            view=view,
            seed=derive(run.seed, "predict", self.epoch),
        )
        kept = torch.arange(len(labeled), device=logits.device)
        if drop_last:
            generator = torch.Generator().manual_seed(derive(run.seed, "drop", self.epoch))
            batch = run.recipe.labeled_batch
            kept = torch.randperm(len(labeled), generator=generator)[: len(labeled) // batch * batch]
            kept = kept.sort().values.to(logits.device)
        return PoolPredictions(logits[kept], labeled.labels[kept], kept)


def _extras(values: Mapping[str, Tensor]) -> dict[str, Any]:
    for name, value in values.items():
        if not isinstance(value, Tensor):
            raise PluginError(f"end_epoch gave '{name}' as {type(value).__name__}; give a tensor")
        if not bool(value.isfinite().all()):
            raise PluginError(f"end_epoch gave '{name}' with a value that is not finite; use 0 or omit it")
    return {name: value.detach().double().cpu().tolist() for name, value in values.items()}
