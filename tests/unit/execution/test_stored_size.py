"""Images are packed at the stored size and the net sees them at its own: in pool, tests on other sets and report."""

from pathlib import Path
from typing import Any

import pytest
import torch

from ferbench.builtin.backbones import small_resnet
from ferbench.cells.request import RunRequest
from ferbench.cells.resolve import resolve
from ferbench.cells.select import select
from ferbench.contract.dataset import EIGHT_CLASSES
from ferbench.discovery.registry import Registry
from ferbench.execution.plan import PlannedCell, make_plan
from ferbench.execution.run_cell import run_cell, sources_of
from ferbench.execution.stopping import StopRequests
from ferbench.reporting.face_sheets import labeled_sheet
from ferbench.reporting.local_data import open_data
from tests.support.pattern_set import write_pattern_set

TINY = {"image_size": 24, "stored_size": 16, "steps": 2, "labeled_batch": 4, "unlabeled_batch": 4, "evaluations": 1}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def plan(registry: Registry, patterns: Path, runs: Path, **options: Any) -> list[PlannedCell]:
    request = RunRequest(
        methods=["fixmatch"], datasets=[str(patterns)], ratios=["0.1"], backbones=["small-resnet/4"], runs=runs,
        device="cpu", executor="inline", **{"overrides": TINY, **options},
    )  # fmt: skip
    return make_plan(request, registry)


def packed(cache: Path) -> set[str]:
    """Names of what is packed, with their sizes."""
    return {path.name.rpartition("-")[0] for path in (cache / "packed").glob("[!.]*") if path.is_dir()}


def test_all_sets_of_a_cell_are_packed_at_the_stored_size(
    registry: Registry, patterns: Path, cache: Path, tmp_path: Path
) -> None:
    pool = write_pattern_set(tmp_path / "pool", name="pool", counts={"neutral": 30}, n_test=0, seed=5)
    other = write_pattern_set(tmp_path / "other", name="other", classes=EIGHT_CLASSES, n_test=80, seed=6)
    options = {"protocol": "external-v1", "unlabeled": str(pool), "test_on": [str(other)]}
    _, tested = plan(registry, patterns, tmp_path / "runs", **options)
    assert packed(cache) == {"patterns-16px", "pool-16px", "other-16px"}
    data = select(resolve(tested.cell, registry, sources_of(tested.job)))
    assert data.pool and data.cross_test
    assert {data.images.image_size, data.pool.source.image_size, data.tested.image_size} == {16}
    plan(registry, patterns, tmp_path / "runs", **options, overrides={**TINY, "image_size": 32})
    assert packed(cache) == {"patterns-16px", "pool-16px", "other-16px"}, "another input needs nothing new"


def test_the_net_is_given_images_of_its_own_size_everywhere(
    registry: Registry, patterns: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: set[tuple[int, ...]] = set()
    forward = small_resnet.SmallResNet.forward

    def watched(self: Any, images: torch.Tensor) -> torch.Tensor:
        if not images.is_meta:
            sizes.add(tuple(images.shape[1:]))
        return forward(self, images)

    monkeypatch.setattr(small_resnet.SmallResNet, "forward", watched)
    (item,) = plan(registry, patterns, tmp_path / "runs")
    record = run_cell(item.job, registry, lambda event: None, StopRequests())
    assert record.status == "ok", record.error
    assert sizes == {(3, 24, 24)}
    assert record.config.protocol["stored_size"] == 16
    assert plan(registry, patterns, tmp_path / "runs")[0].cached
    same_net = {**TINY, "stored_size": None}
    assert not plan(registry, patterns, tmp_path / "runs", overrides=same_net)[0].cached, "other views, another cell"

    local = open_data(record, registry, resolve(item.cell, registry, sources_of(item.job)).dataset)
    assert (local.data.images.image_size, local.recipe.image_size) == (16, 24)
    assert labeled_sheet(local, 0).rows
