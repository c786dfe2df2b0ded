"""What a training step costs beside forward and backward: views, normalisation, optimizer, EMA, bookkeeping.

All parts are timed in turn in one process on one thread, by processor time, so that the shares hold on a busy machine.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from ferbench.discovery.loader import load_registry
from tests.support.standard_runs import RECIPE, standard_run
from tests.support.stepping import Stepper

STEPS, WARM_UP = 20, 3
LARGEST_SHARE = 0.15


def seconds(function: Callable[[], object]) -> float:
    """Processor time of a call."""
    start = time.process_time()
    function()
    return time.process_time() - start


@pytest.mark.slow
@pytest.mark.parametrize("size", [48, 112])
@pytest.mark.benchmark(group="training step")
def test_all_but_forward_and_backward_is_a_small_share(size: int, tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    """FixMatch with the standard recipe of SynthFaces, but for the size of its images, which are random.

    The net alone, without the loss, is shown too: its share varies from run to run with the memory that the system
    hands out anew in each step, at 112 px by several percent.
    """
    torch.set_num_threads(1)
    recipe = RECIPE.model_copy(update={"image_size": size})
    stepper = Stepper(standard_run(load_registry(), "fixmatch", tmp_path, recipe=recipe))
    method = stepper.run.method
    times: list[tuple[float, float, float]] = []

    def each() -> None:
        number = len(times)
        step = seconds(lambda: stepper.step(number))
        batch = stepper.batch(number)
        model = seconds(lambda: method.loss(batch).total.backward())

        def net() -> None:
            labeled, unlabeled = method.forward_views(batch)
            (labeled.weak.logits.sum() + unlabeled.strong.logits.sum()).backward()

        times.append((step, model, seconds(net)))

    benchmark.pedantic(each, rounds=STEPS, warmup_rounds=WARM_UP)
    step, model, net = (statistics.median(part) for part in zip(*times[WARM_UP:], strict=True))
    share = 1 - model / step
    print(f"\n{size} px: step {1e3 * step:.1f} ms, forward and backward {1e3 * model:.1f} ms")
    print(f"all else is {100 * share:.1f} % of the step")
    print(f"the net alone {1e3 * net:.1f} ms: the step takes {100 * (step / net - 1):.1f} % more")
    benchmark.extra_info["share beside forward and backward"] = round(share, 4)
    assert share <= LARGEST_SHARE
