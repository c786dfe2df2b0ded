"""SoftMatch."""

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ferbench.blocks import aligned
from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, Views, strong, weak
from ferbench.contract.method import Method, MethodConfig


class SoftMatch(Method):
    """SoftMatch (Chen et al., ICLR 2023, arXiv 2301.10921): every pseudo-label counts, with a weight by its confidence.

    The weight is a Gaussian of the confidence, truncated at its mean: exp(-(p - mu)^2 / (2 sigma^2)) below mu, else 1.
    mu and sigma^2 are EMAs of mean and unbiased variance of each batch's confidence, starting at 1 / C and 1; sigma^2
    is divided by n^2. Uniform alignment, UA(p) = normalize(p (1 / C) / EMA of the mean p), is applied to the confidence
    before weighting, but not to the pseudo-labels or to mu and sigma. L = L_s + lambda_u L_u.
    """

    class Config(MethodConfig):
        """SoftMatch's options."""

        momentum: float = Field(0.999, ge=0, lt=1, description="momentum of all EMAs, m, per step")
        width: float = Field(2.0, gt=0, description="divisor of the standard deviation, n")
        unlabeled_weight: float = Field(1.0, ge=0, description="weight of the unlabeled loss, lambda_u")

    config: Config
    views = Views(labeled={"weak": weak()}, unlabeled={"weak": weak(gradient=False), "strong": strong()})
    mean_confidence: Tensor  # () float32, mu
    variance: Tensor  # () float32, sigma^2
    mean_prediction: Tensor  # (C,) float32

    def setup(self, net: Network, info: MethodInfo) -> None:
        self.register_buffer("mean_confidence", torch.tensor(1 / info.n_classes))
        self.register_buffer("variance", torch.tensor(1.0))
        self.register_buffer("mean_prediction", torch.full((info.n_classes,), 1 / info.n_classes))

    def loss(self, batch: Batch) -> Losses:
        labeled, unlabeled = self.forward_views(batch)
        supervised = F.cross_entropy(labeled.weak.logits, batch.labels)
        # Update the three means with this step's weak views
        prediction = unlabeled.weak.probabilities
        confidence, pseudo_label = prediction.max(-1)
        self._observe(self.gather(confidence), self.gather(prediction))
        # The weight of each pseudo-label, from its aligned confidence
        below = (aligned(prediction, 1, self.mean_prediction).max(-1).values - self.mean_confidence).clamp_max(0)
        weight = torch.exp(-below.square() / (2 * self.variance.clamp_min(1e-12) / self.config.width**2))
        # Cross-entropy of strong views, weighted
        consistency = (F.cross_entropy(unlabeled.strong.logits, pseudo_label, reduction="none") * weight).mean()
        total = supervised + self.config.unlabeled_weight * consistency
        shown = {"mean_confidence": self.mean_confidence.clone(), "variance": self.variance.clone()}
        terms = {"supervised": supervised, "unlabeled": consistency, **shown}
        return Losses(total, pseudo_label=pseudo_label, mask=weight, **terms)

    def _observe(self, confidence: Tensor, prediction: Tensor) -> None:
        new = 1 - self.config.momentum
        self.mean_confidence.lerp_(confidence.mean(), new)
        self.variance.lerp_(confidence.var(correction=min(1, len(confidence) - 1)), new)
        self.mean_prediction.lerp_(prediction.mean(0), new)
