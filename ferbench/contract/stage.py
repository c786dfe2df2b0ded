"""The parts of a run that a method declares, and what it may use between their steps."""

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
    """What a stage with a `step` of its own takes its optimizer steps with; every one is counted.

    `loss` is called without arguments, in the run's precision. `optimizer` is the name of a further optimizer of the
    stage, or its own.
    """

    def forward(self, compute: Callable[[], T]) -> T:
        """What `compute` gives in the run's precision: for a forward whose graph a later loss goes on from."""

    def __call__(self, loss: Callable[[], Losses], optimizer: str = MAIN) -> Losses:
        """The ordinary step: `gradients`, then `step`."""

    def gradients(self, loss: Callable[[], Losses], optimizer: str = MAIN) -> Losses:
        """Gradients of the loss and of its forwards' auxiliary loss, the mean over processes, in `parameter.grad`.

        Those of the optimizer's parameters are new, not added to what was there. Returns the losses with the auxiliary
        one in their total. Raises PluginError for losses that are not what `Losses` says.
        """

    def step(self, optimizer: str = MAIN) -> None:
        """A step of the optimizer along the gradients that are there."""


@dataclass(frozen=True)
class Stage:
    """A part of a run with its own loss; most methods have one.

    `data`: which images it draws (`"labeled+unlabeled"`, `"labeled"`, or `"all"`: every image, as unlabeled, but
    those of the training set where a pool takes their place; `"relabeled"` is a second draw of the labeled images, for
    released code that made one: its labels go beyond the budget, so that the record is not standard).
    `sampler`: how labeled images are drawn. `parameters` picks what is trained (default: all of net and method).
    `share` is its part of the protocol's steps (all shares are scaled to sum to 1). `optimizer` overrides fields of
    the protocol's optimizer, `further` are optimizers over other parameters, by name. `step` replaces the single step
    of `loss`: it takes as many as it wants (SAM, Meta Pseudo Labels) and returns the losses to show. A stage with
    `cache=True` is computed once per content key (stage, data, initial weights, seed, engine version) and its net is
    shared by all cells that have the same key.

    A `fresh` stage trains a new net: initial weights as `build_network` makes them for the stage's name, and an EMA
    that begins anew. `start_stage` comes first and still sees the net and the teacher of the stage before.

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
    optimizer: OptimizerSettings | None = None
    further: Mapping[str, FurtherOptimizer] = field(default_factory=dict)
    step: Callable[[Batch, TakeStep], Losses] | None = None
    share: float = 1.0
    cache: bool = False
    fresh: bool = False
    pretraining: bool = False
    options: tuple[str, ...] = ()
    show: Callable[[Batch], Mapping[str, Tensor]] | None = None
    """From a batch of the stage to rows of pictures: title to (B, 3, S, S), normalised as the batch's images are."""

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
            raise PluginError(f"stage '{self.name}': '{MAIN}' is the stage's own optimizer; name the further one anew")

    @property
    def optimizers(self) -> dict[str, OptimizerSettings]:
        """The settings of all optimizers by name, that of the stage's own first."""
        settings = {name: each.settings for name, each in self.further.items()}
        return {MAIN: self.optimizer or OptimizerSettings(), **settings}

    @property
    def is_cached(self) -> bool:
        """Whether what the stage leaves is kept for other cells."""
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
        """One pass in evaluation mode over a pool under a kind of view: of labeled ones logits and labels.

        There is a `validation` pool where the protocol declares one. Of the unlabeled one (the cell's, whatever the
        stage draws) an iterator over batches of logits with positions as in `batch.unlabeled.index`, so that a pool
        that streams needs no memory; keep what you need in a buffer. With `drop_last` a random remainder, what a
        shuffled loader of the training batch size drops, is left out. Every forward is counted. Raises PluginError in a
        pre-training stage, which cells of all budgets share.
        """


class EpochContext(StageContext, Protocol):
    """What `Method.end_epoch` may use."""

    @property
    def epoch(self) -> int:
        """The number of the epoch that has ended, from 1."""
