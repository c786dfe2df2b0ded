"""Each of the 14 operations, and whole policies, against PIL on the same image and parameter: equal bit by bit."""

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from ferbench.data.augment import dense
from ferbench.data.augment.operations import MAGNITUDES, Operation, RandAugmentParameters
from ferbench.data.augment.parcel import send
from ferbench.data.augment.pixels import pack, unpack
from ferbench.data.augment.randaugment import RandAugment
from tests.unit.data.augment import pil_policy
from tests.unit.data.augment.backends import BACKENDS, choose
from tests.unit.data.augment.samples import SIZES, from_pil, random_images, to_pil


def apply(images: Tensor, operation: Tensor, magnitude: Tensor) -> Tensor:
    """Given operations and magnitudes, (rounds, B) each, on (B, H, W, 3) uint8 images."""
    parameters = RandAugmentParameters(operation, magnitude)
    return unpack(RandAugment(len(operation)).apply(pack(images), parameters)).cpu()


def expected(images: Tensor, operation: Tensor, magnitude: Tensor) -> Tensor:
    """The same by PIL, image by image."""
    results = []
    for image, names, values in zip(images, operation.T.tolist(), magnitude.T.tolist(), strict=True):
        picture = to_pil(image)
        for name, value in zip(names, values, strict=True):
            picture = pil_policy.apply(picture, Operation(name).name, value)
        results.append(from_pil(picture))
    return torch.stack(results)


def magnitudes(operation: Operation, count: int, seed: int) -> Tensor:
    """(1, count) float64 in the operation's range, both ends and whole numbers among them."""
    low, high = MAGNITUDES[operation]
    generator = torch.Generator().manual_seed(seed)
    values = low + (high - low) * torch.rand((1, count), generator=generator, dtype=torch.float64)
    values[0, :2] = torch.tensor([low, high], dtype=torch.float64)
    values[0, 2:8] = values[0, 2:8].round().clamp_(low, high)
    return values


def test_the_ranges_are_those_of_the_reference() -> None:
    reference = {name: (low, high) for name, (_, low, high) in pil_policy.OPERATIONS.items()}
    assert {operation.name: MAGNITUDES[operation] for operation in Operation} == reference


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("operation", list(Operation), ids=lambda operation: operation.name.lower())
def test_operation_equals_pil(operation: Operation, backend: tuple[str, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    device = choose(backend, monkeypatch)
    for seed, (height, width) in enumerate(SIZES):
        images = random_images(45, height, width, seed)
        kinds = torch.full((1, len(images)), int(operation))
        values = magnitudes(operation, len(images), seed)
        torch.testing.assert_close(
            apply(images.to(device), kinds, values), expected(images, kinds, values), rtol=0, atol=0
        )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_policy_equals_pil(size: tuple[int, int], backend: tuple[str, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    device = choose(backend, monkeypatch)
    images = random_images(128, *size, seed=7)
    parameters = RandAugment().draw(len(images), torch.Generator().manual_seed(size[1]))
    result = apply(images.to(device), parameters.operation, parameters.magnitude)
    torch.testing.assert_close(result, expected(images, parameters.operation, parameters.magnitude), rtol=0, atol=0)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    draws=st.lists(
        st.sampled_from(Operation).flatmap(
            lambda operation: st.tuples(st.just(operation), st.floats(*MAGNITUDES[operation]))
        ),
        min_size=1,
        max_size=4,
    ),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    seed=st.integers(0, 2**20),
)
def test_any_sequence_equals_pil(draws: list[tuple[Operation, float]], height: int, width: int, seed: int) -> None:
    for kind, value in draws:
        # Pillow adds 1 to a float from pixel to pixel. Within some 1e-15 of half a pixel that sum is rounded.
        part = value * {Operation.TRANSLATE_X: width, Operation.TRANSLATE_Y: height}.get(kind, 0) % 1
        assume(part == 0.5 or abs(part - 0.5) > 1e-12)
    images = random_images(9, height, width, seed)[seed % 9 :][:1]
    operation = torch.tensor([[int(operation)] for operation, _ in draws])
    magnitude = torch.tensor([[value] for _, value in draws], dtype=torch.float64)
    by_pil = expected(images, operation, magnitude)
    assert torch.equal(apply(images, operation, magnitude), by_pil)
    [plan] = send([dense.prepare(RandAugmentParameters(operation, magnitude), height, width)], images.device)
    assert torch.equal(unpack(dense.apply(pack(images), plan)), by_pil)


def test_rejects_what_it_cannot_index() -> None:
    with pytest.raises(ValueError, match="too large for one batch"):
        pack(torch.zeros((1, 2, 5000, 3), dtype=torch.uint8))
