"""LoRA: low-rank changes of frozen weights."""

from typing import ClassVar, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, Views, strong, weak
from ferbench.contract.method import Method, MethodConfig


class LowRank(nn.Module):
    """W = W_0 + alpha / r B A (Eq. 3) for a layer's weight with its last axes flattened: A is random, B starts at 0."""

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        outputs, inputs = len(weight), weight[0].numel()
        self.scale = alpha / rank
        self.a = nn.Parameter(weight.new_empty(rank, inputs).normal_(std=inputs**-0.5))
        self.b = nn.Parameter(weight.new_zeros(outputs, rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * (self.b @ self.a).view_as(weight)


class LoRA(Method):
    """LoRA (Hu et al., ICLR 2022, arXiv 2106.09685): only low-rank changes of initial weights and the head learn.

    It uses cross-entropy on the labeled images only. Every linear layer and convolution of the backbone is adapted.
    Biases and normalisation layers are frozen, except for BatchNorm's running statistics, which follow the images.
    """

    class Config(MethodConfig):
        """LoRA's options; the defaults are those of its RoBERTa experiments."""

        rank: int = Field(8, ge=1, description="rank of the changes, r")
        alpha: float = Field(8.0, gt=0, description="alpha; the scale of the changes is alpha / r")
        view: Literal["weak", "strong"] = Field("weak", description="view of the labeled images")

    config: Config
    variants: ClassVar = {"weak": {}, "strong": {"view": "strong"}}
    requires = frozenset({"init"})

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.views = Views(labeled={"train": strong() if config.view == "strong" else weak()})

    def setup(self, net: Network, info: MethodInfo) -> None:
        net.backbone.requires_grad_(False)
        for layer in [layer for layer in net.backbone.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]:
            register_parametrization(layer, "weight", LowRank(layer.weight, self.config.rank, self.config.alpha))

    def loss(self, batch: Batch) -> Losses:
        labeled, _ = self.forward_views(batch)
        total = F.cross_entropy(labeled.train.logits, batch.labels)
        return Losses(total, supervised=total)
