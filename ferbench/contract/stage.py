"""The stages of a run that a method declares, and what it may use between their steps."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar, overload

from torch import Tensor, nn

from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, PoolPredictions, UnlabeledPredictions, Views, ViewSpec
from ferbench.contract.optimizer import MAIN, FurtherOptimizer, OptimizerSettings
from ferbench.errors import PluginError

T = TypeVar("T")


class TakeStep(Protocol):
    """Takes the optimizer steps of a stage that has its own `step`; every step is counted.

    `loss` is called without arguments, in the run's precision. `optimizer` is the name of one of the stage's further
    optimizers, or `main` for its own.
    """

    def forward(self, compute: Callable[[], T]) -> T:
        """Return `compute()` in the run's precision: for a forward whose graph a later loss continues."""

    def __call__(self, loss: Callable[[], Losses], optimizer: str = MAIN) -> Losses:
        """Take an ordinary step: `gradients`, then `step`."""

    def gradients(self, loss: Callable[[], Losses], optimizer: str = MAIN) -> Losses:
        """Compute the gradients of the loss, including the auxiliary loss of its forwards, as means over processes.

        They replace `parameter.grad` of the optimizer's parameters. Returns the losses, whose total includes the
        auxiliary loss. Raises PluginError for losses that do not satisfy the contract of `Losses`.
        """

    def step(self, optimizer: str = MAIN) -> None:
        """Take a step of the optimizer along the present gradients."""


@dataclass(frozen=True)
class Stage:
    """A part of a run with its own loss; most methods have only one.

    `data` says which images it draws: `"labeled+unlabeled"`, `"labeled"`, `"all"` or `"relabeled"`. With `"all"`, every
    image is drawn as unlabeled, except for those of the training set if a pool replaces them. `"relabeled"` is a second
    draw of the labeled images, for released code that made one: its labels go beyond the budget, so that the record is
    not standard. `sampler` says how labeled images are drawn. `unlabeled_weights` returns weights (N,) >= 0 of the
    unlabeled images, in the order of `batch.unlabeled.index`: each is then drawn with a probability in proportion to
    its weight, with replacement, instead of once per pass. It is called once, after `start_stage`, and again if a run
    is resumed, so it should return a buffer; a stream has no such weights. `parameters` picks the trained parameters
    (default: all of net and method). `share` is the stage's share of the protocol's steps (all shares are scaled to sum
    to 1). `optimizer` overrides fields of the protocol's optimizer; `further` are optimizers of other parameters, by
    name. Every stage has a whole schedule of the learning rate. `step` replaces the single step of `loss`: it takes any
    number of steps (SAM, Meta Pseudo Labels) and returns the losses to show. A stage with `cache=True` is computed once
    per content key (stage, data, initial weights, seed, engine version); all cells with the same key share its net.

    A `fresh` stage trains a new net, with the initial weights that `build_network` makes for the stage's name, and
    restarts the EMA. `start_stage` is called before that, with the net and the teacher of the previous stage.

    A stage with `pretraining=True` comes before all others. It draws `"all"` images as unlabeled and no labeled view;
    its steps, `share` times the protocol's, are extra compute. It does not depend on the labels or the seed of the
    cell, and only on those options of the method that `options` names: so it is cached, and one backbone serves all
    label budgets and seeds. Only the backbone is kept; the EMA begins after the stage. `show` makes pictures for the
    report at its end.
    """

    name: str
    loss: Callable[[Batch], Losses]
    views: Views
    data: Literal["labeled+unlabeled", "labeled", "all", "relabeled"] = "labeled+unlabeled"
    sampler: Literal["uniform", "balanced"] = "uniform"
    unlabeled_weights: Callable[[], Tensor] | None = None
    parameters: Callable[[nn.Module], Sequence[nn.Parameter]] | None = None
    optimizer: OptimizerSettings | None = None
    further: Mapping[str, FurtherOptimizer] = field(default_factory=dict)
    step: Callable[[Batch, TakeStep], Losses] | None = None
    share: float = 1.0
    cache: bool = False
    fresh: bool = False
    pretraining: bool = False
    options: tuple[str, ...] = ()
    show: Callable[[Batch], Mapping[str, Tensor]] | None = None
    """A function from a batch of the stage to rows of pictures: title to (B, 3, S, S), normalised like the batch."""

    def __post_init__(self) -> None:
        if not isinstance(self.views, Views):
            raise PluginError(
                f"stage '{self.name}': views is a {type(self.views).__name__}; give Views(labeled={{...}}, "
                "unlabeled={...}) of ferbench.contract.batch"
            )
        if self.optimizer is not None and not isinstance(self.optimizer, OptimizerSettings):
            raise PluginError(
                f"stage '{self.name}': optimizer is a {type(self.optimizer).__name__}; give "
                f"OptimizerSettings({', '.join(OptimizerSettings.model_fields)}) of ferbench.contract.optimizer"
            )
        if MAIN in self.further:
            raise PluginError(
                f"stage '{self.name}': '{MAIN}' is the name of the stage's own optimizer; rename the further optimizer"
            )

    @property
    def optimizers(self) -> dict[str, OptimizerSettings]:
        """The settings of all optimizers by name, the stage's own optimizer first."""
        settings = {name: each.settings for name, each in self.further.items()}
        return {MAIN: self.optimizer or OptimizerSettings(), **settings}

    @property
    def is_cached(self) -> bool:
        """Whether the result of the stage is kept for other cells."""
        return self.cache or self.pretraining


class StageContext(Protocol):
    """What a method may use between steps."""

    @overload
    def predict(
        self,
        pool: Literal["labeled", "validation"],
        *,
        view: str | ViewSpec = "plain",
        net: Literal["teacher", "student"] | Network = "teacher",
        drop_last: bool = False,
    ) -> PoolPredictions: ...

    @overload
    def predict(
        self,
        pool: Literal["unlabeled"],
        *,
        view: str | ViewSpec = "plain",
        net: Literal["teacher", "student"] | Network = "teacher",
    ) -> Iterator[UnlabeledPredictions]: ...

    def predict(
        self, pool: str, *, view: Any = "plain", net: Any = "teacher", drop_last: bool = False
    ) -> PoolPredictions | Iterator[UnlabeledPredictions]:
        """Predict all images of a pool in evaluation mode, under a kind of view.

        For `labeled` and `validation` it returns logits and labels; the protocol must declare a `validation` pool. For
        `unlabeled` (the cell's pool, whatever the stage draws) it returns an iterator over batches of logits, with
        positions as in `batch.unlabeled.index`, so that streams need no memory; keep what you need in a buffer. With
        `drop_last`, it omits a random remainder, like a shuffled loader with the training batch size. Every forward is
        counted. Raises PluginError in a pre-training stage, because cells of all budgets share it.
        """


class EpochContext(StageContext, Protocol):
    """What `Method.end_epoch` may use."""

    @property
    def epoch(self) -> int:
        """The number of the epoch that has ended, from 1."""
