"""The views of a step, compiled: one graph whatever is drawn, the same bytes, and how many kernels."""

import pytest
import torch
from torch import Tensor
from torch._inductor import metrics

from ferbench.data.augment import dense_views
from ferbench.data.augment.dense_views import Job
from ferbench.data.augment.parcel import send
from ferbench.data.augment.strong import Strong
from ferbench.data.augment.weak import Weak
from tests.unit.data.augment.samples import random_images

SIZE, LABELED, UNLABELED = 32, 6, 10
MOST = 50  # by inductor's count; on a CPU these are loops of fewer functions


@pytest.mark.slow
def test_views_of_a_step_are_one_graph_and_the_same_bytes() -> None:
    labeled, unlabeled = random_images(LABELED, SIZE, SIZE, 0), random_images(UNLABELED, SIZE, SIZE, 1)
    first = jobs(0)

    def views(plan: list[object]) -> Tensor:
        return dense_views.make(first, plan, [labeled, unlabeled, unlabeled], None, SIZE)[0]

    torch._dynamo.reset()
    metrics.reset()
    compiled = torch.compile(views, fullgraph=True, dynamic=False)
    for step in range(5):
        plan = send(dense_views.prepare(jobs(step), SIZE, SIZE, boxes=False), torch.device("cpu"))
        assert torch.equal(compiled(plan), views(plan))
    print(f"\n{metrics.generated_kernel_count} kernels")
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert metrics.generated_kernel_count <= MOST


def jobs(step: int) -> list[Job]:
    """The views of FixMatch."""
    views = (Weak(), LABELED), (Weak(), UNLABELED), (Strong(), UNLABELED)
    return [
        Job(view, count, torch.Generator().manual_seed(10 * step + number))
        for number, (view, count) in enumerate(views)
    ]
