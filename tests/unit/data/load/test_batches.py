"""Batches are a function of seed and step; streams cover the pool evenly."""

from collections import Counter

import pytest
import torch

from ferbench.conformance.toy_task import RECIPE, toy_images
from ferbench.contract.batch import Views, plain, strong, weak
from ferbench.data.load.batches import BalancedStream, Batches, IndexStream, WeightedStream
from ferbench.data.load.image_set import ImageSet
from ferbench.data.load.views import ViewMaker
from ferbench.errors import PluginError

VIEWS = Views(labeled={"weak": weak()}, unlabeled={"weak": weak(), "strong": strong(), "again": weak()})
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def batches(seed: int = 0, views: Views = VIEWS, boxes: bool = False) -> Batches:
    maker = ViewMaker(RECIPE, MEAN, STD, torch.device("cpu"))
    return Batches(toy_images(8, 1), toy_images(16, 2), views, RECIPE, maker, seed=seed, steps=40, boxes=boxes)


@pytest.mark.parametrize(("n", "batch_size"), [(10, 4), (7, 7), (5, 16), (3, 1)])
def test_each_pass_draws_every_image_once(n: int, batch_size: int) -> None:
    stream = IndexStream(n, batch_size, seed=3)
    passes = 6
    drawn = torch.cat([stream.at(step) for step in range(-(-passes * n // batch_size))])[: passes * n].view(passes, n)
    assert all(sorted(row.tolist()) == list(range(n)) for row in drawn)
    assert n < 4 or len({tuple(row.tolist()) for row in drawn}) > 1


def test_any_step_can_be_drawn_alone() -> None:
    forward = [IndexStream(10, 4, 1).at(step).tolist() for step in range(9)]
    stream = IndexStream(10, 4, 1)
    assert [stream.at(step).tolist() for step in reversed(range(9))] == forward[::-1]


def test_balanced_sampling_draws_classes_evenly() -> None:
    labels = torch.tensor([0] * 90 + [1] * 9 + [3])
    stream = BalancedStream(labels, 4, 50, seed=0)
    counts = Counter(labels[torch.cat([stream.at(step) for step in range(60)])].tolist())
    assert set(counts) == {0, 1, 3}
    assert all(abs(count - 1000) < 100 for count in counts.values())


def test_weights_say_how_often_an_image_is_drawn() -> None:
    weights = torch.tensor([0.0, 1, 0, 2.5, 0.5, 0])
    stream = WeightedStream(weights, 40, seed=0)
    counts = torch.bincount(torch.cat([stream.at(step) for step in range(100)]), minlength=6)
    torch.testing.assert_close(counts / 4000, weights / 4, atol=0.03, rtol=0)
    assert not counts[weights == 0].any()
    assert torch.equal(WeightedStream(weights, 40, seed=0).at(73), stream.at(73)), "any step can be drawn alone"
    assert not torch.equal(stream.at(73), stream.at(74))


def test_weights_belong_to_the_numbers_by_which_a_method_knows_images() -> None:
    pool = toy_images(16, 2)
    pool = ImageSet(pool.images, pool.boxes, numbers=torch.randperm(48, generator=torch.Generator().manual_seed(0)))
    weights = torch.zeros(48)
    weights[[3, 11]] = 1
    maker = ViewMaker(RECIPE, MEAN, STD, torch.device("cpu"))
    drawn = Batches(toy_images(8, 1), pool, VIEWS, RECIPE, maker, seed=0, steps=40, weights=weights)
    assert {number for step in range(4) for number in drawn.at(step).unlabeled.index.tolist()} == {3, 11}  # type: ignore[union-attr]


@pytest.mark.parametrize("weights", [[0.0] * 48, [-1.0] + [1.0] * 47, [float("inf")] + [1.0] * 47, [1.0] * 16])
def test_weights_that_cannot_be_drawn_by_are_refused(weights: list[float]) -> None:
    maker = ViewMaker(RECIPE, MEAN, STD, torch.device("cpu"))
    with pytest.raises(PluginError, match="unlabeled_weights"):
        Batches(
            toy_images(8, 1), toy_images(16, 2), VIEWS, RECIPE, maker, seed=0, steps=40, weights=torch.tensor(weights)
        )


def test_batches_repeat_by_seed_and_step_and_differ_otherwise() -> None:
    first, same = batches().at(7), batches().at(7)
    for view in ("weak", "strong", "again"):
        assert torch.equal(first.unlabeled.images[view], same.unlabeled.images[view])  # type: ignore[union-attr]
    assert torch.equal(first.labels, same.labels)
    for other in (batches().at(8), batches(seed=1).at(7)):
        assert not torch.equal(first.unlabeled.images["weak"], other.unlabeled.images["weak"])  # type: ignore[union-attr]
    assert not torch.equal(first.unlabeled.images["weak"], first.unlabeled.images["again"])  # type: ignore[union-attr]


def test_a_batch_has_the_promised_shapes() -> None:
    batch = batches().at(0)
    assert batch.labeled.images["weak"].shape == (8, 3, 16, 16)
    assert batch.unlabeled is not None
    assert batch.unlabeled.images["strong"].shape == (16, 3, 16, 16)
    assert batch.labeled.images["weak"].is_contiguous(memory_format=torch.channels_last)
    assert batch.label_probs.shape == (8, 3)
    assert torch.equal(batch.label_probs.argmax(1), batch.labels)
    assert float(batches().at(10).progress) == 0.25


def test_boxes_are_made_where_they_are_wanted() -> None:
    with_boxes, without = batches(boxes=True).at(3), batches().at(3)
    assert with_boxes.unlabeled is not None and without.unlabeled is not None
    for view in ("weak", "strong", "again"):
        assert with_boxes.unlabeled.boxes[view].shape == (16, 4)
        assert torch.equal(with_boxes.unlabeled.images[view], without.unlabeled.images[view])
    with pytest.raises(PluginError, match="requires"):
        without.unlabeled.boxes["weak"]


def test_plain_views_are_the_stored_images_normalised() -> None:
    batch = batches(views=Views(labeled={"stored": plain()})).at(3)
    pool = toy_images(8, 1)
    expected = (pool.images[batch.labeled.index] / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    assert torch.allclose(batch.labeled.images["stored"], expected.permute(0, 3, 1, 2), atol=1e-5)
    assert batch.unlabeled is None
