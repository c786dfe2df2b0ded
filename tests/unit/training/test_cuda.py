"""The engine on a GPU: nothing in a step waits for the device, runs repeat themselves, a captured step is the step."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ferbench.blocks import MarginOptions
from ferbench.builtin.methods.fixmatch import FixMatch
from ferbench.conformance.toy_task import toy_images, toy_training
from ferbench.contract.method import Method, Processes
from ferbench.execution.devices import make_deterministic
from ferbench.records.cell import Compile
from ferbench.training.evaluation import logits_of
from ferbench.training.loop import Training, train
from ferbench.training.static_steps import CapturedSteps, StaticSteps
from ferbench.training.steps import Steps
from ferbench_ada_cm.method import AdaCM
from ferbench_leaf.method import Leaf
from tests.support.launches import FROM_THE_HOST, Launches
from tests.support.stepping import Stepper
from tests.support.stopped_runs import train_until_stopped

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]

GPU = torch.device("cuda")

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
    filled = torch.utils.deterministic.fill_uninitialized_memory
    make_deterministic(torch.device("cuda"))
    yield
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = filled


def on_the_gpu(folder: Path, method: Method, precision: str = "fp32", **more: Any) -> Training:
    return toy_training(method, folder, device=GPU, precision=precision, **more)


def accuracy(training: Training) -> float:
    images = toy_images(20, 3, GPU)
    found = logits_of(training.run.teacher.net, images, training.run.task.maker, 50).argmax(-1)
    return float((found == images.labels).float().mean())


def state(training: Training) -> dict[str, Tensor]:
    modules = training.run.modules.items()
    return {f"{place}.{name}": v.clone() for place, module in modules for name, v in module.state_dict().items()}


def differences(first: dict[str, Tensor], second: dict[str, Tensor]) -> list[str]:
    return [name for name, value in first.items() if not torch.equal(second[name], value)]


@pytest.mark.parametrize("compile", ["off", "net", "step"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_on_the_gpu_learns(tmp_path: Path, precision: str, compile: Compile) -> None:
    training = on_the_gpu(tmp_path, METHODS[0](), precision, compile=compile)
    train(training)
    assert accuracy(training) > 0.8


@pytest.mark.parametrize("compile", ["off", "step"])
def test_two_runs_of_one_seed_are_equal_and_so_is_one_that_was_stopped(tmp_path: Path, compile: Compile) -> None:
    ends = []
    for name in ("first", "second"):
        train(training := on_the_gpu(tmp_path / name, METHODS[3](), compile=compile))
        ends.append(state(training))
    train_until_stopped(on_the_gpu(tmp_path / "stopped", METHODS[3](), compile=compile), 7)
    train(resumed := on_the_gpu(tmp_path / "stopped", METHODS[3](), compile=compile))
    assert resumed.progress.resumed == 1
    assert not differences(ends[0], ends[1])
    assert not differences(ends[0], state(resumed))


def steps_of_kind(folder: Path, number: int, precision: str, kind: type[Steps], take: int) -> Stepper:
    stepper = Stepper(on_the_gpu(folder, METHODS[number](), precision), kind=kind)
    torch.manual_seed(5)
    stepper.run.method.random.manual_seed(6)
    for step in range(take):
        stepper.step(step)
    return stepper


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("number", range(len(METHODS)))
def test_ten_captured_steps_are_the_static_ones_bit_for_bit(tmp_path: Path, number: int, precision: str) -> None:
    """BatchNorm's statistics and counters, dropout's masks, moments, rates, averages: no rehearsal is in them."""
    static, captured = (
        steps_of_kind(tmp_path / kind.__name__, number, precision, kind, 10) for kind in (StaticSteps, CapturedSteps)
    )
    assert not differences(state(static.training), state(captured.training))
    assert int(captured.run.net.state_dict()["backbone.norm.num_batches_tracked"]) > 0
    for each in (static, captured):
        each.training.stats.settle(Processes())
    assert static.training.stats.read() == captured.training.stats.read()


def test_a_captured_step_draws_dropout_anew(tmp_path: Path) -> None:
    """The same images at a rate of 0: another loss at each replay."""
    stepper = steps_of_kind(tmp_path, 1, "fp32", CapturedSteps, 1)
    batch = stepper.batch(1)
    for group in stepper.optimizers["main"].param_groups:
        group["base_lr"] = 0.0
    totals = [float(stepper.steps(1, batch).total) for _ in range(4)]
    assert len(set(totals)) == 4


def test_a_captured_step_is_a_few_launches_from_the_host_and_waits_for_nothing(tmp_path: Path) -> None:
    stepper = steps_of_kind(tmp_path, 3, "bf16", CapturedSteps, 2)
    batches = [stepper.batch(step) for step in range(2, 6)]
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        with Launches() as launches:
            for step, batch in enumerate(batches, 2):
                stepper.step(step, batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert launches.count / len(batches) + 1 <= FROM_THE_HOST


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
