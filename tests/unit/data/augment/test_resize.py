"""Resizing against PIL, whose way torchvision's `Resize` goes on pictures."""

import pytest
import torch
import torchvision
from PIL import Image

from ferbench.data.augment.cutout import Cutout
from ferbench.data.augment.pixels import pack, unpack
from ferbench.data.augment.randaugment import RandAugment
from ferbench.data.augment.resize import resize, resize_boxes
from ferbench.data.augment.strong import Strong
from ferbench.data.augment.weak import Weak
from tests.unit.data.augment.backends import gpu
from tests.unit.data.augment.samples import from_pil, random_images, to_pil

DEVICES = ["cpu", pytest.param("cuda", marks=gpu)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("stored", "size"), [(100, 224), (100, 112), (48, 32), (100, 33), (24, 25)])
def test_differs_from_pil_by_one_level_at_most(stored: int, size: int, device: str) -> None:
    images = random_images(45, stored, stored, seed=0)
    made = resize(images.to(device), size)
    assert (made.dtype, made.shape, made.is_contiguous()) == (torch.uint8, (45, size, size, 3), True)
    expected = torch.stack([from_pil(to_pil(each).resize((size, size), Image.Resampling.BILINEAR)) for each in images])
    assert (made.cpu().int() - expected.int()).abs().max() <= 1
    of_torchvision = torchvision.transforms.Resize((size, size))(to_pil(images[0]))
    assert torch.equal(expected[0], from_pil(of_torchvision)), "it is what the papers' code calls"


def test_images_of_the_size_are_left_as_they_are() -> None:
    images = random_images(3, 40, 40, seed=1)
    assert resize(images, 40) is images


def test_boxes_keep_their_place_on_the_face() -> None:
    images = torch.zeros((1, 100, 100, 3), dtype=torch.uint8)
    images[:, 30:60, 20:80] = 255
    moved = resize_boxes(torch.tensor([[20.0, 30.0, 80.0, 60.0]]), 100, 224)
    rows, columns = (resize(images, 224)[0, ..., 0] > 127).nonzero().unbind(1)
    drawn = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()
    assert (moved[0] - drawn).abs().max() <= 1


@pytest.mark.parametrize("device", DEVICES)
def test_strong_views_are_augmented_as_stored_then_resized_then_cropped(device: str) -> None:
    count, stored, size = 60, 40, 64
    images = random_images(count, stored, stored, seed=2)
    boxes = torch.tensor([[5.0, 6.0, 30.0, 31.0]]).expand(count, 4)
    generator = torch.Generator().manual_seed(11)
    operations = RandAugment().draw(count, generator)
    rgbx = RandAugment().apply(pack(images), operations)
    Cutout().paint(rgbx, Cutout().draw(count, stored, stored, generator))
    pictures = [to_pil(image).resize((size, size), Image.Resampling.BILINEAR) for image in unpack(rgbx)]
    moved = RandAugment().move(boxes, operations, stored, stored) * 1.6
    expected, expected_boxes = Weak(8)(torch.stack([from_pil(each) for each in pictures]), generator, moved)

    views, found = Strong(weak=Weak(8), size=size)(
        images.to(device), torch.Generator().manual_seed(11), boxes.to(device)
    )
    assert (views.cpu().int() - expected.int()).abs().max() <= 1
    assert found is not None and expected_boxes is not None
    torch.testing.assert_close(found.cpu(), expected_boxes)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_small_batches(count: int) -> None:
    views, _ = Strong(size=24)(random_images(count, 16, 16, seed=3), torch.Generator().manual_seed(0))
    assert views.shape == (count, 24, 24, 3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_nothing_waits_for_the_gpu() -> None:
    images = random_images(16, 100, 100, seed=5).cuda()
    resize(images, 224)
    torch.cuda.set_sync_debug_mode("error")
    try:
        resize(images, 224)
    finally:
        torch.cuda.set_sync_debug_mode("default")
