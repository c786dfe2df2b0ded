"""A step of Ada-CM in ferbench and in the structure of the authors' loop, part by part, side by side.

16 labeled and 16 unlabeled images in three views, 48 pixels, timm's resnet10t, one thread. The other loop is
`tests/support/paper_loops.py`'s. Both take images from memory, so that the time to read files counts for neither.
"""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from pytest_benchmark.fixture import BenchmarkFixture

from ferbench.contract.backbone import Network
from ferbench.contract.batch import Batch, MethodInfo
from ferbench.contract.protocol import Recipe, WeakView
from ferbench.data.load.image_set import LabeledImages
from ferbench.data.load.views import ViewMaker
from ferbench.discovery.loader import load_registry
from ferbench.execution.build import build_backbone
from ferbench.training.loop import Training
from ferbench.training.memory_format import lay_out
from ferbench.training.run import Run
from ferbench.training.stage_cache import StageCache
from ferbench.training.task import Task
from ferbench.training.teacher import Teacher
from ferbench_ada_cm.method import AdaCM
from tests.support.paper_loops import AdaCmLoop
from tests.support.stepping import Stepper

RECIPE = Recipe(
    backbone="timm/resnet10t", image_size=48, steps=1000, labeled_batch=16, unlabeled_batch=16,
    optimizer="adam", learning_rate=5e-4, schedule="constant", weak=WeakView(padding=2, crop_probability=0.5),
)  # fmt: skip
CPU = torch.device("cpu")
NAMES = tuple("abcdefg")
ROUNDS, WARM_UP = 16, 3
LARGEST_RATIO = 0.75


class Clock:
    """Processor time of named parts; a round is all of them together."""

    def __init__(self) -> None:
        self.parts: dict[str, list[float]] = defaultdict(list)

    def __call__(self, name: str, call: Callable[[], object]) -> object:
        start = time.process_time()
        result = call()
        self.parts[name].append(time.process_time() - start)
        return result

    def milliseconds(self) -> dict[str, float]:
        return {name: 1e3 * statistics.median(values[WARM_UP:]) for name, values in self.parts.items()}

    def rounds(self) -> list[float]:
        return [1e3 * sum(values) for values in zip(*self.parts.values(), strict=True)][WARM_UP:]


def pool(count: int) -> LabeledImages:
    labels = torch.arange(count) % 7
    images = torch.randint(0, 256, (count, 48, 48, 3), dtype=torch.uint8)
    boxes = torch.tensor([[4.0, 4.0, 40.0, 40.0]]).repeat(count, 1)
    return LabeledImages(images, boxes, labels=labels, label_probs=F.one_hot(labels, 7).float())


def network() -> Network:
    torch.manual_seed(0)
    backbone = build_backbone(load_registry(), "timm/resnet10t", 48, None)
    return Network(backbone, AdaCM(AdaCM.Config()).make_head(backbone.feature_size, 7)).train()


class Ours:
    """The engine's step, cut at the same places as the other loop's."""

    def __init__(self, folder: Path) -> None:
        net = lay_out(network(), CPU, 48)
        maker = ViewMaker(RECIPE, net.backbone.mean, net.backbone.std, CPU)
        task = Task(pool(160), pool(1600), maker, NAMES, CPU)
        info = MethodInfo(NAMES, (23,) * 7, 160, 1600, RECIPE.steps, 50, net.backbone.feature_size)
        method, teacher = AdaCM(AdaCM.Config()), Teacher(net, RECIPE.ema_decay)
        method.setup(net, info)
        method.attach(net, teacher.net, torch.Generator(), info)
        run = Run(method, teacher, RECIPE, task, info, seed=0)
        self.stepper = Stepper(Training(run, folder / "checkpoint.safetensors", folder, StageCache(folder, {})))

    def step(self, number: int, clock: Clock) -> None:
        batch = clock("views", lambda: self.stepper.batch(number))
        assert isinstance(batch, Batch)
        whole, model = Clock(), Clock()
        loss = self.stepper.run.method.loss

        def timed(batch: Batch):  # type: ignore[no-untyped-def]
            losses = model("forward", lambda: loss(batch))
            backward = losses.total.backward  # type: ignore[attr-defined]
            losses.total.backward = lambda: model("backward", backward)  # type: ignore[attr-defined]
            return losses

        self.stepper.with_loss(timed)
        whole("all", lambda: self.stepper.step(number, batch))
        inner = {name: values[0] for name, values in model.parts.items()}
        for name, seconds in inner.items():
            clock.parts[name].append(seconds)
        clock.parts["optimizer, EMA, records"].append(whole.parts["all"][0] - sum(inner.values()))


@pytest.mark.benchmark(group="a step of Ada-CM, 16 + 3 x 16 views, 48 px, timm/resnet10t")
def test_a_step_takes_three_quarters_of_the_authors_loop(tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    ours, theirs = Ours(tmp_path), AdaCmLoop(network(), pool(160), pool(1600), (16, 16))
    clocks = {"ferbench": Clock(), "authors' structure": Clock()}
    number = iter(range(RECIPE.steps))

    def both() -> None:
        step = next(number)
        ours.step(step, clocks["ferbench"])
        theirs.step(step, clocks["authors' structure"])

    benchmark.pedantic(both, rounds=ROUNDS)
    torch.set_num_threads(threads)
    mine, others = (clock.rounds() for clock in clocks.values())
    ratio = statistics.median(a / b for a, b in zip(mine, others, strict=True))
    for name, clock in clocks.items():
        parts = ", ".join(f"{part} {value:.1f}" for part, value in clock.milliseconds().items())
        print(f"\n{name}: {statistics.median(clock.rounds()):.0f} ms of CPU ({parts})")
    print(f"ratio {ratio:.3f}")
    benchmark.extra_info["ratio"] = round(ratio, 4)
    assert ratio <= LARGEST_RATIO
