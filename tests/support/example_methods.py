"""Papers' methods, as small as the contract lets them be: what each needs of it beside a loss."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, StepInfo, View, Views, strong, view, weak
from ferbench.contract.method import Method
from ferbench.contract.optimizer import FurtherOptimizer, OptimizerSettings, ParameterGroup
from ferbench.contract.protocol import Recipe
from ferbench.contract.stage import Stage, StageContext, TakeStep

LABELED = Views(labeled={"weak": weak()})
BOTH = Views(labeled={"weak": weak()}, unlabeled={"weak": weak(gradient=False), "strong": strong()})


class Plain(Method):
    """Cross-entropy on weak views; the base of examples whose loss is not the point."""

    views = LABELED

    def loss(self, batch: Batch) -> Losses:
        return Losses(F.cross_entropy(self.forward_views(batch).labeled.weak.logits, batch.labels))


class Sam(Plain):
    """SAM (Foret et al., ICLR 2021): gradients where the loss is worst nearby, taken at the weights themselves."""

    def stages(self) -> Sequence[Stage]:
        return [Stage("train", self.loss, self.views, step=self.step)]

    def step(self, batch: Batch, take_step: TakeStep) -> Losses:
        parameters = [p for p in self.net.parameters() if p.requires_grad]
        # Climb to the worst point at distance rho (Eq. 2)
        take_step.gradients(lambda: self.loss(batch))
        gradients = [p.grad for p in parameters if p.grad is not None]
        scale = 0.05 / (torch.stack([g.square().sum() for g in gradients]).sum().sqrt() + 1e-12)
        climb = [g * scale for g in gradients]
        with torch.no_grad():
            torch._foreach_add_(parameters, climb)
        # Gradients there, for a step from where it began
        losses = take_step.gradients(lambda: self.loss(batch))
        with torch.no_grad():
            torch._foreach_sub_(parameters, climb)
        take_step.step()
        return losses


class FunctionalSam(Plain):
    """The same climb without touching the weights: a forward with other parameters."""

    def loss(self, batch: Batch) -> Losses:
        images = batch.labeled.images["weak"]
        named = {name: p for name, p in self.net.named_parameters() if p.requires_grad}
        with self.probing():
            plain = F.cross_entropy(self.forward_images(images).logits, batch.labels)
        gradients = torch.autograd.grad(plain, list(named.values()))
        moved = {name: p + 0.05 * g for (name, p), g in zip(named.items(), gradients, strict=True)}
        return Losses(F.cross_entropy(self.forward_images(images, parameters=moved).logits, batch.labels))


class MetaPseudoLabels(Method):
    """Meta Pseudo Labels (Pham et al., CVPR 2021): the tutor learns from how its pseudo-labels helped the student."""

    views = BOTH

    def setup(self, net: Network, info: MethodInfo) -> None:
        self.tutor = self.add_network("tutor", self.build_network("tutor"))

    def stages(self) -> Sequence[Stage]:
        tutor = FurtherOptimizer(lambda net: self.networks["tutor"].parameters(), OptimizerSettings(weight_decay=0.01))
        return [Stage("train", self.loss, self.views, step=self.step, further={"tutor": tutor})]

    def loss(self, batch: Batch) -> Losses:
        assert batch.unlabeled is not None
        with torch.no_grad():
            pseudo_label = self.networks["tutor"](batch.unlabeled.images["weak"]).logits.argmax(-1)
        student = F.cross_entropy(self.forward_images(batch.unlabeled.images["strong"]).logits, pseudo_label)
        return Losses(student, pseudo_label=pseudo_label, mask=torch.ones_like(pseudo_label, dtype=torch.float32))

    def step(self, batch: Batch, take_step: TakeStep) -> Losses:
        before = self._labeled_loss(batch)
        student = take_step(lambda: self.loss(batch))
        helped = before - self._labeled_loss(batch)
        tutor = take_step(lambda: self._tutor_loss(batch, student, helped), "tutor")
        return Losses(student.total, pseudo_label=student.pseudo_label, mask=student.mask, tutor=tutor.total)

    def _labeled_loss(self, batch: Batch) -> Tensor:
        with torch.no_grad():
            return F.cross_entropy(self.forward_images(batch.labeled.images["weak"]).logits, batch.labels)

    def _tutor_loss(self, batch: Batch, student: Losses, helped: Tensor) -> Losses:
        assert batch.unlabeled is not None and student.pseudo_label is not None
        tutor = self.networks["tutor"]
        own = F.cross_entropy(tutor(batch.labeled.images["weak"]).logits, batch.labels)
        feedback = F.cross_entropy(tutor(batch.unlabeled.images["strong"]).logits, student.pseudo_label)
        return Losses(own + helped * feedback)


class CoMatch(Method):
    """Of CoMatch (Li et al., ICCV 2021) the parts beside a loss: a projection with an average of its own, a bank."""

    views = BOTH
    bank: Tensor  # (24, 4)

    def setup(self, net: Network, info: MethodInfo) -> None:
        self.add_network("projection", lambda: nn.Sequential(nn.Linear(info.feature_size, 4)), ema=True)
        self.register_buffer("bank", torch.zeros(24, 4))

    def loss(self, batch: Batch) -> Losses:
        assert batch.unlabeled is not None
        labeled, unlabeled = self.forward_views(batch)
        supervised = F.cross_entropy(labeled.weak.logits, batch.labels)
        embedded = F.normalize(self.networks["projection"](unlabeled.strong.features))
        with torch.no_grad():
            target = F.normalize(self.averages["projection"](unlabeled.weak.features))
            self.bank.copy_(torch.cat([target, self.bank])[: len(self.bank)])
        contrast = F.cross_entropy(embedded @ target.T / 0.2, torch.arange(len(target), device=target.device))
        return Losses(supervised + contrast, contrast=contrast)


class CoTraining(Plain):
    """Two nets, of which each has its own weights; the average of the peer is evaluated with the teacher's."""

    evaluates = "mean of both EMA models"

    def setup(self, net: Network, info: MethodInfo) -> None:
        self.add_network("peer", self.build_network("peer"), ema=True)

    def loss(self, batch: Batch) -> Losses:
        images = batch.labeled.images["weak"]
        own, peer = self.forward_images(images).logits, self.networks["peer"](images).logits
        agreement = (own.softmax(-1) - peer.softmax(-1)).square().mean()
        total = F.cross_entropy(own, batch.labels) + F.cross_entropy(peer, batch.labels) + agreement
        return Losses(total, agreement=agreement)

    def evaluation_net(self) -> Network:
        return self.averages["peer"]  # type: ignore[return-value]  # stands for the mean of both


