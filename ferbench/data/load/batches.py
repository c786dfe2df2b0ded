"""Batches of views: a pure function of seed and step, so that a resumed run draws what an uninterrupted one draws."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from ferbench.contract.batch import Batch, Views, ViewSet, ViewSpec
from ferbench.contract.method import Processes
from ferbench.contract.protocol import Recipe
from ferbench.data.augment.pixels import to_device
from ferbench.data.load.image_set import Drawn, ImageSet, LabeledImages
from ferbench.data.load.stream import Stream, StreamLoader
from ferbench.data.load.views import ViewMaker
from ferbench.data.prepare.stream_index import worker_count
from ferbench.data.seeds import derive


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
    """A class uniformly, then one of its images uniformly."""

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


class PoolImages:
    """The images of a pool's steps."""

    def __init__(self, pool: ImageSet, batch_size: int, seed: int) -> None:
        self._pool, self._stream = pool, IndexStream(len(pool), batch_size, seed)

    def at(self, step: int) -> Drawn:
        """What a step draws, on the pool's device."""
        index = to_device(self._stream.at(step), self._pool.images.device)
        numbers = self._pool.numbers
        shown = index if numbers is None else numbers[index]
        return Drawn(self._pool.images[index], self._pool.boxes[index], shown)


def _images_of(
    pool: ImageSet | Stream, batch_size: int, seed: int, steps: int, sharing: int
) -> PoolImages | StreamLoader:
    if isinstance(pool, Stream):
        return StreamLoader(pool, batch_size, seed, steps, workers=max(1, worker_count() // sharing))
    return PoolImages(pool, batch_size, seed)


class Batches:
    """The batches of one stage: `at(step)` for any step, in any order.

    Several processes share the batches of one: each has its part of the images, in the views that one would see.
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
        processes: Processes | None = None,
    ) -> None:
        self._labeled, self._views, self._maker = labeled, views, maker
        self._seed, self._steps, self._processes = seed, steps, processes or Processes()
        n_classes = labeled.label_probs.shape[1]
        self._labeled_stream = (
            BalancedStream(labeled.labels.cpu(), n_classes, recipe.labeled_batch, derive(seed, "labeled"))
            if sampler == "balanced"
            else IndexStream(len(labeled), recipe.labeled_batch, derive(seed, "labeled"))
        )
        self._unlabeled = (
            _images_of(unlabeled, recipe.unlabeled_batch, derive(seed, "unlabeled"), steps, self._processes.count)
            if unlabeled and views.unlabeled
            else None
        )

    def at(self, step: int, learning_rate: float = 0.0) -> Batch:
        """The batch of a step, on the pools' device."""
        device = self._labeled.images.device
        # A stage without labeled views gets no labels either.
        drawn = self._labeled_stream.at(step) if self._views.labeled else torch.empty(0, dtype=torch.int64)
        index = to_device(drawn, device)
        stored = Drawn(self._labeled.images[index], self._labeled.boxes[index], index)
        labeled = self._view_set("labeled", stored, self._views.labeled, step)
        unlabeled = None
        if self._unlabeled is not None and self._views.unlabeled:
            unlabeled = self._view_set("unlabeled", self._unlabeled.at(step), self._views.unlabeled, step)
        return Batch(
            labeled=labeled,
            unlabeled=unlabeled,
            labels=self._labeled.labels[labeled.index],
            label_probs=self._labeled.label_probs[labeled.index],
            # Filled by a kernel: a copy of a scalar from pageable memory would wait for the device.
            step=torch.full((), step, device=device),
            progress=torch.full((), step / self._steps, device=device),
            learning_rate=torch.full((), learning_rate, device=device),
        )

    def take_waited(self) -> float:
        """Seconds since the last call that a stream has kept the steps waiting; 0 where all images are in memory."""
        return self._unlabeled.take_waited() if isinstance(self._unlabeled, StreamLoader) else 0.0

    def _view_set(self, role: str, stored: Drawn, views: Mapping[str, ViewSpec], step: int) -> ViewSet:
        images, boxes, part = {}, {}, self._processes.part
        for name, spec in views.items():
            generator = torch.Generator().manual_seed(derive(self._seed, "view", role, name, step))
            pixels, moved = self._maker.pixels(spec, stored.images, stored.boxes, generator)
            images[name], boxes[name] = self._maker.normalised(part(pixels)), part(moved)
        return ViewSet(images=images, index=part(stored.index), boxes=boxes)
