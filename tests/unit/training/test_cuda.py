"""The engine on a GPU: nothing in a step waits for the device, and a run repeats itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from ferbench.blocks import MarginOptions
from ferbench.builtin.methods.fixmatch import FixMatch
from ferbench.conformance.toy_task import toy_training
from ferbench.contract.method import Method
from ferbench.training.loop import Training, train
from ferbench_ada_cm.method import AdaCM
from ferbench_leaf.method import Leaf
from tests.support.stepping import Stepper

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]


METHODS = [
    lambda: FixMatch(FixMatch.Config(threshold=0.5, align=True)),
    lambda: AdaCM(AdaCM.Config(margin=MarginOptions(update="iteration", floor=0.5))),
    lambda: AdaCM(AdaCM.Config.model_validate(AdaCM.variants["released"])),
    lambda: Leaf(Leaf.Config(margin=MarginOptions(floor=0.5))),
    lambda: Leaf(Leaf.Config.model_validate(Leaf.variants["released"])),
]


@pytest.fixture(autouse=True)
def deterministic() -> Iterator[None]:
    """As cells run: some kernels that wait for nothing otherwise do in this mode."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


def on_the_gpu(folder: Path, method: Method, precision: str) -> Training:
    return toy_training(method, folder, device=torch.device("cuda"), precision=precision)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_on_the_gpu_learns(tmp_path: Path, precision: str) -> None:
    history = train(on_the_gpu(tmp_path, METHODS[0](), precision)).history
    assert history[-1].evaluation["accuracy"] > 0.8


@pytest.mark.parametrize("number", range(len(METHODS)))
def test_no_step_waits_for_the_device(tmp_path: Path, number: int) -> None:
    stepper = Stepper(on_the_gpu(tmp_path, METHODS[number](), "bf16"))
    for step in range(3):
        stepper.step(step)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(3, 8):
            stepper.step(step)
    finally:
        torch.cuda.set_sync_debug_mode("default")
