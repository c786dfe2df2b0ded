"""The weak view against slices of a padded array and against PIL; boxes against a rectangle in the image."""

import numpy as np
import pytest
import torch

from ferbench.data.augment.weak import Weak, shift_and_flip
from tests.unit.data.augment import pil_policy
from tests.unit.data.augment.backends import gpu
from tests.unit.data.augment.samples import from_pil, random_images, to_pil

DEVICES = ["cpu", pytest.param("cuda", marks=gpu)]
SIZES = [(48, 48), (33, 33), (31, 47), (100, 64), (6, 7)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("padding", [0, 1, 4, 100])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_equals_slices_and_pil(size: tuple[int, int], padding: int, device: str) -> None:
    height, width = size
    weak = Weak(padding=padding, crop_probability=0.8)
    images = random_images(128, height, width, seed=1)
    parameters = weak.draw(len(images), torch.Generator().manual_seed(padding))
    views, _ = weak(images.to(device), torch.Generator().manual_seed(padding))
    black = np.pad(images.numpy(), ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    draws = zip(parameters.dx.tolist(), parameters.dy.tolist(), parameters.flip.tolist(), strict=True)
    for index, (dx, dy, flip) in enumerate(draws):
        top, left = padding + dy, padding + dx
        crop = black[index, top : top + height, left : left + width]
        view = views[index].cpu()
        assert np.array_equal(view, crop[:, ::-1] if flip else crop)
        assert torch.equal(view, from_pil(pil_policy.weak(to_pil(images[index]), dx, dy, flip)))


@pytest.mark.parametrize("device", DEVICES)
def test_boxes_follow_a_rectangle_drawn_into_the_image(device: str) -> None:
    height, width, count = 30, 40, 400
    rng = np.random.default_rng(0)
    x0, y0 = rng.integers(0, width - 5, count), rng.integers(0, height - 5, count)
    x1, y1 = rng.integers(x0 + 5, width + 1), rng.integers(y0 + 5, height + 1)
    images = torch.zeros((count, height, width, 3), dtype=torch.uint8)
    boxes = torch.tensor(np.stack((x0, y0, x1, y1), axis=1), dtype=torch.float32)
    for image, (left, top, right, bottom) in zip(images, boxes.int().tolist(), strict=True):
        image[top:bottom, left:right] = 255
    weak = Weak(padding=4, crop_probability=0.9)
    views, moved = weak(images.to(device), torch.Generator().manual_seed(0), boxes.to(device))
    assert moved is not None
    assert moved.dtype == torch.float32
    for view, box in zip(views.cpu(), moved.cpu().tolist(), strict=True):
        rows, columns = view[..., 0].any(1).nonzero(), view[..., 0].any(0).nonzero()
        tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert box == [float(value) for value in tight]


def test_fractions_of_a_pixel_are_kept() -> None:
    parameters = Weak(flip_probability=1.0, crop_probability=0.0).draw(1, torch.Generator())
    moved = shift_and_flip(torch.tensor([[1.25, 2.5, 7.75, 9.0]]), parameters, height=10, width=10)
    assert moved.tolist() == [[2.25, 2.5, 8.75, 9.0]]


def test_a_box_that_leaves_the_image_becomes_empty() -> None:
    weak = Weak(padding=4, crop_probability=1.0)
    parameters = weak.draw(500, torch.Generator().manual_seed(0))
    boxes = torch.tensor([[0.0, 5.0, 1.0, 10.0]]).expand(500, 4)
    moved = shift_and_flip(boxes, parameters, height=20, width=20)
    gone = parameters.dx >= 1
    assert torch.equal(moved[gone, 0], moved[gone, 2])
    assert ((moved >= 0) & (moved <= 20)).all()
    assert (moved[:, 2] >= moved[:, 0]).all()


def test_wrong_images_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8 images"):
        Weak()(torch.zeros((2, 3, 48, 48)), torch.Generator())
