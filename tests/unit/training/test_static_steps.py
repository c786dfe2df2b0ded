"""Steps over tensors that stay where they are are those of the loop, and leave no trace of their rehearsal."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from ferbench.cells.method_facts import facts_of
from ferbench.contract.counting import counting
from ferbench.contract.method import Processes
from ferbench.discovery.loader import load_registry
from ferbench.training.rehearsal import Cost, left_as_it_was
from ferbench.training.static_steps import StaticSteps
from ferbench.training.steps import Steps
from tests.support.standard_runs import RECIPE, default_method
from tests.support.stepping import Stepper
from tests.support.toy_runs import toy_run

REGISTRY = load_registry()
STEPS = 10


def begun(name: str, folder: Path, stage: int = 0, kind: type[Steps] = Steps) -> Stepper:
    """A stage that draws from its own seeds, as the loop begins it."""
    training = toy_run(REGISTRY, name, folder, fields={"steps": 1000})
    stepper = Stepper(training, stage, kind)
    torch.manual_seed(5)
    training.run.method.random.manual_seed(6)
    training.run.method.train()
    return stepper


def reason_against_capture(name: str) -> str | None:
    """Why --compile step refuses a method."""
    protocol = REGISTRY.load("protocols", "ratio-v1")
    return facts_of(default_method(REGISTRY, name), RECIPE, protocol).eager.get("step")


CAPTURED = [name for name in REGISTRY.names("methods") if reason_against_capture(name) is None]


def everything(stepper: Stepper) -> dict[str, Tensor]:
    """All that training has changed, by name."""
    run = stepper.run
    found = {f"{place}.{n}": v for place, module in run.modules.items() for n, v in module.state_dict().items()}
    for name, optimizer in stepper.optimizers.items():
        for place, entry in optimizer.state_dict()["state"].items():
            found |= {f"{name}.{place}.{key}": value for key, value in entry.items() if value is not None}
    return {name: value.clone() for name, value in found.items()}


def trained(stepper: Stepper) -> tuple[dict[str, Tensor], dict[str, object], Cost]:
    with counting(cost := Cost()):
        for step in range(STEPS):
            stepper.step(step)
    stepper.training.stats.settle(Processes())
    return everything(stepper), stepper.training.stats.read(), cost


def test_methods_that_cannot_be_captured_say_why() -> None:
    """The papers' own methods can; what draws, or takes a gradient, within its loss cannot."""
    assert {"fixmatch", "supervised", "ada-cm", "leaf", "dtm"} <= set(CAPTURED)
    assert {"vat", "mixmatch", "meta-pseudo-labels"}.isdisjoint(CAPTURED)
    assert reason_against_capture("vat") == REGISTRY.load("methods", "vat").runs_eagerly != ""


@pytest.mark.parametrize("name", CAPTURED)
def test_ten_static_steps_are_the_loops_bit_for_bit(name: str, tmp_path: Path) -> None:
    """In the last stage, of the same draws."""
    stage = len(toy_run(REGISTRY, name, tmp_path).stages) - 1
    state, row, cost = trained(begun(name, tmp_path / "loop", stage))
    static_state, static_row, static_cost = trained(begun(name, tmp_path / "static", stage, StaticSteps))
    assert static_cost == cost and cost.forward_images > 0
    assert static_row == row
    assert static_state.keys() == state.keys()
    assert not [key for key, value in state.items() if not torch.equal(static_state[key], value)]


@pytest.mark.parametrize("name", ["ada-cm", "leaf", "freematch"])
def test_a_rehearsal_leaves_no_trace(name: str, tmp_path: Path) -> None:
    """BatchNorm's statistics and counters, buffers of the method, moments, dropout's random numbers."""
    stepper = begun(name, tmp_path)
    stepper.step(0)
    before, places = everything(stepper), [p.data_ptr() for p in stepper.run.net.state_dict().values()]
    generators = torch.get_rng_state(), stepper.run.method.random.get_state()
    with left_as_it_was(stepper.run, stepper.optimizers):
        stepper.step(1)
        changed = everything(stepper)
    assert any(not torch.equal(changed[key], value) for key, value in before.items()), "the rehearsal did something"
    after = everything(stepper)
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert [p.data_ptr() for p in stepper.run.net.state_dict().values()] == places, "a graph reads where they were"
    assert torch.equal(torch.get_rng_state(), generators[0])
    assert torch.equal(stepper.run.method.random.get_state(), generators[1])
    assert all(parameter.grad is None for parameter in stepper.run.net.parameters())


def test_what_a_graph_would_hold_stays_where_it_is(tmp_path: Path) -> None:
    """BatchNorm's counters, rates, moments, the teacher: all are written in place, as a graph reads where they were."""
    stepper = begun("fixmatch", tmp_path, kind=StaticSteps)
    stepper.step(0)

    def places() -> list[int]:
        optimizer = stepper.optimizers["main"]
        moments = [value for entry in optimizer.state.values() for value in entry.values()]
        rates = [group["lr"] for group in optimizer.param_groups]
        state = [v for module in stepper.run.modules.values() for v in module.state_dict().values()]
        return [value.data_ptr() for value in (*moments, *rates, *state)]

    before, counter = places(), "backbone.norm.num_batches_tracked"
    for step in range(1, 4):
        stepper.step(step)
        assert places() == before
        assert int(stepper.run.net.state_dict()[counter]) == step + 1
        assert float(stepper.optimizers["main"].param_groups[0]["lr"]) == stepper.rate(step)


def test_all_batches_of_a_stage_have_one_shape(tmp_path: Path) -> None:
    """Also where a pass over a pool ends within a batch: no other shape, hence no other graph."""
    stepper = begun("fixmatch", tmp_path)
    shapes = {str({name: x.shape for name, x in stepper.batch(step).unlabeled.images.items()}) for step in range(12)}
    assert len(shapes) == 1
