"""A step of FixMatch in ferbench and in the structure of two public loops, side by side.

    python -m pytest tests/benchmarks/test_fixmatch_loops_speed.py -s

The standard recipe of SynthFaces: 32 labeled and 64 unlabeled images, 48 pixels, small-resnet, one thread. The loops,
kekmodel's and USB's, are in `tests/support/paper_loops.py`: both send the weak view through the net with gradient,
ferbench without; RandAugment is that of ferbench's strong view for all. Steps alternate; processor time is compared.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from ferbench.contract.backbone import Network
from ferbench.contract.head import LinearHead
from ferbench.discovery.loader import load_registry
from ferbench.execution.build import build_backbone
from tests.support.paper_loops import FixMatchLoop, UsbFixMatchLoop
from tests.support.random_pool import random_pool
from tests.support.standard_runs import LABELED, RECIPE, UNLABELED, standard_run
from tests.support.stepping import Stepper

REGISTRY = load_registry()
ROUNDS, WARM_UP = 16, 3
LARGEST_RATIO = 0.6


def loop(kind: type[FixMatchLoop | UsbFixMatchLoop]) -> FixMatchLoop | UsbFixMatchLoop:
    torch.manual_seed(0)
    backbone = build_backbone(REGISTRY, RECIPE.backbone, RECIPE.image_size, None)
    pools = (random_pool(count, RECIPE.image_size) for count in (LABELED, UNLABELED))
    return kind(
        Network(backbone, LinearHead(backbone.feature_size, 7)), *pools, (RECIPE.labeled_batch, RECIPE.unlabeled_batch)
    )


@pytest.mark.slow
@pytest.mark.benchmark(group="a step of FixMatch, 32 + 2 x 64 views, 48 px")
def test_a_step_takes_half_of_the_public_loops(tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    torch.set_num_threads(1)
    rivals = {"kekmodel": loop(FixMatchLoop), "USB": loop(UsbFixMatchLoop)}
    steps: dict[str, Callable[[int], object]] = {"ferbench": Stepper(standard_run(REGISTRY, "fixmatch", tmp_path)).step}
    steps |= {name: rival.step for name, rival in rivals.items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}

    def all_in_turn() -> None:
        for name, step in steps.items():
            start = time.process_time()
            step(len(seconds[name]))
            seconds[name].append(time.process_time() - start)

    benchmark.pedantic(all_in_turn, rounds=ROUNDS)
    own = seconds["ferbench"][WARM_UP:]
    print(f"\nferbench: {1e3 * statistics.median(own):.1f} ms of CPU")
    for name in rivals:
        pairs = [mine / theirs for mine, theirs in zip(own, seconds[name][WARM_UP:], strict=True)]
        low, middle, high = statistics.quantiles(pairs, n=4)
        theirs = 1e3 * statistics.median(seconds[name][WARM_UP:])
        print(f"{name}: {theirs:.1f} ms of CPU; ferbench / {name} = {middle:.3f} (quartiles {low:.3f} to {high:.3f})")
        benchmark.extra_info[name] = round(middle, 4)
        assert middle <= LARGEST_RATIO
