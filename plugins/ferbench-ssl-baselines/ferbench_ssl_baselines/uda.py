"""UDA."""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ferbench.blocks import masked_mean
from ferbench.contract.batch import Batch, Losses, Views, strong, weak
from ferbench.contract.method import Method, MethodConfig


class Uda(Method):
    """UDA (Xie et al., NeurIPS 2020): the sharpened prediction of an image is the target of a strong view of it.

        J = E_L [-log p(y | x)] + lambda E_U [H(p~(y | u), p(y | u^))], u^ a strong view of u, p~ constant    (Eq. 1)
        p~(y | u) = softmax(z(u) / tau); only images with max p(y | u) > beta count (sharpening, confidence masking)
        Training signal annealing (TSA): a labeled image counts if p(y | x) <= eta_t = a_t (1 - 1/C) + 1/C;
        a_t = 1 - exp(-5 t) (log), t (linear) or exp(5 (t - 1)) (exp), t the fraction of the run that is done

    The confidence is measured before sharpening. TSA is off by default, as in the authors' scripts for images. The
    filter for pools from another domain is not included.
    """

    class Config(MethodConfig):
        """UDA's options."""

        threshold: float = Field(0.8, ge=0, le=1, description="smallest confidence of a target, beta")
        temperature: float = Field(0.4, gt=0, description="temperature of the targets, tau")
        unlabeled_weight: float = Field(1.0, ge=0, description="weight of the unlabeled loss, lambda")
        annealing: Literal["none", "log", "linear", "exp"] = Field("none", description="schedule of eta_t (TSA)")

    config: Config
    views = Views(labeled={"weak": weak()}, unlabeled={"weak": weak(gradient=False), "strong": strong()})

    def loss(self, batch: Batch) -> Losses:
        c = self.config
        labeled, unlabeled = self.forward_views(batch)
        # Cross-entropy of labeled images whose prediction is not too confident yet
        per_image = F.cross_entropy(labeled.weak.logits, batch.labels, reduction="none")
        unknown = (torch.exp(-per_image.detach()) <= self._annealed(batch.progress)).float()
        supervised = masked_mean(per_image, unknown, self.mean)
        # Sharpened targets of confident images
        target = (unlabeled.weak.logits / c.temperature).softmax(-1)
        confidence, pseudo_label = unlabeled.weak.probabilities.max(-1)
        mask = (confidence > c.threshold).float()
        consistency = (F.cross_entropy(unlabeled.strong.logits, target, reduction="none") * mask).mean()
        total = supervised + c.unlabeled_weight * consistency
        return Losses(total, pseudo_label=pseudo_label, mask=mask, supervised=supervised, unlabeled=consistency)

    def _annealed(self, t: Tensor) -> Tensor:
        """Return eta_t, a scalar; 1 without annealing."""
        if self.config.annealing == "none":
            return torch.ones_like(t)
        a = {"log": 1 - torch.exp(-5 * t), "linear": t, "exp": torch.exp(5 * (t - 1))}[self.config.annealing]
        return a * (1 - 1 / self.info.n_classes) + 1 / self.info.n_classes
