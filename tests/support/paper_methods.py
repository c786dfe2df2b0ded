"""Whole methods of papers, written from docs/plugins.md alone, with the equations of each paper above their lines."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ferbench.blocks.alignment import DistributionAlignment
from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, Views, strong, weak
from ferbench.contract.head import Output
from ferbench.contract.method import Method, MethodConfig
from ferbench.contract.stage import EpochContext, Stage, TakeStep


def one_hot(labels: Tensor, n_classes: int) -> Tensor:
    """Rows with a 1 at the label; by comparison, since F.one_hot looks at the labels, which waits."""
    return (labels.unsqueeze(1) == torch.arange(n_classes, device=labels.device)).float()


def sharpened(probabilities: Tensor, temperature: float) -> Tensor:
    """Sharpen(p, T), MixMatch's Eq. 7."""
    powers = probabilities ** (1 / temperature)
    return powers / powers.sum(-1, keepdim=True)


def soft_cross_entropy(target: Tensor, logits: Tensor) -> Tensor:
    """H(target, softmax of logits) of each image."""
    return -(target * logits.log_softmax(-1)).sum(-1)


def mix(method: Method, images: Tensor, targets: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """MixUp of MixMatch (Eqs. 8-11): the larger share is an image's own, the partner is one of all processes'."""
    share, partner = method.beta(images, alpha, alpha), method.permutation(images)
    share = torch.maximum(share, 1 - share)

    def mixed(own: Tensor) -> Tensor:
        weight = share.view(-1, *[1] * (own.ndim - 1))
        return weight * own + (1 - weight) * method.gather(own)[partner]

    return mixed(images), mixed(targets)


def ramp(batch: Batch) -> Tensor:
    """exp(-5 (1 - t)^2), the ramp of Mean Teacher and Deep Co-Training; t is the part of the run that is done."""
    return torch.exp(-5 * (1 - batch.progress).square())


class MixMatch(Method):
    """MixMatch (Berthelot et al., NeurIPS 2019): Algorithm 1, L = L_X + lambda_U L_U (Eqs. 2-5)."""

    class Config(MethodConfig):
        temperature: float = Field(0.5, gt=0, description="T of the sharpening")
        alpha: float = Field(0.75, gt=0, description="of the Beta distribution of shares")
        unlabeled_weight: float = Field(75.0, ge=0, description="lambda_U at the end of its ramp")

    config: Config
    views = Views(labeled={"weak": weak()}, unlabeled={"first": weak(), "second": weak()})

    def loss(self, batch: Batch) -> Losses:
        assert batch.unlabeled is not None
        views = list(batch.unlabeled.images.values())
        # Guessed labels: the sharpened mean of the predictions of K views (Eqs. 6 and 7)
        with torch.no_grad(), self.probing():
            mean = torch.stack([self.net(images).probabilities for images in views]).mean(0)
        guess = sharpened(mean, self.config.temperature)
        # All images are mixed with partners among all (Algorithm 1, lines 10 to 14)
        images = torch.cat([batch.labeled.images["weak"], *views])
        targets = torch.cat([one_hot(batch.labels, self.info.n_classes), *[guess] * len(views)])
        mixed, target = mix(self, images, targets, self.config.alpha)
        sizes = [len(batch.labels), len(mixed) - len(batch.labels)]
        labeled, unlabeled = self.forward_images(mixed).logits.split(sizes)
        of_labeled, of_unlabeled = target.split(sizes)
        # Cross-entropy on labeled, squared distance on unlabeled images (Eqs. 3 to 5)
        supervised = soft_cross_entropy(of_labeled, labeled).mean()
        consistency = (unlabeled.softmax(-1) - of_unlabeled).square().mean()
        total = supervised + self.config.unlabeled_weight * batch.progress * consistency
        pseudo_label = guess.argmax(-1)
        mask = torch.ones_like(guess[:, 0])
        return Losses(total, pseudo_label=pseudo_label, mask=mask, supervised=supervised, unlabeled=consistency)


class ReMixMatch(Method):
    """ReMixMatch (Berthelot et al., ICLR 2020) with RandAugment in place of CTAugment: Algorithm 1, Eq. 3.

    Distribution alignment (Section 3.1), augmentation anchoring with K strong views (Section 3.2), mixing, the first
    strong view unmixed, and the prediction of its rotation (Section 3.3).
    """

    class Config(MethodConfig):
        temperature: float = Field(0.5, gt=0, description="T of the sharpening")
        alpha: float = Field(0.75, gt=0, description="of the Beta distribution of shares")
        strong_views: int = Field(2, ge=1, description="K, strong views of an image (8 in the paper)")
        unlabeled_weight: float = Field(1.5, ge=0, description="lambda_U, of mixed unlabeled images")
        first_weight: float = Field(1.5, ge=0, description="lambda_U1, of the first strong view, unmixed")
        rotation_weight: float = Field(0.5, ge=0, description="lambda_r, of the rotation")

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        anchored = {f"strong{k}": strong() for k in range(config.strong_views)}
        self.views = Views(labeled={"strong": strong()}, unlabeled={"weak": weak(), **anchored})

    def setup(self, net: Network, info: MethodInfo) -> None:
        self.alignment = DistributionAlignment(info, 0.99, self.mean)
        self.add_network("rotation", lambda: nn.Linear(info.feature_size, 4))

    def loss(self, batch: Batch) -> Losses:
        assert batch.unlabeled is not None
        views = dict(batch.unlabeled.images)
        # q = Sharpen(Normalize(q p(y) / mean q), T) of the weak view (Section 3.1)
        with torch.no_grad(), self.probing():
            guess = sharpened(self.alignment(self.net(views["weak"]).probabilities), self.config.temperature)
        # X', U': every image mixed with a partner among all (Algorithm 1, lines 12 to 15)
        targets = torch.cat([one_hot(batch.labels, self.info.n_classes), *[guess] * len(views)])
        images = torch.cat([batch.labeled.images["strong"], *views.values()])
        mixed, target = mix(self, images, targets, self.config.alpha)
        rotated, turns = self._rotated(views["strong0"])
        # One forward of all
        inputs = [mixed, views["strong0"], rotated]
        output = self.forward_images(torch.cat(inputs))
        logits, first, _ = output.logits.split([len(part) for part in inputs])
        per_image = soft_cross_entropy(target, logits)
        # The four terms of Eq. 3
        n = len(batch.labels)
        supervised, unlabeled = per_image[:n].mean(), per_image[n:].mean()
        anchor = soft_cross_entropy(guess, first).mean()
        rotation = F.cross_entropy(self.networks["rotation"](output.features[-len(rotated) :]), turns)
        c = self.config
        total = supervised + c.unlabeled_weight * unlabeled + c.first_weight * anchor + c.rotation_weight * rotation
        terms = {"supervised": supervised, "unlabeled": unlabeled, "anchor": anchor, "rotation": rotation}
        return Losses(total, pseudo_label=guess.argmax(-1), mask=torch.ones_like(guess[:, 0]), **terms)

    def _rotated(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Each image turned by 0 to 3 quarters that are drawn for it."""
        turns = (4 * self.uniform(images)).long().clamp(max=3)
        all_four = torch.stack([images.rot90(k, (2, 3)) for k in range(4)])
        return all_four[turns, torch.arange(len(images), device=images.device)], turns


class FlexMatch(Method):
    """FlexMatch (Zhang et al., NeurIPS 2021): thresholds that follow what is learned of each class."""

    class Config(MethodConfig):
        threshold: float = Field(0.95, ge=0, le=1, description="tau, the threshold of the class that is learned best")

    config: Config
    views = Views(labeled={"weak": weak()}, unlabeled={"weak": weak(gradient=False), "strong": strong()})
    requires = frozenset({"pool_index"})
    learned: Tensor  # (N,) int64, the class that an image was last sure of, or C

    def setup(self, net: Network, info: MethodInfo) -> None:
        n_images = info.n_unlabeled or 1
        self.register_buffer("learned", torch.full((n_images,), info.n_classes))

    def loss(self, batch: Batch) -> Losses:
        assert batch.unlabeled is not None
        labeled, unlabeled = self.forward_views(batch)
        confidence, pseudo_label = unlabeled.weak.probabilities.max(-1)
        # sigma(c): images whose prediction is c with more than tau; the last row counts those not used yet (Eq. 5)
        counts = one_hot(self.learned, self.info.n_classes + 1).sum(0)
        # beta(c) = sigma(c) / max(max sigma, N - sum of sigma) (Eq. 11), and M(x) = x / (2 - x) (Section 3.3)
        status = counts[:-1] / counts.max()
        threshold = self.config.threshold * status / (2 - status)
        mask = (confidence >= threshold[pseudo_label]).float()
        # Cross-entropy of strong views against pseudo-labels above their class's threshold (Eqs. 8 to 10)
        per_image = F.cross_entropy(unlabeled.strong.logits, pseudo_label, reduction="none")
        consistency = (per_image * mask).mean()
        self._learn(batch.unlabeled.index, confidence, pseudo_label)
        total = F.cross_entropy(labeled.weak.logits, batch.labels) + consistency
        return Losses(total, pseudo_label=pseudo_label, mask=mask, threshold=threshold.mean())

    @torch.no_grad()
    def _learn(self, index: Tensor, confidence: Tensor, pseudo_label: Tensor) -> None:
        """Note the class of images that are sure of it (Algorithm 1, lines 13 to 18), those of all processes."""
        index = self.gather(index)
        sure = self.gather(confidence) > self.config.threshold
        self.learned[index] = torch.where(sure, self.gather(pseudo_label), self.learned[index])


class Vat(Method):
    """VAT (Miyato et al., TPAMI 2018): L = cross-entropy + alpha R_vadv (Eq. 8), and entropy (Eq. 20)."""

    class Config(MethodConfig):
        epsilon: float = Field(2.5, gt=0, description="norm of the perturbation of an image")
        xi: float = Field(0.1, gt=0, description="norm of the probe of the power iteration")
        weight: float = Field(1.0, ge=0, description="alpha")
        entropy_weight: float = Field(1.0, ge=0, description="weight of the entropy of unlabeled predictions")

    config: Config
    views = Views(labeled={"weak": weak()}, unlabeled={"weak": weak()})

    def loss(self, batch: Batch) -> Losses:
        assert batch.unlabeled is not None
        labeled, unlabeled = self.forward_views(batch)
        images = torch.cat([batch.labeled.images["weak"], batch.unlabeled.images["weak"]])
        target = torch.cat([labeled.weak.probabilities, unlabeled.weak.probabilities]).detach()
        with self.probing():
            smoothness = self._distance(images, self._adversarial(images, target), target)
        supervised = F.cross_entropy(labeled.weak.logits, batch.labels)
        entropy = soft_cross_entropy(unlabeled.weak.probabilities, unlabeled.weak.logits).mean()
        total = supervised + self.config.weight * smoothness + self.config.entropy_weight * entropy
        return Losses(total, supervised=supervised, smoothness=smoothness, entropy=entropy)

    def _adversarial(self, images: Tensor, target: Tensor) -> Tensor:
        """epsilon g / |g|, g the gradient of the distance at xi d (Eqs. 10 to 14): one power iteration."""
        direction = unit(self.normal(images, *images.shape[1:])).requires_grad_()
        (gradient,) = torch.autograd.grad(self._distance(images, self.config.xi * direction, target), direction)
        return self.config.epsilon * unit(gradient)

    def _distance(self, images: Tensor, perturbation: Tensor, target: Tensor) -> Tensor:
        """D(r, x) = KL(p(x), p(x + r)), but for the entropy of p(x), which is constant (Eq. 5)."""
        return soft_cross_entropy(target, self.forward_images(images + perturbation).logits).mean()


def unit(vectors: Tensor) -> Tensor:
    """Each image's vector, of length 1."""
    return F.normalize(vectors.flatten(1)).view_as(vectors)


class EarlyStopping(Method):
    """Early stopping (Prechelt, 1998), criterion UP: the model before `patience` epochs without a better one."""

    class Config(MethodConfig):
        patience: int = Field(5, ge=1, description="epochs without a better validation accuracy that end the choice")

    config: Config
    views = Views(labeled={"weak": weak()})
    requires = frozenset({"validation"})
    evaluates = "EMA model of the epoch with the best validation accuracy"
    best: Tensor  # () float32
    waited: Tensor  # () int64, epochs since the best

    def setup(self, net: Network, info: MethodInfo) -> None:
        self.register_buffer("best", torch.tensor(-1.0))
        self.register_buffer("waited", torch.tensor(0))
        self.add_network("best_net", self.build_network("best_net"), frozen=True)

    def loss(self, batch: Batch) -> Losses:
        return Losses(F.cross_entropy(self.forward_views(batch).labeled.weak.logits, batch.labels))

    def end_epoch(self, context: EpochContext) -> Mapping[str, Tensor]:
        seen = context.predict("validation")
        accuracy = (seen.logits.argmax(-1) == seen.labels).float().mean()
        better = (accuracy > self.best) & (self.waited < self.config.patience)
        self.best.copy_(torch.where(better, accuracy, self.best))
        self.waited.copy_(torch.where(better, 0, self.waited + 1))
        kept, now = self.networks["best_net"].state_dict(), self.teacher.state_dict()
        for name, value in kept.items():
            value.copy_(torch.where(better, now[name], value))
        return {"validation_accuracy": accuracy}

    def evaluation_net(self) -> Network:
        return self.networks["best_net"]  # type: ignore[return-value]


class Ensemble(nn.Module):
    """The mean of the predictions of several nets."""

    def __init__(self, *members: nn.Module) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Output:
        outputs = [member(images) for member in self.members]
        mean = torch.stack([output.probabilities for output in outputs]).mean(0)
        return Output(mean.clamp_min(1e-12).log(), torch.cat([output.features for output in outputs], -1))


class DeepCoTraining(Method):
    """Deep Co-Training (Qiao et al., ECCV 2018) of two nets: L_sup + lambda_cot L_cot + lambda_dif L_dif (Eq. 6)."""

    class Config(MethodConfig):
        agreement_weight: float = Field(10.0, ge=0, description="lambda_cot at the end of its ramp")
        difference_weight: float = Field(0.5, ge=0, description="lambda_dif at the end of its ramp")
        epsilon: float = Field(0.02, ge=0, description="size of the step of the adversarial images")

    config: Config
    views = Views(labeled={"first": weak(), "second": weak()}, unlabeled={"weak": weak()})
    evaluates = "mean of the predictions of both nets' EMA models"

    def setup(self, net: Network, info: MethodInfo) -> None:
        self.add_network("peer", self.build_network("peer"), ema=True)

    def evaluation_net(self) -> Network:
        return Ensemble(self.teacher, self.averages["peer"])  # type: ignore[return-value]

    def loss(self, batch: Batch) -> Losses:
        assert batch.unlabeled is not None
        images, n = batch.unlabeled.images["weak"], len(batch.labels)
        inputs = [torch.cat([batch.labeled.images[view], images]) for view in ("first", "second")]
        own, peer = self.forward_images(inputs[0]).logits, self.networks["peer"](inputs[1]).logits
        # Each net learns the labels under its own view (Eq. 1)
        supervised = F.cross_entropy(own[:n], batch.labels) + F.cross_entropy(peer[:n], batch.labels)
        # Jensen-Shannon divergence of their predictions of unlabeled images (Eq. 2)
        p, q = own[n:].softmax(-1), peer[n:].softmax(-1)
        mean = ((p + q) / 2).clamp_min(1e-12)
        agreement = -(mean * mean.log()).sum(-1)
        agreement = agreement - (soft_cross_entropy(p, own[n:]) + soft_cross_entropy(q, peer[n:])) / 2
        agreement = agreement.mean()
        # Each net resists what fools the other (Eq. 4)
        difference = self._resisted(inputs[0], own, self.net, self.networks["peer"])
        difference = difference + self._resisted(inputs[1], peer, self.networks["peer"], self.net)
        weights = [self.config.agreement_weight * ramp(batch), self.config.difference_weight * ramp(batch)]
        total = supervised + weights[0] * agreement + weights[1] * difference
        return Losses(total, supervised=supervised, agreement=agreement, difference=difference)

    def _resisted(self, images: Tensor, logits: Tensor, fooled: nn.Module, other: nn.Module) -> Tensor:
        """H(p_fooled(x), p_other(g(x))), g a step along the sign of the gradient for the net that is fooled."""
        with self.probing():
            probe = images.detach().requires_grad_()
            own = F.cross_entropy(fooled(probe).logits, logits.argmax(-1))
            (gradient,) = torch.autograd.grad(own, probe)
            moved = images + self.config.epsilon * gradient.sign()
            return soft_cross_entropy(logits.softmax(-1).detach(), other(moved).logits).mean()


class CoMatch(Method):
    """CoMatch (Li et al., ICCV 2021): L_x + lambda_cls L_cls + lambda_ctr L_ctr (Eq. 9)."""

    class Config(MethodConfig):
        memory: int = Field(2560, ge=1, description="K, images in the memory bank")
        smoothing: float = Field(0.9, ge=0, le=1, description="alpha, share of an image's own prediction")
        temperature: float = Field(0.2, gt=0, description="t")
        threshold: float = Field(0.95, ge=0, le=1, description="tau of the pseudo-labels")
        edge: float = Field(0.8, ge=0, le=1, description="T, likeness from which two images share an edge")
        contrast_weight: float = Field(1.0, ge=0, description="lambda_ctr")

    config: Config
    views = Views(
        labeled={"weak": weak()},
        unlabeled={"weak": weak(teacher=True), "strong": strong(), "strong_again": strong()},
    )
    predictions: Tensor  # (K, C)
    embeddings: Tensor  # (K, 64)

    def setup(self, net: Network, info: MethodInfo) -> None:
        size = info.feature_size
        layers = lambda: nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, 64))  # noqa: E731
        self.add_network("projection", layers, ema=True)
        self.alignment = DistributionAlignment(info, 0.99, self.mean)
        self.register_buffer("predictions", torch.zeros(self.config.memory, info.n_classes))
        self.register_buffer("embeddings", torch.zeros(self.config.memory, 64))

    def loss(self, batch: Batch) -> Losses:
        labeled, unlabeled = self.forward_views(batch)
        with torch.no_grad():
            own = self.alignment(unlabeled.weak.probabilities)
            embedded = self._project(unlabeled.weak, average=True)
            target = self._smoothed(own, embedded, batch)
            self._remember(own, embedded)
        # Cross-entropy of strong views above the threshold (Eq. 5)
        confidence, pseudo_label = target.max(-1)
        mask = (confidence >= self.config.threshold).float()
        consistency = (soft_cross_entropy(target, unlabeled.strong.logits) * mask).mean()
        contrast = self._contrast(target, self._project(unlabeled.strong), self._project(unlabeled.strong_again))
        supervised = F.cross_entropy(labeled.weak.logits, batch.labels)
        total = supervised + consistency + self.config.contrast_weight * contrast
        return Losses(total, pseudo_label=pseudo_label, mask=mask, consistency=consistency, contrast=contrast)

    def _project(self, output: Output, *, average: bool = False) -> Tensor:
        return F.normalize((self.averages if average else self.networks)["projection"](output.features))

    def _smoothed(self, own: Tensor, embedded: Tensor, batch: Batch) -> Tensor:
        """q = alpha p + (1 - alpha) sum of a_k p_k, a the softmax of likeness (Eqs. 3 and 4), once the bank is full."""
        likeness = (embedded @ self.embeddings.T / self.config.temperature).softmax(-1)
        smooth = self.config.smoothing * own + (1 - self.config.smoothing) * likeness @ self.predictions
        return torch.where(batch.step * len(self.gather(own)) >= self.config.memory, smooth, own)

    def _remember(self, own: Tensor, embedded: Tensor) -> None:
        """The newest images of all processes take the place of the oldest."""
        self.predictions.copy_(torch.cat([self.gather(own), self.predictions])[: self.config.memory])
        self.embeddings.copy_(torch.cat([self.gather(embedded), self.embeddings])[: self.config.memory])

    def _contrast(self, target: Tensor, z: Tensor, again: Tensor) -> Tensor:
        """Cross-entropy between the graphs of pseudo-labels (Eq. 6) and of embeddings (Eq. 7), row by row (Eq. 8)."""
        self_loop = torch.eye(len(z), device=z.device)
        alike = target @ target.T
        edges = torch.where(self_loop > 0, self_loop, alike * (alike >= self.config.edge))
        edges = edges / edges.sum(-1, keepdim=True)
        likeness = torch.where(self_loop > 0, (z * again).sum(-1, keepdim=True), z @ z.T) / self.config.temperature
        return soft_cross_entropy(edges, likeness).mean()


