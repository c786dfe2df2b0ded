"""The strong view is its three parts in turn; it repeats itself, and touches nothing but its result."""

import pytest
import torch
from torch import Tensor

from ferbench.data.augment.cutout import Cutout
from ferbench.data.augment.operations import MAGNITUDES, Operation, RandAugmentParameters
from ferbench.data.augment.pixels import pack, unpack
from ferbench.data.augment.randaugment import RandAugment
from ferbench.data.augment.strong import Strong
from ferbench.data.augment.weak import Weak
from tests.unit.data.augment.backends import BACKENDS, choose, gpu
from tests.unit.data.augment.samples import random_images

DEVICES = ["cpu", pytest.param("cuda", marks=gpu)]
VIEWS = [Weak(), Strong()]


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(11)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [(48, 48), (33, 50)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_is_its_parts_in_turn(
    size: tuple[int, int], backend: tuple[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = random_images(90, *size, seed=0)
    boxes = torch.tensor([[5.0, 6.0, 30.0, 31.0]]).expand(90, 4)
    generator = seeded()
    operations = RandAugment().draw(90, generator)
    rgbx = RandAugment().apply(pack(images), operations)
    Cutout().paint(rgbx, Cutout().draw(90, *size, generator))
    expected, expected_boxes = Weak()(unpack(rgbx), generator, RandAugment().move(boxes, operations, *size))

    device = choose(backend, monkeypatch)
    views, moved = Strong()(images.to(device), seeded(), boxes.to(device))
    assert moved is not None
    assert expected_boxes is not None
    assert torch.equal(views.cpu(), expected)
    assert torch.equal(moved.cpu(), expected_boxes)
    assert views.device.type == device.type


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("rounds", "margin"), [(1, 1.0), (3, 2.5)], ids=["one operation", "three operations"])
def test_boxes_follow_a_rectangle_through_affine_operations(device: str, rounds: int, margin: float) -> None:
    count, height, width = 400, 70, 90
    generator = seeded()
    kinds = torch.arange(count) % (Operation.TRANSLATE_Y + 1)
    operation = torch.stack([kinds.roll(7 * k) for k in range(rounds)])
    low, high = torch.tensor([MAGNITUDES[Operation(k)] for k in range(Operation.TRANSLATE_Y + 1)])[operation].unbind(-1)
    magnitude = low + (high - low) * torch.rand(rounds, count, generator=generator, dtype=torch.float64)
    parameters = RandAugmentParameters(operation, magnitude / rounds)  # so that it stays within the image
    images = torch.zeros((count, height, width, 4), dtype=torch.uint8)
    images[:, 25:50, 30:55] = 255
    boxes = torch.tensor([[30.0, 25.0, 55.0, 50.0]]).expand(count, 4)

    views = RandAugment(rounds).apply(images.to(device), parameters)[..., 0].cpu()
    moved = RandAugment(rounds).move(boxes.to(device), parameters, height, width)
    assert (moved.dtype, moved.device.type) == (torch.float32, device)
    drawn = torch.stack([tight(view) for view in views])
    assert (drawn - moved.cpu()).abs().max() <= margin  # pixels, each operation rounds to whole ones
    assert ((drawn - boxes).abs().amax(1) > 1).float().mean() > 0.7


def tight(view: Tensor) -> Tensor:
    """The box (4,) of what is not black in (H, W)."""
    rows, columns = view.any(1).nonzero(), view.any(0).nonzero()
    return torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()


def test_a_box_that_an_operation_moves_out_becomes_empty() -> None:
    parameters = RandAugmentParameters(torch.tensor([[Operation.TRANSLATE_X]]), torch.tensor([[0.3]]).double())
    moved = RandAugment(1).move(torch.tensor([[2.0, 5.0, 9.0, 20.0]]), parameters, 40, 40)
    assert moved.tolist() == [[0.0, 5.0, 0.0, 20.0]]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("view", VIEWS, ids=["weak", "strong"])
def test_input_is_untouched_and_result_is_new(view: Weak | Strong, device: str) -> None:
    images = random_images(64, 48, 48, seed=1).to(device)
    before = images.clone()
    result, boxes = view(images, seeded())
    assert boxes is None
    assert torch.equal(images, before)
    assert result.untyped_storage().data_ptr() != images.untyped_storage().data_ptr()
    assert (result.dtype, result.shape, result.is_contiguous()) == (torch.uint8, images.shape, True)


@pytest.mark.parametrize("view", VIEWS, ids=["weak", "strong"])
def test_same_generator_state_same_bytes(view: Weak | Strong) -> None:
    images = random_images(64, 48, 48, seed=2)
    generator = seeded()
    first, second = view(images, generator)[0], view(images, generator)[0]
    assert torch.equal(view(images, seeded())[0], first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("view", VIEWS, ids=["weak", "strong"])
def test_small_batches(view: Weak | Strong, count: int, device: str) -> None:
    images, boxes = random_images(count, 32, 32, seed=3).to(device), torch.zeros((count, 4), device=device)
    generator = seeded()
    for _ in range(20):
        views, moved = view(images, generator, boxes)
        assert views.shape == images.shape
        assert moved is not None
        assert moved.shape == boxes.shape


@pytest.mark.parametrize("view", VIEWS, ids=["weak", "strong"])
def test_memory_layout_of_the_input_does_not_matter(view: Weak | Strong) -> None:
    images = random_images(20, 32, 40, seed=4)
    planes = images.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    assert torch.equal(view(planes, seeded())[0], view(images, seeded())[0])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("view", VIEWS, ids=["weak", "strong"])
def test_nothing_waits_for_the_gpu(view: Weak | Strong) -> None:
    images, boxes = random_images(64, 48, 48, seed=5).cuda(), torch.zeros((64, 4), device="cuda")
    generator = seeded()
    view(images, generator, boxes)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(10):
            view(images, generator, boxes)
    finally:
        torch.cuda.set_sync_debug_mode("default")
