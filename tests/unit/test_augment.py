"""The public augmentations: both forms of images, against Pillow with the same draws, and what they refuse."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ferbench.augment import Cutout, RandAugment, StrongView, WeakCrop
from ferbench.data.augment.operations import MAGNITUDES, Operation
from tests.unit.data.augment import pil_policy
from tests.unit.data.augment.backends import gpu
from tests.unit.data.augment.samples import from_pil, random_images, to_pil

DEVICES = ["cpu", pytest.param("cuda", marks=gpu)]
VIEWS = [RandAugment(), RandAugment(1), Cutout(0.8, (9, 8, 7)), WeakCrop(6), StrongView()]
PAGE = Path(__file__).parents[2] / "docs" / "augment.md"
Augment = Callable[[Tensor, torch.Generator | None], Tensor]


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def uniform(*shape: int, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def strong_by_pillow(images: Tensor, generator: torch.Generator, padding: int) -> Tensor:
    """The documented draws in their order, and Pillow's operations, image by image."""
    count, height, width = images.shape[:3]
    kinds = torch.randint(len(Operation), (3, count), generator=generator)
    shares = uniform(3, count, generator=generator)
    squares = uniform(3, count, generator=generator)
    uniform(count, generator=generator)  # whether to crop: always
    shifts = torch.randint(-padding, padding + 1, (2, count), generator=generator)
    flips = uniform(count, generator=generator) < 0.5
    made = []
    for number, image in enumerate(images):
        picture = to_pil(image)
        for kind, share in zip(kinds[:, number].tolist(), shares[:, number].tolist(), strict=True):
            low, high = MAGNITUDES[Operation(kind)]
            picture = pil_policy.apply(picture, Operation(kind).name, low + (high - low) * share)
        side, x, y = squares[:, number].tolist()
        corners = pil_policy.cutout_corners(width, height, side * 0.5 * width, x * width, y * height)
        picture = pil_policy.cutout(picture, corners)
        dx, dy = shifts[:, number].tolist()
        made.append(from_pil(pil_policy.weak(picture, dx, dy, bool(flips[number]))))
    return torch.stack(made)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", [(48, 48), (40, 57), (112, 112), (2, 3)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_strong_view_is_pillows(size: tuple[int, int], device: str) -> None:
    images = random_images(45, *size, seed=1)
    expected = strong_by_pillow(images, seeded(), padding=4)
    assert torch.equal(StrongView()(images.to(device), seeded()).cpu(), expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("view", VIEWS, ids=repr)
def test_both_forms_give_the_same_views(view: Augment, device: str) -> None:
    images = random_images(50, 37, 44, seed=2).to(device)
    before = images.clone()
    rows = view(images, seeded())
    planes = view(images.permute(0, 3, 1, 2).contiguous(), seeded())
    assert planes.is_contiguous() and rows.is_contiguous()
    assert (rows.shape, rows.dtype, rows.device) == (images.shape, torch.uint8, images.device)
    assert torch.equal(planes.permute(0, 2, 3, 1), rows)
    assert torch.equal(images, before) and not torch.equal(rows, images)


@pytest.mark.parametrize("view", VIEWS, ids=repr)
def test_draws_come_from_the_generator_or_from_torch(view: Augment) -> None:
    images = random_images(30, 24, 24, seed=3)
    assert torch.equal(view(images, seeded()), view(images, seeded()))
    assert not torch.equal(view(images, seeded()), view(images, seeded(4)))
    with torch.random.fork_rng():
        torch.manual_seed(3)
        assert torch.equal(view(images, None), view(images, seeded()))


@pytest.mark.parametrize("view", VIEWS, ids=repr)
def test_a_default_device_changes_nothing(view: Augment) -> None:
    images = random_images(30, 24, 24, seed=3)
    with torch.device("meta"):
        views = view(images, seeded())
    assert torch.equal(views, view(images, seeded()))


@pytest.mark.parametrize("view", VIEWS, ids=repr)
def test_no_image_and_one_image(view: Augment) -> None:
    for count in (0, 1):
        assert view(random_images(count, 16, 16, seed=4), seeded()).shape == (count, 16, 16, 3)
        assert view(torch.zeros((count, 3, 16, 20), dtype=torch.uint8), seeded()).shape == (count, 3, 16, 20)


@pytest.mark.parametrize("view", VIEWS, ids=repr)
def test_other_images_are_refused(view: Augment) -> None:
    for wrong in (torch.zeros(2, 3, 8, 8), torch.zeros(2, 8, 8, 4, dtype=torch.uint8), torch.zeros(8, 8, 3).byte()):
        with pytest.raises(ValueError, match="expected uint8 images"):
            view(wrong, seeded())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_generator_of_the_gpu_is_refused() -> None:
    with pytest.raises(ValueError, match="drawn on the CPU"):
        StrongView()(random_images(2, 16, 16, seed=5), torch.Generator("cuda"))


def test_the_example_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    found = re.search(r"```python\n(.+?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert found
    exec(found[1], {})
    assert capsys.readouterr().out == "torch.Size([64, 3, 48, 48]) torch.uint8 cpu\n"
