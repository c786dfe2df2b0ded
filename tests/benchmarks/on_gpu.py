"""What a GPU makes of training: a table of every method, `make bench-gpu`.

    python -m tests.benchmarks.on_gpu [--device cpu --tiny] [--out bench-gpu.json]

Every method at three sizes of images, with three nets and two batches: images per second of its step, as it is by
default, with its loss compiled and as a CUDA graph, against those of the net alone, forward and backward on the same
tensors.
Then public loops of the same methods in the same process, two runs of one seed, and bf16 against fp32. What a method
refuses, or the device cannot do, stands in the table with its reason. Nothing is judged without a GPU.
"""

import gc
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import get_args

import click
import torch
from tabulate import tabulate

from ferbench.cells.method_facts import facts_of
from ferbench.contract.backbone import Network
from ferbench.contract.head import LinearHead
from ferbench.contract.protocol import Recipe
from ferbench.discovery.loader import load_registry
from ferbench.errors import FerbenchError
from ferbench.execution.build import build_backbone
from ferbench.execution.devices import make_deterministic
from ferbench.records.cell import Compile, digest
from ferbench.training.checkpoint import Checkpoint, checkpoint_bytes
from ferbench.training.loop import steps_of, train
from tests.support.docs_tables import longest_stage
from tests.support.paper_loops import LOOPS
from tests.support.random_pool import random_pool
from tests.support.standard_runs import RECIPE, default_method, standard_run
from tests.support.stepping import Stepper
from tests.support.toy_runs import toy_run

REGISTRY = load_registry()
MODES: tuple[Compile, ...] = get_args(Compile)
GOALS = {(32, 96): 0.60, (64, 448): 0.80}
"""Least share of the net's own rate at 112 px, by batch."""
OVER_ADA_CM = {48: 10.0, 112: 4.0}
"""How many times the rate of the official Ada-CM loop, by size."""


@dataclass(frozen=True)
class Setting:
    """What a step is timed with; `batches` are labeled and unlabeled images."""

    method: str
    backbone: str
    image_size: int
    batches: tuple[int, int]

    @property
    def recipe(self) -> Recipe:
        sizes = {"labeled_batch": self.batches[0], "unlabeled_batch": self.batches[1], "image_size": self.image_size}
        return RECIPE.model_copy(update={"backbone": self.backbone, **sizes})


