"""BitFit: training of the bias terms only."""

from typing import ClassVar, Literal

import torch.nn.functional as F
from pydantic import Field

from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, Views, strong, weak
from ferbench.contract.method import Method, MethodConfig


class BitFit(Method):
    """BitFit (Ben Zaken et al., ACL 2022, arXiv 2106.10199): only the biases of initial weights and the new head learn.

    It uses cross-entropy on the labeled images only. The shifts of normalisation layers are biases too. BatchNorm's
    running statistics follow the images, as in any training.
    """

    class Config(MethodConfig):
        """BitFit's options."""

        view: Literal["weak", "strong"] = Field("weak", description="view of the labeled images")

    config: Config
    variants: ClassVar = {"weak": {}, "strong": {"view": "strong"}}
    requires = frozenset({"init"})

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.views = Views(labeled={"train": strong() if config.view == "strong" else weak()})

    def setup(self, net: Network, info: MethodInfo) -> None:
        for name, parameter in net.backbone.named_parameters():
            parameter.requires_grad_(name.rpartition(".")[2] == "bias")

    def loss(self, batch: Batch) -> Losses:
        labeled, _ = self.forward_views(batch)
        total = F.cross_entropy(labeled.train.logits, batch.labels)
        return Losses(total, supervised=total)
