"""The training loop: stages, steps, epochs, checkpoints. One function owns the loop of a stage."""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from ferbench.contract.batch import Batch, MethodInfo, Predictions
from ferbench.contract.method import Method, Stage
from ferbench.contract.protocol import EPOCHS, Recipe
from ferbench.data.batches import Batches, ViewMaker
from ferbench.data.packed import Pool
from ferbench.data.seeds import derive
from ferbench.errors import DataError, FerbenchError, PluginError
from ferbench.records.metrics import evaluate
from ferbench.training.checkpoint import (
    Checkpoint,
    load_optimizer,
    load_rng,
    optimizer_tensors,
    read_checkpoint,
    rng_tensors,
    write_checkpoint,
)
from ferbench.training.evaluation import logits_of, stored_logits
from ferbench.training.meter import Meter
from ferbench.training.optimization import learning_rate, make_optimizer, set_learning_rate
from ferbench.training.stage_cache import StageCache
from ferbench.training.teacher import Teacher

ENGINE_VERSION = 1
TICK_SECONDS = 0.5

Events = Callable[[Mapping[str, Any]], None]
Stop = Callable[[], FerbenchError | None]


class DivergedError(FerbenchError):
    """A loss stopped being finite."""

    def __init__(self, step: int, term: str) -> None:
        super().__init__(
            f"loss term '{term}' is not finite at step {step}; lower the learning rate or the term's weight"
        )
        self.step, self.term = step, term


@dataclass(frozen=True)
class Task:
    """The data of a cell on its device."""

    labeled: Pool
    unlabeled: Pool | None
    test: Pool
    maker: ViewMaker
    class_names: tuple[str, ...]
    device: torch.device


@dataclass
class Progress:
    """Where a run stands; all of it is JSON, and all of it is in the checkpoint."""

    stage: int = 0
    step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    train_seconds: float = 0.0
    wall_seconds: float = 0.0
    resumed: int = 0


