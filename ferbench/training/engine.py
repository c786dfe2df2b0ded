"""The training loop: stages, steps, epochs, checkpoints. One function owns the loop of a stage."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ValidationError
from torch import Tensor
from torch.optim import Optimizer

from ferbench.contract.batch import Batch, MethodInfo, Predictions
from ferbench.contract.method import Method, Processes, Stage
from ferbench.contract.protocol import Recipe
from ferbench.data.batches import Batches, ViewMaker
from ferbench.data.packed import Pool
from ferbench.data.seeds import derive
from ferbench.data.stream import Stream
from ferbench.errors import FerbenchError, InterruptedRun, PluginError
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
from ferbench.training.stages import checked_stages, stage_steps, steps_per_epoch
from ferbench.training.teacher import Teacher

ENGINE_VERSION = 1
TICK_SECONDS = 0.5
PRETRAINING_SEED = 0  # of stages that cells of all seeds share
SHOWN = 7  # pictures in a row of the report
ASKED_EVERY = 10  # steps, whether several processes should stop

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
    """The data of a cell on its device.

    `keeps_rest` says whether `unlabeled` holds the rest of the training set. `relabeled` are the two pools of a second
    draw, where a stage wants one.
    """

    labeled: Pool
    unlabeled: Pool | Stream | None
    test: Pool
    maker: ViewMaker
    class_names: tuple[str, ...]
    device: torch.device
    keeps_rest: bool = True
    relabeled: tuple[Pool, Pool | Stream] | None = None


@dataclass
class Progress:
    """Where a run stands; all of it is JSON, and all of it is in the checkpoint."""

    stage: int = 0
    step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    image_passes: int = 0
    train_seconds: float = 0.0
    passes_before: int = 0
    """Image passes until the stage began; `seconds_before` likewise."""
    seconds_before: float = 0.0
    data_wait_seconds: float = 0.0
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
        processes: Processes | None = None,
    ) -> None:
        self.method, self.net, self.teacher = method, method.net, teacher
        self.recipe, self.task, self.info, self.seed = recipe, task, info, seed
        self.identity, self.checkpoint_path, self.stage_cache = identity, checkpoint_path, stage_cache
        self.precision, self.events, self.stop = precision, events, stop
        self.processes = processes or Processes()
        self.stages = checked_stages(method)
        self.stage_steps = stage_steps(recipe.steps, self.stages)
        pairs = zip(self.stages, self.stage_steps, strict=True)
        self.extra_steps = sum(steps for stage, steps in pairs if stage.pretraining)
        self.meter = Meter(info.n_classes, task.device)
        self.progress = Progress()
        self._ticked = time.monotonic()
        self._counted_until = self._ticked if began is None else began

    # -- the loop ----------------------------------------------------------------------------------------------------

    def run(self) -> Progress:
        """All stages from wherever the checkpoint stands; bit-equal to an uninterrupted run on the same machine."""
        try:
            return self._run()
        finally:
            self.stage_cache.release()

    def _run(self) -> Progress:
        saved = self._restore()
        for index in range(self.progress.stage, len(self.stages)):
            stage, recipe = self.stages[index], self._recipe(self.stages[index])
            optimizer = self._optimizer(stage, recipe)
            if saved is not None:
                load_optimizer(optimizer, saved.get("optimizer"))
                saved = None
            if self.progress.step == 0:
                self._start(stage)
            if not self._restore_stage(stage):
                self._train(stage, self.stage_steps[index], optimizer, recipe)
                self._keep_stage(stage)
            if stage.pretraining:
                self.teacher.net.load_state_dict(self.net.state_dict())
            self.progress.stage, self.progress.step = index + 1, 0
        return self.progress

    def _start(self, stage: Stage) -> None:
        self.progress.passes_before = self.progress.image_passes
        self.progress.seconds_before = self.progress.train_seconds
        # Each stage draws from its own seeds, so that one taken from the cache leaves the next as training it would.
        torch.manual_seed(derive(self._seed(stage), "noise", stage.name))
        self.method.random.manual_seed(derive(self._seed(stage), "method", stage.name))
        self.method.start_stage(stage)

    def _seed(self, stage: Stage) -> int:
        return PRETRAINING_SEED if stage.pretraining else self.seed

    def _train(self, stage: Stage, steps: int, optimizer: Optimizer, recipe: Recipe) -> None:
        labeled, unlabeled = self._pools(stage)
        batches = self._batches(stage, labeled, unlabeled, steps)
        done_before = sum(self.stage_steps[: self.progress.stage])
        self.net.train()
        self.method.train()
        per_epoch = steps_per_epoch(steps) if stage.pretraining else self.info.steps_per_epoch
        started = time.monotonic()
        for step in range(self.progress.step, steps):
            rate = learning_rate(recipe, step, steps)
            set_learning_rate(optimizer, rate)
            self._step(stage, batches.at(step, rate), optimizer, done_before + step, unlabeled)
            self.progress.step = step + 1
            self._tick(done_before + step + 1)
            if (step + 1) % per_epoch == 0 or step + 1 == steps:
                self._check_finite()
                self._count_training(started, batches)
                self._end_epoch(stage, optimizer, done_before + step + 1)
                started = time.monotonic()
            if (reason := self._stop_reason(step)) is not None:
                self._check_finite()
                self._count_training(started, batches)
                self._average_meter()
                self.save(optimizer)
                raise reason
        self._count_training(started, batches)

    def _step(
        self, stage: Stage, batch: Batch, optimizer: Optimizer, step: int, unlabeled: Pool | Stream | None
    ) -> None:
        forwarded = self._images_forwarded()
        with self._autocast():
            losses = stage.loss(batch)
            aux = self.method.take_aux_loss()
        self.progress.image_passes += (self._images_forwarded() - forwarded) * self.processes.count
        total = losses.total if aux is None else losses.total + aux
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        self._average_gradients(optimizer)
        optimizer.step()
        if not stage.pretraining:
            self.teacher.update(step - self.extra_steps)
        self.method.after_step()
        truth = unlabeled.truth(batch.unlabeled.index) if unlabeled and batch.unlabeled else None
        self.meter.add(step, total, losses, truth)
        self.meter.add_extras(self.method.take_extras())

    def _count_training(self, started: float, batches: Batches) -> None:
        self.progress.train_seconds += time.monotonic() - started
        self.progress.data_wait_seconds += batches.take_waited()

    def _average_gradients(self, optimizer: Optimizer) -> None:
        """Give all processes the gradient of the mean of their losses, in one exchange."""
        if self.processes.count == 1:
            return
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        mean = self.processes.mean(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = mean.split([gradient.numel() for gradient in gradients])
        torch._foreach_copy_(gradients, [part.view(g.shape) for part, g in zip(parts, gradients, strict=True)])

    def _anywhere(self, holds: bool) -> bool:
        """Whether something holds in any process; all must ask."""
        return float(self.processes.mean(torch.full((), float(holds), device=self.task.device))) > 0

    def _stop_reason(self, step: int) -> FerbenchError | None:
        """Why to save and leave. Several processes leave together, when the first is asked to."""
        if self.processes.count == 1:
            return self.stop()
        if step % ASKED_EVERY:  # since asking waits for the devices
            return None
        reason = self.stop() if self.processes.rank == 0 else None
        return reason or InterruptedRun("the first process was stopped") if self._anywhere(reason is not None) else None

    def _images_forwarded(self) -> int:
        return self.net.images_forwarded + self.teacher.net.images_forwarded

    def _autocast(self) -> AbstractContextManager[None]:
        if self.precision != "bf16":
            return nullcontext()
        return torch.autocast(self.task.device.type, torch.bfloat16)

    # -- epochs ------------------------------------------------------------------------------------------------------

    def _check_finite(self) -> None:
        """Raise if a loss was not finite; reading it waits for the device, so that the clock is read after the work."""
        if (bad := self.meter.first_bad()) is not None:
            raise DivergedError(*bad)

    def _end_epoch(self, stage: Stage, optimizer: Optimizer, step: int) -> None:
        epoch = len(self.progress.history) + 1
        self._average_meter()
        row = {
            "epoch": epoch,
            "stage": stage.name,
            "step": step,
            "learning_rate": optimizer.param_groups[0]["lr"],
            **self.meter.read(),
        }
        row["method"] = _extras(self.method.end_epoch(_Context(epoch, self)))
        if not stage.pretraining and self._is_evaluated(step - self.extra_steps):
            row["evaluation"] = self._evaluate()
        self.progress.history.append(row)
        self.events({"kind": "epoch", **row})
        if step < sum(self.stage_steps):
            self.save(optimizer)

    def _average_meter(self) -> None:
        """Make what was met in the epoch a mean over all processes."""
        if self.processes.count > 1:
            self.meter.average(self.processes.mean)

    def _is_evaluated(self, step: int) -> bool:
        total, count = self.recipe.steps, self.recipe.evaluations
        previous = max(0, self.progress.history[-1]["step"] - self.extra_steps) if self.progress.history else 0
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
            self.events({"kind": "step", "step": step, "steps": sum(self.stage_steps)})

    # -- parts -------------------------------------------------------------------------------------------------------

    def _pools(self, stage: Stage) -> tuple[Pool, Pool | Stream | None]:
        """The labeled and the unlabeled images that a stage draws."""
        labeled, unlabeled = self.task.labeled, self.task.unlabeled
        if stage.data == "labeled":
            return labeled, None
        if stage.data == "all":
            if unlabeled is None:
                return labeled, labeled
            return labeled, unlabeled.after(labeled) if self.task.keeps_rest else unlabeled
        if stage.data == "relabeled" and self.task.relabeled:
            return self.task.relabeled
        return labeled, unlabeled

    def _batches(self, stage: Stage, labeled: Pool, unlabeled: Pool | Stream | None, steps: int) -> Batches:
        return Batches(
            labeled,
            unlabeled,
            stage.views,
            self.recipe,
            self.task.maker,
            seed=derive(self._seed(stage), "batches", stage.name),
            steps=steps,
            sampler=stage.sampler,
            processes=self.processes,
        )

    def _recipe(self, stage: Stage) -> Recipe:
        """The recipe with the stage's own optimizer settings; an unknown one is a PluginError."""
        try:
            return Recipe.model_validate({**self.recipe.model_dump(), **(stage.optimizer or {})})
        except ValidationError as error:
            raise PluginError(f"stage '{stage.name}': optimizer settings {stage.optimizer}: {error}") from None

    def _optimizer(self, stage: Stage, recipe: Recipe) -> Optimizer:
        if stage.parameters is not None:
            return make_optimizer(stage.parameters(self.net), recipe)
        return make_optimizer([*self.net.parameters(), *self.method.parameters()], recipe)

    def _restore_stage(self, stage: Stage) -> bool:
        """Take a finished stage from the cache: nets, the method's state and the rows of the history."""
        if not (stage.cache or stage.pretraining):
            return False
        saved = None
        if self.processes.rank == 0:
            saved = self.stage_cache.restore(stage, self.stop, begun=self.progress.step > 0)
        if not self._anywhere(saved is not None):
            return False
        saved = saved or self.stage_cache.read(stage)
        for prefix, module in self._kept_modules(stage).items():
            module.load_state_dict(saved.get(prefix))
        self.progress.history += saved.state["history"]
        # What the stage has cost whoever trained it, so that cells can be compared.
        self.progress.image_passes += saved.state["image_passes"]
        self.progress.train_seconds += saved.state["train_seconds"]
        self.progress.wall_seconds += saved.state["train_seconds"]
        self._write_pictures(stage, saved.get("pictures"))
        return True

    def _keep_stage(self, stage: Stage) -> None:
        pictures = self._pictures(stage)
        self._write_pictures(stage, pictures)
        if not (stage.cache or stage.pretraining):
            return
        if self.processes.rank > 0:
            return
        rows = [row for row in self.progress.history if row["stage"] == stage.name]
        cost = {
            "image_passes": self.progress.image_passes - self.progress.passes_before,
            "train_seconds": self.progress.train_seconds - self.progress.seconds_before,
        }
        checkpoint = Checkpoint(state={"history": rows, **cost})
        for prefix, module in self._kept_modules(stage).items():
            checkpoint.put(prefix, module.state_dict())
        checkpoint.put("pictures", pictures)
        self.stage_cache.keep(stage, checkpoint)

    def _kept_modules(self, stage: Stage) -> dict[str, torch.nn.Module]:
        """What outlives a cached stage: of pre-training the backbone, which alone knows nothing of the cell."""
        return {"backbone": self.net.backbone} if stage.pretraining else self._modules()

    # -- pictures ----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _pictures(self, stage: Stage) -> dict[str, Tensor]:
        """What the stage shows of its last batch: rows (N, S, S, 3) uint8 by title."""
        if stage.show is None:
            return {}
        steps = self.stage_steps[self.progress.stage]
        batch = self._batches(stage, *self._pools(stage), steps).at(steps - 1)
        self.net.eval()
        rows = stage.show(batch)
        return {title: self.task.maker.pictures(images[:SHOWN]) for title, images in rows.items()}

    def _write_pictures(self, stage: Stage, pictures: dict[str, Tensor]) -> None:
        if pictures and self.processes.rank == 0:
            path = self.checkpoint_path.with_name(f"pictures-{stage.name}.safetensors")
            write_checkpoint(path, Checkpoint({title: rows.contiguous() for title, rows in pictures.items()}))

    def _modules(self) -> dict[str, torch.nn.Module]:
        return {"net": self.net, "teacher": self.teacher.net, "method": self.method}

    # -- checkpoints -------------------------------------------------------------------------------------------------

    def save(self, optimizer: Optimizer) -> None:
        """Write the checkpoint; everything after it is lost when the process is killed. Only the first process does."""
        self.count_time()
        if self.processes.rank > 0:
            return
        checkpoint = Checkpoint(state={"identity": self.identity, "progress": self.progress.__dict__})
        for prefix, module in self._modules().items():
            checkpoint.put(prefix, module.state_dict())
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
            text = "the checkpoint is of other data, options, code or hardware; the cell starts again"
            self.events({"kind": "notice", "text": text})
            return None
        for prefix, module in self._modules().items():
            module.load_state_dict(checkpoint.get(prefix))
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
        self,
        pool: Literal["labeled"],
        *,
        view: str = "plain",
        net: Literal["teacher", "student"] = "teacher",
        drop_last: bool = False,
    ) -> Predictions:
        if pool != "labeled":
            raise PluginError(f"predict('{pool}'): only the labeled pool may be predicted, labels included")
        trainer = self._trainer
        if trainer.stages[trainer.progress.stage].pretraining:
            raise PluginError("predict: no labels in a pre-training stage, which cells of all label budgets share")
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
        kept = torch.arange(len(labeled), device=logits.device)
        if drop_last:
            generator = torch.Generator().manual_seed(derive(trainer.seed, "drop", self.epoch))
            batch = trainer.recipe.labeled_batch
            kept = torch.randperm(len(labeled), generator=generator)[: len(labeled) // batch * batch]
            kept = kept.sort().values.to(logits.device)
        return Predictions(logits[kept], labeled.labels[kept], kept)


def _extras(values: Mapping[str, Tensor]) -> dict[str, Any]:
    for name, value in values.items():
        if not bool(value.isfinite().all()):
            raise PluginError(f"end_epoch gave '{name}' with a value that is not finite; use 0 or leave it out")
    return {name: value.detach().double().cpu().tolist() for name, value in values.items()}
