"""Batches of views. They depend only on seed and step, so a resumed run draws the same as an uninterrupted one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ferbench.contract.batch import Batch, Views, ViewSet, ViewSpec
from ferbench.contract.method import Processes
from ferbench.contract.protocol import Recipe
from ferbench.data.augment.parcel import send
from ferbench.data.load.image_set import Drawn, ImageSet, LabeledImages
from ferbench.data.load.stream import Stream, StreamLoader
from ferbench.data.load.views import ViewMaker, Wanted
from ferbench.data.prepare.stream_index import worker_count
from ferbench.data.seeds import derive
from ferbench.errors import PluginError


class IndexStream:
    """Endless shuffled passes over n images; the indices of step t need no state."""

    def __init__(self, n: int, batch_size: int, seed: int) -> None:
        self.n, self.batch_size, self._seed = n, batch_size, seed
        self._passes: dict[int, Tensor] = {}

    def at(self, step: int) -> Tensor:
        """Indices (batch_size,) int64 of a step."""
        start, stop = step * self.batch_size, (step + 1) * self.batch_size
        first, last = start // self.n, (stop - 1) // self.n
        passes = torch.cat([self._permutation(k) for k in range(first, last + 1)])
        self._passes = {k: order for k, order in self._passes.items() if k >= last}
        return passes[start - first * self.n : stop - first * self.n]

    def _permutation(self, k: int) -> Tensor:
        if k not in self._passes:
            generator = torch.Generator().manual_seed(derive(self._seed, "pass", k))
            self._passes[k] = torch.randperm(self.n, generator=generator)
        return self._passes[k]


class BalancedStream:
    """Draws a class uniformly, then one of its images uniformly."""

    def __init__(self, labels: Tensor, n_classes: int, batch_size: int, seed: int) -> None:
        members = [(labels == c).nonzero().flatten() for c in range(n_classes)]
        self._members = [rows for rows in members if len(rows)]
        self.batch_size, self._seed = batch_size, seed

    def at(self, step: int) -> Tensor:
        """Indices (batch_size,) int64 of a step."""
        generator = torch.Generator().manual_seed(derive(self._seed, "balanced", step))
        chosen = torch.randint(len(self._members), (self.batch_size,), generator=generator).tolist()
        part = torch.rand(self.batch_size, generator=generator).tolist()
        return torch.stack(
            [self._members[c][int(p * len(self._members[c]))] for c, p in zip(chosen, part, strict=True)]
        )


class WeightedStream:
    """Draws images with probabilities in proportion to their weights (N,), with replacement."""

    def __init__(self, weights: Tensor, batch_size: int, seed: int) -> None:
        self._ends = weights.double().cumsum(0)
        self.batch_size, self._seed = batch_size, seed
        if not (weights >= 0).all() or not 0 < float(self._ends[-1]) < float("inf"):
            raise PluginError("unlabeled_weights must be finite and at least 0, and not all 0")

    def at(self, step: int) -> Tensor:
        """Indices (batch_size,) int64 of a step."""
        generator = torch.Generator().manual_seed(derive(self._seed, "weighted", step))
        part = torch.rand(self.batch_size, generator=generator, dtype=torch.float64)
        return torch.searchsorted(self._ends, part * self._ends[-1], right=True)


class Head(NamedTuple):
    """What a step sends to the device besides its views: arrays on the host, which become tensors there."""

    labeled: Any  # (L,) int64, positions
    unlabeled: Any  # (U,) int64, positions; empty for a stream, which brings its own
    step: Any  # () int64
    progress: Any  # () float32
    learning_rate: Any  # () float32


class Boxes(dict[str, Tensor]):
    """The boxes of a set of views by name. If a view has none, the error says what to do."""

    def __missing__(self, view: str) -> Tensor:
        if self:
            raise PluginError(f"no view '{view}' was made; there are {', '.join(sorted(self))}")
        raise PluginError(f"boxes['{view}']: boxes are made for methods whose `requires` has \"boxes\"")


class Batches:
    """The batches of one stage: `at(step)` for any step, in any order.

    Several processes share the batches of one process: each gets a part of the images, under the same views.
    """

    def __init__(
        self,
        labeled: LabeledImages,
        unlabeled: ImageSet | Stream | None,
        views: Views,
        recipe: Recipe,
        maker: ViewMaker,
        *,
        seed: int,
        steps: int,
        sampler: Literal["uniform", "balanced"] = "uniform",
        weights: Tensor | None = None,
        processes: Processes | None = None,
        boxes: bool = False,
    ) -> None:
        self._labeled, self._views, self._maker = labeled, views, maker
        self._seed, self._steps, self._processes = seed, steps, processes or Processes()
        self._boxes = boxes
        specs = [*views.labeled.values(), *(views.unlabeled or {}).values()]
        self._looks_at_boxes = boxes or any(maker.looks_at_boxes(spec) for spec in specs)
        self._sizes = {"labeled": recipe.labeled_batch, "unlabeled": recipe.unlabeled_batch}
        n_classes = labeled.label_probs.shape[1]
        self._labeled_stream = (
            BalancedStream(labeled.labels.cpu(), n_classes, recipe.labeled_batch, derive(seed, "labeled"))
            if sampler == "balanced"
            else IndexStream(len(labeled), recipe.labeled_batch, derive(seed, "labeled"))
        )
        self._pool: ImageSet | None = None
        self._unlabeled: IndexStream | WeightedStream | StreamLoader | None = None
        if unlabeled and views.unlabeled:
            at_once, order = recipe.unlabeled_batch, derive(seed, "unlabeled")
            if isinstance(unlabeled, Stream):
                if weights is not None:
                    raise PluginError("unlabeled_weights: a stream is read in passes; put 'pool_index' into `requires`")
                workers = max(1, worker_count() // self._processes.count)
                self._unlabeled = StreamLoader(unlabeled, at_once, order, steps, workers)
            elif weights is not None:
                self._pool, by_position = unlabeled, _by_position(weights, unlabeled)
                self._unlabeled = WeightedStream(by_position, at_once, order)
            else:
                self._pool, self._unlabeled = unlabeled, IndexStream(len(unlabeled), at_once, order)

    def at(self, step: int, learning_rate: float = 0.0) -> Batch:
        """The batch of a step, on the pools' device."""
        nothing = torch.empty(0, dtype=torch.int64)
        # A stage without labeled views gets no labels either.
        labeled = self._labeled_stream.at(step) if self._views.labeled else nothing
        unlabeled = self._unlabeled.at(step) if isinstance(self._unlabeled, IndexStream | WeightedStream) else nothing
        wanted = {role: self._wanted(role, views, step) for role, views in self._roles()}
        every = [each for of_role in wanted.values() for each in of_role.values()]
        plan = self._maker.prepare(every, self._labeled.images.shape[1], boxes=self._looks_at_boxes)
        scalars = np.array(step), np.array(step / self._steps, np.float32), np.array(learning_rate, np.float32)
        # One copy to the device: images, labels and views are then made there.
        head, *sent = send([Head(labeled.numpy(), unlabeled.numpy(), *scalars), *plan], self._labeled.images.device)
        stored = {"labeled": self._taken(self._labeled, head.labeled)}
        if isinstance(self._unlabeled, StreamLoader):
            stored["unlabeled"] = self._unlabeled.at(step)
        elif self._pool is not None:
            taken = self._taken(self._pool, head.unlabeled)
            numbers = self._pool.numbers
            stored["unlabeled"] = taken if numbers is None else replace(taken, index=numbers[taken.index])
        sets = self._view_sets(wanted, sent, stored)
        return Batch(
            labeled=sets["labeled"],
            unlabeled=sets.get("unlabeled"),
            labels=self._labeled.labels[sets["labeled"].index],
            label_probs=self._labeled.label_probs[sets["labeled"].index],
            step=head.step,
            progress=head.progress,
            learning_rate=head.learning_rate,
        )

    def take_waited(self) -> float:
        """Seconds that steps waited for a stream since the last call; 0 if all images are in memory."""
        return self._unlabeled.take_waited() if isinstance(self._unlabeled, StreamLoader) else 0.0

    def _roles(self) -> list[tuple[str, Mapping[str, ViewSpec]]]:
        unlabeled = self._views.unlabeled if self._unlabeled else None
        return [("labeled", self._views.labeled), *([("unlabeled", unlabeled)] if unlabeled else [])]

    def _wanted(self, role: str, views: Mapping[str, ViewSpec], step: int) -> dict[str, Wanted]:
        return {
            name: Wanted(
                spec,
                self._sizes[role],
                torch.Generator().manual_seed(derive(self._seed, "view", role, name, step)),
            )
            for name, spec in views.items()
        }

    def _taken(self, pool: ImageSet, index: Tensor) -> Drawn:
        return Drawn(pool.images[index], pool.boxes[index] if self._looks_at_boxes else None, index)

    def _view_sets(
        self, wanted: Mapping[str, Mapping[str, Wanted]], sent: Sequence[Any], stored: Mapping[str, Drawn]
    ) -> dict[str, ViewSet]:
        part = self._processes.part
        of = [stored[role] for role, views in wanted.items() for _ in views]
        boxes = [each.boxes for each in of if each.boxes is not None] if self._looks_at_boxes else None
        every = [each for views in wanted.values() for each in views.values()]
        made = iter(self._maker.make(every, sent, [each.images for each in of], boxes, part))
        sets = {}
        for role, views in wanted.items():
            named = {name: next(made) for name in views}
            moved = {name: box for name, (_, box) in named.items() if box is not None and self._boxes}
            images = {name: view for name, (view, _) in named.items()}
            sets[role] = ViewSet(images=images, index=part(stored[role].index), boxes=Boxes(moved))
        return sets


def _by_position(weights: Tensor, pool: ImageSet) -> Tensor:
    """The weights (N,) on the host in the order of the pool's images; a method knows these by their numbers."""
    if weights.shape != (len(pool),):
        raise PluginError(f"unlabeled_weights has the shape {tuple(weights.shape)}; the pool has {len(pool)} images")
    return (weights if pool.numbers is None else weights[pool.numbers]).cpu()
