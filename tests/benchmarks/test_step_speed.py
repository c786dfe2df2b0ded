"""What a training step costs beside forward and backward: views, normalisation, optimizer, EMA, bookkeeping.

Both parts are timed in turn in one process on one thread, by processor time, so that the share holds on a busy machine.
"""

import statistics
import time
from pathlib import Path

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from ferbench.builtin.backbones.small_resnet import SmallResNet
from ferbench.builtin.methods.fixmatch import FixMatch
from ferbench.builtin.protocols import RATIO_V1
from ferbench.contract.backbone import Network
from ferbench.contract.batch import MethodInfo
from ferbench.contract.head import LinearHead
from ferbench.data.load.views import ViewMaker
from ferbench.training.loop import Training
from ferbench.training.run import Run
from ferbench.training.stage_cache import StageCache
from ferbench.training.task import Task
from ferbench.training.teacher import Teacher
from tests.support.random_pool import random_pool
from tests.support.stepping import Stepper

RECIPE = RATIO_V1.recipes["synthfaces"]
STEPS = 20
LARGEST_SHARE = 0.15


@pytest.fixture
def stepper(tmp_path: Path) -> Stepper:
    """A run of FixMatch with the standard recipe of SynthFaces on random images."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    backbone = SmallResNet(int(RECIPE.backbone.partition("/")[2]))
    net = Network(backbone, LinearHead(backbone.feature_size, 7)).to(memory_format=torch.channels_last)
    cpu = torch.device("cpu")
    maker = ViewMaker(RECIPE, backbone.mean, backbone.std, cpu)
    names = tuple("abcdefg")
    task = Task(
        random_pool(400, RECIPE.image_size),
        random_pool(4000, RECIPE.image_size),
        maker,
        names,
        cpu,
    )
    info = MethodInfo(names, (57,) * 7, 400, 4000, RECIPE.steps, RECIPE.steps // 20, backbone.feature_size)
    method = FixMatch(FixMatch.Config(threshold=0.8))
    method.setup(net, info)
    teacher = Teacher(net, RECIPE.ema_decay)
    method.attach(net, teacher.net, torch.Generator(), info)
    run = Run(method, teacher, RECIPE, task, info, seed=0)
    return Stepper(Training(run, tmp_path / "checkpoint.safetensors", StageCache(tmp_path, {})))


@pytest.mark.benchmark(group="training step, 48 px")
def test_all_but_forward_and_backward_is_a_small_share(stepper: Stepper, benchmark: BenchmarkFixture) -> None:
    whole: list[float] = []
    model: list[float] = []

    def both() -> None:
        number = len(whole)
        start = time.process_time()
        stepper.step(number)
        whole.append(time.process_time() - start)
        batch = stepper.batch(number)
        start = time.process_time()
        stepper.run.method.loss(batch).total.backward()
        model.append(time.process_time() - start)

    benchmark.pedantic(both, rounds=STEPS, warmup_rounds=3)
    share = 1 - statistics.median(model[3:]) / statistics.median(whole[3:])
    step_ms, model_ms = (1e3 * statistics.median(times[3:]) for times in (whole, model))
    print(f"\nstep {step_ms:.1f} ms, forward and backward {model_ms:.1f} ms: everything else {100 * share:.1f} %")
    benchmark.extra_info["share beside forward and backward"] = round(share, 4)
    assert share <= LARGEST_SHARE
