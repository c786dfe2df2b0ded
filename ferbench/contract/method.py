"""The method contract: a method declares its views and its loss; the engine owns everything else."""

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo
from torch import Tensor, nn

from ferbench.contract import draws
from ferbench.contract.backbone import Backbone, Network
from ferbench.contract.batch import (
    Batch,
    ForwardedViews,
    Losses,
    MethodInfo,
    NamedOutputs,
    StepInfo,
    Views,
)
from ferbench.contract.counting import uncounted
from ferbench.contract.head import Head, LinearHead, Output
from ferbench.contract.stage import EpochContext, Stage, StageContext
from ferbench.errors import PluginError


@dataclass(frozen=True)
class Processes:
    """The processes that train together, this one's number among them, and how they exchange tensors."""

    count: int = 1
    rank: int = 0
    mean: Callable[[Tensor], Tensor] = lambda value: value
    gather: Callable[[Tensor], Tensor] = lambda value: value
    """Gradient flows to this process's part; with the mean of all losses it is what one process would compute."""

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
        for name, option in cls.model_fields.items():
            group = option.annotation
            if isinstance(group, type) and issubclass(group, MethodConfig):
                found |= {f"{name}.{inner}": field for inner, field in group.option_fields().items()}
            else:
                found[name] = option
        return found


@dataclass(frozen=True)
class Handles:
    """What the engine gives a method for a run; plain, so that no net in it becomes a submodule of the method."""

    net: Network
    teacher: Network
    random: torch.Generator
    info: MethodInfo
    joint_forward: bool
    processes: Processes


@dataclass(frozen=True)
class Builders:
    """How further networks of the cell's kind are made, on its device and in its layout, initial weights included.

    `seed` gives the seed of a name.
    """

    network: Callable[[], Network]
    backbone: Callable[[], Backbone]
    seed: Callable[[str], int]


