"""Views of 64 images of 48 pixels on one thread: the batch, and the same policy through PIL image by image."""

import random
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ferbench.data.augment.strong import Strong
from ferbench.data.augment.weak import Weak
from tests.unit.data.augment import pil_policy

IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (64, 48, 48, 3), dtype=np.uint8))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def batched(view: Weak | Strong) -> Callable[[], object]:
    generator = torch.Generator().manual_seed(0)
    return lambda: view(IMAGES, generator)


def through_pil() -> Callable[[], object]:
    randomness = random.Random(0)
    pixels = IMAGES.numpy()
    return lambda: np.stack([pil_policy.strong(Image.fromarray(image), randomness) for image in pixels])


def test_weak(benchmark: Any) -> None:
    benchmark.group = "views of 64 images, 48 px"
    benchmark(batched(Weak()))


def test_strong(benchmark: Any) -> None:
    benchmark.group = "views of 64 images, 48 px"
    benchmark(batched(Strong()))


def test_strong_through_pil(benchmark: Any) -> None:
    benchmark.group = "views of 64 images, 48 px"
    benchmark(through_pil())


def test_strong_is_at_least_twice_as_fast_as_pil(benchmark: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """CPU time of both in turn, so that what else the machine does slows both alike."""
    seconds: dict[str, list[float]] = {"batch": [], "PIL": []}
    calls = {"batch": batched(Strong()), "PIL": through_pil()}
    for _ in range(60):
        for name, call in calls.items():
            start = time.process_time()
            call()
            seconds[name].append(time.process_time() - start)
    batch, pil = (1e6 * statistics.median(seconds[name][10:]) / len(IMAGES) for name in ("batch", "PIL"))
    with capsys.disabled():
        print(f"\nstrong view, 64 images, 48 px: batch {batch:.0f} us, PIL {pil:.0f} us per image, {pil / batch:.2f}x")
    benchmark.extra_info.update(batch_us=batch, pil_us=pil, ratio=pil / batch)
    benchmark.pedantic(calls["batch"], rounds=1)
    assert pil / batch >= 2
