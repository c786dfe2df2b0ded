"""Each registered method's loss is one graph, or the method says why it cannot be."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from ferbench.discovery.loader import load_registry
from tests.support.stepping import Stepper
from tests.support.toy_runs import toy_run

REGISTRY = load_registry()


@pytest.mark.slow
@pytest.mark.parametrize("name", REGISTRY.names("methods"))
def test_the_loss_of_three_steps_is_one_graph_or_the_method_says_why_not(name: str, tmp_path: Path) -> None:
    method = REGISTRY.load("methods", name)
    if method.runs_eagerly:
        with pytest.raises(torch._dynamo.exc.Unsupported):
            graphs_of_three_steps(name, tmp_path)
    else:
        assert set(graphs_of_three_steps(name, tmp_path)) == {1}


def graphs_of_three_steps(name: str, folder: Path) -> list[int]:
    """How many graphs the loss of each stage is compiled to, whole, in three steps."""
    graphs: list[int] = []

    def backend(module: torch.fx.GraphModule, inputs: Sequence[torch.Tensor]) -> object:
        graphs[-1] += 1
        return module.forward

    training = toy_run(REGISTRY, name, folder, fields={"steps": 1000})  # so that short stages have some
    for number in range(len(training.stages)):
        graphs.append(0)
        torch._dynamo.reset()
        stepper = Stepper(training, number)
        loss = torch.compile(stepper.planned.stage.loss, fullgraph=True, backend=backend)
        for step in range(3):
            training.log.clear()
            loss(stepper.batch(step)).total.backward()
    return graphs
