"""CoMatch."""

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ferbench.blocks import Projection, RecentMean, aligned, one_hot, similarity
from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, Views, strong, weak
from ferbench.contract.method import Method, MethodConfig


class CoMatch(Method):
    """CoMatch (Li et al., ICCV 2021, arXiv 2011.11183): class probabilities and embeddings that correct each other.

    L = L_x + lambda_cls L_cls + lambda_ctr L_ctr. The pseudo-label of an unlabeled image is
    q = alpha p + (1 - alpha) sum_k a_k p_k: p is its aligned prediction; p_k are those of the K images in a memory
    (one-hot for labeled ones), weighted by a = softmax_k(z z_k / t) of embeddings z (Section 3.3). L_cls is the
    cross-entropy of strong views with q, for images with max q >= tau. L_ctr is the row-wise cross-entropy between two
    graphs over the batch, whose rows sum to 1 (Section 3.4, Eq. 10): W^q_bj = q_b q_j if that is >= T, else 0, and 1 on
    the diagonal; W^z_bj = exp(z_b z_j / t) of first strong views, with exp(z_b z'_b / t) of both on the diagonal.
    """

    class Config(MethodConfig):
        """CoMatch's options; the defaults are those of its CIFAR experiments."""

        memory: int = Field(2560, ge=1, description="number of images in the memory, K; at most the size of the pool")
        smoothing: float = Field(0.9, ge=0, le=1, description="weight of an image's own prediction, alpha")
        temperature: float = Field(0.2, gt=0, description="temperature of the similarities, t")
        threshold: float = Field(0.95, ge=0, le=1, description="smallest confidence of a pseudo-label that trains, tau")
        edge: float = Field(0.8, ge=0, le=1, description="smallest similarity of pseudo-labels for an edge, T")
        embedding: int = Field(64, ge=1, description="size of an embedding")
        align_batches: int = Field(32, ge=1, description="number of batches in the mean prediction for alignment")
        unlabeled_weight: float = Field(1.0, ge=0, description="weight of the unlabeled loss, lambda_cls")
        contrast_weight: float = Field(1.0, ge=0, description="weight of the contrast, lambda_ctr")

    config: Config
    views = Views(
        labeled={"weak": weak()}, unlabeled={"weak": weak(gradient=False), "strong": strong(), "again": strong()}
    )
    probabilities: Tensor  # (K, C) float32, newest images first
    embeddings: Tensor  # (K, D) float32

    def pool_problem(self, images: int) -> str:
        size = self.config.memory
        problem = f"its memory of {size} images is larger than the pool; reduce it with --set comatch.memory=N"
        return problem if size > images else ""

    def setup(self, net: Network, info: MethodInfo) -> None:
        c = self.config
        self.add_network("projection", lambda: Projection(info.feature_size, c.embedding))
        self.recent = RecentMean(info.n_classes, c.align_batches)
        self.register_buffer("probabilities", torch.zeros(c.memory, info.n_classes))
        self.register_buffer("embeddings", torch.zeros(c.memory, c.embedding))

    def loss(self, batch: Batch) -> Losses:
        c, project = self.config, self.networks["projection"]
        labeled, unlabeled = self.forward_views(batch)
        # Cross-entropy on labeled images
        supervised = F.cross_entropy(labeled.weak.logits, batch.labels)
        # Pseudo-labels of weak views, smoothed with the memory, to which the batch is then added
        with torch.no_grad():
            prediction, embedded = unlabeled.weak.probabilities, project(unlabeled.weak.features)
            own = aligned(prediction, 1, self.recent(self.mean(prediction.mean(0))))
            target = self._smoothed(own, embedded)
            self._remember(self.probabilities, own, one_hot(batch.labels, self.info.n_classes))
            self._remember(self.embeddings, embedded, project(labeled.weak.features))
        # Cross-entropy of strong views with confident pseudo-labels
        confidence, pseudo_label = target.max(-1)
        mask = (confidence >= c.threshold).float()
        consistency = (F.cross_entropy(unlabeled.strong.logits, target, reduction="none") * mask).mean()
        # Contrast between the graphs of pseudo-labels and of embeddings
        contrast = self._contrast(target, project(unlabeled.strong.features), project(unlabeled.again.features))
        # Total
        total = supervised + c.unlabeled_weight * consistency + c.contrast_weight * contrast
        terms = {"supervised": supervised, "unlabeled": consistency, "contrast": contrast}
        return Losses(total, pseudo_label=pseudo_label, mask=mask, **terms)

    def _remember(self, memory: Tensor, *rows: Tensor) -> None:
        """Replace the oldest rows by the newest ones, those of all processes."""
        memory.copy_(torch.cat([*map(self.gather, rows), memory])[: len(memory)])

    def _smoothed(self, own: Tensor, embedded: Tensor) -> Tensor:
        """Return the pseudo-labels q for predictions (B, C) and embeddings (B, D); `own` until the memory is full."""
        alpha, memory = self.config.smoothing, self.probabilities
        likeness = similarity(embedded, self.embeddings, self.config.temperature).softmax(-1)
        is_full = memory[-1].sum() > 0
        return torch.where(is_full, alpha * own + (1 - alpha) * likeness @ memory, own)

    def _contrast(self, target: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """Return L_ctr for pseudo-labels (B, C) and the embeddings (B, D) of two strong views."""
        c, itself = self.config, torch.eye(len(target), dtype=torch.bool, device=target.device)
        alike = target @ target.T
        edges = torch.where(itself, 1.0, alike * (alike >= c.edge))
        pairs = (first * second).sum(-1, keepdim=True) / c.temperature
        likeness = torch.where(itself, pairs, similarity(first, first, c.temperature))
        return F.cross_entropy(likeness, edges / edges.sum(-1, keepdim=True))
