"""What a step asks of a GPU, without one: on tensors that have shapes and no values, with ResNet-18.

Forward, loss, backward, optimizer, EMA and counts of every method, and for the papers' methods the views too.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from ferbench.contract.batch import Batch
from ferbench.discovery.loader import load_registry
from ferbench.training.loop import Training
from ferbench.training.static_steps import StaticSteps
from ferbench.training.steps import Steps, TakenStep
from tests.support.launches import FROM_THE_HOST, Launches
from tests.support.meta_runs import META, fused_on_meta, given_views, meta_run, meta_stepper
from tests.support.standard_runs import default_method
from tests.support.stepping import Stepper

REGISTRY = load_registry()

PAPERS = ("supervised", "fixmatch", "ada-cm", "dtm", "leaf")
QUICK = ("supervised", "fixmatch")

BUDGET = {
    "ada-cm": 262, "adamatch": 430, "bitfit": 168, "ccssl": 353, "comatch": 398, "crest": 212, "dash": 280,
    "debiaspl": 265, "dtm": 352, "fixmatch": 256, "flexmatch": 273, "fr-pretrain-mixup": 682, "freematch": 321,
    "leaf": 816, "linear-probe": 81, "lora": 323, "mean-teacher": 331, "meta-pseudo-labels": 555, "mixmatch": 426,
    "noisy-student": 198, "pi-model": 198, "pseudo-label": 192, "remixmatch": 804, "simmatch": 356, "softmatch": 277,
    "supervised": 169, "uda": 275, "vat": 768,
}  # fmt: skip
"""Launches of the dearest stage's step. Who needs more raises a number here, and says why."""

WHOLE = {"supervised": 200, "fixmatch": 420, "ada-cm": 460, "dtm": 495, "leaf": 1000}
"""With views. DTM's own code predicts two weak views apart, by statistics of their own: 94 launches for one."""

WAITS: dict[str, dict[str, str]] = {}
"""Operations that wait for the device and may, by method: each with its reason."""


@pytest.fixture(autouse=True)
def as_on_a_gpu() -> Iterator[None]:
    with fused_on_meta():
        yield


def run_of(name: str, folder: Path, **batches: int) -> Training:
    return meta_run(REGISTRY, default_method(REGISTRY, name), folder, **batches)


def launched(stepper: Stepper, number: int) -> Launches:
    """What a step starts, after one that has set everything up."""
    batch = given_views(stepper)
    with Launches() as launches:
        stepper.step(number, batch)
    return launches


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in REGISTRY.names("methods")],
)
def test_a_step_stays_in_its_budget_whatever_is_drawn_and_never_waits(name: str, tmp_path: Path) -> None:
    small = run_of(name, tmp_path)
    large = run_of(name, tmp_path, labeled_batch=64, unlabeled_batch=448)
    counts = []
    for stage in range(len(small.stages)):
        steppers = [meta_stepper(training, stage) for training in (small, large)]
        for stepper in steppers:
            launched(stepper, 0)
        found = [launched(steppers[0], 1), launched(steppers[0], 2), launched(steppers[1], 1)]
        counts.append({launches.count for launches in found})
        assert not {each for launches in found for each in launches.waits} - WAITS.get(name, {}).keys()
    assert all(len(same) == 1 for same in counts), "more images, or another draw, are no more launches"
    assert max(map(max, counts)) <= BUDGET[name]


class Replayed(StaticSteps):
    """Steps whose graph is not there: what is left is what the host starts."""

    taken: TakenStep | None = None

    def repeat(self) -> TakenStep:
        self.taken = self.taken or super().repeat()
        return self.taken


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in PAPERS])
def test_a_captured_step_is_a_few_launches_from_the_host(name: str, tmp_path: Path) -> None:
    stepper = meta_stepper(run_of(name, tmp_path), 0, Replayed)
    launched(stepper, 0)
    launches = launched(stepper, 1)
    assert launches.count + 1 <= FROM_THE_HOST, "and the graph"
    assert not launches.waits


@pytest.mark.parametrize("name", PAPERS)
def test_the_whole_step_has_no_values_anywhere_and_stays_in_its_budget(name: str, tmp_path: Path) -> None:
    """Its views too: whatever read a value would fail. All draws of a step come over in one copy, which is pinned."""
    stepper = meta_stepper(run_of(name, tmp_path), 0)
    stepper.step(0)
    with Launches("meta") as launches:
        stepper.step(1)
    assert launches.count <= WHOLE[name]
    assert set(launches.waits) <= {"aten._to_copy.default"}
    state = [value for module in stepper.run.modules.values() for value in module.state_dict().values()]
    assert {value.device for value in state} == {META}


def test_what_waits_is_noticed() -> None:
    values, mask = torch.rand(5), torch.rand(5) > 0.5
    operations = {
        "item": lambda: values.sum().item(),
        "nonzero": lambda: mask.nonzero(),
        "boolean index": lambda: values[mask],
        "boolean assignment": lambda: values.clone().__setitem__(mask, torch.zeros(())),
        "masked_select": lambda: values.masked_select(mask),
        "unique": lambda: values.unique(),
        "if": lambda: bool(mask.any()),
        "repeat_interleave": lambda: values.repeat_interleave(torch.tensor([1, 2, 1, 1, 0])),
        "bincount": lambda: mask.long().bincount(),
        "to another device": lambda: values.to(META),
    }
    for what, operation in operations.items():
        with Launches() as launches:
            operation()
        assert launches.waits, what
    with Launches() as launches:
        _ = values[torch.tensor([1, 2])], torch.where(mask, values, 0), values.sort(), values.to(torch.float64)
    assert not launches.waits


def test_a_batch_without_values_is_one() -> None:
    """`given_views` stands for the views: a batch as the contract says."""
    stepper = meta_stepper(run_of("fixmatch", Path()), 0)
    batch = given_views(stepper)
    assert isinstance(batch, Batch) and isinstance(stepper.steps, Steps)
    drawn = stepper.batch(0)
    for found, expected in ((batch.labeled, drawn.labeled), (batch.unlabeled, drawn.unlabeled)):
        assert found is not None and expected is not None
        assert {n: (x.shape, x.stride()) for n, x in found.images.items()} == {
            n: (x.shape, x.stride()) for n, x in expected.images.items()
        }
        assert found.index.dtype == expected.index.dtype
