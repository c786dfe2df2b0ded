"""VAT."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ferbench.blocks import full_precision
from ferbench.contract.batch import Batch, Losses, Views, weak
from ferbench.contract.method import Method, MethodConfig

PAPER_SIDE = 32  # side of the paper's images in pixels


class Vat(Method):
    """VAT (Miyato et al., TPAMI 2018): predictions stay the same under the perturbation that changes them most.

        LDS(x) = D(p(y | x), p(y | x + r)), D the KL divergence, its first argument constant         (Eq. 5)
        r = argmax of LDS over ||r|| <= epsilon                                                      (Eq. 6)
        r ~ epsilon g / ||g||, g the gradient of D at r = xi d, d a random unit vector               (Eqs. 10 to 14)
        L = H(y, p(x)) + alpha mean over all images of LDS                                           (Eqs. 7 and 8)
        `entropy` adds the mean over all images of H(p(y | x), p(y | x))                             (Eq. 21)

    Norms are for images of 32 px; at S px they are S / 32 times as large, so that they are equal per pixel. In the
    paper xi is 1e-6; added to pixels in single precision it is lost, and g is only rounding error (see the README).
    Only the first term changes BatchNorm's running statistics, as in the authors' code.
    """

    class Config(MethodConfig):
        """VAT's options."""

        epsilon: float = Field(8.0, gt=0, description="norm of the perturbation of a normalised image of 32 px")
        xi: float = Field(0.01, gt=0, description="norm of the step at which the gradient is taken")
        smoothness_weight: float = Field(1.0, ge=0, description="weight of the smoothness, alpha")
        entropy_weight: float = Field(0.0, ge=0, description="weight of the entropy of predictions")

    config: Config
    runs_eagerly = "takes a gradient and draws random numbers in the loss"
    variants: ClassVar = {"described": {}, "entropy": {"entropy_weight": 1.0}}
    views = Views(labeled={"weak": weak()}, unlabeled={"weak": weak()})

    def loss(self, batch: Batch) -> Losses:
        assert batch.unlabeled is not None
        c, labeled = self.config, batch.labeled.images["weak"]
        supervised = F.cross_entropy(self.forward_images(labeled).logits, batch.labels)
        images = torch.cat([labeled, batch.unlabeled.images["weak"]])
        with self.probing():
            with full_precision(images.device):  # xi d and its effect would be lost in bf16
                clean = self.forward_images(images).logits
                r = self._perturbation(images, clean.detach())
            smoothness = self._divergence(clean.detach(), images + r)
        entropy = -(clean.softmax(-1) * clean.log_softmax(-1)).sum(-1).mean()
        total = supervised + c.smoothness_weight * smoothness + c.entropy_weight * entropy
        return Losses(total, supervised=supervised, smoothness=smoothness, entropy=entropy)

    def _perturbation(self, images: Tensor, clean: Tensor) -> Tensor:
        """Return the perturbation of each image (B, 3, S, S), by one power iteration (Eqs. 10 to 14)."""
        scale = images.shape[-1] / PAPER_SIDE
        d = (self.config.xi * scale * unit(self.normal(images, *images.shape[1:]))).requires_grad_()
        (g,) = torch.autograd.grad(self._divergence(clean, images + d), d)
        return self.config.epsilon * scale * unit(g)

    def _divergence(self, clean: Tensor, images: Tensor) -> Tensor:
        """Return the mean of D(p(y | x), p(y | images)) (Eq. 5); `clean` are the logits for x."""
        perturbed = self.forward_images(images).logits.log_softmax(-1)
        return F.kl_div(perturbed, clean.log_softmax(-1), reduction="batchmean", log_target=True)


def unit(vectors: Tensor) -> Tensor:
    """Return each image's vector with length 1; scaled first, because squares of small gradients underflow to 0."""
    largest = vectors.abs().amax((1, 2, 3), keepdim=True)
    return F.normalize((vectors / largest.clamp_min(1e-30)).flatten(1)).view_as(vectors)
