"""FlexMatch."""

from collections.abc import Mapping

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ferbench.blocks import LearningStatus
from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, Views, strong, weak
from ferbench.contract.method import Method, MethodConfig
from ferbench.contract.stage import EpochContext


class FlexMatch(Method):
    """FlexMatch (Zhang et al., NeurIPS 2021, Algorithm 1): FixMatch with a threshold for each class.

        sigma(c) = number of images n of the pool whose latest prediction with max p > tau is c     (Eq. 5)
        beta(c) = sigma(c) / max(max_c sigma(c), N - sum_c sigma(c))                               (Eqs. 6 and 11)
        T(c) = M(beta(c)) tau, M(x) = x / (2 - x)                                                  (Eqs. 7 and 12)
        L = H(y, p(x)) + lambda mean of 1[max q >= T(argmax q)] H(argmax q, p(strong(u)))          (Eqs. 8 to 10)

    The thresholds of a step depend only on earlier predictions. It keeps a number for every image of the pool.
    """

    class Config(MethodConfig):
        """FlexMatch's options."""

        threshold: float = Field(0.95, ge=0, le=1, description="threshold of the class that is learned best, tau")
        unlabeled_weight: float = Field(1.0, ge=0, description="weight of the unlabeled loss, lambda")

    config: Config
    requires = frozenset({"pool_index"})
    views = Views(labeled={"weak": weak()}, unlabeled={"weak": weak(gradient=False), "strong": strong()})

    def setup(self, net: Network, info: MethodInfo) -> None:
        assert info.n_unlabeled is not None
        self.thresholds = LearningStatus(info.n_classes, self.config.threshold, momentum=0.0, pool=info.n_unlabeled)

    def loss(self, batch: Batch) -> Losses:
        assert batch.unlabeled is not None
        labeled, unlabeled = self.forward_views(batch)
        supervised = F.cross_entropy(labeled.weak.logits, batch.labels)
        # Pseudo-labels that reach the threshold of their class train strong views (Eqs. 8 to 10)
        prediction = unlabeled.weak.probabilities
        pseudo_label, mask = self.thresholds(prediction)
        consistency = (F.cross_entropy(unlabeled.strong.logits, pseudo_label, reduction="none") * mask).mean()
        # Update how well each class is learned (Eqs. 5 to 7, 11 and 12)
        self.thresholds.observe(self.gather(prediction), self.gather(batch.unlabeled.index))
        total = supervised + self.config.unlabeled_weight * consistency
        return Losses(total, pseudo_label=pseudo_label, mask=mask, supervised=supervised, unlabeled=consistency)

    def end_epoch(self, context: EpochContext) -> Mapping[str, Tensor]:
        return {"threshold": self.thresholds.threshold}
