"""Each registered method's loss is one graph that is never made again, or the method says why it cannot be."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ferbench.builtin.methods.fixmatch import FixMatch
from ferbench.conformance.toy_task import toy_training, unlabeled_toys
from ferbench.contract.batch import Batch, Losses
from ferbench.contract.counting import counting
from ferbench.discovery.loader import load_registry
from ferbench.errors import PluginError
from ferbench.records.in_progress import snapshot_file
from ferbench.training.compiled_loss import CompiledLoss
from ferbench.training.evaluation import evaluations, logits_of
from ferbench.training.loop import train
from ferbench.training.rehearsal import Cost
from tests.support.stepping import Stepper
from tests.support.toy_runs import toy_run

REGISTRY = load_registry()
STEPS = 10


class Graphs:
    """A backend of torch.compile that counts graphs and runs them as they are."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, module: torch.fx.GraphModule, inputs: Sequence[Tensor]) -> object:
        self.count += 1
        return module.forward


def begun(name: str, folder: Path, stage: int) -> Stepper:
    stepper = Stepper(toy_run(REGISTRY, name, folder, fields={"steps": 1000}), stage)
    torch.manual_seed(5)
    stepper.run.method.random.manual_seed(6)
    return stepper


def compiled(stepper: Stepper, backend: object) -> Stepper:
    stepper.with_loss(CompiledLoss(stepper.run, stepper.planned, stepper.training.log, backend))  # type: ignore[arg-type]
    return stepper


def trained(stepper: Stepper) -> tuple[Cost, dict[str, Tensor]]:
    """What ten steps of other draws each cost, and the teacher they leave."""
    with counting(cost := Cost()):
        for step in range(STEPS):
            stepper.step(step)
    return cost, dict(stepper.run.teacher.net.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize("name", REGISTRY.names("methods"))
def test_ten_steps_are_one_graph_or_the_method_says_why_not(name: str, tmp_path: Path) -> None:
    method = REGISTRY.load("methods", name)
    for stage in range(len(toy_run(REGISTRY, name, tmp_path).stages)):
        stepper = compiled(begun(name, tmp_path / f"{stage}", stage), graphs := Graphs())
        if stepper.planned.stage.step is not None:
            break  # it takes what steps it likes, and is refused for that
        if method.runs_eagerly:
            with pytest.raises(PluginError, match="cannot be compiled; run it with --compile off"):
                trained(stepper)
            break
        cost, teacher = trained(stepper)
        assert graphs.count == 1
        expected_cost, expected = trained(begun(name, tmp_path / f"{stage}-eager", stage))
        assert cost == expected_cost
        assert all(torch.allclose(teacher[key], value, atol=1e-6) for key, value in expected.items())


class Counts(FixMatch):
    """A loss that counts in Python, as nets of ferbench 0.1 did."""

    calls = 0

    def loss(self, batch: Batch) -> Losses:
        self.calls += 1
        losses = super().loss(batch)
        return Losses(losses.total * (1 + 0 * self.calls), **losses.terms)


def test_a_loss_that_would_be_compiled_anew_is_an_error_and_not_slow(tmp_path: Path) -> None:
    stepper = compiled(Stepper(toy_training(Counts(FixMatch.Config()), tmp_path)), Graphs())
    stepper.step(0)
    with pytest.raises(PluginError, match="Counts: the loss of stage 'train' would be compiled anew; run it with"):
        for step in range(1, 4):
            stepper.step(step)


def test_a_net_that_was_evaluated_first_trains(tmp_path: Path) -> None:
    """An evaluation before, or between, neither breaks the graph nor needs another one."""
    stepper = compiled(Stepper(toy_training(FixMatch(FixMatch.Config()), tmp_path)), graphs := Graphs())
    images, maker = unlabeled_toys(4, 1), stepper.run.task.maker
    seen = []
    for step in range(3):
        seen += [logits_of(net, images, maker, 8) for net in (stepper.run.net, stepper.run.teacher.net)]
        stepper.step(step)
    assert graphs.count == 1
    assert not torch.equal(seen[0], seen[2]) and not torch.equal(seen[1], seen[3]), "neither is that of old weights"


@pytest.mark.slow
def test_a_compiled_run_learns_and_its_evaluations_move(tmp_path: Path) -> None:
    """With the compiler that --compile net takes: the teacher is a module of its own, and is never that of a graph."""
    training = toy_training(FixMatch(FixMatch.Config(threshold=0.5)), tmp_path, compile="net")
    progress = train(training)
    plain = toy_training(FixMatch(FixMatch.Config(threshold=0.5)), tmp_path / "plain")
    expected = train(plain)
    assert [row.loss for row in progress.history] == pytest.approx([row.loss for row in expected.history], rel=1e-2)
    assert (progress.forward_images, progress.image_passes) == (expected.forward_images, expected.image_passes)
    snapshots = [snapshot_file(training.folder, epoch) for epoch in progress.evaluated[:-1]]
    found = evaluations(training.run.teacher.net, snapshots, unlabeled_toys(10, 3), training.run.task.maker, 50)
    moved = [abs(found[i + 1] - found[i]).max() for i in range(len(found) - 1)]
    assert min(moved) > 0


def test_a_loss_that_is_no_graph_is_refused_with_the_reason(tmp_path: Path) -> None:
    class Reads(FixMatch):
        def loss(self, batch: Batch) -> Losses:
            losses = super().loss(batch)
            return replace_total(losses, 2.0 if float(losses.total.detach()) > 1 else 1.0)

    def replace_total(losses: Losses, factor: float) -> Losses:
        return Losses(losses.total * factor, **losses.terms)

    stepper = compiled(Stepper(toy_training(Reads(FixMatch.Config()), tmp_path)), Graphs())
    with pytest.raises(PluginError, match="Reads: the loss of stage 'train' cannot be compiled"):
        stepper.step(0)
