"""Meta Pseudo Labels."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ferbench.blocks import linear_ramp
from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, Views, strong, weak
from ferbench.contract.method import Method, MethodConfig
from ferbench.contract.optimizer import FurtherOptimizer, OptimizerSettings
from ferbench.contract.stage import Stage, TakeStep

FINETUNING = OptimizerSettings(
    optimizer="sgd", learning_rate=1e-5, schedule="constant", warmup=0.0, source="the paper, fine-tuning on CIFAR-10"
)


class MetaPseudoLabels(Method):
    """Meta Pseudo Labels (Pham et al., CVPR 2021, arXiv 2003.10580): a tutor learns from the progress of its student.

    The net is the student S; the network `tutor` is the paper's teacher T. In each step, labels y ~ T(u) are drawn for
    unlabeled images, S takes a step on CE(y, S(u)), and T takes one on h CE(y, T(u)) plus its own loss. h is the
    student's labeled loss before its step minus that after it, the first-order form of eta grad L(S') . grad CE(y, S)
    (Eq. 12): labels that helped become more likely. T's own loss is that of UDA: CE on labeled images, and soft CE of
    strong views with confident, sharpened weak views. S is trained on labels only at the end, by fine-tuning.
    """

    class Config(MethodConfig):
        """Meta Pseudo Labels' options; the defaults are those of the authors' code for CIFAR-10."""

        temperature: float = Field(0.7, gt=0, description="temperature of the tutor's sharpened predictions")
        threshold: float = Field(0.6, ge=0, le=1, description="smallest sharpened confidence that trains the tutor")
        unlabeled_weight: float = Field(8.0, ge=0, description="weight of the tutor's unlabeled loss after its ramp")
        ramp: float = Field(1 / 60, gt=0, le=1, description="share of the steps in which that weight rises from 0")
        label_smoothing: float = Field(0.15, ge=0, lt=1, description="label smoothing for both nets, but not in h")
        finetuning: float = Field(0.008, gt=0, lt=1, description="share of the steps for fine-tuning on labels (8,000)")

    config: Config
    runs_eagerly = "draws labels in the loss"
    views = Views(labeled={"weak": weak()}, unlabeled={"weak": weak(), "strong": strong()})

    def setup(self, net: Network, info: MethodInfo) -> None:
        self.add_network("tutor", self.build_network("tutor"))

    def stages(self) -> Sequence[Stage]:
        share, tutor = self.config.finetuning, FurtherOptimizer(lambda net: self.networks["tutor"].parameters())
        meta = Stage("meta", self.loss, self.views, step=self.step, further={"tutor": tutor}, share=1 - share)
        student = Views(labeled=self.views.labeled)
        return [
            meta,
            Stage(
                "finetuning", self.finetuning_loss, student, data="labeled", optimizer=FINETUNING, share=share,
                parameters=lambda net: list(net.parameters()),
            ),
        ]  # fmt: skip

    def step(self, batch: Batch, take_step: TakeStep) -> Losses:
        # Labels are drawn from the tutor's predictions for the student's images
        tutor = take_step.forward(lambda: self._tutor(batch))
        labels = self._drawn(tutor[2])
        # The student's step, and the change of its loss on labeled images
        before = take_step.forward(lambda: self._labeled_loss(batch))
        student = take_step(lambda: self._student_loss(batch, labels))
        feedback = self.mean(before - take_step.forward(lambda: self._labeled_loss(batch)))
        # The tutor's step
        own = take_step(lambda: self._tutor_loss(batch, tutor, labels, feedback), "tutor")
        terms = {"feedback": feedback, "tutor": own.total.detach(), **own.terms}
        return Losses(student.total, pseudo_label=student.pseudo_label, mask=student.mask, **terms)

    def loss(self, batch: Batch) -> Losses:
        """Return only the student's loss, with newly drawn labels."""
        return self._student_loss(batch, self._drawn(self._tutor(batch)[2]))

    def finetuning_loss(self, batch: Batch) -> Losses:
        """Return the cross-entropy on labeled images."""
        supervised = F.cross_entropy(self.forward_images(batch.labeled.images["weak"]).logits, batch.labels)
        return Losses(supervised, supervised=supervised)

    def _tutor(self, batch: Batch) -> Sequence[Tensor]:
        """Return the tutor's logits for labeled, weak and strong views, from one forward."""
        assert batch.unlabeled is not None
        images = [batch.labeled.images["weak"], *(batch.unlabeled.images[view] for view in ("weak", "strong"))]
        logits: Tensor = self.networks["tutor"](torch.cat(images)).logits
        return logits.split([len(each) for each in images])

    def _drawn(self, logits: Tensor) -> Tensor:
        """Draw a class for each row, (B,), from its softmax: the largest logit after adding Gumbel noise."""
        noise = -(-self.uniform(logits, logits.shape[1]).log()).log()
        return (logits.detach() + noise).argmax(-1)

    def _student_loss(self, batch: Batch, labels: Tensor) -> Losses:
        assert batch.unlabeled is not None
        # Labeled images are included only for BatchNorm's statistics, as in the authors' code
        images = torch.cat([batch.unlabeled.images["strong"], batch.labeled.images["weak"]])
        logits = self.forward_images(images).logits[: len(labels)]
        total = F.cross_entropy(logits, labels, label_smoothing=self.config.label_smoothing)
        return Losses(total, pseudo_label=labels, mask=torch.ones_like(logits[:, 0]))

    def _labeled_loss(self, batch: Batch) -> Tensor:
        """Return the student's cross-entropy on labeled images; called before and after its step on the same batch."""
        with torch.no_grad(), self.probing():
            return F.cross_entropy(self.forward_images(batch.labeled.images["weak"]).logits, batch.labels)

    def _tutor_loss(self, batch: Batch, tutor: Sequence[Tensor], labels: Tensor, feedback: Tensor) -> Losses:
        c, (labeled, weak_view, strong_view) = self.config, tutor
        supervised = F.cross_entropy(labeled, batch.labels, label_smoothing=c.label_smoothing)
        # UDA
        target = (weak_view.detach() / c.temperature).softmax(-1)
        mask = (target.max(-1).values >= c.threshold).float()
        consistency = (F.cross_entropy(strong_view, target, reduction="none") * mask).mean()
        weight = c.unlabeled_weight * linear_ramp(batch.progress, c.ramp)
        # The student's feedback, for exactly the labels that it was given
        meta = feedback * F.cross_entropy(strong_view, labels)
        total = supervised + weight * consistency + meta
        return Losses(total, supervised=supervised.detach(), unlabeled=consistency.detach())
