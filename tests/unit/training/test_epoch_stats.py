"""The epoch's row against NumPy."""

import numpy as np
import pytest
import torch

from ferbench.contract.batch import Losses
from ferbench.contract.method import Processes
from ferbench.training.epoch_stats import BYTES_SAID, EpochStats
from tests.support.launches import Launches

CPU = torch.device("cpu")


def test_masks_are_counted_and_what_was_said_is_kept() -> None:
    rng = np.random.default_rng(0)
    meter = EpochStats(4, CPU)
    numbers, pseudo, mask = (
        np.concatenate(part) for part in zip(*(_add(meter, step, rng) for step in range(5)), strict=True)
    )
    meter.settle(Processes())
    row, said = meter.read(), meter.take_said()
    assert row["mask_rate"] == pytest.approx(mask.mean())
    assert row["mask_rate_per_class"] == pytest.approx([mask[pseudo == c].mean() for c in range(4)])
    assert said is not None
    assert [part.tolist() for part in said] == [numbers.tolist(), pseudo.tolist(), mask.tolist()]
    assert sum(part.element_size() for part in said) == BYTES_SAID
    assert BYTES_SAID * 20_000 * 448 < 200e6, "20,000 steps of 448 images in 200 MB"
    assert meter.take_said() is None


def _add(meter: EpochStats, step: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    numbers, pseudo = rng.integers(0, 1000, 64), rng.integers(0, 4, 64)
    mask = (rng.random(64) < 0.4).astype(np.float32)
    losses = Losses(torch.tensor(1.0), pseudo_label=torch.tensor(pseudo), mask=torch.tensor(mask))
    meter.add(step, losses.total, losses, torch.tensor(numbers))
    return numbers, pseudo, mask


def test_terms_are_means_over_steps_and_the_meter_starts_anew() -> None:
    meter = EpochStats(3, CPU)
    for step, value in enumerate((1.0, 2.0, 6.0)):
        meter.add(step, torch.tensor(2 * value), Losses(torch.tensor(2 * value), part=torch.tensor(value)), None)
    assert meter.read() == {"loss": 6.0, "terms": {"part": 3.0}}
    meter.add(0, torch.tensor(5.0), Losses(torch.tensor(5.0)), None)
    assert meter.read() == {"loss": 5.0, "terms": {}}


def test_a_class_without_pseudo_labels_has_no_rate() -> None:
    meter = EpochStats(2, CPU)
    losses = Losses(torch.tensor(0.0), pseudo_label=torch.zeros(3, dtype=torch.int64), mask=torch.zeros(3))
    meter.add(0, losses.total, losses, torch.zeros(3, dtype=torch.int64))
    assert meter.read()["mask_rate_per_class"] == [0.0, None]


def test_the_first_bad_step_and_its_term_are_named() -> None:
    meter = EpochStats(3, CPU)
    nan = torch.tensor(float("nan"))
    for step in range(6):
        part = nan if step >= 3 else torch.tensor(1.0)
        meter.add(step, part + 1, Losses(part + 1, fine=torch.tensor(1.0), part=part), None)
    assert meter.first_bad() == (3, "part")
    meter.read()
    assert meter.first_bad() is None


def test_a_step_is_at_most_six_launches_and_none_reads_a_value() -> None:
    """As LEAF leaves it: five terms, pseudo-labels, four extras of its head; on tensors that have no values."""
    with torch.device("meta"):
        meter = EpochStats(7, torch.device("meta"))
        terms = {name: torch.zeros(()) for name in ("supervised", "category", "contrast", "consistency")}
        labels, mask = torch.zeros(96, dtype=torch.int64), torch.zeros(96)
        losses = Losses(torch.zeros((), requires_grad=True), pseudo_label=labels, mask=mask, **terms)
        extras = {name: torch.zeros(320, 8) for name in "ab"} | {name: torch.zeros(320) for name in "cd"}
        with Launches() as launches:
            meter.add(0, losses.total, losses, labels)
            meter.add_extras([extras])
    assert launches.count <= 6


def test_sums_are_those_of_single_precision_step_by_step() -> None:
    """Soft masks and odd losses, so that another order of summation would show."""
    rng = np.random.default_rng(1)
    meter = EpochStats(5, CPU)
    loss, masked, shown = np.float32(0), torch.zeros(5), torch.zeros(3)
    for step in range(50):
        value, mask, pseudo = (torch.tensor(rng.random(n), dtype=torch.float32) for n in (1, 33, 33))
        labels, extra = (pseudo * 5).long(), torch.tensor(rng.random((41, 3)), dtype=torch.float32)
        meter.add(step, value[0], Losses(value[0], pseudo_label=labels, mask=mask), labels)
        meter.add_extras([{"gates": extra}])
        if step == 20:
            meter.settle(Processes())  # as a stop in mid-epoch does
        loss += value.numpy()[0]
        masked += (torch.nn.functional.one_hot(labels, 5).float() * mask.unsqueeze(1)).sum(0)
        shown += extra.sum(0)
    row = meter.read()
    assert row["loss"] == float(loss) / 50
    assert row["mask_rate"] == float(masked.double().sum() / (50 * 33))
    assert row["head"]["gates"] == (shown.double() / (50 * 41)).tolist()
