"""Views of plugins: made by a function of the recipe, of any size, checked."""

import pytest
import torch

from ferbench.conformance.toy_task import RECIPE, toy_images
from ferbench.contract.batch import view, weak
from ferbench.data.load.views import ViewMaker
from ferbench.errors import PluginError
from tests.support.example_methods import KINDS

CPU = torch.device("cpu")


def maker(**more: object) -> ViewMaker:
    kinds = {**KINDS, **more}
    return ViewMaker(RECIPE, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), CPU, kinds)  # type: ignore[arg-type]


def made(spec, views=None):  # type: ignore[no-untyped-def]
    pool = toy_images(2, 1)
    return pool, (views or maker()).pixels(spec, pool.images, pool.boxes, torch.Generator().manual_seed(0))


def test_a_view_of_another_size_moves_its_boxes() -> None:
    pool, (crops, boxes) = made(view("small-crop", size=8))
    assert crops.shape == (6, 8, 8, 3) and crops.dtype == torch.uint8
    for image, box, crop, moved in zip(pool.images, pool.boxes, crops, boxes, strict=True):
        corners = [(y, x) for y in range(9) for x in range(9) if torch.equal(image[y : y + 8, x : x + 8], crop)]
        assert len(corners) == 1
        (y, x) = corners[0]
        expected = (box - torch.tensor([x, y, x, y])).clamp(0, 8)
        assert torch.equal(moved, expected)


def test_options_reach_the_view() -> None:
    pool, (still, _) = made(view("simclr-colour", strength=0.0))
    grey = (still == still[..., :1]).all(-1).all(-1).all(-1)
    assert torch.equal(still[~grey], pool.images[~grey])
    _, (moved, _) = made(view("simclr-colour", strength=0.9))
    assert not torch.equal(moved, still)


def test_the_protocols_own_views_cannot_be_replaced() -> None:
    _, (own, _) = made(weak())
    _, (other, _) = made(weak(), maker(weak=KINDS["small-crop"]))
    assert torch.equal(own, other)


def test_a_view_that_is_none_is_refused() -> None:
    wrong = maker(wrong=lambda recipe: lambda images, boxes, generator: (images.float(), boxes))
    with pytest.raises(PluginError, match=r"view 'wrong' gave \(6, 16, 16, 3\) float32"):
        made(view("wrong"), wrong)
    with pytest.raises(PluginError, match="no view 'absent'"):
        made(view("absent"))
