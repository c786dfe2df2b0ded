"""SimMatch."""

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ferbench.blocks import Projection, RecentMean, aligned, one_hot, similarity
from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, Views, strong, weak
from ferbench.contract.method import Method, MethodConfig


class SimMatch(Method):
    """SimMatch (Zheng et al., CVPR 2022, arXiv 2203.06915): views agree in class and in similarity to labeled images.

    A memory has an embedding z_i and the label l_i of every labeled image. p is the aligned prediction of a weak view,
    and q_i = softmax_i(z z_i / t) its similarity to them. Each corrects the other: q^_i ~ q_i p(l_i), with sum 1
    (unfolding), and p^ = alpha p + (1 - alpha) sum over i of class c of q_i (aggregation). L_u is the cross-entropy of
    strong views with p^ if max p^ >= tau, L_in that of their similarities with q^. L = L_s + lambda_u L_u + lambda_in
    L_in. Labeled batches update their embeddings, z_i = normalize(m z_i + (1 - m) z): the temporal ensemble that the
    paper uses for few labels. The memory is used as soon as it has all labeled images.
    """

    class Config(MethodConfig):
        """SimMatch's options; the defaults are those of its CIFAR experiments."""

        smoothing: float = Field(0.9, ge=0, le=1, description="weight of an image's own prediction, alpha")
        temperature: float = Field(0.1, gt=0, description="temperature of the similarities, t")
        threshold: float = Field(0.95, ge=0, le=1, description="smallest confidence of a pseudo-label that trains, tau")
        momentum: float = Field(0.7, ge=0, lt=1, description="momentum of the embeddings in the memory, m")
        embedding: int = Field(128, ge=1, description="size of an embedding")
        align_batches: int = Field(32, ge=1, description="number of batches in the mean prediction for alignment")
        unlabeled_weight: float = Field(1.0, ge=0, description="weight of the unlabeled loss, lambda_u")
        instance_weight: float = Field(1.0, ge=0, description="weight of the similarity loss, lambda_in")

    config: Config
    views = Views(labeled={"weak": weak()}, unlabeled={"weak": weak(gradient=False), "strong": strong()})
    embeddings: Tensor  # (N, D) float32, of the labeled images
    labels: Tensor  # (N, C) float32, one-hot

    def setup(self, net: Network, info: MethodInfo) -> None:
        c = self.config
        self.add_network("projection", lambda: Projection(info.feature_size, c.embedding))
        self.recent = RecentMean(info.n_classes, c.align_batches)
        self.register_buffer("embeddings", torch.zeros(info.n_labeled, c.embedding))
        self.register_buffer("labels", torch.zeros(info.n_labeled, info.n_classes))

    def loss(self, batch: Batch) -> Losses:
        c, project = self.config, self.networks["projection"]
        labeled, unlabeled = self.forward_views(batch)
        # Cross-entropy on labeled images
        supervised = F.cross_entropy(labeled.weak.logits, batch.labels)
        # Similarities of weak and strong views; both levels of the weak view's pseudo-label correct each other
        memory, is_full = self.embeddings.clone(), self.labels.any(-1).all()
        likeness = similarity(project(unlabeled.strong.features), memory, c.temperature)
        with torch.no_grad():
            prediction = unlabeled.weak.probabilities
            own = aligned(prediction, 1, self.recent(self.mean(prediction.mean(0))))
            weak_likeness = similarity(project(unlabeled.weak.features), memory, c.temperature).softmax(-1)
            unfolded = weak_likeness * (own @ self.labels.T)
            instances = unfolded / unfolded.sum(-1, keepdim=True).clamp_min(1e-12)
            aggregated = c.smoothing * own + (1 - c.smoothing) * weak_likeness @ self.labels
            target = torch.where(is_full, aggregated, own)
        # Strong views: cross-entropy with confident semantic pseudo-labels, and with the instances
        confidence, pseudo_label = target.max(-1)
        mask = (confidence >= c.threshold).float()
        consistency = (F.cross_entropy(unlabeled.strong.logits, target, reduction="none") * mask).mean()
        instance = F.cross_entropy(likeness, instances) * is_full
        self._remember(project(labeled.weak.features), batch)
        # Total
        total = supervised + c.unlabeled_weight * consistency + c.instance_weight * instance
        terms = {"supervised": supervised, "unlabeled": consistency, "instance": instance}
        return Losses(total, pseudo_label=pseudo_label, mask=mask, **terms)

    @torch.no_grad()
    def _remember(self, embedded: Tensor, batch: Batch) -> None:
        """Update the embeddings of the labeled images of all processes."""
        index, embedded = self.gather(batch.labeled.index), self.gather(embedded.detach())
        moved = self.config.momentum * self.embeddings[index] + (1 - self.config.momentum) * embedded
        self.embeddings[index] = F.normalize(moved)
        self.labels[index] = one_hot(self.gather(batch.labels), self.info.n_classes)
