"""A fresh stage trains a new net, whose average knows nothing of the one before."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ferbench.conformance.toy_task import RECIPE, toy_training
from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, StepInfo, Views, weak
from ferbench.contract.method import Method, MethodConfig
from ferbench.contract.stage import Stage, StageContext
from ferbench.errors import FerbenchError
from ferbench.training.loop import Training, train
from ferbench.training.stages import plan_stages

SHORT = RECIPE.model_copy(update={"steps": 12, "evaluations": 1})
VIEWS = Views(labeled={"weak": weak()})


class Generations(Method):
    """Three nets, the second and the third new; notes what it sees."""

    views = VIEWS

    def setup(self, net: Network, info: MethodInfo) -> None:
        self.add_network("peer", self.build_network("peer"), ema=True)
        self.started: dict[str, tuple[list[Tensor], list[Tensor]]] = {}
        self.stepped: dict[str, list[list[Tensor]]] = {}

    def stages(self) -> Sequence[Stage]:
        return [Stage(name, self.loss, VIEWS, fresh=name > "a") for name in "abc"]

    def start_stage(self, stage: Stage, context: StageContext) -> None:
        self.now = stage.name
        self.started[stage.name] = copied(self.net), copied(self.teacher)
        self.stepped[stage.name] = []

    def loss(self, batch: Batch) -> Losses:
        if not self.stepped[self.now]:
            self.stepped[self.now].append(copied(self.net))
        images = batch.labeled.images["weak"]
        return Losses(
            sum(F.cross_entropy(net(images).logits, batch.labels) for net in (self.net, self.networks["peer"]))  # type: ignore[arg-type]
        )

    def after_step(self, info: StepInfo) -> None:
        self.stepped[self.now].append(copied(self.net))


def copied(net: torch.nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in net.parameters()]


def training(folder: Path, method: type[Method] = Generations, **more: Any) -> Training:
    return toy_training(method(MethodConfig()), folder, recipe=SHORT, **more)


def equal(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_fresh_stage_begins_with_weights_of_its_own_and_sees_the_last_net_before(tmp_path: Path) -> None:
    run = training(tmp_path)
    begin = copied(run.run.net)
    train(run)
    method: Any = run.run.method
    first = {name: steps[0] for name, steps in method.stepped.items()}
    assert equal(first["a"], begin)
    for name in "bc":
        assert equal(first[name], copied(method.build_network(name)))
    assert not equal(first["b"], first["c"])
    for before, name in ("ab", "bc"):
        net, teacher = method.started[name]
        assert equal(net, method.stepped[before][-1]), "as the stage before left it"
        assert not equal(teacher, net) and not equal(teacher, first[name])


def test_the_average_of_a_fresh_stage_begins_with_its_first_weights(tmp_path: Path) -> None:
    run = training(tmp_path)
    train(run)
    method: Any = run.run.method
    expected, *steps = method.stepped["c"]
    for t, weights in enumerate(steps):
        decay = min(RECIPE.ema_decay, (1 + t) / (10 + t))
        expected = [decay * mean + (1 - decay) * new for mean, new in zip(expected, weights, strict=True)]
    for found, wanted in zip(run.run.teacher.net.parameters(), expected, strict=True):
        torch.testing.assert_close(found, wanted)


def test_evaluations_count_all_steps(tmp_path: Path) -> None:
    planned = plan_stages(Generations(MethodConfig()), SHORT)
    assert [(p.begins, p.extra, p.ema_begins) for p in planned] == [(0, 0, 0), (4, 0, 4), (8, 0, 8)]

    class Later(Generations):
        def stages(self) -> Sequence[Stage]:
            return [Stage(name, self.loss, VIEWS, fresh=name == "b") for name in "abc"]

    assert [p.ema_begins for p in plan_stages(Later(MethodConfig()), SHORT)] == [0, 4, 4]
    progress = train(training(tmp_path))
    assert [row.step for row in progress.history] == [2, 4, 6, 8, 10, 12] and progress.evaluated == [6]


@pytest.mark.parametrize("after", [4, 5, 9])
def test_a_run_of_fresh_stages_resumes_bit_for_bit(after: int, tmp_path: Path) -> None:
    class Plain(Generations):
        def start_stage(self, stage: Stage, context: StageContext) -> None:
            pass

        def loss(self, batch: Batch) -> Losses:
            return Losses(F.cross_entropy(self.net(batch.labeled.images["weak"]).logits, batch.labels))

        def after_step(self, info: StepInfo) -> None:
            pass

    whole = training(tmp_path / "whole", Plain)
    train(whole)
    asked = iter(range(1, 100))
    stopped = training(tmp_path / "b", Plain, stop=lambda: FerbenchError("stop") if next(asked) == after else None)
    with pytest.raises(FerbenchError, match="stop"):
        train(stopped)
    resumed = training(tmp_path / "b", Plain)
    train(resumed)
    assert resumed.progress.resumed == 1
    for name, module in whole.run.modules.items():
        again = resumed.run.modules[name].state_dict()
        assert all(torch.equal(value, again[key]) for key, value in module.state_dict().items()), name
