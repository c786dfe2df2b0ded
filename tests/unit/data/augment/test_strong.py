"""The strong view is its three parts in turn; it repeats itself, and touches nothing but its result."""

import pytest
import torch

from ferbench.data.augment.cutout import Cutout
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
    expected = Cutout()(RandAugment()(images, generator), generator)
    expected, expected_boxes = Weak()(expected, generator, boxes)

    device = choose(backend, monkeypatch)
    views, moved = Strong()(images.to(device), seeded(), boxes.to(device))
    assert moved is not None
    assert expected_boxes is not None
    assert torch.equal(views.cpu(), expected)
    assert torch.equal(moved.cpu(), expected_boxes)
    assert views.device.type == device.type


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
