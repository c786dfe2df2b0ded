"""The loop: epochs and evaluations, stages, and what stops it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from ferbench.builtin.methods.fixmatch import FixMatch
from ferbench.builtin.methods.supervised import Supervised
from ferbench.conformance.toy_task import RECIPE, toy_images, toy_task, toy_training, unlabeled_toys
from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, Losses, MethodInfo, Views, weak
from ferbench.contract.events import Epoch, EpochRow
from ferbench.contract.head import Head, LinearHead, Output
from ferbench.contract.method import Method, MethodConfig
from ferbench.contract.optimizer import OptimizerSettings
from ferbench.contract.stage import EpochContext, Stage
from ferbench.data.load.stream import Stream
from ferbench.data.prepare.stream_index import ensure_index
from ferbench.errors import FerbenchError, PluginError
from ferbench.readers.open_stream import open_stream
from ferbench.records.in_progress import said_file, snapshot_file
from ferbench.records.metrics import to_float16
from ferbench.training.epoch_stats import DivergedError
from ferbench.training.evaluation import evaluations, logits_of
from ferbench.training.loop import Training, train
from ferbench.training.optimization import learning_rate
from ferbench.training.stage_cache import StageCache
from ferbench.training.stages import share_steps
from tests.support.archives import describe, face, png, write_tar
from tests.support.stopped_runs import stop_after, train_until_stopped
from tests.unit.training.pretrained import Pretrained


class TwoStages(Method):
    """Trains the head alone, then everything; counts its steps in a buffer."""

    views = Views(labeled={"weak": weak()})
    cached = False

    def setup(self, net: Network, info: MethodInfo) -> None:
        self.register_buffer("steps_of_stage", torch.zeros(2))

    def stages(self) -> list[Stage]:
        head = Stage(
            "head",
            self.loss,
            self.views,
            data="labeled",
            parameters=lambda net: list(net.head.parameters()),
            optimizer=OptimizerSettings(learning_rate=0.3),
            cache=self.cached,
        )
        return [head, Stage("all", self.second_loss, self.views, sampler="balanced", share=3)]

    def loss(self, batch: Batch) -> Losses:
        self.steps_of_stage[0] += 1
        return Losses(F.cross_entropy(self.forward_views(batch).labeled.weak.logits, batch.labels))

    def second_loss(self, batch: Batch) -> Losses:
        self.steps_of_stage[1] += 1
        return Losses(F.cross_entropy(self.forward_views(batch).labeled.weak.logits, batch.labels))

    def end_epoch(self, context: EpochContext) -> dict[str, torch.Tensor]:
        predictions = context.predict("labeled", view="weak", net="student")
        return {"labeled_accuracy": (predictions.logits.argmax(1) == predictions.labels).float().mean()}


def test_shares_sum_to_the_steps() -> None:
    assert share_steps(100, [1, 2]) == [33, 67]
    assert sum(share_steps(7, [1, 1, 1, 1])) == 7


def test_every_stage_has_a_step() -> None:
    assert share_steps(40, [0.992, 0.008]) == [39, 1]
    assert share_steps(40, [0.008, 0.992]) == [1, 39]
    assert share_steps(3, [1, 100, 1]) == [1, 1, 1]


def test_an_epoch_is_a_twentieth_and_evaluations_are_six(tmp_path: Path) -> None:
    progress = train(toy_training(FixMatch(FixMatch.Config()), tmp_path))
    assert [row.step for row in progress.history] == list(range(2, 41, 2))
    assert len(progress.evaluated) == 6
    assert progress.evaluated[-1] == 20
    snapshots = sorted(int(path.stem) for path in (tmp_path / "in-progress" / "snapshots").iterdir())
    assert snapshots == progress.evaluated[:-1], "the last net is the trained one"


def test_every_epoch_may_be_evaluated(tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"evaluations": 20})
    progress = train(toy_training(Supervised(Supervised.Config()), tmp_path, recipe=recipe))
    assert progress.evaluated == list(range(1, 21))


def test_an_evaluation_is_that_of_the_net_at_its_epoch(tmp_path: Path) -> None:
    seen: list[Tensor] = []
    images = unlabeled_toys(10, 3)

    class Watched(FixMatch):
        def end_epoch(self, context: EpochContext) -> dict[str, Tensor]:
            seen.append(logits_of(self.teacher, images, training.run.task.maker, 50))
            return {}

    training = toy_training(Watched(FixMatch.Config()), tmp_path)
    progress = train(training)
    net = training.run.method.evaluation_net()
    snapshots = [snapshot_file(training.folder, epoch) for epoch in progress.evaluated[:-1]]
    found = evaluations(net, snapshots, images, training.run.task.maker, 50)
    expected = np.stack([to_float16(seen[epoch - 1].numpy()) for epoch in progress.evaluated])
    np.testing.assert_array_equal(found, expected)
    assert torch.equal(logits_of(net, images, training.run.task.maker, 50), seen[-1]), "its own state is back"


def test_training_learns_and_the_teacher_is_evaluated(tmp_path: Path) -> None:
    training = toy_training(FixMatch(FixMatch.Config(threshold=0.5)), tmp_path)
    history = train(training).history
    assert history[-1].loss < 0.7 * history[0].loss
    tests = toy_images(10, 3)
    logits = logits_of(training.run.method.evaluation_net(), tests, training.run.task.maker, 50)
    assert (logits.argmax(1) == tests.labels).float().mean() > 0.8
    assert training.run.method.evaluation_net() is training.run.teacher.net


def test_stages_have_their_steps_parameters_and_extras(tmp_path: Path) -> None:
    training = toy_training(TwoStages(MethodConfig()), tmp_path)
    before = training.run.net.backbone.conv.weight.clone()  # type: ignore[operator, union-attr]
    seen: list[torch.Tensor] = []
    training.events = lambda event: seen.append(training.run.net.backbone.conv.weight.clone())  # type: ignore[operator, union-attr]
    history = train(training).history
    assert training.run.method.steps_of_stage.tolist() == [10, 30]
    assert {row.stage for row in history} == {"head", "all"}
    assert torch.equal(seen[4], before)
    assert not torch.equal(seen[-1], before)
    assert history[-1].method["labeled_accuracy"] > 0.8


@pytest.mark.parametrize("stop_at", [1, 10, 11, 12, 25])
def test_a_stopped_run_of_two_stages_ends_like_a_whole_one(tmp_path: Path, stop_at: int) -> None:
    whole = toy_training(TwoStages(MethodConfig()), tmp_path / "whole")
    train(whole)
    train_until_stopped(toy_training(TwoStages(MethodConfig()), tmp_path), stop_at)
    second = toy_training(TwoStages(MethodConfig()), tmp_path)
    progress = train(second)
    assert progress.resumed == 1
    assert progress.history == whole.progress.history
    for key, value in whole.run.net.state_dict().items():
        assert torch.equal(value, second.run.net.state_dict()[key]), key


@pytest.mark.slow
def test_a_cached_stage_is_trained_once(tmp_path: Path) -> None:
    class Cached(TwoStages):
        cached = True

    cache = StageCache(tmp_path / "stages", {"data": "toy"})
    first = toy_training(Cached(MethodConfig()), tmp_path / "a", stage_cache=cache)
    train(first)
    second = toy_training(Cached(MethodConfig()), tmp_path / "b", stage_cache=cache)
    train(second)
    assert first.run.method.steps_of_stage.tolist() == [10, 30]
    assert second.run.method.steps_of_stage.tolist() == [10, 30]
    assert second.progress.history == first.progress.history
    assert second.progress.image_passes == first.progress.image_passes
    for key, value in first.run.net.state_dict().items():
        assert torch.equal(value, second.run.net.state_dict()[key]), key
    other = toy_training(
        Cached(MethodConfig()), tmp_path / "c", stage_cache=StageCache(tmp_path / "stages", {"data": "x"})
    )
    train(other)
    assert other.run.method.steps_of_stage.tolist() == [10, 30]


@pytest.mark.process
@pytest.mark.parametrize("stop_at", [1, 11, 26])
def test_a_stopped_run_on_a_stream_ends_like_a_whole_one(tmp_path: Path, stop_at: int) -> None:
    folder = describe(tmp_path / "crowd", "webdataset")
    write_tar(folder / "0.tar", [png(face(i)) for i in range(40)])
    index = ensure_index(open_stream(folder), 16)
    task = toy_task(unlabeled=False)
    stream = Stream(index, np.arange(len(index)), task.device)
    stream = replace(stream, packed=unlabeled_toys(4, 9))
    stop = stop_after(stop_at)

    def training(place: str, **options: Any) -> Training:
        method, on_stream = FixMatch(FixMatch.Config(threshold=0.4)), replace(task, unlabeled=stream)
        return toy_training(method, tmp_path / place, task=on_stream, **options)

    whole, first, second = training("whole"), training("cut", stop=stop), training("cut")
    train(whole)
    with pytest.raises(FerbenchError, match="stop"):
        train(first)
    train(second)
    assert second.progress.history == whole.progress.history
    assert whole.progress.history[-1].mask_rate > 0
    assert all(
        torch.equal(value, other)
        for value, other in zip(whole.run.net.state_dict().values(), second.run.net.state_dict().values(), strict=True)
    )
    assert 0 < whole.progress.data_wait_seconds <= whole.progress.train_seconds


def test_a_loss_that_is_not_finite_stops_with_step_and_term(tmp_path: Path) -> None:
    class Breaks(TwoStages):
        def second_loss(self, batch: Batch) -> Losses:
            losses = super().second_loss(batch)
            factor = torch.where(batch.step == 5, float("nan"), 1.0)
            return Losses(losses.total * factor, broken=losses.total.detach() * factor)

    with pytest.raises(DivergedError) as caught:
        train(toy_training(Breaks(MethodConfig()), tmp_path))
    assert (caught.value.step, caught.value.term) == (15, "broken")


def test_the_auxiliary_loss_of_a_head_is_added_once(tmp_path: Path) -> None:
    class AuxHead(Head):
        def __init__(self) -> None:
            super().__init__(12, 3)
            self.linear = torch.nn.Linear(12, 3)

        def forward(self, features: torch.Tensor) -> Output:
            return Output(self.linear(features), features, aux_loss=torch.tensor(100.0))

    training = toy_training(FixMatch(FixMatch.Config()), tmp_path)
    training.run.net.head = AuxHead()
    train(training)
    assert all(100 <= row.loss < 110 for row in training.progress.history)


def test_what_a_head_shows_is_averaged_over_the_images_of_an_epoch(tmp_path: Path) -> None:
    class ShowingHead(LinearHead):
        def forward(self, features: torch.Tensor) -> Output:
            shown = torch.arange(len(features), device=features.device).float()
            return Output(self.linear(features), features, extras={"place": torch.stack([shown, -shown], 1)})

    class ShowingFixMatch(FixMatch):
        def make_head(self, feature_size: int, n_classes: int) -> ShowingHead:
            return ShowingHead(feature_size, n_classes)

    history = train(toy_training(ShowingFixMatch(FixMatch.Config()), tmp_path)).history
    # 8 labeled and 16 strong images go through the net in one forward; weak ones, without gradient, do not count
    assert [row.head["place"] for row in history] == [[11.5, -11.5]] * 20


def test_a_method_may_leave_out_the_remainder_that_a_loader_drops(tmp_path: Path) -> None:
    class Asks(FixMatch):
        def end_epoch(self, context: EpochContext) -> dict[str, torch.Tensor]:
            kept = context.predict("labeled", drop_last=True)
            whole = context.predict("labeled")
            assert torch.equal(whole.logits[kept.index], kept.logits)
            assert torch.equal(whole.labels[kept.index], kept.labels)
            return {"kept": kept.index}

    training = toy_training(Asks(FixMatch.Config()), tmp_path, recipe=RECIPE.model_copy(update={"labeled_batch": 10}))
    kept = [tuple(row.method["kept"]) for row in train(training).history]
    assert all(len(set(rows)) == 20 for rows in kept)  # of 24 labeled images, two batches of 10
    assert len(set(kept)) > 10, "another remainder in each epoch"


def test_a_checkpoint_of_another_run_is_not_taken_up(tmp_path: Path) -> None:
    training = toy_training(FixMatch(FixMatch.Config()), tmp_path)
    training.stop = lambda: FerbenchError("stop")
    with pytest.raises(FerbenchError, match="stop"):
        train(training)
    notices: list[object] = []
    again = toy_training(FixMatch(FixMatch.Config()), tmp_path, identity="another", events=notices.append)
    assert train(again).resumed == 0
    assert any("starts again" in str(notice) for notice in notices)


def test_the_learning_rate_warms_up_and_follows_a_cosine() -> None:
    rates = [learning_rate(RECIPE, step, 40) for step in range(40)]
    peak = RECIPE.learning_rate
    assert rates[:2] == [pytest.approx(peak / 2), pytest.approx(peak)]
    assert max(rates) == pytest.approx(peak)
    assert rates[21] == pytest.approx(peak / 2)
    assert rates[-1] < peak / 100


def test_stages_that_cannot_be_are_refused(tmp_path: Path) -> None:
    class LastIsCached(TwoStages):
        def stages(self) -> list[Stage]:
            return [Stage("train", self.loss, self.views, data="labeled", cache=True)]

    class Misspelt(TwoStages):
        def stages(self) -> list[Stage]:
            return [Stage("train", self.loss, self.views, data="labeled", optimizer=OptimizerSettings(lr=1.0))]

    with pytest.raises(PluginError, match="is not cached"):
        toy_training(LastIsCached(MethodConfig()), tmp_path)
    with pytest.raises(
        PluginError, match=r"Misspelt: OptimizerSettings has no field 'lr'.*it has optimizer, learning_"
    ):
        train(toy_training(Misspelt(MethodConfig()), tmp_path))


def test_a_stages_own_learning_rate_is_used(tmp_path: Path) -> None:
    history = train(toy_training(TwoStages(MethodConfig()), tmp_path)).history
    rates = {name: max(row.learning_rate for row in history if row.stage == name) for name in ("head", "all")}
    assert rates["head"] > 5 * rates["all"]


def test_a_stage_may_learn_from_all_images(tmp_path: Path) -> None:
    class Everything(TwoStages):
        views = Views(labeled={"weak": weak()}, unlabeled={"weak": weak()})

        def stages(self) -> list[Stage]:
            return [Stage("all", self.loss, self.views, data="all")]

        def loss(self, batch: Batch) -> Losses:
            out = self.forward_views(batch)
            pseudo_label = out.unlabeled.weak.logits.argmax(1)
            total = F.cross_entropy(out.labeled.weak.logits, batch.labels)
            return Losses(total, pseudo_label=pseudo_label, mask=torch.ones(len(pseudo_label)))

    training = toy_training(Everything(MethodConfig()), tmp_path)
    progress = train(training)
    said, labels = load_file(said_file(training.folder, 20)), toy_images(24, 6).labels
    assert len(said["number"]) == RECIPE.steps // 20 * RECIPE.unlabeled_batch
    assert (said["pseudo_label"] == labels[said["number"].long()]).float().mean() > 0.8
    assert progress.image_passes == RECIPE.steps * (RECIPE.labeled_batch + RECIPE.unlabeled_batch)


def test_evaluations_stay_six_with_stages_of_odd_length(tmp_path: Path) -> None:
    class Odd(TwoStages):
        def stages(self) -> list[Stage]:
            shares = {"a": 2.0, "b": 7.0, "c": 31.0}
            return [Stage(name, self.loss, self.views, data="labeled", share=share) for name, share in shares.items()]

    progress = train(toy_training(Odd(MethodConfig()), tmp_path))
    assert len(progress.evaluated) <= 6
    assert progress.evaluated[-1] == len(progress.history)


@pytest.mark.slow
def test_pretraining_is_shared_by_seeds_and_labels_but_not_by_other_content(tmp_path: Path) -> None:
    cache = StageCache(tmp_path / "stages", {"seed": 3}, lambda stage: {"data": "toy"})
    first = toy_training(Pretrained(MethodConfig()), tmp_path / "a", stage_cache=cache)
    train(first)
    assert len(list((tmp_path / "stages").glob("fill-*.safetensors"))) == 1
    others = StageCache(tmp_path / "stages", {"seed": 4}, lambda stage: {"data": "toy"})

    again = toy_training(Pretrained(MethodConfig()), tmp_path / "again", stage_cache=others)
    train(again)
    assert again.progress.history == first.progress.history
    assert again.progress.image_passes == first.progress.image_passes
    for key, value in first.run.net.state_dict().items():
        assert torch.equal(value, again.run.net.state_dict()[key]), key
    shown = [(tmp_path / name / "pictures-fill.safetensors").read_bytes() for name in ("a", "again")]
    assert shown[0] == shown[1]

    second_seed = toy_training(Pretrained(MethodConfig()), tmp_path / "seed", stage_cache=others, seed=4)
    train(second_seed)
    assert len(list((tmp_path / "stages").glob("fill-*.safetensors"))) == 1
    assert second_seed.progress.history[:20] == first.progress.history[:20]
    assert second_seed.progress.history[20:] != first.progress.history[20:]

    other_data = StageCache(tmp_path / "stages", {"seed": 3}, lambda stage: {"data": "other"})
    train(toy_training(Pretrained(MethodConfig()), tmp_path / "data", stage_cache=other_data))
    assert len(list((tmp_path / "stages").glob("fill-*.safetensors"))) == 2


def test_pretraining_is_on_top_of_the_protocols_steps_and_never_evaluated(tmp_path: Path) -> None:
    training = toy_training(Pretrained(MethodConfig()), tmp_path)
    head = {name: value.clone() for name, value in training.run.net.head.state_dict().items()}
    seen: list[tuple[str, bool]] = []

    def look(row: EpochRow) -> None:
        same = all(torch.equal(value, head[name]) for name, value in training.run.net.head.state_dict().items())
        seen.append((row.stage, same))

    training.events = lambda event: look(event.row) if isinstance(event, Epoch) else None
    history = train(training).history
    assert history[-1].step == RECIPE.steps + RECIPE.steps // 2
    evaluated = [history[epoch - 1].stage for epoch in training.progress.evaluated]
    assert evaluated == ["train"] * RECIPE.evaluations
    assert all(same for stage, same in seen if stage == "fill")


@pytest.mark.parametrize("change", [{"data": "labeled"}, {"views": Views({"weak": weak()}, {"weak": weak()})}])
def test_pretraining_that_would_see_labels_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    class Leaks(Pretrained):
        def stages(self) -> Sequence[Stage]:
            fill, train = super().stages()
            return [replace(fill, **change), train]

    with pytest.raises(PluginError, match="must draw data='all' and no labeled view"):
        toy_training(Leaks(MethodConfig()), tmp_path)


def test_pretraining_comes_first(tmp_path: Path) -> None:
    class Late(Pretrained):
        def stages(self) -> Sequence[Stage]:
            return [replace(super().stages()[1], name="before"), *super().stages()]

    with pytest.raises(PluginError, match="must come before all others"):
        toy_training(Late(MethodConfig()), tmp_path)


@pytest.mark.parametrize(("pseudo_label", "mask", "words"), [(0, 1.5, "outside 0..1"), (3, 0.5, "outside 0..2")])
def test_what_is_said_of_images_is_looked_at_once_an_epoch(
    tmp_path: Path, pseudo_label: int, mask: float, words: str
) -> None:
    class Odd(FixMatch):
        def loss(self, batch: Batch) -> Losses:
            losses, n = super().loss(batch), len(batch.unlabeled.index)
            said = torch.full((n,), pseudo_label), torch.full((n,), mask)
            return Losses(losses.total, pseudo_label=said[0], mask=said[1])

    with pytest.raises(PluginError, match=words):
        train(toy_training(Odd(FixMatch.Config()), tmp_path))
