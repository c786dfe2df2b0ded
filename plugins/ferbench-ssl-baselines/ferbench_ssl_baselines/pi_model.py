"""The Pi-Model."""

import torch
import torch.nn.functional as F
from pydantic import Field

from ferbench.blocks import gaussian_ramp
from ferbench.contract.batch import Batch, Losses, Views, weak
from ferbench.contract.method import Method, MethodConfig


class PiModel(Method):
    """The Pi-Model (Laine and Aila, ICLR 2017, Algorithm 1): two views of an image should have the same prediction.

        z_i = f(g(x_i)), z~_i = f(g(x_i)), each with its own augmentation g and dropout
        L = -(1/|B|) sum over labeled of log z_i[y_i] + w(t) (1/(C |B|)) sum over B of ||z_i - z~_i||^2
        w(t) = w_max (M/N) exp(-5 (1 - T)^2), T rising from 0 to 1 over the first 80 of 300 epochs

    B is drawn from all N images, of which M are labeled, so the first term is M/N times the mean over labeled images.
    Here labeled and unlabeled images have separate batches: both terms are divided by M/N, and the weight is w_max. The
    gradient flows through both predictions.
    """

    class Config(MethodConfig):
        """The Pi-Model's options."""

        consistency_weight: float = Field(100.0, ge=0, description="weight of the difference after its ramp, w_max")
        ramp: float = Field(80 / 300, gt=0, le=1, description="share of the run in which the weight rises")

    config: Config
    views = Views(labeled={"first": weak(), "second": weak()}, unlabeled={"first": weak(), "second": weak()})

    def loss(self, batch: Batch) -> Losses:
        c = self.config
        labeled, unlabeled = self.forward_views(batch)
        supervised = F.cross_entropy(labeled.first.logits, batch.labels)
        # Squared difference between the predictions of all images
        first = torch.cat([labeled.first.probabilities, unlabeled.first.probabilities])
        second = torch.cat([labeled.second.probabilities, unlabeled.second.probabilities])
        consistency = F.mse_loss(first, second)
        total = supervised + c.consistency_weight * gaussian_ramp(batch.progress, c.ramp) * consistency
        return Losses(total, supervised=supervised, consistency=consistency)