class NoisyStudent(Method):
    """Noisy Student (Xie et al., CVPR 2020): labels of the whole pool by the first net, then a fresh student."""

    views = Views(labeled={"weak": weak()}, unlabeled={"strong": strong()})
    pseudo_label: Tensor  # (N,) int64

    def setup(self, net: Network, info: MethodInfo) -> None:
        self.register_buffer("pseudo_label", torch.zeros(info.n_unlabeled or 1, dtype=torch.int64))
        self.add_network("first", self.build_network("first"), frozen=True)

    def stages(self) -> Sequence[Stage]:
        first = Stage("first", self.first_loss, LABELED, data="labeled")
        return [first, Stage("student", self.loss, self.views, share=2)]

    def start_stage(self, stage: Stage, context: StageContext) -> None:
        if stage.name != "student":
            return
        self.networks["first"].load_state_dict(self.teacher.state_dict())
        for part in context.predict("unlabeled"):
            self.pseudo_label[part.index] = part.logits.argmax(-1)
        self.net.load_state_dict(self.build_network("student").state_dict())

    def first_loss(self, batch: Batch) -> Losses:
        logits = self.forward_images(batch.labeled.images["weak"]).logits
        return Losses(F.cross_entropy(logits, batch.labels))

    def loss(self, batch: Batch) -> Losses:
        assert batch.unlabeled is not None
        labeled, unlabeled = self.forward_views(batch)
        pseudo_label = self.pseudo_label[batch.unlabeled.index]
        total = F.cross_entropy(labeled.weak.logits, batch.labels)
        total = total + F.cross_entropy(unlabeled.strong.logits, pseudo_label)
        return Losses(total, pseudo_label=pseudo_label, mask=torch.ones_like(pseudo_label, dtype=torch.float32))


class MeanTeacher(Method):
    """Mean Teacher (Tarvainen and Valpola, NeurIPS 2017): the teacher has a view of its own."""

    views = Views(labeled={"weak": weak()}, unlabeled={"student": weak(), "teacher": weak(teacher=True)})

    def loss(self, batch: Batch) -> Losses:
        labeled, unlabeled = self.forward_views(batch)
        difference = unlabeled.student.probabilities - unlabeled.teacher.probabilities
        consistency = difference.square().sum(-1).mean()
        supervised = F.cross_entropy(labeled.weak.logits, batch.labels)
        return Losses(supervised + 10 * consistency, consistency=consistency)


class FastHead(Plain):
    """Ten times the rate for the head, whose weights do not decay."""

    def stages(self) -> Sequence[Stage]:
        head = ParameterGroup(lambda net: net.head.parameters(), learning_rate_factor=10, weight_decay=0.0)  # type: ignore[union-attr]
        return [Stage("train", self.loss, self.views, optimizer=OptimizerSettings(weight_decay=0.1, groups=(head,)))]


