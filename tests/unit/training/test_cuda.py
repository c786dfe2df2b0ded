"""The engine on a GPU: nothing in a step waits for the device, and a run repeats itself."""

from pathlib import Path

import pytest
import torch

from ferbench.builtin.methods.fixmatch import FixMatch
from ferbench.training.engine import Trainer
from ferbench.training.stage_cache import StageCache
from ferbench.training.teacher import Teacher
from ferbench.training.toy import INFO, RECIPE, toy_network, toy_task

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]


def cuda_trainer(folder: Path, precision: str) -> Trainer:
    device = torch.device("cuda")
    net = toy_network().to(device)
    method = FixMatch(FixMatch.Config(threshold=0.5, align=True))
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
    history = cuda_trainer(tmp_path, precision).run().history
    assert history[-1]["evaluation"]["accuracy"] > 0.8


def test_no_step_waits_for_the_device(tmp_path: Path) -> None:
    trainer = cuda_trainer(tmp_path, "bf16")
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
