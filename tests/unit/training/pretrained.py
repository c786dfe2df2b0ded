"""A method with a pre-training stage on a net without BatchNorm, for tests of the engine."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, Views, weak
from ferbench.contract.method import Method
from ferbench.contract.stage import Stage, StageContext


class Pretrained(Method):
    """Learns to fill in noise-covered faces by their mean colour, then the labels."""

    views = Views(labeled={"weak": weak()}, unlabeled={"weak": weak()})
    requires = frozenset({"tokens"})

    def setup(self, net: Network, info: MethodInfo) -> None:
        self.guess = nn.Linear(net.backbone.feature_size, 3)

    def stages(self) -> Sequence[Stage]:
        fill = Stage(
            "fill",
            self.fill,
            Views(labeled={}, unlabeled={"weak": weak()}),
            data="all",
            pretraining=True,
            share=0.5,
            parameters=lambda net: [*net.backbone.parameters(), *self.guess.parameters()],
            show=self.show,
        )
        return [fill, Stage("train", self.loss, self.views, parameters=lambda net: list(net.parameters()))]

    def start_stage(self, stage: Stage, context: StageContext) -> None:
        if stage.pretraining:
            self.guess.reset_parameters()

    def fill(self, batch: Batch) -> Losses:
        assert batch.unlabeled is not None and not len(batch.labels)
        images = batch.unlabeled.images["weak"]
        covered = images * (self.uniform(images, 1, 1, 1) > 0.5)
        features = self.forward_images(covered).features
        return Losses((self.guess(features) - images.mean((2, 3))).square().mean())

    def show(self, batch: Batch) -> Mapping[str, Tensor]:
        assert batch.unlabeled is not None
        return {"faces": batch.unlabeled.images["weak"], "nothing": torch.zeros_like(batch.unlabeled.images["weak"])}

    def loss(self, batch: Batch) -> Losses:
        return Losses(F.cross_entropy(self.forward_images(batch.labeled.images["weak"]).logits, batch.labels))
