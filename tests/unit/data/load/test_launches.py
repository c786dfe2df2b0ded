"""What the views of a step ask of a GPU: counted on tensors without memory, on which nothing can wait for a value."""

from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ferbench.builtin.methods.fixmatch import FixMatch
from ferbench.builtin.protocols import RATIO_V1
from ferbench.data.load.batches import Batches
from ferbench.data.load.image_set import LabeledImages
from ferbench.data.load.views import ViewMaker
from tests.support.launches import Launches
from tests.support.random_pool import random_pool

RECIPE = RATIO_V1.recipes["synthfaces"]
META = torch.device("meta")
MOST = 150


class Copies(TorchDispatchMode):
    """Counts operations that are given something of the CPU and make something of a device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        given, found = (
            {each.device.type for each in tree_leaves(tree) if torch.is_tensor(each)} for tree in (args, made)
        )
        self.count += "cpu" in given and "meta" in found
        return made


def batches(labeled: int, unlabeled: int, *, boxes: bool = False, **more: Any) -> Batches:
    recipe = RECIPE.model_copy(update={"labeled_batch": labeled, "unlabeled_batch": unlabeled, **more})
    pools = (without_memory(random_pool(count, recipe.packed_size)) for count in (100, 600))
    maker = ViewMaker(recipe, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), META)
    return Batches(*pools, FixMatch.views, recipe, maker, seed=0, steps=40, boxes=boxes)


def without_memory(pool: LabeledImages) -> LabeledImages:
    tensors = {field.name: getattr(pool, field.name) for field in fields(pool)}
    return replace(pool, **{name: each.to(META) for name, each in tensors.items() if each is not None})


def asked(of: Batches, step: int) -> int:
    with Launches("meta") as launches:
        of.at(step)
    return launches.count


def test_views_of_a_step_are_few_launches_whatever_the_batch_and_the_draw() -> None:
    counts = {asked(batches(*sizes), step) for sizes in ((16, 16), (32, 96), (64, 448)) for step in (0, 1, 17)}
    print(f"\nall views of a step of FixMatch: {counts} launches")
    assert len(counts) == 1
    assert max(counts) <= MOST


@pytest.mark.parametrize("boxes", [False, True], ids=["pixels alone", "boxes too"])
def test_all_that_was_drawn_is_one_copy(boxes: bool) -> None:
    of = batches(16, 48, boxes=boxes)
    with Copies() as copies:
        of.at(0)
    assert copies.count == 1


def test_boxes_and_resizing_do_not_depend_on_the_draw_either() -> None:
    for more in ({"boxes": True}, {"image_size": 112, "stored_size": 100}):
        assert len({asked(batches(*sizes, **more), step) for sizes in ((8, 8), (8, 40)) for step in (0, 1)}) == 1
