"""Which cells share a pre-training, and that nothing made with other data, code or options is taken for it."""

from pathlib import Path
from typing import Any

import pytest

from ferbench.builtin.methods.fixmatch import FixMatch
from ferbench.cells import code_stamps
from ferbench.cells.cache_keys import run_identity, shared_identity
from ferbench.cells.method_plan import resolved_config
from ferbench.cells.request import RunRequest
from ferbench.cells.resolve import resolve
from ferbench.cells.select import select
from ferbench.contract.batch import Views, weak
from ferbench.contract.stage import Stage
from ferbench.discovery.registry import Registry
from ferbench.execution.plan import make_plan
from ferbench.execution.run_cell import sources_of
from ferbench.training.stage_cache import StageCache
from tests.support.pattern_set import write_pattern_set

SMALL = {"image_size": 16, "steps": 20}


@pytest.fixture
def key(patterns: Path, tmp_path: Path, registry: Registry) -> Any:
    """The file of a pre-training stage that a cell of FixMatch would have, with the named options."""

    def make(
        ratio: str = "0.1",
        arithmetic: tuple[object, ...] = ("cpu", 1),
        named: tuple[str, ...] = ("threshold",),
        **options: Any,
    ) -> Path:
        request = RunRequest(
            methods=[options.pop("method", "fixmatch")],
            datasets=[options.pop("dataset", str(patterns))],
            ratios=[ratio],
            backbones=[options.pop("backbone", "small-resnet/4")],
            overrides={**SMALL, **options.pop("set", {})},
            runs=tmp_path / "runs",
            device="cpu",
            **options,
        )
        (item,) = make_plan(request, registry, check_data=False)
        resolved = resolve(item.cell, registry, sources_of(item.job))
        data = select(resolved)
        stage = Stage(
            "fill",
            FixMatch.loss,
            Views({}, {"weak": weak()}),
            data="all",
            pretraining=True,
            options=named,
        )
        cache = StageCache(
            tmp_path,
            run_identity(resolved, resolved_config(resolved), data.trained, arithmetic),
            lambda stage: shared_identity(resolved, data.pretraining_images, arithmetic, stage),
        )
        return cache.path(stage)

    return make


def test_labels_seeds_and_later_options_do_not_enter(key: Any) -> None:
    same = [
        key(),
        key(ratio="0.25"),
        key(seeds=[3]),
        key(head="linear"),
        key(set={"unlabeled_weight": 2, "labeled_batch": 4, "ema_decay": 0.5}),
    ]
    assert len(set(same)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"set": {"threshold": 0.5}},
        {"set": {"steps": 30}},
        {"set": {"unlabeled_batch": 8}},
        {"set": {"learning_rate": 0.1}},
        {"backbone": "small-resnet/8"},
        {"arithmetic": ("cpu", 2)},
        {"arithmetic": ("cuda", 1)},
    ],
    ids=str,
)
def test_what_the_stage_depends_on_does(key: Any, change: dict[str, Any]) -> None:
    assert key(**change) != key()


def test_an_option_of_a_group_is_named_with_it(key: Any) -> None:
    def of_floor(**values: float) -> Path:
        overrides = {f"margin.{name}": value for name, value in values.items()}
        found: Path = key(method="ada-cm", named=("margin.floor",), set=overrides)
        return found

    assert of_floor() == of_floor(decay=0.5) != of_floor(floor=0.5)


def test_other_images_do(key: Any, tmp_path: Path) -> None:
    others = str(write_pattern_set(tmp_path / "others", name="others", seed=9))
    keys = [key(), key(dataset=others), key(unlabeled=others), key(unlabeled=f"rest+{others}")]
    assert len(set(keys)) == 4
    assert key(unlabeled=others) == key(unlabeled=others, ratio="0.25", seeds=[2])


def test_other_code_does(key: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = key()
    monkeypatch.setattr(code_stamps, "version", lambda package: "0.0")
    assert key() != before
