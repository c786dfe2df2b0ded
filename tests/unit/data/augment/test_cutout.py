"""Cutout against PIL's rectangle."""

import pytest
import torch
from torch import Tensor

from ferbench.data.augment.cutout import Cutout
from ferbench.data.augment.pixels import pack, unpack
from tests.unit.data.augment import pil_policy
from tests.unit.data.augment.backends import gpu
from tests.unit.data.augment.samples import SIZES, from_pil, random_images, to_pil


def painted(cutout: Cutout, images: Tensor, seed: int) -> Tensor:
    """(B, H, W, 3) uint8 images with one square each."""
    rgbx = pack(images)
    cutout.paint(rgbx, cutout.draw(*images.shape[:3], torch.Generator().manual_seed(seed)))
    return unpack(rgbx)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=gpu)])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_equals_pil(size: tuple[int, int], device: str) -> None:
    height, width = size
    images = random_images(64, height, width, seed=height)
    result = painted(Cutout(), images.to(device), width).cpu()
    # The documented draws: shares of the largest side, of the width and of the height.
    shares = torch.rand((3, len(images)), generator=torch.Generator().manual_seed(width), dtype=torch.float64)
    for image, view, (side, x, y) in zip(images, result, shares.T.tolist(), strict=True):
        corners = pil_policy.cutout_corners(width, height, side * 0.5 * width, x * width, y * height)
        assert torch.equal(view, from_pil(pil_policy.cutout(to_pil(image), corners)))


def test_options() -> None:
    images = torch.zeros((200, 20, 20, 3), dtype=torch.uint8)
    result = painted(Cutout(max_size=1.0, fill=(1, 2, 3)), images, 0)
    covered = (result == torch.tensor([1, 2, 3])).all(-1)
    assert torch.equal(covered, result.any(-1))
    assert covered.any(1).sum(1).max() > 15  # some squares are wider than the default's 10 pixels


def test_leaves_its_input_alone() -> None:
    images = random_images(9, 24, 24, seed=0)
    before = images.clone()
    painted(Cutout(), images, 0)
    assert torch.equal(images, before)
