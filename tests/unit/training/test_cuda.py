"""The engine on a GPU: nothing in a step waits for the device, and a run repeats itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from ferbench.builtin.methods.fixmatch import FixMatch
from ferbench.contract.method import Method
from ferbench.training.engine import Trainer
from ferbench.training.stage_cache import StageCache
from ferbench.training.teacher import Teacher
from ferbench.training.toy import INFO, RECIPE, toy_network, toy_task
from ferbench_ada_cm.method import AdaCM
from ferbench_leaf.method import Leaf

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]


METHODS = [
    lambda: FixMatch(FixMatch.Config(threshold=0.5, align=True)),
    lambda: AdaCM(AdaCM.Config(margin="iteration", margin_floor=0.5)),
    lambda: AdaCM(AdaCM.Config.model_validate(AdaCM.variants["released"])),
    lambda: Leaf(Leaf.Config(margin_floor=0.5)),
    lambda: Leaf(Leaf.Config.model_validate(Leaf.variants["released"])),
]


@pytest.fixture(autouse=True)
def deterministic() -> Iterator[None]:
    """As cells run: some kernels that wait for nothing otherwise do in this mode."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


def cuda_trainer(folder: Path, method: Method, precision: str) -> Trainer:
    device = torch.device("cuda")
    net = toy_network(method).to(device)
    method.setup(net, INFO)
    method.to(device)
    teacher = Teacher(net, RECIPE.ema_decay)
    method.attach(net, teacher.net, torch.Generator(device).manual_seed(1), INFO)
    task = toy_task(unlabeled=True, device=device)
    path = folder / "checkpoint.safetensors"
    cache = StageCache(folder, {})
    return Trainer(
        method, teacher, RECIPE, task, INFO,
        seed=3, identity="", checkpoint_path=path, stage_cache=cache, precision=precision,
    )  # fmt: skip


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_on_the_gpu_learns(tmp_path: Path, precision: str) -> None:
    history = cuda_trainer(tmp_path, METHODS[0](), precision).run().history
    assert history[-1]["evaluation"]["accuracy"] > 0.8


@pytest.mark.parametrize("number", range(len(METHODS)))
def test_no_step_waits_for_the_device(tmp_path: Path, number: int) -> None:
    trainer = cuda_trainer(tmp_path, METHODS[number](), "bf16")
    stage = trainer.stages[0]
    optimizer = trainer._optimizer(stage, RECIPE)
    labeled, unlabeled = trainer._pools(stage)
    batches = trainer._batches(stage, labeled, unlabeled, RECIPE.steps)
    for step in range(3):
        trainer._step(stage, batches.at(step), optimizer, step, unlabeled)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(3, 8):
            trainer._step(stage, batches.at(step), optimizer, step, unlabeled)
    finally:
        torch.cuda.set_sync_debug_mode("default")