class SamFixMatch(Method):
    """FixMatch (Sohn et al., NeurIPS 2020) with SAM (Foret et al., ICLR 2021)."""

    class Config(MethodConfig):
        rho: float = Field(0.05, gt=0, description="distance to the worst point nearby")
        threshold: float = Field(0.95, ge=0, le=1, description="tau of the pseudo-labels")

    config: Config
    views = Views(labeled={"weak": weak()}, unlabeled={"weak": weak(gradient=False), "strong": strong()})

    def stages(self) -> Sequence[Stage]:
        return [Stage("train", self.loss, self.views, step=self.step)]

    def loss(self, batch: Batch) -> Losses:
        labeled, unlabeled = self.forward_views(batch)
        confidence, pseudo_label = unlabeled.weak.probabilities.max(-1)
        mask = (confidence >= self.config.threshold).float()
        per_image = F.cross_entropy(unlabeled.strong.logits, pseudo_label, reduction="none")
        total = F.cross_entropy(labeled.weak.logits, batch.labels) + (per_image * mask).mean()
        return Losses(total, pseudo_label=pseudo_label, mask=mask)

    def step(self, batch: Batch, take_step: TakeStep) -> Losses:
        parameters = [p for p in self.net.parameters() if p.requires_grad]
        losses = take_step.gradients(lambda: self.loss(batch))
        # epsilon = rho g / |g| (Eq. 2)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in parameters]
        norm = torch.cat([g.flatten() for g in gradients]).norm()
        climb = [self.config.rho * g / (norm + 1e-12) for g in gradients]
        with torch.no_grad():
            torch._foreach_add_(parameters, climb)
        # The gradient there leads the step from where it began (Eq. 3)
        take_step.gradients(lambda: self.loss(batch))
        with torch.no_grad():
            torch._foreach_sub_(parameters, climb)
        take_step.step()
        return losses


EXAMPLES = (MixMatch, ReMixMatch, FlexMatch, Vat, EarlyStopping, DeepCoTraining, CoMatch, SamFixMatch)
