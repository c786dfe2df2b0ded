"""What papers need of the contract: each example runs, resumes bit for bit, and is counted whole."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ferbench.conformance.toy_task import RECIPE, toy_images, toy_task, toy_training
from ferbench.contract.batch import Batch, Losses
from ferbench.contract.head import LinearHead, Output
from ferbench.contract.method import Method, MethodConfig
from ferbench.contract.optimizer import OptimizerSettings, ParameterGroup
from ferbench.contract.stage import Stage, TakeStep
from ferbench.errors import FerbenchError, PluginError
from ferbench.training.loop import Training, train
from ferbench.training.stage_cache import StageCache
from tests.support import example_methods as examples
from tests.support import paper_methods as papers
from tests.support.stepping import Stepper
from tests.support.waiting import NothingWaits

SHORT = RECIPE.model_copy(update={"steps": 6, "evaluations": 1})
L, U = RECIPE.labeled_batch, RECIPE.unlabeled_batch
POOL = 48
ALL = (*examples.EXAMPLES, *papers.EXAMPLES)


def training(method: type[Method], folder: Path, **more: Any) -> Training:
    made = method(method.Config())
    task = toy_task(unlabeled=made.uses_unlabeled, kinds=examples.KINDS)
    task = replace(task, validation=toy_images(3, 9))
    return toy_training(made, folder, recipe=SHORT, task=task, **more)


def stopped(method: type[Method], folder: Path, after: int) -> None:
    asked = 0

    def stop() -> FerbenchError | None:
        nonlocal asked
        asked += 1
        return FerbenchError("stop") if asked == after else None

    with pytest.raises(FerbenchError, match="stop"):
        train(training(method, folder, stop=stop))


def state(run: Training) -> dict[str, torch.Tensor]:
    found = {f"{part}.{k}": v for part, module in run.run.modules.items() for k, v in module.state_dict().items()}
    return {name: value.clone() for name, value in found.items()}


@pytest.mark.parametrize("method", ALL)
def test_a_stopped_run_ends_like_a_whole_one(method: type[Method], tmp_path: Path) -> None:
    whole = training(method, tmp_path / "whole")
    begin = state(whole)
    train(whole)
    for after in (1, 4):
        folder = tmp_path / str(after)
        stopped(method, folder, after)
        second = training(method, folder)
        train(second)
        assert second.progress.resumed == 1
        assert second.progress.history == whole.progress.history
        for name in ("image_passes", "forward_images", "optimizer_steps", "optimizers"):
            assert getattr(second.progress, name) == getattr(whole.progress, name), name
        for key, value in state(whole).items():
            assert torch.equal(value, state(second)[key]), key
    changed = {key for key, value in state(whole).items() if not torch.equal(value, begin[key])}
    assert {key.partition(".")[0] for key in changed} >= {"net", "teacher"}


class AuxHead(LinearHead):
    """Its auxiliary loss goes through the backbone."""

    def forward(self, features: torch.Tensor) -> Output:
        return Output(self.linear(features), features, features.square().mean())


@pytest.mark.parametrize("method", [examples.FunctionalSam, papers.Vat, papers.DeepCoTraining, papers.ReMixMatch])
def test_a_gradient_within_a_step_bears_a_head_with_an_auxiliary_loss(method: type[Method], tmp_path: Path) -> None:
    class WithAux(method):  # type: ignore[misc, valid-type]
        def make_head(self, feature_size: int, n_classes: int) -> AuxHead:
            return AuxHead(feature_size, n_classes)

    assert len(train(training(WithAux, tmp_path)).history) == 3


def test_what_only_probes_leaves_batchnorm_alone_and_lets_gradients_flow(tmp_path: Path) -> None:
    run = training(papers.DeepCoTraining, tmp_path).run
    nets = (run.net.train(), run.method.networks["peer"].train())
    before = [{name: value.clone() for name, value in net.named_buffers()} for net in nets]
    images = torch.randn(4, 3, 16, 16, requires_grad=True)
    with run.method.probing():
        total = sum(net(images).logits.square().sum() for net in nets)
    assert torch.autograd.grad(total, images)[0].abs().sum() > 0
    for net, buffers in zip(nets, before, strict=True):
        assert all(torch.equal(value, buffers[name]) for name, value in net.named_buffers())


def test_the_best_epoch_on_validation_is_what_is_evaluated(tmp_path: Path) -> None:
    run = training(papers.EarlyStopping, tmp_path)
    history = train(run).history
    seen = [row.method["validation_accuracy"] for row in history]
    assert float(run.run.method.best) == pytest.approx(max(seen))  # type: ignore[arg-type]
    best = seen.index(max(seen))
    assert int(run.run.method.waited) == len(seen) - 1 - best  # type: ignore[arg-type]


COUNTS = {  # of six steps: images through backbones, optimizer steps
    examples.Sam: (6 * 2 * L, 6),
    examples.FunctionalSam: (6 * 2 * L, 6),
    examples.MetaPseudoLabels: (6 * ((L + U + U + L) + (L + U)), 12),
    examples.CoMatch: (6 * (L + U + U), 6),
    examples.CoTraining: (6 * 2 * L, 6),
    examples.NoisyStudent: (2 * L + POOL + 4 * (L + U), 6),
    examples.MeanTeacher: (6 * (L + U + U), 6),
    examples.WithLars: (6 * L, 6),
    examples.OwnViews: (6 * (L + 3 * U), 6),
    papers.MixMatch: (6 * (2 * U + L + 2 * U), 6),
    papers.ReMixMatch: (6 * (U + (L + 3 * U) + U + U), 6),
    papers.FlexMatch: (6 * (L + 2 * U), 6),
    papers.Vat: (6 * 3 * (L + U), 6),
    papers.EarlyStopping: (6 * L + 3 * 9, 6),
    papers.DeepCoTraining: (6 * 6 * (L + U), 6),
    papers.CoMatch: (6 * (L + 3 * U), 6),
    papers.SamFixMatch: (6 * 2 * (L + 2 * U), 6),
}


@pytest.mark.parametrize("method", COUNTS)
def test_every_forward_and_every_optimizer_step_counts(method: type[Method], tmp_path: Path) -> None:
    progress = train(training(method, tmp_path))
    assert (progress.forward_images, progress.optimizer_steps) == COUNTS[method]


def test_forwards_of_copies_and_inner_steps_count_and_image_passes_keep_their_meaning(tmp_path: Path) -> None:
    import copy

    from ferbench.contract.batch import StepInfo

    class Hides(examples.Plain):
        def start_stage(self, stage: Stage, context: Any) -> None:
            self.hidden = [copy.deepcopy(self.net)]  # in a list, so that nobody finds it

        def after_step(self, info: StepInfo) -> None:
            inner = torch.optim.SGD(self.hidden[0].parameters(), 0.1)
            self.hidden[0](info.batch.labeled.images["weak"]).logits.sum().backward()
            inner.step()

    progress = train(training(Hides, tmp_path))
    assert progress.image_passes == 6 * L
    assert (progress.forward_images, progress.optimizer_steps) == (6 * 2 * L, 12)


@pytest.mark.parametrize("method", ALL)
def test_nothing_in_the_engines_part_of_a_step_waits(method: type[Method], tmp_path: Path) -> None:
    stepper = Stepper(training(method, tmp_path))
    batch = stepper.batch(0)
    with NothingWaits():
        stepper.step(0, batch)


def test_a_forward_ahead_of_its_loss_is_in_the_runs_precision_and_keeps_its_graph(tmp_path: Path) -> None:
    kinds = []

    class Ahead(examples.Plain):
        def stages(self) -> list[Stage]:
            return [Stage("train", self.loss, self.views, step=self.step)]

        def step(self, batch: Batch, take_step: TakeStep) -> Losses:
            features = take_step.forward(lambda: self.net.backbone(batch.labeled.images["weak"]))
            kinds.append(features.dtype)
            return take_step(lambda: Losses(features.square().sum()))

    for precision, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        run = training(Ahead, tmp_path / precision, precision=precision)
        before = run.run.net.backbone.stem.weight.detach().clone()
        Stepper(run).step(0)
        assert kinds.pop() == kind
        assert not torch.equal(run.run.net.backbone.stem.weight, before)


def test_sam_takes_the_gradient_of_the_worst_point_nearby(tmp_path: Path) -> None:
    """Against the definition, with autograd and no engine: one SGD step from the weights along the moved gradient."""
    recipe = RECIPE.model_copy(update={"steps": 1, "optimizer": "sgd", "momentum": 0.0, "evaluations": 1, "warmup": 0})
    run = toy_training(examples.Sam(MethodConfig()), tmp_path, recipe=recipe)
    batch = Stepper(run).batch(0)
    other = toy_training(examples.Sam(MethodConfig()), tmp_path / "other", recipe=recipe).run.net.train()
    parameters = list(other.parameters())

    def gradients() -> list[torch.Tensor]:
        loss = torch.nn.functional.cross_entropy(other(batch.labeled.images["weak"]).logits, batch.labels)
        return list(torch.autograd.grad(loss, parameters))

    first = gradients()
    norm = torch.cat([g.flatten() for g in first]).norm()
    with torch.no_grad():
        for p, g in zip(parameters, first, strict=True):
            p += 0.05 * g / norm
    second = gradients()
    with torch.no_grad():
        for p, g, h in zip(parameters, first, second, strict=True):
            p += -0.05 * g / norm - recipe.learning_rate * h
    train(run)
    for mine, expected in zip(run.run.net.parameters(), parameters, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-6)


def test_groups_have_their_own_rate_and_decay_and_the_schedule_multiplies_each(tmp_path: Path) -> None:
    run = training(examples.FastHead, tmp_path)
    stepper = Stepper(run)
    stepper.step(0)
    (optimizer,) = stepper.optimizers.values()
    rest, head = optimizer.param_groups
    assert head["lr"] == pytest.approx(10 * rest["lr"]) and head["weight_decay"] == 0 and rest["weight_decay"] == 0.1
    assert {id(p) for p in head["params"]} == {id(p) for p in run.run.net.head.parameters()}
    train(run)
    facts: Any = run.progress.optimizers["train"]["main"]  # type: ignore[index, call-overload]
    assert [group["parameters"] for group in facts["groups"]] == [
        sum(p.numel() for p in part.parameters()) for part in (run.run.net.backbone, run.run.net.head)
    ]
    assert [group["learning_rate"] for group in facts["groups"]] == pytest.approx([0.03, 0.3])
    assert facts["optimizer"] == "AdamW" and facts["departures"] == {"weight_decay": 0.1, "groups": 1}


def test_a_networks_weights_follow_its_name_and_leave_the_net_alone(tmp_path: Path) -> None:
    alone, peer = training(examples.Plain, tmp_path / "a"), training(examples.CoTraining, tmp_path / "b")
    assert all(torch.equal(a, b) for a, b in zip(alone.run.net.parameters(), peer.run.net.parameters(), strict=True))
    method = peer.run.method
    first, again, other = (method.build_network(name).state_dict() for name in ("peer", "peer", "another"))
    before = torch.get_rng_state()
    method.build_network("third")
    assert torch.equal(torch.get_rng_state(), before)
    weight = "backbone.conv.weight"
    assert torch.equal(first[weight], again[weight]) and not torch.equal(first[weight], other[weight])
    assert torch.equal(first[weight], method.networks["peer"].state_dict()[weight])


def test_the_average_of_a_network_follows_the_teachers_rule_and_is_not_trained(tmp_path: Path) -> None:
    run = training(examples.CoMatch, tmp_path)
    values = [run.run.method.averages["projection"][0].weight.clone()]  # type: ignore[index]
    seen: list[torch.Tensor] = []

    class Records(examples.CoMatch):
        def after_step(self, info: Any) -> None:
            seen.append(self.networks["projection"][0].weight.detach().clone())  # type: ignore[index]

    run = training(Records, tmp_path)
    train(run)
    expected = values[0]
    for step, weight in enumerate(seen):
        decay = min(RECIPE.ema_decay, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight
    torch.testing.assert_close(run.run.method.averages["projection"][0].weight, expected)  # type: ignore[index]
    assert not any(p.requires_grad for p in run.run.method.averages.parameters())


def test_frozen_networks_are_in_evaluation_mode_and_stay_as_they_were(tmp_path: Path) -> None:
    run = training(examples.NoisyStudent, tmp_path)
    train(run)
    first = run.run.method.networks["first"]
    assert not first.training and run.run.method.training
    assert run.run.method.pseudo_label.unique().numel() > 1


def test_a_view_for_the_teacher_does_not_go_through_the_student(tmp_path: Path) -> None:
    run = training(examples.MeanTeacher, tmp_path)
    seen: dict[str, int] = {"student": 0, "teacher": 0}
    for name, net in (("student", run.run.net), ("teacher", run.run.teacher.net)):
        net.register_forward_pre_hook(
            lambda module, inputs, name=name: seen.update({name: seen[name] + len(inputs[0])})  # type: ignore[misc]
        )
    Stepper(run).step(0)
    assert seen == {"student": L + U, "teacher": U}


def test_a_parameter_is_trained_once_and_groups_pick_what_is_trained(tmp_path: Path) -> None:
    def refused(settings: OptimizerSettings, match: str) -> None:
        class Wrong(examples.Plain):
            def stages(self) -> list[Stage]:
                part = None if "train the same" in match else lambda net: list(net.backbone.parameters())
                return [Stage("train", self.loss, self.views, optimizer=settings, parameters=part)]

        with pytest.raises(PluginError, match=match):
            train(training(Wrong, tmp_path))

    head = ParameterGroup(lambda net: net.head.parameters())  # type: ignore[union-attr]
    backbone = ParameterGroup(lambda net: net.backbone.parameters())  # type: ignore[union-attr]
    refused(OptimizerSettings(groups=(head,)), "Wrong: optimizer 'main' of stage 'train': .*does not train")
    refused(OptimizerSettings(groups=(backbone, backbone)), "two parameter groups pick the same")
    refused(OptimizerSettings(factory=lambda groups: "no"), "gave a str")  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda t, b: t, r"Bad: the loss of stage 'train' returned a Tensor; return Losses"),
        (lambda t, b: Losses(t, rate=0.5), r"term 'rate' is a float; a scalar tensor"),
        (lambda t, b: Losses(t, each=t.expand(8)), r"term 'each' has shape \(8,\); a scalar"),
        (lambda t, b: Losses(t.expand(8)), r"its total has shape \(8,\)"),
        (lambda t, b: Losses(t, pseudo_label=b.repeat(2), mask=b.repeat(2).float()), r"\(32,\) int64; \(16,\) int64"),
        (lambda t, b: Losses(t, pseudo_label=b.float(), mask=b.float()), r"pseudo_label is \(16,\) float32; \(16,\) i"),
        (lambda t, b: Losses(t, pseudo_label=b, mask=b > 0), r"mask is \(16,\) bool; \(16,\) float is expected"),
    ],
)
def test_a_wrong_loss_is_named(made: Any, message: str, tmp_path: Path) -> None:
    class Bad(examples.MeanTeacher):
        def loss(self, batch: Batch) -> Losses:
            losses = super().loss(batch)
            assert batch.unlabeled is not None
            return made(losses.total, batch.unlabeled.index)  # type: ignore[no-any-return]

    with pytest.raises(PluginError, match=message):
        train(training(Bad, tmp_path))


def test_an_unknown_optimizer_of_a_step_is_named(tmp_path: Path) -> None:
    class Lost(examples.Plain):
        def stages(self) -> list[Stage]:
            return [Stage("train", self.loss, self.views, step=self.step)]

        def step(self, batch: Batch, take_step: TakeStep) -> Losses:
            return take_step(lambda: self.loss(batch), "tutor")

    with pytest.raises(PluginError, match="stage 'train' has no optimizer 'tutor'; it has main"):
        train(training(Lost, tmp_path))


def test_a_cached_stage_hands_on_what_it_cost(tmp_path: Path) -> None:
    class Cached(examples.NoisyStudent):
        def stages(self) -> list[Stage]:
            first, student = super().stages()
            return [replace(first, cache=True), student]

    cache = StageCache(tmp_path / "stages", {})
    one, two = (training(Cached, tmp_path / name, stage_cache=cache) for name in "ab")
    train(one)
    train(two)
    assert one.progress.forward_images == two.progress.forward_images == COUNTS[examples.NoisyStudent][0]
    assert one.progress.optimizer_steps == two.progress.optimizer_steps == 6
    assert one.progress.optimizers == two.progress.optimizers


def test_after_step_is_told_the_batch_and_the_losses_of_the_step(tmp_path: Path) -> None:
    run = training(examples.Watching, tmp_path)
    history = train(run).history
    total, steps = run.run.method.seen.tolist()  # type: ignore[union-attr, operator]
    assert total == pytest.approx(sum(row.loss * n for row, n in zip(history, (2, 2, 2), strict=True)), rel=1e-5)
    assert steps == sum(range(6))


def test_state_that_no_checkpoint_can_hold_is_refused_by_name(tmp_path: Path) -> None:
    class Odd(torch.optim.SGD):
        def step(self, closure: None = None) -> None:  # type: ignore[override]
            super().step()
            for group in self.param_groups:
                self.state[group["params"][0]]["history"] = {1, 2}

    class WithOdd(examples.Plain):
        def stages(self) -> list[Stage]:
            return [Stage("train", self.loss, self.views, optimizer=OptimizerSettings(factory=Odd))]

    with pytest.raises(PluginError, match="Odd: 'history' of its state is a set, which no checkpoint can hold"):
        train(training(WithOdd, tmp_path))


@pytest.mark.parametrize("net", ["teacher", "student"])
def test_the_unlabeled_pool_is_predicted_whole_by_position_and_without_labels(tmp_path: Path, net: str) -> None:
    found: list[Any] = []

    class Asks(examples.MeanTeacher):
        def end_epoch(self, context: Any) -> dict[str, torch.Tensor]:
            found[:] = list(context.predict("unlabeled", net=net))
            return {}

    recipe = SHORT.model_copy(update={"evaluation_batch": 20})
    run = toy_training(Asks(MethodConfig()), tmp_path, recipe=recipe)
    train(run)
    assert [len(part.index) for part in found] == [20, 20, 8]
    assert torch.cat([part.index for part in found]).tolist() == list(range(POOL))
    assert set(vars(found[0])) == {"logits", "index"}
    module, pool = run.run.teacher.net if net == "teacher" else run.run.net, run.run.task.unlabeled
    assert module.training == (net == "student"), "the mode is as it was"
    with torch.no_grad():
        expected = module.eval()(run.run.task.maker.normalised(pool.images)).logits  # type: ignore[union-attr]
    torch.testing.assert_close(torch.cat([part.logits for part in found]), expected)