@dataclass(frozen=True)
class Timed:
    """A row: milliseconds of a step, images per second, share of the net's own rate, memory; or why there are none."""

    setting: Setting
    mode: str
    milliseconds: float | None = None
    images_per_second: float | None = None
    of_the_net: float | None = None
    peak_gigabytes: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Bench:
    """Which settings there are, and how often each step is taken."""

    device: torch.device
    methods: tuple[str, ...]
    backbones: tuple[str, ...] = ("small-resnet", "timm/resnet18", "timm/vit_small_patch16_224")
    image_sizes: tuple[int, ...] = (48, 112, 224)
    batches: tuple[tuple[int, int], ...] = ((32, 96), (64, 448))
    steps: int = 20
    warm_up: int = 5
    pools: tuple[int, int] = (400, 4000)
    seeds: int = 3

    def settings(self) -> Iterator[Setting]:
        for method, backbone, size, batches in product(self.methods, self.backbones, self.image_sizes, self.batches):
            yield Setting(method, backbone, size, batches)

    @property
    def precision(self) -> str:
        return "bf16" if self.device.type == "cuda" else "fp32"

    def seconds(self, step: Callable[[int], object]) -> float:
        """The median of a step, once it is warm; the device is waited for."""
        taken = []
        for number in range(self.warm_up + self.steps):
            self._wait()
            start = time.perf_counter()
            step(number)
            self._wait()
            taken.append(time.perf_counter() - start)
        return statistics.median(taken[self.warm_up :])

    def rows(self, setting: Setting) -> Iterator[Timed]:
        """The step of a setting in every mode, and the net alone."""
        net_seconds: float | None = None
        for mode in ("net alone", *MODES):
            try:
                seconds, images, peak = self._measured(setting, mode)
            except (FerbenchError, RuntimeError, AssertionError) as error:
                yield Timed(setting, mode, reason=" ".join(f"{type(error).__name__}: {error}".split())[:160])
                continue
            net_seconds = seconds if mode == "net alone" else net_seconds
            share = net_seconds / seconds if net_seconds else None
            yield Timed(setting, mode, 1e3 * seconds, images / seconds, share, peak)

    def _measured(self, setting: Setting, mode: str) -> tuple[float, int, float | None]:
        if mode in MODES and (reason := self._refused(setting, mode)):
            raise FerbenchError(reason)
        on_cuda = self.device.type == "cuda"
        gc.collect()
        if on_cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        with tempfile.TemporaryDirectory() as folder:
            training = standard_run(
                REGISTRY, setting.method, Path(folder), recipe=setting.recipe, device=self.device,
                precision=self.precision, pools=self.pools,
            )  # fmt: skip
            stepper = Stepper(training, longest_stage(training))
            views = stepper.planned.stage.views
            images = len(views.labeled) * setting.batches[0] + len(views.unlabeled or ()) * setting.batches[1]
            if mode == "net alone":
                seconds = self.seconds(_net_alone(stepper))
            else:
                run = replace(training.run, compile=mode)
                stepper.steps = steps_of(run, stepper.planned, stepper.optimizers, training.log)
                seconds = self.seconds(stepper.step)
        return seconds, images, torch.cuda.max_memory_allocated() / 1e9 if on_cuda else None

    def _refused(self, setting: Setting, mode: str) -> str:
        method = default_method(REGISTRY, setting.method)
        facts = facts_of(method, setting.recipe, REGISTRY.load("protocols", "ratio-v1"))
        if mode in facts.eager:
            return facts.eager[mode]
        return "no CUDA device" if mode == "step" and self.device.type != "cuda" else ""

    def loops(self) -> Iterator[Timed]:
        """Public loops of FixMatch and Ada-CM at the first batch, with the second net (ResNet-18)."""
        for (name, (method, kind)), size in product(LOOPS.items(), self.image_sizes):
            setting = Setting(method, self.backbones[min(1, len(self.backbones) - 1)], size, self.batches[0])
            backbone = build_backbone(REGISTRY, setting.backbone, size, None)
            pools = (random_pool(count, size) for count in self.pools)
            loop = kind(
                Network(backbone, LinearHead(backbone.feature_size, 7)).to(self.device), *pools, setting.batches
            )
            seconds, unlabeled_views = self.seconds(loop.step), 3 if method == "ada-cm" else 2
            images = setting.batches[0] + unlabeled_views * setting.batches[1]
            yield Timed(setting, name, 1e3 * seconds, images / seconds)

    def repeats(self) -> dict[str, object]:
        """Whether two runs of one seed end in the same weights, and how far bf16 is from fp32 on the toy task."""
        with tempfile.TemporaryDirectory() as folder:
            ends = [self._toy(Path(folder) / str(i), 3, "fp32") for i in range(2)]
            losses = {
                precision: [
                    self._toy(Path(folder) / f"{precision}{seed}", seed, precision)[1] for seed in range(self.seeds)
                ]
                for precision in ("fp32", "bf16")
            }
        return {"two runs of one seed are equal": ends[0][0] == ends[1][0], "last loss by precision": losses}

    def _toy(self, folder: Path, seed: int, precision: str) -> tuple[str, float]:
        training = toy_run(REGISTRY, "fixmatch", folder, device=self.device, seed=seed, precision=precision)
        history = train(training).history
        weights = Checkpoint(dict(training.run.teacher.net.state_dict()))
        return digest(checkpoint_bytes(weights).hex()), history[-1].loss

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def _net_alone(stepper: Stepper) -> Callable[[int], object]:
    """Forward and backward of the views of a batch as the stage forwards them, without loss and what follows."""
    batch, method, run = stepper.batch(0), stepper.run.method, stepper.run

    def step(number: int) -> None:
        with run.autocast():
            outputs = method.forward_views(batch, views=stepper.planned.stage.views)
            named = [output for side in outputs for output in side._outputs.values()]
            total = torch.stack([out.logits.sum() for out in named if out.logits.requires_grad]).sum()
        run.net.zero_grad(set_to_none=True)
        total.backward()

    return step


