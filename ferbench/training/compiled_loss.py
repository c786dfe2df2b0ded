"""Compiles the forward pass and the loss of a stage into one graph with torch.compile."""

from collections.abc import Callable

import torch

from ferbench.contract.batch import Batch, Losses
from ferbench.contract.counting import count_again, counting, uncounted
from ferbench.errors import PluginError
from ferbench.training.forward_log import ForwardLog
from ferbench.training.rehearsal import Cost, left_as_it_was
from ferbench.training.run import Run
from ferbench.training.stages import PlannedStage

Backend = str | Callable[..., object]
"""The compiler backend, as torch.compile takes it."""


class CompiledLoss:
    """A stage's loss, compiled as a whole in its first call and never again. Raises PluginError if that fails.

    A counter inside the graph would force a new compilation at each call. So the cost of a loss is counted once, in a
    call that leaves no trace. Optimizer and averages are not compiled: being fused, they take only four launches.
    """

    def __init__(self, run: Run, planned: PlannedStage, log: ForwardLog, backend: Backend = "inductor") -> None:
        torch._dynamo.reset()  # do not reuse the code of another stage or run
        self._run, self._log, self._stage = run, log, planned.stage
        self._compiled = torch.compile(planned.stage.loss, fullgraph=True, dynamic=False, backend=backend)
        self._cost: Cost | None = None

    def __call__(self, batch: Batch) -> Losses:
        first = self._cost is None
        if self._cost is None:
            self._cost = self._measured(batch)
        try:
            with torch.compiler.set_stance("default" if first else "fail_on_recompile"), uncounted():
                losses = self._compiled(batch)
        except (torch._dynamo.exc.TorchDynamoException, RuntimeError) as error:
            if not (isinstance(error, torch._dynamo.exc.TorchDynamoException) or "recompile" in str(error)):
                raise
            what, reason = "cannot be compiled" if first else "would be compiled anew", " ".join(str(error).split())
            raise PluginError(
                f"{type(self._run.method).__name__}: the loss of stage '{self._stage.name}' {what}; run it with "
                f"--compile off ({reason[:300]})"
            ) from error
        count_again(self._cost)
        return losses

    def _measured(self, batch: Batch) -> Cost:
        with left_as_it_was(self._run, {}), counting(cost := Cost()):
            self._stage.loss(batch)
        self._log.clear()
        return cost