class Lars(Optimizer):
    """LARS (You et al., 2017) with momentum; keeps a whole number and a fraction that are no tensors."""

    def __init__(self, parameters: Iterable[Any], momentum: float = 0.9) -> None:
        super().__init__(parameters, {"momentum": momentum, "norm_of_last": 0.5, "betas": (0.1, 0.2)})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            group["norm_of_last"] *= 0.9
            for p in (p for p in group["params"] if p.grad is not None):
                state = self.state[p]
                state["steps"] = state.get("steps", 0) + 1
                if "moment" not in state:
                    state["moment"], state["double"] = torch.zeros_like(p), torch.zeros(2, dtype=torch.float64)
                state["double"] += 1 / 3
                gradient = p.grad + group["weight_decay"] * p
                trust = p.norm() / (gradient.norm() + 1e-9)
                state["moment"].mul_(group["momentum"]).add_(gradient * trust)
                p.sub_(group["lr"] * group["norm_of_last"] * state["moment"] / (1 + state["steps"]))


class WithLars(Plain):
    """An optimizer that torch does not have."""

    def stages(self) -> Sequence[Stage]:
        return [Stage("train", self.loss, self.views, optimizer=OptimizerSettings(factory=Lars, source="LARS, Alg. 1"))]


class MixMatch(Method):
    """Of MixMatch (Berthelot et al., NeurIPS 2019) the mixing: shares from Beta, partners from all processes."""

    views = Views(labeled={"weak": weak()})

    def loss(self, batch: Batch) -> Losses:
        images = batch.labeled.images["weak"]
        # By comparison: one_hot looks at the labels, which waits
        targets = (batch.labels.unsqueeze(1) == torch.arange(self.info.n_classes, device=images.device)).float()
        # A partner among the images of all processes, and the larger share for the image itself (Eq. 9)
        partner = self.permutation(images)
        share = self.beta(images, 0.75, 0.75)
        share = torch.maximum(share, 1 - share)
        mixed = share.view(-1, 1, 1, 1) * images + (1 - share).view(-1, 1, 1, 1) * self.gather(images)[partner]
        target = share.view(-1, 1) * targets + (1 - share).view(-1, 1) * self.gather(targets)[partner]
        logits = self.forward_images(mixed).logits
        return Losses(-(target * logits.log_softmax(-1)).sum(-1).mean(), share=share.mean())


def colour(recipe: Recipe, strength: float = 0.5) -> View:
    """Brightness and grey, as SimCLR draws them for each image."""

    def jitter(images: Tensor, boxes: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        drawn = torch.rand(2, len(images), 1, 1, 1, generator=generator).to(images.device, non_blocking=True)
        bright = images.float() * (1 + strength * (2 * drawn[0] - 1))
        grey = bright.mean(-1, keepdim=True).expand_as(bright)
        return torch.where(drawn[1] < 0.2, grey, bright).round().clamp(0, 255).to(torch.uint8), boxes

    return jitter


def small_crop(recipe: Recipe, size: int = 8) -> View:
    """A crop of another size at a place that is drawn for each image, as multi-crop has several of."""

    def crop(images: Tensor, boxes: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        room = images.shape[1] - size + 1
        corner = torch.randint(room, (2, len(images), 1), generator=generator).to(images.device, non_blocking=True)
        inside = torch.arange(size, device=images.device)
        rows, columns = corner[0] + inside, corner[1] + inside
        image = torch.arange(len(images), device=images.device).view(-1, 1, 1)
        shift = torch.cat([corner[1], corner[0]] * 2, 1)
        return images[image, rows.unsqueeze(2), columns.unsqueeze(1)], (boxes - shift).clamp(0, size)

    return crop


KINDS: Mapping[str, Any] = {"simclr-colour": colour, "small-crop": small_crop}


class OwnViews(Method):
    """Views of a plugin: a colour view, and two small crops beside it that the net sees at their own size."""

    views = Views(
        labeled={"weak": weak()},
        unlabeled={
            "colour": view("simclr-colour", strength=0.8, gradient=False),
            "crop1": view("small-crop"),
            "crop2": view("small-crop"),
        },
    )

    def loss(self, batch: Batch) -> Losses:
        labeled, unlabeled = self.forward_views(batch)
        target = unlabeled.colour.probabilities
        crops = [-(target * unlabeled[name].logits.log_softmax(-1)).sum(-1).mean() for name in ("crop1", "crop2")]
        crop = torch.stack(crops).mean()
        return Losses(F.cross_entropy(labeled.weak.logits, batch.labels) + crop, crop=crop)


class Watching(Plain):
    """Keeps what `after_step` is told."""

    seen: Tensor  # (2,)

    def setup(self, net: Network, info: MethodInfo) -> None:
        self.register_buffer("seen", torch.zeros(2))

    def after_step(self, info: StepInfo) -> None:
        self.seen += torch.stack([info.losses.total.detach(), info.batch.step.float()])


EXAMPLES = (Sam, FunctionalSam, MetaPseudoLabels, CoMatch, CoTraining, NoisyStudent, MeanTeacher, FastHead, WithLars)
EXAMPLES = (*EXAMPLES, MixMatch, OwnViews, Watching)