class Method(nn.Module):
    """Subclass it, name the views, fill in `loss`.

    State (margins, thresholds, banks) lives in buffers, so that device moves, checkpoints and resuming come for free;
    further networks are added in `setup` by `add_network`.
    `net` and `teacher` are no submodules. Shapes are static and nothing in `loss` waits for the device: no `.item()`,
    `.cpu()` or `.tolist()`, no boolean-mask indexing.
    """

    Config: ClassVar[type[MethodConfig]] = MethodConfig
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {"described": {}}
    """Presets of config fields; the first is the default."""
    views: Views
    joint_forward: bool | None = None
    """Whether gradient views go through the net in one forward; None is the protocol's rule. The record shows it."""
    runs_eagerly: ClassVar[str] = ""
    """Why `torch.compile` cannot make one graph of the loss, such as draws within it; empty where it can."""

    def __init__(self, config: MethodConfig) -> None:
        super().__init__()
        self.config = config
        self.networks = nn.ModuleDict()
        """Further networks by name; trained unless they were added frozen."""
        self.averages = nn.ModuleDict()
        """EMA copies of those that were added with one."""
        self._frozen: set[str] = set()
        self._builders: Builders | None = None
        self._handles: Handles | None = None

    # -- what the engine calls ---------------------------------------------------------------------------------------

    def prepare(self, builders: Builders) -> None:
        """Give the method what `setup` builds further networks with."""
        self._builders = builders

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

    def declared_stages(self) -> list[Stage]:
        """What `stages` gives; a PluginError in it names the method."""
        try:
            return list(self.stages())
        except PluginError as error:
            raise PluginError(f"{type(self).__name__}: {error}") from None

    @abstractmethod
    def loss(self, batch: Batch) -> Losses:
        """The loss of one step, on normalised views."""

    def start_stage(self, stage: Stage, context: StageContext) -> None:
        """Called before the first step of each stage; not again when a run is resumed within it."""

    def after_step(self, info: StepInfo) -> None:
        """Called after the optimizer and the EMA update of each step."""

    def end_epoch(self, context: EpochContext) -> Mapping[str, Tensor]:
        """Called after each epoch (a twentieth of the run); tensors that it returns go into the history."""
        return {}

    def evaluation_net(self) -> Network:
        """The network that is evaluated and saved: the teacher, unless a paper's code says otherwise.

        Overriding it changes the record's `selection` (say what it is in `evaluates`), and the cell is not standard.
        """
        return self.teacher

    def selection(self, rule: str) -> str:
        """What is evaluated, in words: the protocol's rule, unless `evaluation_net` is overridden."""
        if type(self).evaluation_net is Method.evaluation_net or self.evaluates == "":
            return rule
        return self.evaluates or f"evaluation_net of {type(self).__name__} after the last step"

    def train(self, mode: bool = True) -> "Method":
        """Set the mode of all submodules but frozen networks and averages, which are always in evaluation mode."""
        super().train(mode)
        for name, network in self.networks.items():
            network.train(mode and name not in self._frozen)
        self.averages.eval()
        return self

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

        `"pool_index"` (refused on streams), `"boxes"` (a notice says if they lack), `"tokens"` (a `TokenBackbone`),
        `"validation"` (refused under a protocol that holds none out), `"init"` (refused without initial weights).
        """
        return frozenset()

    def pool_problem(self, images: int) -> str:
        """Why the method cannot learn from a pool of so many images, and what to do; empty if it can.

        Asked for while planning, so it may use `config` and nothing else.
        """
        return ""

    @property
    def evaluates(self) -> str | None:
        """What an overridden `evaluation_net` gives, for the record: `mean of both nets`; "" if it is the teacher."""
        return None

    @property
    def uses_unlabeled(self) -> bool:
        """Whether the method learns from unlabeled images."""
        return any(stage.views.unlabeled for stage in self.declared_stages())

    def build_network(self, name: str) -> Network:
        """A new network of the cell's backbone and head, on its device; its random weights follow name and seed."""
        with self._seeded(name):
            return self._built_by.network()

    def build_backbone(self, name: str) -> Backbone:
        """A new backbone of the cell's kind, likewise."""
        with self._seeded(name):
            return self._built_by.backbone()

    def add_network(
        self, name: str, network: nn.Module | Callable[[], nn.Module], *, ema: bool = False, frozen: bool = False
    ) -> nn.Module:
        """Keep a further network (a peer, a projection, a frozen teacher) as `self.networks[name]`; only in `setup`.

        A builder is called with torch's generator seeded by name and cell, which leaves all other random numbers as
        they are. The network is checkpointed and, unless `frozen`, trained where a stage trains all; with `ema` its
        average, with the teacher's decay, is `self.averages[name]`. It is not in the evaluated net. What an auxiliary
        loss of its head is worth is the method's to add.
        """
        if name in self.networks:
            raise PluginError(f"{type(self).__name__}: there is a network '{name}' already; give this one another name")
        with self._seeded(name) if not isinstance(network, nn.Module) else nullcontext():
            made = network if isinstance(network, nn.Module) else network()
        self.networks[name] = made
        if frozen:
            self._frozen.add(name)
            made.eval().requires_grad_(False)
        if ema:
            self.averages[name] = copy.deepcopy(made).eval().requires_grad_(False)
        return made

    def mean(self, value: Tensor) -> Tensor:
        """`value` averaged over processes; the identity on one."""
        return self._processes.mean(value)

    def gather(self, value: Tensor) -> Tensor:
        """`value` of all processes concatenated along the first axis, with gradient; the identity on one."""
        return self._processes.gather(value)

    def uniform(self, images: Tensor, *shape: int) -> Tensor:
        """Numbers (B, *shape) float32, uniform in 0..1, for images (B, ...), on their device.

        They are this process's part of what one process would draw for the images of all.
        """
        size = (len(images) * self._processes.count, *shape)
        return self._processes.part(torch.empty(size, device=images.device).uniform_(generator=self.random))

    def beta(self, images: Tensor, a: float, b: float, *shape: int) -> Tensor:
        """Numbers (B, *shape) float32 from Beta(a, b) for images (B, ...), drawn as `uniform` draws."""
        size = (len(images) * self._processes.count, *shape)
        return self._processes.part(draws.beta(size, a, b, self.random, images.device))

    def normal(self, images: Tensor, *shape: int) -> Tensor:
        """Numbers (B, *shape) float32 from the standard normal distribution, drawn as `uniform` draws."""
        size = (len(images) * self._processes.count, *shape)
        return self._processes.part(torch.empty(size, device=images.device).normal_(generator=self.random))

    def permutation(self, images: Tensor) -> Tensor:
        """This process's part (B,) int64 of a random order of the images of all, positions in what `gather` gives.

        `self.gather(images)[self.permutation(images)]` mixes the images of all processes.
        """
        return self._processes.part(draws.permutation(len(images) * self._processes.count, self.random, images.device))

    def forward_images(self, images: Tensor, *, parameters: Mapping[str, Tensor] | None = None) -> Output:
        """Forward images (B, 3, S, S) that are no declared view, such as mixed ones.

        `parameters` stand in for those of the net that have their names, with gradient; the head's auxiliary loss and
        extras are noted as of any forward.
        """
        output: Output
        if parameters is None:
            output = self.net(images)
        else:
            output = torch.func.functional_call(self.net, dict(parameters), (images,))
        return output

    @contextmanager
    def probing(self) -> Iterator[None]:
        """Within it forwards of the net and of `networks` only look: nothing that they leave is trained on.

        BatchNorm uses batch statistics and keeps its running ones, and no auxiliary loss of the head is noted.
        Gradients flow, for VAT's perturbation or the inner step of a functional SAM; images count as ever.
        """
        before, self.net.probed = self.net.probed, True
        try:
            with frozen_bn(self.net), frozen_bn(self.networks):
                yield
        finally:
            self.net.probed = before

    def forward_views(self, batch: Batch, *, views: Views | None = None, joint: bool | None = None) -> ForwardedViews:
        """Forward every view of the batch through the net; `labeled, unlabeled = self.forward_views(batch)`.

        `views` are those of the stage, if they are not the method's. A view that is declared without gradient is
        forwarded apart, with batch statistics, and leaves BatchNorm's running statistics alone; one for the teacher is
        forwarded by the teacher alone. The others go through the net in one forward for each size (`joint`, the
        protocol's rule and recorded) or one by one, labeled views first.
        """
        declared = views or self.views
        together: dict[tuple[str, str], Tensor] = {}
        apart: dict[tuple[str, str], Tensor] = {}
        teachers: dict[tuple[str, str], Tensor] = {}
        sides = (("labeled", batch.labeled, declared.labeled), ("unlabeled", batch.unlabeled, declared.unlabeled or {}))
        for side, drawn, specs in sides:
            for name, images in (drawn.images if drawn else {}).items():
                if name not in specs:
                    raise ValueError(f"no {side} view '{name}' is declared ({sorted(specs)}); give the stage's views=")
                spec = specs[name]
                (teachers if spec.teacher else together if spec.gradient else apart)[side, name] = images
        outputs = self._forward_all(together, self._joins if joint is None else joint)
        with torch.no_grad(), frozen_bn(self.net):
            outputs |= {key: self.net(images) for key, images in apart.items()}
            outputs |= {key: self.teacher(images) for key, images in teachers.items()}
        return ForwardedViews(
            *(NamedOutputs({n: out for (s, n), out in outputs.items() if s == side}) for side, _, _ in sides)
        )

    def _forward_all(self, inputs: Mapping[tuple[str, str], Tensor], joint: bool) -> dict[tuple[str, str], Output]:
        sizes = {images.shape[1:] for images in inputs.values()}
        if joint and len(sizes) > 1:
            parts = [{key: x for key, x in inputs.items() if x.shape[1:] == size} for size in sorted(sizes)]
            return {key: output for part in parts for key, output in self._forward_all(part, joint).items()}
        if joint and len(inputs) > 1:
            whole = self.forward_images(torch.cat(list(inputs.values())))
            return dict(zip(inputs, split_output(whole, [len(images) for images in inputs.values()]), strict=True))
        return {key: self.forward_images(images) for key, images in inputs.items()}

    @contextmanager
    def _seeded(self, name: str) -> Iterator[None]:
        """Within it torch's CPU generator, which initial weights are drawn from, is seeded by the name."""
        with torch.random.fork_rng(devices=[]), uncounted():
            torch.manual_seed(self._built_by.seed(name))
            yield

    @property
    def _built_by(self) -> Builders:
        if self._builders is None:
            raise RuntimeError(f"{type(self).__name__} belongs to no run yet: networks are built in setup or later")
        return self._builders

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
            raise RuntimeError(
                f"{type(self).__name__} belongs to no run yet: net, teacher, random and info are there "
                "once setup has returned; __init__ and stages() may use self.config alone"
            )
        return self._handles


def split_output(output: Output, sizes: Sequence[int]) -> list[Output]:
    """Cut a joint output along the batch; the auxiliary loss belongs to the whole and is not repeated."""
    logits, features = output.logits.split(sizes), output.features.split(sizes)
    total = sum(sizes)
    extras = [
        {k: v.split(sizes)[i] if v.ndim and len(v) == total else v for k, v in output.extras.items()}
        for i in range(len(sizes))
    ]
    maps = [{k: v.split(sizes)[i] for k, v in output.maps.items()} for i in range(len(sizes))]
    return [Output(z, f, None, e, m) for z, f, e, m in zip(logits, features, extras, maps, strict=True)]


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
