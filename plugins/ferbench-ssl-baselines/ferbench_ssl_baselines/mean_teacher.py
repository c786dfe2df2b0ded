"""Mean Teacher."""

import torch
import torch.nn.functional as F
from pydantic import Field

from ferbench.blocks import gaussian_ramp
from ferbench.contract.batch import Batch, Losses, Views, weak
from ferbench.contract.method import Method, MethodConfig


class MeanTeacher(Method):
    """Mean Teacher (Tarvainen and Valpola, NeurIPS 2017): the predictions of the average of past nets are the targets.

        J(theta) = E ||f(x, theta', eta') - f(x, theta, eta)||^2      (Eq. 1), eta the augmentation of a view
        theta'_t = alpha theta'_(t-1) + (1 - alpha) theta_t           (Eq. 2)
        L = H(y, f) + w(t) J, w(t) = w_max exp(-5 (1 - T)^2), T from 0 to 1 over the first 40,000 of 150,000 steps

    J is the mean over all images and classes. Eq. 2 is the engine's teacher, with the protocol's alpha, in evaluation
    mode. In the authors' code w_max = 100 M/N for a batch with a labeled share M/N, and the cross-entropy is divided by
    the size of the whole batch; here both sides have their own batches, so w_max is 100.
    """

    class Config(MethodConfig):
        """Mean Teacher's options."""

        consistency_weight: float = Field(100.0, ge=0, description="weight of J after its ramp, w_max")
        ramp: float = Field(40_000 / 150_000, gt=0, le=1, description="share of the run in which the weight rises")

    config: Config
    views = Views(
        labeled={"student": weak(), "teacher": weak(teacher=True)},
        unlabeled={"student": weak(), "teacher": weak(teacher=True)},
    )

    def loss(self, batch: Batch) -> Losses:
        c = self.config
        labeled, unlabeled = self.forward_views(batch)
        supervised = F.cross_entropy(labeled.student.logits, batch.labels)
        # Squared difference from the teacher's predictions (Eq. 1)
        student = torch.cat([labeled.student.probabilities, unlabeled.student.probabilities])
        teacher = torch.cat([labeled.teacher.probabilities, unlabeled.teacher.probabilities])
        consistency = F.mse_loss(student, teacher)
        total = supervised + c.consistency_weight * gaussian_ramp(batch.progress, c.ramp) * consistency
        return Losses(total, supervised=supervised, consistency=consistency)
