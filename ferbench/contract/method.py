"""The method contract: a method declares its views and its loss; the engine owns everything else."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import torch
from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo
from torch import Tensor, nn

from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, ForwardedViews, Losses, MethodInfo, NamedOutputs, PoolPredictions, Views
from ferbench.contract.head import Head, LinearHead, Output


@dataclass(frozen=True)
class Processes:
    """The processes that train together, this one's number among them, and how they exchange tensors."""

    count: int = 1
    rank: int = 0
    mean: Callable[[Tensor], Tensor] = lambda value: value
    gather: Callable[[Tensor], Tensor] = lambda value: value

    def part(self, rows: Tensor) -> Tensor:
        """This process's part of rows (N, ...) that all processes have, N a multiple of their number."""
        each = len(rows) // self.count
        return rows[self.rank * each : (self.rank + 1) * each]


class MethodConfig(BaseModel):
    """A method's options: frozen, unknown keys are errors, every field with a description and the paper's default.

    Options that belong together are a group: a field whose type subclasses this class, too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def option_fields(cls) -> dict[str, FieldInfo]:
        """Every option by the name that `--set` takes: `threshold`, or `released.state_decay` in a group."""
        found: dict[str, FieldInfo] = {}
        for name, field in cls.model_fields.items():
            group = field.annotation
            if isinstance(group, type) and issubclass(group, MethodConfig):
                found |= {f"{name}.{option}": inner for option, inner in group.option_fields().items()}
            else:
                found[name] = field
        return found


@dataclass(frozen=True)
class Stage:
    """A part of a run with its own loss; most methods have one.

    `data`: which images it draws (`"labeled+unlabeled"`, `"labeled"`, or `"all"`: every image, as unlabeled, but
    those of the training set where a pool takes their place; `"relabeled"` is a second draw of the labeled images, for
    released code that made one: its labels go beyond the budget, so that the record is not standard).
    `sampler`: how labeled images are drawn. `parameters` picks what is trained (default: all of net and method).
    `share` is its part of the protocol's steps (all shares are scaled to sum to 1). `optimizer` overrides fields of
    the protocol's optimizer. A stage with `cache=True` is computed once per content key (stage, data, initial weights,
    seed, engine version) and its net is shared by all cells that have the same key.

    A stage with `pretraining=True` comes before all others, draws `"all"` images as unlabeled and no labeled view, and
    its steps, `share` times the protocol's, are extra compute. Neither labels nor seed of the cell enter it, and of the
    method's options only those in `options`: it is cached, and one backbone serves all label budgets and seeds. The
    backbone is all that outlives it; the EMA begins after it. `show` makes pictures for the report once it is over.
    """

    name: str
    loss: Callable[[Batch], Losses]
    views: Views
    data: Literal["labeled+unlabeled", "labeled", "all", "relabeled"] = "labeled+unlabeled"
    sampler: Literal["uniform", "balanced"] = "uniform"
    parameters: Callable[[nn.Module], Sequence[nn.Parameter]] | None = None
    optimizer: Mapping[str, Any] | None = None
    share: float = 1.0
    cache: bool = False
    pretraining: bool = False
    options: tuple[str, ...] = ()
    show: Callable[[Batch], Mapping[str, Tensor]] | None = None
    """From a batch of the stage to rows of pictures: title to (B, 3, S, S), normalised as the batch's images are."""

    @property
    def is_cached(self) -> bool:
        """Whether what the stage leaves is kept for other cells."""
        return self.cache or self.pretraining


@dataclass(frozen=True)
class Handles:
    """What the engine gives a method for a run; plain, so that no net in it becomes a submodule of the method."""

    net: Network
    teacher: Network
    random: torch.Generator
    info: MethodInfo
    joint_forward: bool
    processes: Processes


