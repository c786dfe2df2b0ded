"""The supervised rows, against which every gain is measured."""

from typing import ClassVar, Literal

import torch.nn.functional as F
from pydantic import Field

from ferbench.contract.batch import Batch, Losses, Views, strong, weak
from ferbench.contract.method import Method, MethodConfig


class Supervised(Method):
    """Cross-entropy on the labeled images only, on weak or strong views."""

    class Config(MethodConfig):
        """The options of supervised training."""

        view: Literal["weak", "strong"] = Field("weak", description="view of the labeled images")

    config: Config
    variants: ClassVar = {"weak": {}, "strong": {"view": "strong"}}

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.views = Views(labeled={"train": strong() if config.view == "strong" else weak()})

    def loss(self, batch: Batch) -> Losses:
        labeled, _ = self.forward_views(batch)
        total = F.cross_entropy(labeled.train.logits, batch.labels)
        return Losses(total, supervised=total)
