"""ReMixMatch."""

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ferbench.blocks import RecentMean, aligned, linear_ramp, mixup, one_hot, sharpen
from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, Views, strong, weak
from ferbench.contract.method import Method, MethodConfig


class ReMixMatch(Method):
    """ReMixMatch (Berthelot et al., ICLR 2020, Algorithm 1), with RandAugment instead of CTAugment.

        q = Sharpen(Normalize(p(y | weak u) p(y) / p~(y)), T), p~ the mean prediction of 128 batches   (Section 3.1)
        X', U' = MixUp of {strong x} and {weak u, K strong u}, q the target of all views of u          (Section 3.2)
        L = mean over X' of H(p, f) + lambda_U mean over U' of H(q, f)
            + lambda_U1 mean of H(q, f(u_1)) + lambda_r mean of H(r, rotation(u_1 turned by r))        (Eq. 3)

    u_1 is the first strong view, unmixed; r is 0 to 3 quarter turns, drawn for each image. lambda_U and lambda_U1 rise
    over 2^20 of 2^26 images. As in the authors' code, only mixed images change BatchNorm's statistics.
    """

    class Config(MethodConfig):
        """ReMixMatch's options."""

        temperature: float = Field(0.5, ge=0.05, description="temperature of the sharpening, T")
        alpha: float = Field(0.75, gt=0, description="parameter of the Beta distribution of shares")
        strong_views: int = Field(8, ge=1, description="number of strong views of an unlabeled image, K")
        unlabeled_weight: float = Field(1.5, ge=0, description="weight of mixed unlabeled images, lambda_U")
        first_weight: float = Field(0.5, ge=0, description="weight of the first strong view, unmixed, lambda_U1")
        rotation_weight: float = Field(0.5, ge=0, description="weight of the rotation loss, lambda_r")
        ramp: float = Field(1 / 64, gt=0, le=1, description="share of the run in which lambda_U and lambda_U1 rise")

    config: Config
    runs_eagerly = "draws random numbers in the loss"
    prior: Tensor  # (C,) float32, the proportions of the labels

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        anchored = {f"strong{k + 1}": strong() for k in range(config.strong_views)}
        self.views = Views(labeled={"strong": strong()}, unlabeled={"weak": weak(), **anchored})

    def setup(self, net: Network, info: MethodInfo) -> None:
        self.recent = RecentMean(info.n_classes, 128)
        self.register_buffer("prior", torch.tensor(info.class_counts) / info.n_labeled)
        self.add_network("rotation", lambda: nn.Linear(info.feature_size, 4))

    def loss(self, batch: Batch) -> Losses:
        assert batch.unlabeled is not None
        c, x, u = self.config, batch.labeled.images["strong"], batch.unlabeled.images
        # Guess: aligned, then sharpened (Section 3.1)
        with torch.no_grad(), self.probing():
            p = self.net(u["weak"]).probabilities
        q = sharpen(aligned(p, self.prior, self.recent(self.mean(p.mean(0)))), c.temperature)
        # X', U': every image is mixed with a partner among all images
        targets = torch.cat([one_hot(batch.labels, self.info.n_classes), *[q] * len(u)])
        mixed, target = mixup(self, torch.cat([x, *u.values()]), targets, c.alpha)
        logits, (turned, turns) = self.forward_images(mixed).logits, self._turned(u["strong1"])
        with self.probing():
            first, rotated = (self.forward_images(each) for each in (u["strong1"], turned))
        # The four terms of Eq. 3
        terms = {
            "supervised": F.cross_entropy(logits[: len(x)], target[: len(x)]),
            "unlabeled": F.cross_entropy(logits[len(x) :], target[len(x) :]),
            "first": F.cross_entropy(first.logits, q),
            "rotation": F.cross_entropy(self.networks["rotation"](rotated.features), turns),
        }
        ramp = linear_ramp(batch.progress, c.ramp)
        guessed = c.unlabeled_weight * terms["unlabeled"] + c.first_weight * terms["first"]
        total = terms["supervised"] + ramp * guessed + c.rotation_weight * terms["rotation"]
        return Losses(total, pseudo_label=q.argmax(-1), mask=torch.ones_like(q[:, 0]), **terms)

    def _turned(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Turn each image (B, 3, S, S) by a random number of quarters; return images and numbers (B,) int64."""
        turns = (4 * self.uniform(images)).long().clamp_max(3)
        each = torch.stack([images.rot90(k, (2, 3)) for k in range(4)])
        return each[turns, torch.arange(len(images), device=images.device)], turns
