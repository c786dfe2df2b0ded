"""MixMatch."""

import torch
import torch.nn.functional as F
from pydantic import Field

from ferbench.blocks import linear_ramp, mixup, one_hot, sharpen
from ferbench.contract.batch import Batch, Losses, Views, weak
from ferbench.contract.method import Method, MethodConfig


class MixMatch(Method):
    """MixMatch (Berthelot et al., NeurIPS 2019, Algorithm 1): sharpened guesses, mixed with labels by MixUp.

        q = Sharpen(1/K sum_k p(y | u_k), T), K = 2 weak views u_k of an image                       (Eqs. 6 and 7)
        X', U' = MixUp(X with its labels, W), MixUp(U with its guesses, W), W a shuffle of X and U   (Eqs. 8 to 11)
        L_X = 1/|X'| sum H(p, p(y | x)), L_U = 1/(C |U'|) sum ||q - p(y | u)||^2                     (Eqs. 3 and 4)
        L = L_X + lambda_U L_U                                                                       (Eq. 5)

    lambda_U rises linearly over the first 16,000 of 2^20 steps. As in the authors' code, guesses do not change
    BatchNorm's running statistics. X' and U' are forwarded together; the authors' code interleaves its batches instead.
    """

    class Config(MethodConfig):
        """MixMatch's options."""

        temperature: float = Field(0.5, ge=0.05, description="temperature of the sharpening, T")
        alpha: float = Field(0.75, gt=0, description="parameter of the Beta distribution of shares")
        unlabeled_weight: float = Field(75.0, ge=0, description="lambda_U after its ramp (75 for CIFAR-10)")
        ramp: float = Field(16_000 / 2**20, gt=0, le=1, description="share of the run in which lambda_U rises")

    config: Config
    runs_eagerly = "draws random numbers in the loss"
    views = Views(labeled={"weak": weak()}, unlabeled={"first": weak(), "second": weak()})

    def loss(self, batch: Batch) -> Losses:
        assert batch.unlabeled is not None
        c, guessed = self.config, list(batch.unlabeled.images.values())
        # Guessed labels (Eqs. 6 and 7)
        with torch.no_grad(), self.probing():
            q = sharpen(torch.stack([self.net(images).probabilities for images in guessed]).mean(0), c.temperature)
        # Every image is mixed with a partner among all images (Algorithm 1, lines 10 to 14)
        images = torch.cat([batch.labeled.images["weak"], *guessed])
        targets = torch.cat([one_hot(batch.labels, self.info.n_classes), *[q] * len(guessed)])
        mixed, target = mixup(self, images, targets, c.alpha)
        logits, n = self.forward_images(mixed).logits, len(batch.labels)
        # Cross-entropy of labeled, squared distance of unlabeled images (Eqs. 3 to 5)
        supervised = F.cross_entropy(logits[:n], target[:n])
        unlabeled = F.mse_loss(logits[n:].softmax(-1), target[n:])
        total = supervised + c.unlabeled_weight * linear_ramp(batch.progress, c.ramp) * unlabeled
        mask = torch.ones_like(q[:, 0])
        return Losses(total, pseudo_label=q.argmax(-1), mask=mask, supervised=supervised, unlabeled=unlabeled)
