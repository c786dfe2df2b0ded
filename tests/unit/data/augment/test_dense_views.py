"""The views that a GPU makes together, on a CPU: those that each image has alone, bit by bit."""

import pytest
import torch

from ferbench.data.augment import dense_views
from ferbench.data.augment.dense_views import Job
from ferbench.data.augment.parcel import send
from ferbench.data.augment.resize import resize, resize_boxes
from ferbench.data.augment.strong import Strong
from ferbench.data.augment.weak import Weak
from tests.unit.data.augment.backends import gpu
from tests.unit.data.augment.samples import random_images

DEVICES = ["cpu", pytest.param("cuda", marks=gpu)]
COUNTS = (20, 33, 33)


def views(size: int) -> tuple[Weak, Weak, Strong]:
    return Weak(3, 1.0), Weak(3, 0.5), Strong(weak=Weak(3, 0.9), size=size)


def jobs(size: int) -> list[Job]:
    numbered = enumerate(zip(views(size), COUNTS, strict=True))
    return [Job(view, count, torch.Generator().manual_seed(seed)) for seed, (view, count) in numbered]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("wants_boxes", [False, True], ids=["pixels alone", "boxes too"])
def test_equal_to_each_view_alone(wants_boxes: bool, device: str) -> None:
    size = 40
    images = [random_images(count, size, size, seed) for seed, count in enumerate(COUNTS)]
    boxes = [torch.tensor([[5.0, 6.0, 30.0, 31.0]]).repeat(count, 1) for count in COUNTS]
    plan = send(dense_views.prepare(jobs(size), size, size, boxes=wants_boxes), torch.device(device))
    there = [each.to(device) for each in boxes] if wants_boxes else None
    made, moved = dense_views.make(jobs(size), plan, [each.to(device) for each in images], there, size)
    for seed, (view, apart) in enumerate(zip(views(size), made.cpu().split(COUNTS), strict=True)):
        alone, box = view(images[seed], torch.Generator().manual_seed(seed), boxes[seed])
        assert torch.equal(apart, alone)
        if wants_boxes:
            assert box is not None
            torch.testing.assert_close(moved[seed].cpu(), box)
    assert wants_boxes or not moved


@pytest.mark.parametrize("device", DEVICES)
def test_images_that_are_stored_at_another_size_are_resized_where_each_view_does_it(device: str) -> None:
    stored, size = 30, 44
    images = [random_images(count, stored, stored, seed) for seed, count in enumerate(COUNTS)]
    boxes = [torch.tensor([[3.0, 4.0, 20.0, 21.0]]).repeat(count, 1) for count in COUNTS]
    plan = send(dense_views.prepare(jobs(size), stored, size, boxes=True), torch.device(device))
    there = [each.to(device) for each in images], [each.to(device) for each in boxes]
    made, moved = dense_views.make(jobs(size), plan, *there, size)
    for seed, (view, apart) in enumerate(zip(views(size), made.cpu().split(COUNTS), strict=True)):
        first, at = images[seed], boxes[seed]
        if isinstance(view, Weak):
            first, at = resize(first, size), resize_boxes(at, stored, size)
        alone, box = view(first, torch.Generator().manual_seed(seed), at)
        assert (apart.int() - alone.int()).abs().max() <= 1
        assert box is not None
        torch.testing.assert_close(moved[seed].cpu(), box)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("count", [0, 1])
def test_small_batches(count: int, device: str) -> None:
    few = [Job(view, count, torch.Generator().manual_seed(0)) for view in views(20)]
    plan = send(dense_views.prepare(few, 20, 20, boxes=False), torch.device(device))
    images = [random_images(count, 20, 20, seed=0).to(device)] * len(few)
    assert dense_views.make(few, plan, images, None, 20)[0].shape == (3 * count, 20, 20, 3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_nothing_waits_for_the_gpu() -> None:
    size = 40
    images = [random_images(count, size, size, seed).cuda() for seed, count in enumerate(COUNTS)]
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(5):
            plan = send(dense_views.prepare(jobs(size), size, size, boxes=False), torch.device("cuda"))
            dense_views.make(jobs(size), plan, images, None, size)
    finally:
        torch.cuda.set_sync_debug_mode("default")
