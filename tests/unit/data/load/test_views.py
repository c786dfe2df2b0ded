"""Views of plugins: made by a function of the recipe, of any size, checked."""

import pytest
import torch
from PIL import Image

from ferbench.conformance.toy_task import RECIPE, toy_images
from ferbench.contract.batch import plain, strong, view, weak
from ferbench.data.augment.cutout import Cutout
from ferbench.data.augment.randaugment import RandAugment
from ferbench.data.augment.strong import Strong
from ferbench.data.augment.weak import Weak
from ferbench.data.load.views import ViewMaker
from ferbench.errors import PluginError
from tests.support.example_methods import KINDS
from tests.unit.data.augment.samples import from_pil, random_images, to_pil

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


# Images that are stored at another size than that of the net's input

LARGER = RECIPE.model_copy(update={"image_size": 30, "stored_size": 20})


def made_larger(spec, images, boxes, **kinds):  # type: ignore[no-untyped-def]
    views = ViewMaker(LARGER, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), CPU, kinds)
    return views.pixels(spec, images, boxes, torch.Generator().manual_seed(0))


def test_weak_and_plain_views_are_those_of_the_resized_image() -> None:
    images, boxes = random_images(12, 20, 20, seed=0), torch.tensor([[2.0, 4.0, 12.0, 16.0]]).expand(12, 4)
    resized = torch.stack([from_pil(to_pil(each).resize((30, 30), Image.Resampling.BILINEAR)) for each in images])
    same = ViewMaker(LARGER.model_copy(update={"stored_size": None}), (0.5,) * 3, (0.2,) * 3, CPU)
    for spec in (plain(), weak()):
        found, moved = made_larger(spec, images, boxes)
        expected, at = same.pixels(spec, resized, boxes * 1.5, torch.Generator().manual_seed(0))
        assert (found.int() - expected.int()).abs().max() <= 1
        torch.testing.assert_close(moved, at)
    assert torch.equal(made_larger(plain(), images, boxes)[1][0], torch.tensor([3.0, 6.0, 18.0, 24.0]))


def test_randaugment_and_cutout_are_given_stored_images() -> None:
    images, boxes = random_images(12, 20, 20, seed=0), torch.tensor([[2.0, 4.0, 12.0, 16.0]]).expand(12, 4)
    parts = RandAugment(LARGER.strong.operations), Cutout(LARGER.strong.cutout), Weak(1, 1.0, 0.5)
    expected = Strong(*parts, size=30)(images, torch.Generator().manual_seed(0), boxes)
    for found, wanted in zip(made_larger(strong(), images, boxes), expected, strict=True):
        assert torch.equal(found, wanted)


def test_a_view_of_a_plugin_is_given_resized_images() -> None:
    seen = []

    def looking(recipe):  # type: ignore[no-untyped-def]
        def look(images, boxes, generator):  # type: ignore[no-untyped-def]
            seen.append((tuple(images.shape), boxes[0].tolist()))
            return images, boxes

        return look

    made_larger(view("looking"), random_images(4, 20, 20, seed=1), torch.full((4, 4), 10.0), looking=looking)
    assert seen == [((4, 30, 30, 3), [15.0] * 4)]
