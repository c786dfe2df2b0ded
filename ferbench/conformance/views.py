"""Checks for views."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ferbench.conformance.framework import Checks, Doubt, Found
from ferbench.conformance.surroundings import Surroundings
from ferbench.conformance.toy_task import RECIPE
from ferbench.contract.batch import View
from ferbench.discovery.registry import Entry

IMAGES, PIXELS = 16, 24

CHECKS = Checks()


@dataclass(frozen=True)
class ViewCase:
    """A view with its default options."""

    make: Callable[..., View]

    def of(self, images: Tensor, boxes: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Apply the view to images, with a seed."""
        return self.make(RECIPE.model_copy(update={"image_size": PIXELS}))(
            images, boxes, torch.Generator().manual_seed(seed)
        )


def case(entry: Entry, surroundings: Surroundings) -> ViewCase:
    """Return the case of a registered view."""
    return ViewCase(entry.load())


def pictures(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return images of noise with a face box in each."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (IMAGES, PIXELS, PIXELS, 3), generator=generator, dtype=torch.uint8)
    corner = torch.rand(IMAGES, 2, generator=generator) * PIXELS / 3
    return images, torch.cat([corner, corner + PIXELS / 2], 1)


@CHECKS.add(
    "maps uint8 images and boxes to uint8 images and boxes",
    protects="the net, which receives the normalised view, and methods that use face boxes",
    mend="register a function (recipe, **options) -> view; view(images (B, S, S, 3) uint8, boxes (B, 4), "
    "generator) returns (B, T, T, 3) uint8 and float32 boxes (B, 4) in pixels of the view, and does not change its "
    "arguments",
)
def shapes(case: ViewCase) -> str:
    images, boxes = pictures()
    kept = images.clone(), boxes.clone()
    made = case.of(images, boxes)
    assert isinstance(made, tuple) and len(made) == 2, f"it returns {type(made).__name__}, not (images, boxes)"
    view, moved = made
    assert view.dtype == torch.uint8, f"images are {view.dtype}, not uint8"
    assert view.ndim == 4 and view.shape[::3] == (IMAGES, 3) and view.shape[1] == view.shape[2], (
        f"images are {tuple(view.shape)}, but they must be ({IMAGES}, T, T, 3)"
    )
    assert moved.shape == (IMAGES, 4) and moved.is_floating_point(), f"boxes are {tuple(moved.shape)} {moved.dtype}"
    assert torch.equal(images, kept[0]) and torch.equal(boxes, kept[1]), "it changes its arguments"
    return f"{PIXELS} px to {view.shape[1]} px"


@CHECKS.add(
    "draws only from its generator",
    protects="runs that resume bit for bit: the views of a step are drawn from the step's seed",
    mend="pass generator= to every draw, and do not use torch's global generator, random or numpy.random",
)
def deterministic(case: ViewCase) -> None:
    images, boxes = pictures()
    torch.manual_seed(1)
    first = case.of(images, boxes)
    torch.manual_seed(2)
    second = case.of(images, boxes)
    for name, one, other in zip(("images", "boxes"), first, second, strict=True):
        assert torch.equal(one, other), f"{name} differ between two calls with the same seed of the generator"


@CHECKS.add(
    "the view of an image does not depend on other images",
    protects="labels: an image that shows parts of another would have a wrong label",
    mend="do not mix the images of the batch, and draw the same numbers whatever the pixels are; a method can "
    "mix images in its loss",
)
def no_mixing(case: ViewCase) -> None:
    images, boxes = pictures()
    others = images.clone()
    others[1:] = pictures(seed=1)[0][1:]
    assert torch.equal(case.of(images, boxes)[0][0], case.of(others, boxes)[0][0]), (
        "the view of an image changes with the other images of the batch"
    )


@CHECKS.add(
    "boxes move with their images",
    protects="methods that use face boxes: a box in the wrong place is worse than no box",
    mend="move, flip and scale boxes (x0, y0, x1, y1) like the pixels, and clip them to the view",
)
def boxes_follow(case: ViewCase) -> Found:
    faces, boxes = _faces()
    judged = wrong = 0
    for seed in range(4):
        view, moved = case.of(faces, boxes, seed)
        assert bool((moved[:, :2] <= moved[:, 2:]).all()), "a box has x1 < x0 or y1 < y0"
        size = view.shape[1]
        assert float(moved.min()) >= -1 and float(moved.max()) <= size + 1, f"a box is outside the view of {size} px"
        for image, box in zip(view.float(), moved, strict=True):
            bright = image.sum(-1) > 0.5 * image.sum(-1).max()
            rows, columns = bright.any(1).nonzero().flatten(), bright.any(0).nonzero().flatten()
            # Colour and cutout change the brightness; a face that fills the view tells nothing about its place.
            if not len(rows) or bright.float().mean() > 0.6 or image.max() < 50:
                continue
            centre = torch.stack([columns.float().median(), rows.float().median()]) + 0.5
            judged += 1
            wrong += bool(((centre < box[:2] - 2) | (centre > box[2:] + 2)).any())
    if not judged:
        return Doubt("the check could not find any face in the view")
    assert 4 * wrong <= judged, f"{wrong} of {judged} bright faces are outside their boxes"
    return f"{judged - wrong} of {judged} faces are in their boxes"


def _faces() -> tuple[Tensor, Tensor]:
    """Return black images with a bright square in a corner, whose box is the face box."""
    images = torch.zeros(IMAGES, PIXELS, PIXELS, 3, dtype=torch.uint8)
    boxes = torch.zeros(IMAGES, 4)
    for number in range(IMAGES):
        x, y = 3 + (number % 2) * PIXELS // 2, 3 + (number // 2 % 2) * PIXELS // 2
        images[number, y : y + 7, x : x + 7] = 255
        boxes[number] = torch.tensor([x, y, x + 7, y + 7], dtype=torch.float32)
    return images, boxes
