"""What a run is made of, and where it stands."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Self

import torch
from pydantic import Field, JsonValue, TypeAdapter

from ferbench.contract.backbone import Network
from ferbench.contract.batch import MethodInfo
from ferbench.contract.events import EpochRow, Event
from ferbench.contract.method import Method, Processes
from ferbench.contract.protocol import Recipe
from ferbench.errors import FerbenchError
from ferbench.records.cell import Compile
from ferbench.training.task import Task
from ferbench.training.teacher import Teacher

Events = Callable[[Event], None]
Stop = Callable[[], FerbenchError | None]
"""Called once a step. It returns None, or the reason to save and leave."""


@dataclass(frozen=True)
class Run:
    """A method with its nets, its data and its training rules."""

    method: Method
    teacher: Teacher[Network]
    recipe: Recipe
    task: Task
    info: MethodInfo
    seed: int
    precision: str = "fp32"
    compile: Compile = "off"
    processes: Processes = field(default_factory=Processes)

    @property
    def net(self) -> Network:
        """The net that is trained."""
        return self.method.net

    @property
    def modules(self) -> dict[str, torch.nn.Module]:
        """All modules that have state, by their name in files."""
        return {"net": self.net, "teacher": self.teacher.net, "method": self.method}

    @cached_property
    def averages(self) -> list[Teacher[Any]]:
        """The teacher, and the averages of the method's further networks."""
        networks, decay, ramp = self.method.networks, self.teacher.decay, self.teacher.ramp
        further = (Teacher(networks[k], decay, mean, ramp=ramp) for k, mean in self.method.averages.items())
        return [self.teacher, *further]

    def autocast(self) -> AbstractContextManager[None]:
        """The number format of forward passes, as a context."""
        if self.precision != "bf16":
            return nullcontext()
        return torch.autocast(self.task.device.type, torch.bfloat16)

    def anywhere(self, holds: bool) -> bool:
        """Whether something holds in any process. All processes must ask, and asking waits for the devices."""
        return float(self.processes.mean(torch.full((), float(holds), device=self.task.device))) > 0


COSTS = ("image_passes", "forward_images", "optimizer_steps", "train_seconds")
"""Fields of a run's progress that a cached stage passes on: what the stage cost the run that trained it."""


@dataclass
class RunProgress:
    """Where a run stands; all of it is in the checkpoint."""

    stage: Annotated[int, Field(ge=0)] = 0
    step: Annotated[int, Field(ge=0)] = 0
    history: list[EpochRow] = field(default_factory=list)
    evaluated: list[int] = field(default_factory=list)
    """Epochs that end with an evaluation. The evaluation takes place once training is over."""
    image_passes: int = 0
    forward_images: int = 0
    """Images through any backbone in the method's code, and steps of any optimizer (the contract's `Counts`)."""
    optimizer_steps: int = 0
    train_seconds: float = 0.0
    before: dict[str, float] = field(default_factory=dict)
    """`COSTS` as they were when the stage began."""
    optimizers: dict[str, JsonValue] = field(default_factory=dict)
    """What trained in each stage, for the record."""
    data_wait_seconds: float = 0.0
    wall_seconds: float = 0.0
    resumed: int = 0

    def to_json(self) -> dict[str, JsonValue]:
        """All of it as JSON values."""
        return {**self.__dict__, "history": [row.to_json() for row in self.history]}

    @classmethod
    def from_json(cls, saved: object) -> Self:
        """The inverse of `to_json`; raises ValueError for anything else."""
        return TypeAdapter(cls).validate_python(saved)
