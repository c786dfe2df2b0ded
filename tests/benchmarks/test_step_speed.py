"""What a training step costs beside forward and backward: views, normalisation, optimizer, EMA, bookkeeping.

Both parts are timed in turn in one process on one thread, by processor time, so that the share holds on a busy machine.
"""

import statistics
import time
from pathlib import Path

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from ferbench.discovery.loader import load_registry
from tests.support.standard_runs import standard_run
from tests.support.stepping import Stepper

STEPS = 20
LARGEST_SHARE = 0.15


@pytest.fixture
def stepper(tmp_path: Path) -> Stepper:
    """A run of FixMatch with the standard recipe of SynthFaces on random images."""
    torch.set_num_threads(1)
    return Stepper(standard_run(load_registry(), "fixmatch", tmp_path))


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
