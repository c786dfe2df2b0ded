"""Broken heads, backbones, datasets, views, commands and executors: each breaks one promise of its kind."""

import random
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import click
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ferbench.contract.backbone import Backbone, BackboneRequest
from ferbench.contract.batch import View
from ferbench.contract.dataset import Damage, Dataset, DatasetInfo, Sample
from ferbench.contract.events import Notice
from ferbench.contract.executor import Executor, Job, JobListener
from ferbench.contract.head import Head, LinearHead, Output
from ferbench.contract.protocol import Recipe
from tests.support.pattern_set import bar_image, encoded


class HiddenState(LinearHead):
    """Python counts its calls, which no checkpoint holds."""

    calls = 0

    def forward(self, features: Tensor) -> Output:
        if self.training:
            self.calls += 1
        return Output(self.linear(features) * (1 + self.calls), features)


class AlwaysDropout(LinearHead):
    """Drops features in evaluation, too."""

    def forward(self, features: Tensor) -> Output:
        return Output(self.linear(F.dropout(features, 0.5, training=True)), features)


class MixingHead(LinearHead):
    """Centres the batch."""

    def forward(self, features: Tensor) -> Output:
        return Output(self.linear(features - features.mean(0)), features)


class NumpyHead(LinearHead):
    """Begins from numpy's numbers."""

    def __init__(self, feature_size: int, n_classes: int) -> None:
        super().__init__(feature_size, n_classes)
        self.linear.weight.data.mul_(0.5 + float(np.random.rand()))


class ReadingHead(LinearHead):
    """Waits for the device."""

    def forward(self, features: Tensor) -> Output:
        return Output(self.linear(features) * (1.0 if features.sum().item() else 0.0), features)


class ShortHead(Head):
    """One logit too few."""

    def __init__(self, feature_size: int, n_classes: int) -> None:
        super().__init__(feature_size, n_classes)
        self.linear = nn.Linear(feature_size, n_classes - 1)

    def forward(self, features: Tensor) -> Output:
        return Output(self.linear(features), features)


class Small(Backbone):
    """One convolution; the base of broken ones."""

    feature_size = 8

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 4)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.conv(images)).relu().mean((2, 3))


class Mixing(Small):
    def forward(self, images: Tensor) -> Tensor:
        features = super().forward(images)
        return features - features.mean(0)


class Noisy(Small):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images + 0.1 * torch.randn_like(images))


class Unseeded(Small):
    def __init__(self) -> None:
        super().__init__()
        self.conv.weight.data.mul_(1 + random.random())


class Counting(Small):
    calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += self.training
        return super().forward(images) * (1 + self.calls)


def small(request: BackboneRequest) -> Small:
    """Honest: it loads what it is given."""
    built = Small()
    if request.init is not None:
        built.load_state_dict(torch.load(request.init, weights_only=True))
    return built


def _loading(kind: type[Small]) -> Any:
    def build(request: BackboneRequest) -> Small:
        built = kind()
        if request.init is not None:
            built.load_state_dict(torch.load(request.init, weights_only=True))
        return built

    return build


mixing, noisy, unseeded, counting = map(_loading, (Mixing, Noisy, Unseeded, Counting))


def ignores_init(request: BackboneRequest) -> Small:
    """Gives random weights whatever it is asked for."""
    return Small()


def raising(request: BackboneRequest) -> Small:
    """Fails whatever the size of images."""
    int("abc")
    return Small()


class Bars(Dataset):
    """Ships sixty images; the honest base of broken ones."""

    needs_root = False
    labels: Sequence[str] = ("neutral", "happiness", "sadness")
    order: Sequence[str] = labels

    @property
    def info(self) -> DatasetInfo:
        return DatasetInfo("bars", "Bars", "CC0", {"3": tuple(self.order)}, "3", "bars")

    def samples(self) -> Iterator[Sample | Damage]:
        rng = np.random.default_rng(0)
        for split, count in (("train", 12), ("test", 8)):
            for kind, label in enumerate(self.labels):
                for number in range(count):
                    image = encoded(bar_image(kind, rng))
                    yield Sample(f"{split}-{label}-{number}", image, split, label)  # type: ignore[arg-type]


class UnstableOrder(Bars):
    def samples(self) -> Iterator[Sample | Damage]:
        found = list(super().samples())
        random.shuffle(found)
        return iter(found)


class SameIds(Bars):
    def samples(self) -> Iterator[Sample | Damage]:
        for sample in super().samples():
            assert isinstance(sample, Sample)
            yield Sample(sample.id.partition("-")[2], sample.image, sample.split, sample.label)


class OtherLabels(Bars):
    labels = ("neutral", "happiness", "joy")


class OtherOrder(Bars):
    order = ("happiness", "neutral", "sadness")


class Undecodable(Bars):
    def samples(self) -> Iterator[Sample | Damage]:
        yield from super().samples()
        yield Sample("torn", b"\x89PNG no more", "train", "neutral")


class NoTraining(Bars):
    def samples(self) -> Iterator[Sample | Damage]:
        for sample in super().samples():
            assert isinstance(sample, Sample)
            yield Sample(sample.id, sample.image, "validation", sample.label)


def honest_view(recipe: Recipe) -> View:
    """A flip of each image by its own coin."""

    def view(images: Tensor, boxes: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        flips = torch.rand(len(images), generator=generator) < 0.5
        width = images.shape[2]
        mirrored = torch.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)
        flipped = torch.where(flips[:, None, None, None], images.flip(2), images)
        return flipped, torch.where(flips[:, None], mirrored, boxes)

    return view


def lost_boxes(recipe: Recipe) -> View:
    """Flips all images and no box."""
    return lambda images, boxes, generator: (images.flip(2), boxes)


def float_view(recipe: Recipe) -> View:
    return lambda images, boxes, generator: (images.float(), boxes)


def global_view(recipe: Recipe) -> View:
    return lambda images, boxes, generator: (images + torch.randint(0, 9, images.shape, dtype=torch.uint8), boxes)


def mixing_view(recipe: Recipe) -> View:
    return lambda images, boxes, generator: (images // 2 + images.flip(0) // 2, boxes)


@click.command()
@click.option("--runs", help="Folder of the runs.")
def honest_command(runs: str) -> None:
    """Count."""


@click.command()
@click.option("--runs")
def silent_command(runs: str) -> None:
    """Count."""


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("rest", nargs=-1)
def greedy_command(rest: tuple[str, ...]) -> None:
    """Take whatever is typed."""


class Liar(Executor):
    """Says ok and runs nothing."""

    def run(self, jobs: Sequence[Job], progress: JobListener, slots: int) -> list[str]:
        return ["ok"] * len(jobs)


class Mute(Executor):
    """Never returns, and says nothing of its jobs."""

    def run(self, jobs: Sequence[Job], progress: JobListener, slots: int) -> list[str]:
        if jobs:
            threading.Event().wait()
        return []


class Endless(Executor):
    """Does not return for long, and always has something to say."""

    def run(self, jobs: Sequence[Job], progress: JobListener, slots: int) -> list[str]:
        for _ in range(1000 * len(jobs)):
            progress(jobs[0], Notice(text="it begins again"))
            time.sleep(0.02)
        return []


class Short(Executor):
    """Returns too few."""

    def run(self, jobs: Sequence[Job], progress: JobListener, slots: int) -> list[str]:
        return []
