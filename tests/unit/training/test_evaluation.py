"""Passes over test images: what a net is given, and how often."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from ferbench.builtin.methods.fixmatch import FixMatch
from ferbench.conformance.toy_task import toy_training, unlabeled_toys
from ferbench.records.in_progress import snapshot_file
from ferbench.training import evaluation
from ferbench.training.evaluation import evaluations
from ferbench.training.loop import train


@pytest.mark.parametrize("kept", ["all", "some", "none"])
def test_each_state_sees_the_images_once_and_they_are_normalised_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    """30 images in batches of 8; as many are normalised again as there is no room for."""
    batch_bytes = 8 * 3 * 16 * 16 * 4
    monkeypatch.setattr(evaluation, "KEPT_BYTES", {"all": 2**29, "some": 2 * batch_bytes, "none": 0}[kept])
    training = toy_training(FixMatch(FixMatch.Config()), tmp_path)
    progress = train(training)
    net, maker = training.run.method.evaluation_net(), training.run.task.maker
    seen: list[Tensor] = []
    net.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    normalised = maker.normalised
    made: list[int] = []

    def counted(images: Tensor) -> Tensor:
        made.append(len(images))
        return normalised(images)

    maker.normalised = counted  # type: ignore[method-assign]
    snapshots = [snapshot_file(training.folder, epoch) for epoch in progress.evaluated[:-1]]
    states = len(snapshots) + 1
    found = evaluations(net, snapshots, unlabeled_toys(10, 3), maker, 8)
    assert found.shape[:2] == (states, 30)
    assert [len(images) for images in seen] == [8, 8, 8, 6] * states
    assert (
        made == {"all": [8, 8, 8, 6], "some": [8, 8, 8, 6] + [8, 6] * (states - 1), "none": [8, 8, 8, 6] * states}[kept]
    )
    assert all(images.is_contiguous(memory_format=torch.channels_last) for images in seen)
    monkeypatch.setattr(evaluation, "KEPT_BYTES", 0)
    assert (found == evaluations(net, snapshots, unlabeled_toys(10, 3), maker, 30)).mean() > 0.99, "up to rounding"
