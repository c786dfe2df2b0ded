"""The linear probe shows what initial weights already know; methods with such weights are measured against it."""

import torch.nn.functional as F

from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, Views, weak
from ferbench.contract.method import Method, MethodConfig


class LinearProbe(Method):
    """A linear classifier on the features of frozen initial weights (Alain and Bengio, 2016).

    It is trained by cross-entropy on weak views of the labeled images only. The backbone is always in evaluation mode.
    For fine-tuning on the labeled images, use `supervised` with the same weights.
    """

    class Config(MethodConfig):
        """It has no options."""

    views = Views(labeled={"weak": weak()})
    requires = frozenset({"init"})

    def setup(self, net: Network, info: MethodInfo) -> None:
        net.backbone.requires_grad_(False)

    def loss(self, batch: Batch) -> Losses:
        labeled, _ = self.forward_views(batch)
        total = F.cross_entropy(labeled.weak.logits, batch.labels)
        return Losses(total, supervised=total)
