"""FixMatch, with distribution alignment as an option."""

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, Views, strong, weak
from ferbench.contract.method import Method, MethodConfig
from ferbench.functional import align


class FixMatch(Method):
    """FixMatch (Sohn et al., NeurIPS 2020, Alg. 1); alignment as in ReMixMatch (Berthelot et al., ICLR 2020)."""

    class Config(MethodConfig):
        """FixMatch's options."""

        threshold: float = Field(0.95, ge=0, le=1, description="pseudo-label confidence tau")
        unlabeled_weight: float = Field(1.0, ge=0, description="lambda_u")
        align: bool = Field(False, description="scale predictions to the class proportions of the labeled set")
        align_decay: float = Field(0.99, ge=0, lt=1, description="EMA of the mean prediction, for alignment")

    config: Config
    views = Views(labeled={"weak": weak()}, unlabeled={"weak": weak(), "strong": strong()})
    mean_prediction: Tensor  # (C,)
    labeled_prior: Tensor  # (C,)

    def setup(self, net: Network, info: MethodInfo) -> None:
        self.register_buffer("mean_prediction", torch.full((info.n_classes,), 1 / info.n_classes))
        self.register_buffer("labeled_prior", torch.tensor(info.class_counts) / info.n_labeled)

    def loss(self, batch: Batch) -> Losses:
        out = self.forward_views(batch, no_grad={"weak"})
        prediction = self.aligned(out.unlabeled.weak.logits.softmax(-1))
        confidence, pseudo_label = prediction.max(-1)
        mask = (confidence >= self.config.threshold).float()
        supervised = F.cross_entropy(out.labeled.weak.logits, batch.labels)
        per_image = F.cross_entropy(out.unlabeled.strong.logits, pseudo_label, reduction="none")
        unlabeled = (per_image * mask).mean()
        total = supervised + self.config.unlabeled_weight * unlabeled
        return Losses(total, pseudo_label=pseudo_label, mask=mask, supervised=supervised, unlabeled=unlabeled)

    def aligned(self, prediction: Tensor) -> Tensor:
        """Predictions (B, C) times prior / running mean prediction, normalised; untouched without `align`."""
        if not self.config.align:
            return prediction
        mean = self.mean(prediction.mean(0))
        return align(prediction, mean, self.mean_prediction, self.labeled_prior, self.config.align_decay)
