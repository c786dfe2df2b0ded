"""What initial weights know already: a row that methods with such weights are measured against."""

import torch.nn.functional as F

from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, Views, weak
from ferbench.contract.method import Method, MethodConfig


class LinearProbe(Method):
    """A linear classifier on the features of initial weights, which stay as they are (Alain and Bengio, 2016).

    Cross-entropy on weak views of the labeled images alone. The backbone is in evaluation mode throughout. Fine-tuning
    on the labels alone is `supervised` with the same weights.
    """

    class Config(MethodConfig):
        """There is nothing to choose."""

    views = Views(labeled={"weak": weak()})
    requires = frozenset({"init"})

    def setup(self, net: Network, info: MethodInfo) -> None:
        net.backbone.requires_grad_(False)

    def loss(self, batch: Batch) -> Losses:
        labeled, _ = self.forward_views(batch)
        total = F.cross_entropy(labeled.weak.logits, batch.labels)
        return Losses(total, supervised=total)