class Trainer:
    """Trains one method on one task; `run` returns when the last step is done or raises when it is stopped."""

    def __init__(
        self,
        method: Method,
        teacher: Teacher,
        recipe: Recipe,
        task: Task,
        info: MethodInfo,
        *,
        seed: int,
        identity: str,
        checkpoint_path: Path,
        stage_cache: StageCache,
        precision: str = "fp32",
        began: float | None = None,
        events: Events = lambda event: None,
        stop: Stop = lambda: None,
    ) -> None:
        self.method, self.net, self.teacher = method, method.net, teacher
        self.recipe, self.task, self.info, self.seed = recipe, task, info, seed
        self.identity, self.checkpoint_path, self.stage_cache = identity, checkpoint_path, stage_cache
        self.precision, self.events, self.stop = precision, events, stop
        self.stages = list(method.stages())
        self.stage_steps = share_steps(recipe.steps, [stage.share for stage in self.stages])
        self.meter = Meter(info.n_classes, task.device)
        self.progress = Progress()
        self._ticked = time.monotonic()
        self._counted_until = self._ticked if began is None else began

    # -- the loop ----------------------------------------------------------------------------------------------------

    def run(self) -> Progress:
        """All stages from wherever the checkpoint stands; bit-equal to an uninterrupted run on the same machine."""
        saved = self._restore()
        for index in range(self.progress.stage, len(self.stages)):
            stage, steps = self.stages[index], self.stage_steps[index]
            optimizer = self._optimizer(stage)
            if saved is not None:
                load_optimizer(optimizer, saved.get("optimizer"))
                saved = None
            if not self.stage_cache.restore(stage, self.progress.step, self._cached_modules()):
                self._train(stage, steps, optimizer)
                self.stage_cache.keep(stage, self._cached_modules())
            self.progress.stage, self.progress.step = index + 1, 0
        return self.progress

    def _train(self, stage: Stage, steps: int, optimizer: Optimizer) -> None:
        batches = self._batches(stage, steps)
        truth = self.task.unlabeled.labels if self.task.unlabeled else None
        done_before = sum(self.stage_steps[: self.progress.stage])
        self.net.train()
        self.method.train()
        started = time.monotonic()
        for step in range(self.progress.step, steps):
            set_learning_rate(optimizer, learning_rate(self.recipe, step, steps))
            batch = batches.at(step)
            self._step(stage, batch, optimizer, done_before + step, truth)
            self.progress.step = step + 1
            self._tick(done_before + step + 1)
            if (step + 1) % self.info.steps_per_epoch == 0 or step + 1 == steps:
                self.progress.train_seconds += time.monotonic() - started
                self._end_epoch(stage, optimizer, done_before + step + 1)
                started = time.monotonic()
            if (reason := self.stop()) is not None:
                self.progress.train_seconds += time.monotonic() - started
                self.save(optimizer)
                raise reason
        self.progress.train_seconds += time.monotonic() - started

    def _step(self, stage: Stage, batch: Batch, optimizer: Optimizer, step: int, truth: Tensor | None) -> None:
        with self._autocast():
            losses = stage.loss(batch)
            aux = self.method.take_aux_loss()
        total = losses.total if aux is None else losses.total + aux
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        optimizer.step()
        self.teacher.update(step)
        self.method.after_step()
        drawn = truth[batch.unlabeled.index] if truth is not None and batch.unlabeled is not None else None
        self.meter.add(step, total, losses, drawn)

    def _autocast(self) -> AbstractContextManager[None]:
        if self.precision != "bf16":
            return nullcontext()
        return torch.autocast(self.task.device.type, torch.bfloat16)

    # -- epochs ------------------------------------------------------------------------------------------------------

    def _end_epoch(self, stage: Stage, optimizer: Optimizer, step: int) -> None:
        if (bad := self.meter.first_bad()) is not None:
            raise DivergedError(*bad)
        epoch = len(self.progress.history) + 1
        row = {
            "epoch": epoch,
            "stage": stage.name,
            "step": step,
            "learning_rate": optimizer.param_groups[0]["lr"],
            **self.meter.read(),
        }
        extras = self.method.end_epoch(_Context(epoch, self))
        row["method"] = {name: value.detach().double().cpu().tolist() for name, value in extras.items()}
        if self._is_evaluated(step):
            row["evaluation"] = self._evaluate()
        self.progress.history.append(row)
        self.events({"kind": "epoch", **row})
        if step < self.recipe.steps:
            self.save(optimizer)

    def _is_evaluated(self, step: int) -> bool:
        total, count = self.recipe.steps, self.recipe.evaluations
        previous = max(0, step - self.info.steps_per_epoch)
        return step == total or (step * count // total > previous * count // total and step * count // total < count)

    def _evaluate(self) -> dict[str, float]:
        test = self.task.test
        logits = logits_of(self.method.evaluation_net(), test, self.task.maker, self.recipe.evaluation_batch)
        metrics, _ = evaluate(stored_logits(logits), test.labels.cpu().numpy(), self.task.class_names)
        return {name: getattr(metrics, name) for name in ("accuracy", "balanced_accuracy", "macro_f1")}

    def _tick(self, step: int) -> None:
        now = time.monotonic()
        if now - self._ticked >= TICK_SECONDS:
            self._ticked = now
            self.events({"kind": "step", "step": step, "steps": self.recipe.steps})

    # -- parts -------------------------------------------------------------------------------------------------------

    def _batches(self, stage: Stage, steps: int) -> Batches:
        labeled, unlabeled = self.task.labeled, self.task.unlabeled
        if stage.data == "labeled":
            unlabeled = None
        elif stage.data == "all":
            unlabeled = join_pools(labeled, unlabeled) if unlabeled else labeled
        return Batches(
            labeled,
            unlabeled,
            stage.views,
            self.recipe,
            self.task.maker,
            seed=derive(self.seed, "batches", stage.name),
            steps=steps,
            sampler=stage.sampler,
        )

    def _optimizer(self, stage: Stage) -> Optimizer:
        recipe = self.recipe.model_copy(update=dict(stage.optimizer or {}))
        if stage.parameters is not None:
            return make_optimizer(stage.parameters(self.net), recipe)
        return make_optimizer([*self.net.parameters(), *self.method.parameters()], recipe)

    def image_passes(self) -> int:
        """Images sent forward through the backbone over all stages, by the declared views."""
        per_step = [
            len(stage.views.labeled) * self.recipe.labeled_batch
            + len(stage.views.unlabeled or {}) * self.recipe.unlabeled_batch
            for stage in self.stages
        ]
        return sum(n * steps for n, steps in zip(per_step, self.stage_steps, strict=True))

    def _cached_modules(self) -> dict[str, torch.nn.Module]:
        return {"net": self.net, "teacher": self.teacher.net}

    # -- checkpoints -------------------------------------------------------------------------------------------------

    def save(self, optimizer: Optimizer) -> None:
        """Write the checkpoint; everything after it is lost when the process is killed."""
        self.count_time()
        checkpoint = Checkpoint(state={"identity": self.identity, "progress": self.progress.__dict__})
        checkpoint.put("net", self.net.state_dict())
        checkpoint.put("teacher", self.teacher.net.state_dict())
        checkpoint.put("method", self.method.state_dict())
        checkpoint.put("optimizer", optimizer_tensors(optimizer))
        checkpoint.put("meter", self.meter.state)
        checkpoint.put("rng", rng_tensors(self.task.device, self.method.random))
        write_checkpoint(self.checkpoint_path, checkpoint)

    def count_time(self) -> None:
        """Add the time since the last count to the run's wall time, which outlives the process."""
        now = time.monotonic()
        self.progress.wall_seconds += now - self._counted_until
        self._counted_until = now

    def _restore(self) -> Checkpoint | None:
        if not self.checkpoint_path.exists():
            return None
        checkpoint = read_checkpoint(self.checkpoint_path)
        if checkpoint.state.get("identity") != self.identity:
            raise DataError(
                f"{self.checkpoint_path}: belongs to other data, options or engine version; remove it to start again"
            )
        self.net.load_state_dict(checkpoint.get("net"))
        self.teacher.net.load_state_dict(checkpoint.get("teacher"))
        self.method.load_state_dict(checkpoint.get("method"))
        self.meter.state = {name: value.to(self.task.device) for name, value in checkpoint.get("meter").items()}
        load_rng(checkpoint.get("rng"), self.task.device, self.method.random)
        self.progress = Progress(**checkpoint.state["progress"])
        self.progress.resumed += 1
        return checkpoint


@dataclass(frozen=True)
class _Context:
    """What a method sees at the end of an epoch."""

    epoch: int
    _trainer: Trainer

    def predict(
        self, pool: Literal["labeled"], *, view: str = "plain", net: Literal["teacher", "student"] = "teacher"
    ) -> Predictions:
        if pool != "labeled":
            raise PluginError(f"predict('{pool}'): only the labeled pool may be predicted, labels included")
        trainer = self._trainer
        labeled = trainer.task.labeled
        chosen = trainer.teacher.net if net == "teacher" else trainer.net
        logits = logits_of(
            chosen,
            labeled,
            trainer.task.maker,
            trainer.recipe.evaluation_batch,
            view=view,
            seed=derive(trainer.seed, "predict", self.epoch),
        )
        return Predictions(logits, labeled.labels, torch.arange(len(labeled), device=logits.device))


def share_steps(total: int, shares: list[float]) -> list[int]:
    """Whole numbers of steps in proportion to the shares, summing to the total."""
    ends = [round(total * sum(shares[: i + 1]) / sum(shares)) for i in range(len(shares))]
    return [end - start for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def steps_per_epoch(steps: int) -> int:
    """A twentieth of the run, at least one step."""
    return max(1, math.ceil(steps / EPOCHS))


def join_pools(first: Pool, second: Pool) -> Pool:
    """Two pools as one unlabeled pool."""
    return Pool(
        images=torch.cat([first.images, second.images]),
        labels=torch.cat([first.labels, second.labels]),
        label_probs=torch.cat([first.label_probs, second.label_probs]),
        boxes=torch.cat([first.boxes, second.boxes]),
        ids=first.ids + second.ids,
    )
