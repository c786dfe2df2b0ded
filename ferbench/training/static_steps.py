"""Steps over tensors that keep their place in memory, so that a GPU can replay a whole step in one launch."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from ferbench.contract.batch import Batch
from ferbench.contract.counting import count_again, counting, uncounted
from ferbench.training.rehearsal import Cost, left_as_it_was
from ferbench.training.steps import Steps, TakenStep

REHEARSED = 3
"""Steps before the captured one. In these, libraries choose their kernels."""


class StaticSteps(Steps):
    """Steps whose batch, learning rates and average weights are tensors that each step fills again.

    Their numbers equal those of `Steps`, on a CPU bit for bit. The cost of a step is counted in a rehearsal, since the
    Python code of a captured step runs only once.
    """

    batch: Batch
    weights: list[Tensor]
    cost: Cost | None = None

    def __call__(self, step: int, batch: Batch) -> TakenStep:
        if self.cost is None:
            self.cost = self.prepare(batch)
        with uncounted():
            taken = super().__call__(step, batch)
        count_again(self.cost)
        return taken

    def train(self, batch: Batch, weights: Sequence[float | Tensor]) -> TakenStep:
        torch._foreach_copy_(list(tensors_of(self.batch)), list(tensors_of(batch)))
        for kept, weight in zip(self.weights, weights, strict=True):
            kept.fill_(weight)
        return self.repeat()

    def repeat(self) -> TakenStep:
        """Take a step on what was filled in."""
        return super().train(self.batch, self.weights)

    def prepare(self, batch: Batch) -> Cost:
        """Make the tensors, for batches of these shapes, and rehearse. Returns the cost of a step."""
        device = self.run.task.device
        self.batch = cloned(batch)
        self.weights = [torch.zeros((), device=device) for _ in self.averages]
        # CUDA's fused optimizers read a rate of single precision; those on a CPU read double precision.
        kind = torch.float32 if device.type == "cuda" else torch.float64
        for group in (group for optimizer in self.optimizers.values() for group in optimizer.param_groups):
            group["lr"] = torch.full((), float(group["lr"]), dtype=kind, device=device)
            group |= {"capturable": device.type == "cuda"} if "capturable" in group else {}
        for _ in range(REHEARSED):
            with left_as_it_was(self.run, self.optimizers), counting(cost := Cost()):
                super().train(self.batch, self.weights)
        return cost


class CapturedSteps(StaticSteps):
    """The same as a CUDA graph: forward, backward, optimizer and averages take one launch from the host."""

    def prepare(self, batch: Batch) -> Cost:
        side, main = torch.cuda.Stream(), torch.cuda.current_stream()
        side.wait_stream(main)
        with torch.cuda.stream(side), warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*capturable")  # the rehearsal is not captured, and need not be
            cost = super().prepare(batch)
        main.wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        self._graph.register_generator_state(self.run.method.random)
        with uncounted(), torch.cuda.graph(self._graph, stream=side):
            self._taken = super().repeat()
        return cost

    def repeat(self) -> TakenStep:
        self._graph.replay()
        return self._taken


def tensors_of(batch: Any) -> Iterator[Tensor]:
    """The tensors of a batch in a fixed order."""
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, Mapping):
        for name in sorted(batch):
            yield from tensors_of(batch[name])
    elif is_dataclass(batch):
        for field in fields(batch):
            yield from tensors_of(getattr(batch, field.name))


def cloned(batch: Any) -> Any:
    """The same batch with copies of its tensors."""
    if isinstance(batch, Tensor):
        return batch.clone()
    if isinstance(batch, Mapping):
        return {name: cloned(value) for name, value in batch.items()}
    if is_dataclass(batch) and not isinstance(batch, type):
        return type(batch)(**{field.name: cloned(getattr(batch, field.name)) for field in fields(batch)})
    return batch
