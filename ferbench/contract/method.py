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
    """The number of processes that train together, the rank of this one, and how they exchange tensors."""

    count: int = 1
    rank: int = 0
    mean: Callable[[Tensor], Tensor] = lambda value: value
    gather: Callable[[Tensor], Tensor] = lambda value: value
    """Gradient flows to this process's part only; averaged with the losses, it equals that of a single process."""

    def part(self, rows: Tensor) -> Tensor:
        """Return this process's part of rows (N, ...) that all processes have; N must be a multiple of `count`."""
        each = len(rows) // self.count
        return rows[self.rank * each : (self.rank + 1) * each]


class MethodConfig(BaseModel):
    """A method's options: frozen, unknown keys are errors; every field has a description and the paper's default.

    Options that belong together form a group: a field whose type is another subclass of this class.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def option_fields(cls) -> dict[str, FieldInfo]:
        """Return every option by its name in `--set`: `threshold`, or `released.state_decay` in a group."""
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
    """The objects that the engine gives to a method; in a plain class, so that nets do not become its submodules."""

    net: Network
    teacher: Network
    random: torch.Generator
    info: MethodInfo
    joint_forward: bool
    processes: Processes


@dataclass(frozen=True)
class Builders:
    """Functions that make further networks like the cell's, on its device, in its layout, with its initial weights.

    `seed` returns the seed for a name.
    """

    network: Callable[[], Network]
    backbone: Callable[[], Backbone]
    seed: Callable[[str], int]


class Method(nn.Module):
    """Base class of methods: declare `views` and implement `loss`.

    Keep state (margins, thresholds, banks) in buffers; then moving to a device, checkpoints and resuming need no code.
    Add further networks in `setup` by `add_network`. `net` and `teacher` are not submodules. Shapes must be static, and
    `loss` must not wait for the device: no `.item()`, `.cpu()` or `.tolist()`, no boolean-mask indexing.
    """

    Config: ClassVar[type[MethodConfig]] = MethodConfig
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {"described": {}}
    """Presets of config fields; the first is the default."""
    views: Views
    joint_forward: bool | None = None
    """Whether gradient views go through the net in one forward; None for the protocol's rule. The record shows it."""
    runs_eagerly: ClassVar[str] = ""
    """Why neither `torch.compile` nor CUDA can run the loss as one graph; empty if they can.

    The words follow the method's name in the message that refuses `--compile`: `draws random numbers within the loss`.
    """

    def __init__(self, config: MethodConfig) -> None:
        super().__init__()
        self.config = config
        self.networks = nn.ModuleDict()
        """Further networks by name; trained unless added as frozen."""
        self.averages = nn.ModuleDict()
        """EMA copies of the further networks that were added with `ema=True`."""
        self._frozen: set[str] = set()
        self._builders: Builders | None = None
        self._handles: Handles | None = None

    # -- what the engine calls ---------------------------------------------------------------------------------------

    def prepare(self, builders: Builders) -> None:
        """Give the method the builders for further networks, before `setup`."""
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
        """Give the method the objects that it uses in a run."""
        self._handles = Handles(net, teacher, random, info, joint_forward, processes or Processes())

    def make_head(self, feature_size: int, n_classes: int) -> Head:
        """Return the head that the paper describes; `--head` replaces it by another."""
        return LinearHead(feature_size, n_classes)

    def setup(self, net: Network, info: MethodInfo) -> None:
        """Called once, before the optimizer is made: add heads, banks and buffers here."""

    def stages(self) -> Sequence[Stage]:
        """Return the parts of the run, in order. Called before `setup`, so it may use only `config`."""
        return [Stage("train", self.loss, self.views)]

    def declared_stages(self) -> list[Stage]:
        """Return `stages()` as a list; raises its PluginError with the name of the method."""
        try:
            return list(self.stages())
        except PluginError as error:
            raise PluginError(f"{type(self).__name__}: {error}") from None

    @abstractmethod
    def loss(self, batch: Batch) -> Losses:
        """Return the loss of one step, computed on normalised views."""

    def start_stage(self, stage: Stage, context: StageContext) -> None:
        """Called before the first step of each stage; not called again if a run resumes within the stage."""

    def after_step(self, info: StepInfo) -> None:
        """Called after the optimizer and the EMA update of each step."""

    def end_epoch(self, context: EpochContext) -> Mapping[str, Tensor]:
        """Called after each epoch (a twentieth of the run); the tensors that it returns go into the history."""
        return {}

    def evaluation_net(self) -> Network:
        """Return the network that is evaluated and saved: the teacher, unless a paper's code uses another.

        Overriding it changes the record's `selection` (describe it in `evaluates`), and the cell is not standard.
        """
        return self.teacher

    def selection(self, rule: str) -> str:
        """Return which model is evaluated, in words: the protocol's rule, unless `evaluation_net` is overridden."""
        if type(self).evaluation_net is Method.evaluation_net or self.evaluates == "":
            return rule
        return self.evaluates or f"evaluation_net of {type(self).__name__} after the last step"

    def train(self, mode: bool = True) -> "Method":
        """Set the mode of all submodules, except frozen networks and averages: these stay in evaluation mode."""
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
        """What the method may know about its task."""
        return self._attached.info

    @property
    def requires(self) -> frozenset[str]:
        """What the method needs besides images.

        `"pool_index"` (refused for streams), `"boxes"` (a notice tells if they are missing), `"tokens"` (needs a
        `TokenBackbone`), `"validation"` (refused if the protocol holds out no images), `"init"` (refused without
        initial weights).
        """
        return frozenset()

    def pool_problem(self, images: int) -> str:
        """Return why the method cannot learn from a pool with this number of images, and a remedy; empty if it can.

        Called while planning, so it may use only `config`.
        """
        return ""

    @property
    def evaluates(self) -> str | None:
        """What an overridden `evaluation_net` returns, for the record: `mean of both nets`; "" if it is the teacher."""
        return None

    @property
    def uses_unlabeled(self) -> bool:
        """Whether the method learns from unlabeled images."""
        return any(stage.views.unlabeled for stage in self.declared_stages())

    def build_network(self, name: str) -> Network:
        """Return a new network with the cell's backbone and head, on its device; name and seed fix random weights."""
        with self._seeded(name):
            return self._built_by.network()

    def build_backbone(self, name: str) -> Backbone:
        """Return a new backbone of the cell's kind, on its device; name and seed fix random weights."""
        with self._seeded(name):
            return self._built_by.backbone()

    def add_network(
        self, name: str, network: nn.Module | Callable[[], nn.Module], *, ema: bool = False, frozen: bool = False
    ) -> nn.Module:
        """Keep a further network (a peer, a projection, a frozen teacher) as `self.networks[name]`; only in `setup`.

        If `network` is a function, it is called with torch's generator seeded by name and cell; other random numbers do
        not change. The network is checkpointed and, unless `frozen`, trained by stages that train all parameters. With
        `ema`, `self.averages[name]` is its average with the teacher's decay. It is not part of the evaluated net. The
        method itself must add an auxiliary loss of its head. Raises PluginError if the name is taken.
        """
        if name in self.networks:
            raise PluginError(f"{type(self).__name__}: a network '{name}' exists already; give this one another name")
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
        """Return `value` averaged over processes; unchanged if there is only one."""
        return self._processes.mean(value)

    def gather(self, value: Tensor) -> Tensor:
        """Concatenate `value` of all processes along the first axis, with gradient; unchanged if there is only one."""
        return self._processes.gather(value)

    def uniform(self, images: Tensor, *shape: int) -> Tensor:
        """Draw numbers (B, *shape) float32, uniform in 0..1, for images (B, ...), on their device.

        They are this process's part of the numbers that a single process would draw for all images.
        """
        size = (len(images) * self._processes.count, *shape)
        return self._processes.part(torch.empty(size, device=images.device).uniform_(generator=self.random))

    def beta(self, images: Tensor, a: float, b: float, *shape: int) -> Tensor:
        """Draw numbers (B, *shape) float32 from Beta(a, b) for images (B, ...), in the same way as `uniform`."""
        size = (len(images) * self._processes.count, *shape)
        return self._processes.part(draws.beta(size, a, b, self.random, images.device))

    def normal(self, images: Tensor, *shape: int) -> Tensor:
        """Draw numbers (B, *shape) float32 from the standard normal distribution, in the same way as `uniform`."""
        size = (len(images) * self._processes.count, *shape)
        return self._processes.part(torch.empty(size, device=images.device).normal_(generator=self.random))

    def permutation(self, images: Tensor) -> Tensor:
        """Draw a random order of the images of all processes; return this process's part, (B,) int64.

        It contains positions in the output of `gather`: `self.gather(images)[self.permutation(images)]` mixes the
        images of all processes.
        """
        return self._processes.part(draws.permutation(len(images) * self._processes.count, self.random, images.device))

    def forward_images(self, images: Tensor, *, parameters: Mapping[str, Tensor] | None = None) -> Output:
        """Forward images (B, 3, S, S) that are not a declared view, such as mixed ones, through the net.

        `parameters` replace those of the net with the same names, with gradient. The head's auxiliary loss and extras
        are noted as in any forward.
        """
        output: Output
        if parameters is None:
            output = self.net(images)
        else:
            output = torch.func.functional_call(self.net, dict(parameters), (images,))
        return output

    @contextmanager
    def probing(self) -> Iterator[None]:
        """Probe the net and `networks` in this block: forwards leave nothing behind that affects training.

        BatchNorm uses batch statistics and does not change its running ones; no auxiliary loss of the head is noted.
        Gradients flow, for VAT's perturbation or the inner step of a functional SAM; images are counted as usual.
        """
        before, self.net.probed = self.net.probed, True
        try:
            with frozen_bn(self.net), frozen_bn(self.networks):
                yield
        finally:
            self.net.probed = before

    def forward_views(self, batch: Batch, *, views: Views | None = None, joint: bool | None = None) -> ForwardedViews:
        """Forward every view of the batch through the net; `labeled, unlabeled = self.forward_views(batch)`.

        `views` are those of the stage, if they differ from the method's. A view declared without gradient is forwarded
        separately, with batch statistics, and does not change BatchNorm's running statistics. A view for the teacher is
        forwarded only by the teacher. The other views go through the net in one forward per size (`joint`; the
        protocol sets it, and the record shows it) or one by one, labeled views first.
        """
        declared = views or self.views
        together: dict[tuple[str, str], Tensor] = {}
        apart: dict[tuple[str, str], Tensor] = {}
        teachers: dict[tuple[str, str], Tensor] = {}
        sides = (("labeled", batch.labeled, declared.labeled), ("unlabeled", batch.unlabeled, declared.unlabeled or {}))
        for side, drawn, specs in sides:
            for name, images in (drawn.images if drawn else {}).items():
                if name not in specs:
                    raise ValueError(
                        f"the {side} view '{name}' is not declared ({sorted(specs)} are); pass the stage's views="
                    )
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
        """Seed torch's CPU generator, from which initial weights are drawn, by the name in this block."""
        with torch.random.fork_rng(devices=[]), uncounted():
            torch.manual_seed(self._built_by.seed(name))
            yield

    @property
    def _built_by(self) -> Builders:
        if self._builders is None:
            raise RuntimeError(f"{type(self).__name__} is not part of a run yet; build networks in setup or later")
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
        if self._handles is None:  # nn.Module would turn an AttributeError into "has no attribute 'net'"
            raise RuntimeError(
                f"{type(self).__name__} is not part of a run yet: net, teacher, random and info exist only after "
                "setup has returned; __init__ and stages() may use only self.config"
            )
        return self._handles


def split_output(output: Output, sizes: Sequence[int]) -> list[Output]:
    """Split a joint output along the batch; the parts have no auxiliary loss, which belongs to the whole."""
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
    """In this block BatchNorm uses batch statistics and does not change its running statistics."""
    tracking = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    for module in tracking:
        module.track_running_stats = False
    try:
        yield
    finally:
        for module in tracking:
            module.track_running_stats = True
