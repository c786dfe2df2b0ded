"""A step of Meta Pseudo Labels against its equations, by autograd on copies of both nets and without the engine."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tests.support.stepping import Stepper
from tests.support.waiting import NothingWaits
from torch import Tensor, nn

from ferbench.conformance.toy_task import RECIPE, toy_task, toy_training
from ferbench.contract.batch import Batch
from ferbench.training.loop import train
from ferbench_ssl_baselines.meta_pseudo_labels import MetaPseudoLabels

RATE = 0.05
SGD = RECIPE.model_copy(
    update={"steps": 12, "optimizer": "sgd", "momentum": 0.0, "schedule": "constant", "warmup": 0, "evaluations": 1}
)
L, U = RECIPE.labeled_batch, RECIPE.unlabeled_batch


class Step:
    """A step that the engine takes, and the same nets before and after it."""

    def __init__(self, folder: Path, rate: float = RATE, progress: float = 0.5, **options: Any) -> None:
        config = MetaPseudoLabels.Config.model_validate(options)
        recipe = SGD.model_copy(update={"learning_rate": rate})
        self.training = toy_training(MetaPseudoLabels(config), folder, recipe=recipe, task=toy_task(unlabeled=True))
        stepper, run = Stepper(self.training), self.training.run
        self.method, self.net, self.tutor = run.method.train(), run.net, run.method.networks["tutor"]
        with torch.no_grad():  # both know a little, so that labels are not drawn at chance
            for p in (*self.net.head.parameters(), *self.tutor.head.parameters()):  # type: ignore[union-attr, operator]
                p.mul_(5)
        drawn: Any = stepper.batch(0)
        self.batch = Batch(**{**vars(drawn), "progress": torch.tensor(progress)})
        self.before = copy.deepcopy(self.net), copy.deepcopy(self.tutor)
        random = torch.Generator()
        random.set_state(self.method.random.get_state())
        with NothingWaits():
            stepper.step(0, self.batch)
        self.labels = self.expected_labels(random)

    def expected_labels(self, random: torch.Generator) -> Tensor:
        noise = torch.empty(U, 3).uniform_(generator=random)
        return (self.tutor_logits(copy.deepcopy(self.before[1]))[2] - (-noise.log()).log()).argmax(-1)

    def tutor_logits(self, tutor: nn.Module) -> tuple[Tensor, ...]:
        assert self.batch.unlabeled is not None
        u = self.batch.unlabeled.images
        logits = tutor(torch.cat([self.batch.labeled.images["weak"], u["weak"], u["strong"]])).logits
        return tuple(logits.split([L, U, U]))

    def student_loss(self, net: nn.Module, smoothing: float) -> Tensor:
        """On the labels that were drawn, smoothed."""
        assert self.batch.unlabeled is not None
        images = torch.cat([self.batch.unlabeled.images["strong"], self.batch.labeled.images["weak"]])
        log_p = net(images).logits[:U].log_softmax(-1)
        target = (1 - smoothing) * torch.eye(3)[self.labels] + smoothing / 3
        return -(target * log_p).sum(-1).mean()

    def labeled_loss(self, net: nn.Module) -> Tensor:
        return F.cross_entropy(net(self.batch.labeled.images["weak"]).logits, self.batch.labels)

    def student_after(self, smoothing: float, rate: float = RATE) -> nn.Module:
        student = copy.deepcopy(self.before[0])
        gradients = torch.autograd.grad(self.student_loss(student, smoothing), list(student.parameters()))
        with torch.no_grad():
            for p, g in zip(student.parameters(), gradients, strict=True):
                p -= rate * g
        return student

    def feedback(self, smoothing: float) -> Tensor:
        before, after = copy.deepcopy(self.before[0]), self.student_after(smoothing)
        return (self.labeled_loss(before) - self.labeled_loss(after)).detach()


def same(found: nn.Module, expected: nn.Module) -> None:
    for mine, theirs in zip(found.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.15])
def test_the_student_learns_the_labels_that_were_drawn(smoothing: float, tmp_path: Path) -> None:
    step = Step(tmp_path, label_smoothing=smoothing)
    same(step.net, step.student_after(smoothing))
    assert step.labels.unique().numel() > 1


@pytest.mark.parametrize(("progress", "weight"), [(0.05, 4.0), (0.5, 8.0)])
def test_the_tutor_learns_from_labels_from_itself_and_from_its_student(
    progress: float, weight: float, tmp_path: Path
) -> None:
    first = Step(tmp_path / "first")
    sharpened = (first.tutor_logits(first.before[1])[1] / 0.7).softmax(-1).max(-1).values
    threshold = float(sharpened.detach().median())
    step = Step(tmp_path, progress=progress, threshold=threshold, temperature=0.7, ramp=0.1, label_smoothing=0.15)
    tutor = copy.deepcopy(step.before[1])
    labeled, weak, strong = step.tutor_logits(tutor)
    target = (weak / 0.7).softmax(-1).detach()
    mask = (target.max(-1).values >= threshold).float()
    assert 0 < mask.sum() < U
    total = F.cross_entropy(labeled, step.batch.labels, label_smoothing=0.15)
    total = total - weight * ((target * strong.log_softmax(-1)).sum(-1) * mask).mean()
    # h CE(y, T(u)), y the very labels that the student was given
    total = total - step.feedback(0.15) * strong.log_softmax(-1)[range(U), step.labels].mean()
    gradients = torch.autograd.grad(total, list(tutor.parameters()))
    with torch.no_grad():
        for p, g in zip(tutor.parameters(), gradients, strict=True):
            p -= RATE * g
    same(step.tutor, tutor)


def test_the_feedback_is_the_inner_product_of_equation_12_and_has_its_sign(tmp_path: Path) -> None:
    """eta grad L(S') . grad CE(y, S); the authors' code and its ports have the other sign."""
    step = Step(tmp_path, rate=1e-3, label_smoothing=0.0)
    student, after = copy.deepcopy(step.before[0]), step.student_after(0.0, rate=1e-3)
    of_labels = torch.autograd.grad(step.student_loss(student, 0.0), list(student.parameters()))
    of_labeled = torch.autograd.grad(step.labeled_loss(after), list(after.parameters()))
    expected = 1e-3 * sum(float((a * b).sum()) for a, b in zip(of_labels, of_labeled, strict=True))
    step.training.stats.settle(step.training.run.processes)
    found = step.training.stats.read()["terms"]["feedback"]  # type: ignore[index, call-overload]
    assert found == pytest.approx(expected, rel=0.05) and abs(expected) > 1e-6


def test_labels_are_drawn_with_the_tutors_probabilities(tmp_path: Path) -> None:
    method = Step(tmp_path).method
    logits = torch.tensor([2.0, 0.0, 1.0])
    drawn = method._drawn(logits.expand(20_000, 3))  # type: ignore[operator]
    frequencies = torch.bincount(drawn, minlength=3) / 20_000
    torch.testing.assert_close(frequencies, logits.softmax(-1), rtol=0, atol=0.012)


def test_the_student_sees_labels_in_the_end_alone_and_the_tutor_stays_then(tmp_path: Path) -> None:
    _, finetuning = MetaPseudoLabels(MetaPseudoLabels.Config()).stages()
    assert (finetuning.data, finetuning.share) == ("labeled", 0.008)
    settings = finetuning.optimizer
    assert settings is not None and settings.source
    assert settings.values == {"optimizer": "sgd", "learning_rate": 1e-5, "schedule": "constant", "warmup": 0.0}

    tutors = []

    class Watching(MetaPseudoLabels):
        def start_stage(self, stage: Any, context: Any) -> None:
            tutors.append(copy.deepcopy(self.networks["tutor"].state_dict()))

    training = toy_training(Watching(Watching.Config(finetuning=0.5)), tmp_path, recipe=SGD)
    progress = train(training)
    begin, end = tutors[1], training.run.method.networks["tutor"].state_dict()
    assert all(torch.equal(value, begin[name]) for name, value in end.items())
    assert any(not torch.equal(value, tutors[0][name]) for name, value in end.items())
    # Tutor: labeled, weak and strong; student: strong and labeled, labeled before and after; then 6 steps on labels
    assert progress.forward_images == 6 * ((L + 2 * U) + (U + L) + 2 * L) + 6 * L
    assert progress.optimizer_steps == 6 * 2 + 6
