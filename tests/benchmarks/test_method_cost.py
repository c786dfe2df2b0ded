"""What a step of each method costs beside one of supervised training on weak views: processor time and operations.

    python -m pytest tests/benchmarks/test_method_cost.py -s

All methods take a step in turn, one thread, the standard recipe of SynthFaces with images of noise, so that shares hold
on a busy machine. A method with several stages is timed in its longest. Operations are those of the step without its
views, whose number on a CPU depends on the draw.
"""

import statistics
import time
from pathlib import Path

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from ferbench.discovery.loader import load_registry
from tests.support.docs_tables import longest_stage
from tests.support.launches import Launches
from tests.support.standard_runs import default_method, standard_run
from tests.support.stepping import Stepper

REGISTRY = load_registry()
ROUNDS, WARM_UP = 7, 2
BASELINE = "supervised"


@pytest.mark.slow
@pytest.mark.benchmark(group="a step of each method, 48 px")
def test_cost_of_each_method(tmp_path: Path, benchmark: BenchmarkFixture) -> None:
    torch.set_num_threads(1)
    steppers = {}
    for name in REGISTRY.entries["methods"]:
        if "tokens" not in default_method(REGISTRY, name).requires:  # the net of the standard recipe has none
            training = standard_run(REGISTRY, name, tmp_path / name)
            steppers[name] = Stepper(training, longest_stage(training))
    seconds: dict[str, list[float]] = {name: [] for name in steppers}

    def round_of_steps() -> None:
        for name, stepper in steppers.items():
            start = time.process_time()
            stepper.step(len(seconds[name]))
            seconds[name].append(time.process_time() - start)

    benchmark.pedantic(round_of_steps, rounds=ROUNDS, warmup_rounds=WARM_UP)
    operations = {name: operations_of(stepper) for name, stepper in steppers.items()}
    times = {name: statistics.median(values[WARM_UP:]) for name, values in seconds.items()}
    print("\n\n| method | step, times supervised | operations | times supervised |\n|---|---|---|---|")
    for name in steppers:
        ratio, more = times[name] / times[BASELINE], operations[name] / operations[BASELINE]
        benchmark.extra_info[name] = {"time": round(ratio, 3), "operations": operations[name]}
        print(f"| `{name}` | {ratio:.1f} | {operations[name]:,} | {more:.1f} |")
    print(f"\nsupervised: {1e3 * times[BASELINE]:.1f} ms")
    assert times["fixmatch"] > times[BASELINE], "a step with unlabeled images is dearer than one without"


def operations_of(stepper: Stepper) -> int:
    """The operations of one more step, its views made before."""
    number = ROUNDS + WARM_UP
    batch = stepper.batch(number)
    with Launches() as launches:
        stepper.step(number, batch)
    return launches.count
