"""CCSSL, based on FixMatch."""

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ferbench.blocks import Projection, similarity
from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, Views, strong, weak
from ferbench.contract.method import Method, MethodConfig


class CCSSL(Method):
    """CCSSL (Yang et al., CVPR 2022, arXiv 2203.02261), based on FixMatch: L_x + lambda_u L_u + lambda_c L_c.

    L_c is a supervised contrast of two strong views of all unlabeled images, by pseudo-labels. Two embeddings attract
    each other with w_ij = 1 if they are of one image, q_i q_j if their images have the same pseudo-label and both
    confidences q reach T_push, and 0 otherwise (Eqs. 5 and 6). For anchor i, L_c is the weighted mean of
    -log softmax_j(z_i z_j / T) over all other j, with w_ij outside the logarithm (Eq. 8, corrected by the authors).
    """

    class Config(MethodConfig):
        """CCSSL's options; the defaults are those of its CIFAR experiments."""

        threshold: float = Field(0.95, ge=0, le=1, description="smallest confidence of a pseudo-label that trains, tau")
        push: float = Field(0.0, ge=0, le=1, description="smallest confidence for attraction within a class, T_push")
        temperature: float = Field(0.07, gt=0, description="temperature of the contrast, T")
        embedding: int = Field(64, ge=1, description="size of an embedding")
        unlabeled_weight: float = Field(1.0, ge=0, description="weight of the unlabeled loss, lambda_u")
        contrast_weight: float = Field(1.0, ge=0, description="weight of the contrast, lambda_c")

    config: Config
    views = Views(
        labeled={"weak": weak()}, unlabeled={"weak": weak(gradient=False), "strong": strong(), "again": strong()}
    )

    def setup(self, net: Network, info: MethodInfo) -> None:
        self.add_network("projection", lambda: Projection(info.feature_size, self.config.embedding))

    def loss(self, batch: Batch) -> Losses:
        c = self.config
        labeled, unlabeled = self.forward_views(batch)
        # FixMatch: labeled images, and strong views of images with confident weak views
        supervised = F.cross_entropy(labeled.weak.logits, batch.labels)
        confidence, pseudo_label = unlabeled.weak.probabilities.max(-1)
        mask = (confidence >= c.threshold).float()
        consistency = (F.cross_entropy(unlabeled.strong.logits, pseudo_label, reduction="none") * mask).mean()
        # Class-aware contrast of both strong views of all images
        projection = self.networks["projection"]
        embedded = torch.cat([projection(unlabeled.strong.features), projection(unlabeled.again.features)])
        contrast = self._contrast(embedded, self._weights(confidence, pseudo_label))
        # Total
        total = supervised + c.unlabeled_weight * consistency + c.contrast_weight * contrast
        terms = {"supervised": supervised, "unlabeled": consistency, "contrast": contrast}
        return Losses(total, pseudo_label=pseudo_label, mask=mask, **terms)

    def _weights(self, confidence: Tensor, pseudo_label: Tensor) -> Tensor:
        """Return the weights w of all pairs of images, (B, B), with 1 on the diagonal (Eqs. 5 and 6)."""
        sure = confidence * (confidence >= self.config.push)
        alike = sure.unsqueeze(1) * sure * (pseudo_label.unsqueeze(1) == pseudo_label)
        itself = torch.eye(len(alike), device=alike.device)
        return torch.where(itself > 0, 1.0, alike)

    def _contrast(self, embedded: Tensor, weights: Tensor) -> Tensor:
        """Return L_c for the embeddings (2B, D) of two views, one view after the other (Eq. 8)."""
        itself = torch.eye(len(embedded), dtype=torch.bool, device=embedded.device)
        log_share = similarity(embedded, embedded, self.config.temperature).masked_fill(itself, -1e9).log_softmax(-1)
        weight = weights.repeat(2, 2).masked_fill(itself, 0.0)
        return -((weight * log_share).sum(-1) / weight.sum(-1)).mean()
