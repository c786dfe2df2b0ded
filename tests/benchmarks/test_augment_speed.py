"""Views of a batch on one thread, normalised, beside those of others: PIL image by image, torchvision's v2.

    python -m pytest tests/benchmarks/test_augment_speed.py -s

By processor time, all in turn, so that what else the machine does slows all alike.
"""

import random
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as pictures
from torchvision.transforms import v2

from ferbench.builtin.protocols import RATIO_V1
from ferbench.data.augment.strong import Strong
from ferbench.data.augment.weak import Weak
from ferbench.data.load.views import ViewMaker
from tests.unit.data.augment import pil_policy

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ROUNDS, WARM_UP = 25, 3
# pixels: images of a batch, times that PIL must take of the strong view, and torchvision of the weak one
SIZES = {48: (64, 5.0, 1.0), 112: (64, 1.5, 1.0), 224: (32, 1.5, 1.0)}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def faces(count: int, size: int) -> Tensor:
    """(count, size, size, 3) uint8: waves with some noise, whose histograms are about those of photos."""
    rng = np.random.default_rng(0)
    x = np.arange(size)[None, None, :, None]
    waves = 128 + 60 * np.sin(x / 9 + rng.uniform(0, 6, (count, 1, 1, 3))) + rng.normal(0, 8, (count, size, size, 3))
    return torch.from_numpy(waves.clip(0, 255).astype(np.uint8))


def ours(images: Tensor) -> dict[str, Callable[[], object]]:
    maker = ViewMaker(RATIO_V1.recipes["synthfaces"], MEAN, STD, torch.device("cpu"))
    generator, weak, strong = torch.Generator().manual_seed(0), Weak(), Strong()
    return {
        "weak": lambda: maker.normalised(weak(images, generator)[0]),
        "strong": lambda: maker.normalised(strong(images, generator)[0]),
    }


def of_others(images: Tensor) -> dict[str, Callable[[], object]]:
    """What a data loader does for each image."""
    randomness, pixels, size = random.Random(0), images.numpy(), images.shape[1]
    planes = images.permute(0, 3, 1, 2).contiguous()
    cropped = v2.RandomApply([v2.RandomCrop(size, padding=4)])
    weak = v2.Compose(
        [cropped, v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    )

    def strong(image: np.ndarray[Any, np.dtype[np.uint8]]) -> Tensor:
        view = pil_policy.strong(Image.fromarray(image), randomness)
        return pictures.normalize(pictures.to_tensor(view), list(MEAN), list(STD))

    return {
        "weak of torchvision": lambda: torch.stack([weak(image) for image in planes]),
        "strong of PIL": lambda: torch.stack([strong(image) for image in pixels]),
    }


@pytest.mark.parametrize("size", SIZES)
def test_views_are_faster_than_those_of_others(size: int, benchmark: Any, capsys: pytest.CaptureFixture[str]) -> None:
    count, least_strong, least_weak = SIZES[size]
    images = faces(count, size)
    calls = {**ours(images), **of_others(images)}
    seconds: dict[str, list[float]] = {name: [] for name in calls}

    def round_of_views() -> None:
        for name, call in calls.items():
            start = time.process_time()
            call()
            seconds[name].append(time.process_time() - start)

    benchmark.pedantic(round_of_views, rounds=ROUNDS, warmup_rounds=WARM_UP)
    spent = {name: 1e6 * statistics.median(values[WARM_UP:]) / count for name, values in seconds.items()}
    strong = spent["strong of PIL"] / spent["strong"]
    weak = spent["weak of torchvision"] / spent["weak"]
    with capsys.disabled():
        each = ", ".join(f"{name} {microseconds:.0f} us" for name, microseconds in spent.items())
        print(f"\n{size} px, an image: {each}; strong {strong:.2f}x PIL, weak {weak:.2f}x torchvision")
    benchmark.extra_info.update(spent, strong=strong, weak=weak)
    assert strong >= least_strong
    assert weak >= least_weak