class EpochContext(Protocol):
    """What `Method.end_epoch` may use."""

    @property
    def epoch(self) -> int:
        """The number of the epoch that has ended, from 1."""

    def predict(
        self,
        pool: Literal["labeled", "validation"],
        *,
        view: str = "plain",
        net: Literal["teacher", "student"] = "teacher",
        drop_last: bool = False,
    ) -> PoolPredictions:
        """One pass in evaluation mode over the labeled or the validation pool under a kind of view, with its labels.

        With `drop_last` a random remainder, what a shuffled loader of the training batch size drops, is left out.
        """


class Method(nn.Module):
    """Subclass it, name the views, fill in `loss`.

    State (margins, thresholds, banks) lives in buffers, so that device moves, checkpoints and resuming come for free.
    `net` and `teacher` are no submodules. Shapes are static and nothing in `loss` waits for the device: no `.item()`,
    `.cpu()` or `.tolist()`, no boolean-mask indexing.
    """

    Config: ClassVar[type[MethodConfig]] = MethodConfig
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {"described": {}}
    """Presets of config fields; the first is the default."""
    views: Views
    joint_forward: bool | None = None
    """Whether gradient views go through the net in one forward; None is the protocol's rule. The record shows it."""

    def __init__(self, config: MethodConfig) -> None:
        super().__init__()
        self.config = config
        self._handles: Handles | None = None

    # -- what the engine calls ---------------------------------------------------------------------------------------

    def attach(
        self,
        net: Network,
        teacher: Network,
        random: torch.Generator,
        info: MethodInfo,
        *,
        joint_forward: bool = True,
        processes: Processes | None = None,
    ) -> None:
        """Give the method what it works with in a run."""
        self._handles = Handles(net, teacher, random, info, joint_forward, processes or Processes())

    def make_head(self, feature_size: int, n_classes: int) -> Head:
        """The head that the method is described with; `--head` puts another in its place."""
        return LinearHead(feature_size, n_classes)

    def setup(self, net: Network, info: MethodInfo) -> None:
        """Called once before the optimizer is made: add heads, banks and buffers here."""

    def stages(self) -> Sequence[Stage]:
        """The parts of the run, in order; asked for before `setup`, so it may use `config` and nothing else."""
        return [Stage("train", self.loss, self.views)]

    @abstractmethod
    def loss(self, batch: Batch) -> Losses:
        """The loss of one step, on normalised views."""

    def start_stage(self, stage: Stage) -> None:
        """Called before the first step of each stage; not again when a run is resumed within it."""

    def after_step(self, batch: Batch) -> None:
        """Called after the optimizer and the EMA update of each step, with the batch of the step."""

    def end_epoch(self, context: EpochContext) -> Mapping[str, Tensor]:
        """Called after each epoch (a twentieth of the run); tensors that it returns go into the history."""
        return {}

    def evaluation_net(self) -> Network:
        """The network that is evaluated and saved: the teacher, unless a paper's code says otherwise."""
        return self.teacher

    # -- what a method uses ------------------------------------------------------------------------------------------

    @property
    def net(self) -> Network:
        """The network that is trained."""
        return self._attached.net

    @property
    def teacher(self) -> Network:
        """The EMA copy of the net."""
        return self._attached.teacher

    @property
    def random(self) -> torch.Generator:
        """A seeded generator on the device, for the method's own draws."""
        return self._attached.random

    @property
    def info(self) -> MethodInfo:
        """What the method may know of its task."""
        return self._attached.info

    @property
    def requires(self) -> frozenset[str]:
        """What the method needs beside images.

        `"pool_index"` (refused on streams), `"boxes"` (a notice says if they lack), `"tokens"` (a `TokenBackbone`).
        """
        return frozenset()

    @property
    def uses_unlabeled(self) -> bool:
        """Whether the method learns from unlabeled images."""
        return any(stage.views.unlabeled for stage in self.stages())

    def mean(self, value: Tensor) -> Tensor:
        """`value` averaged over processes; the identity on one."""
        return self._processes.mean(value)

    def gather(self, value: Tensor) -> Tensor:
        """`value` of all processes concatenated along the first axis; the identity on one."""
        return self._processes.gather(value)

    def uniform(self, images: Tensor, *shape: int) -> Tensor:
        """Numbers (B, *shape) float32, uniform in 0..1, for images (B, ...), on their device.

        They are this process's part of what one process would draw for the images of all.
        """
        size = (len(images) * self._processes.count, *shape)
        return self._processes.part(torch.empty(size, device=images.device).uniform_(generator=self.random))

    def forward_images(self, images: Tensor) -> Output:
        """Forward images (B, 3, S, S) that are no declared view, such as mixed ones."""
        output: Output = self.net(images)
        return output

    def forward_views(self, batch: Batch, *, views: Views | None = None, joint: bool | None = None) -> ForwardedViews:
        """Forward every view of the batch through the net; `labeled, unlabeled = self.forward_views(batch)`.

        `views` are those of the stage, if they are not the method's. A view that is declared without gradient is
        forwarded apart, with batch statistics, and leaves BatchNorm's running statistics alone. The others go through
        the net in one forward (`joint`, the protocol's rule and recorded) or one by one, labeled views first.
        """
        declared = views or self.views
        together: dict[tuple[str, str], Tensor] = {}
        apart: dict[tuple[str, str], Tensor] = {}
        sides = (("labeled", batch.labeled, declared.labeled), ("unlabeled", batch.unlabeled, declared.unlabeled or {}))
        for side, drawn, specs in sides:
            for name, images in (drawn.images if drawn else {}).items():
                if name not in specs:
                    raise ValueError(f"no {side} view '{name}' is declared ({sorted(specs)}); give the stage's views=")
                (together if specs[name].gradient else apart)[side, name] = images
        outputs = self._forward_all(together, self._joins if joint is None else joint)
        with torch.no_grad(), frozen_bn(self.net):
            outputs |= {key: self.net(images) for key, images in apart.items()}
        return ForwardedViews(
            *(NamedOutputs({n: out for (s, n), out in outputs.items() if s == side}) for side, _, _ in sides)
        )

    def _forward_all(self, inputs: Mapping[tuple[str, str], Tensor], joint: bool) -> dict[tuple[str, str], Output]:
        if joint and len(inputs) > 1:
            whole = self.forward_images(torch.cat(list(inputs.values())))
            return dict(zip(inputs, split_output(whole, [len(images) for images in inputs.values()]), strict=True))
        return {key: self.forward_images(images) for key, images in inputs.items()}

    @property
    def _joins(self) -> bool:
        """Whether gradient views go through the net in one forward: the method's rule, else the protocol's."""
        return self._attached.joint_forward if self.joint_forward is None else self.joint_forward

    @property
    def _processes(self) -> Processes:
        return self._handles.processes if self._handles else Processes()

    @property
    def _attached(self) -> Handles:
        if self._handles is None:  # not an AttributeError, which nn.Module would answer with "has no attribute 'net'"
            raise RuntimeError(f"{type(self).__name__} belongs to no run yet: net, teacher, random and info come later")
        return self._handles


def split_output(output: Output, sizes: Sequence[int]) -> list[Output]:
    """Cut a joint output along the batch; the auxiliary loss belongs to the whole and is not repeated."""
    logits, features = output.logits.split(sizes), output.features.split(sizes)
    total = sum(sizes)
    extras = [
        {k: v.split(sizes)[i] if v.ndim and len(v) == total else v for k, v in output.extras.items()}
        for i in range(len(sizes))
    ]
    return [Output(z, f, None, e) for z, f, e in zip(logits, features, extras, strict=True)]


@contextmanager
def frozen_bn(net: nn.Module) -> Iterator[None]:
    """Within it BatchNorm uses batch statistics and leaves its running statistics untouched."""
    tracking = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    for module in tracking:
        module.track_running_stats = False
    try:
        yield
    finally:
        for module in tracking:
            module.track_running_stats = True