def judged(rows: list[Timed], device: torch.device) -> list[str]:
    """What became of the goals."""
    if device.type != "cuda":
        return ["no GPU: the goals are unmeasured, and what stands above says nothing of one"]
    found = []
    for batches, goal in GOALS.items():
        setting = Setting("fixmatch", "timm/resnet18", 112, batches)
        shares = [row.of_the_net or 0.0 for row in rows if row.setting == setting and row.mode in MODES]
        best = max(shares, default=0.0)
        found.append(f"FixMatch, 112 px, {batches[0]}+{batches[1]}: {best:.0%} of the net's rate (goal {goal:.0%})")
    for size, goal in OVER_ADA_CM.items():
        rates = [(row.mode, row.images_per_second) for row in rows if row.images_per_second and _is_ada_cm(row, size)]
        own = max((rate for mode, rate in rates if mode in MODES), default=0.0)
        theirs = max((rate for mode, rate in rates if mode in LOOPS), default=float("nan"))
        found.append(f"Ada-CM, {size} px: {own / theirs:.1f} times the authors' loop (goal {goal:g})")
    return found


def _is_ada_cm(row: Timed, size: int) -> bool:
    return row.setting == Setting("ada-cm", "timm/resnet18", size, (32, 96))


@click.command()
@click.option("--device", type=click.Choice(["cuda", "cpu"]), default="cuda", show_default=True)
@click.option("--tiny", is_flag=True, help="One method, one small net, a few steps: whether it runs at all.")
@click.option("--out", type=click.Path(path_type=Path), default="bench-gpu.json", show_default=True)
def main(device: str, tiny: bool, out: Path) -> None:
    """Time every method's step, print the table and write it as JSON."""
    if device == "cuda" and not torch.cuda.is_available():
        raise click.ClickException("no CUDA device here; --device cpu --tiny tries whether the benchmark runs")
    chosen = torch.device(device)
    make_deterministic(chosen)
    names = tuple(n for n in REGISTRY.names("methods") if "tokens" not in default_method(REGISTRY, n).requires)
    bench = Bench(chosen, names)
    if tiny:
        bench = Bench(chosen, ("fixmatch",), ("small-resnet/4",), (16,), ((4, 8),), 2, 1, (20, 40), 1)
    rows: list[Timed] = []
    for setting in bench.settings():
        rows += bench.rows(setting)
    rows += bench.loops()
    repeats, goals = bench.repeats(), judged(rows, chosen)
    titles = ("method", "net", "px", "batch", "mode", "ms", "images/s", "of the net", "GB", "")
    click.echo(tabulate([_cells(row) for row in rows], titles, tablefmt="github", missingval="-"))
    for line in (*(f"{name}: {value}" for name, value in repeats.items()), *goals):
        click.echo(line)
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    content = {
        "device": name,
        "torch": torch.__version__,
        "rows": [asdict(row) for row in rows],
        "goals": goals,
        **repeats,
    }
    out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _cells(row: Timed) -> tuple[object, ...]:
    of, numbers = row.setting, (row.milliseconds, row.images_per_second, row.of_the_net, row.peak_gigabytes)
    shown = [
        None if value is None else f"{value:.{digits}f}" for value, digits in zip(numbers, (2, 0, 2, 2), strict=True)
    ]
    return of.method, of.backbone, of.image_size, f"{of.batches[0]}+{of.batches[1]}", row.mode, *shown, row.reason


if __name__ == "__main__":
    main()
