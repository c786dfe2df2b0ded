"""Tuned options in cells: the layers they stand between, and that records of 0.1 keep theirs."""

import json
from pathlib import Path
from typing import Any

import pytest

from ferbench.cells.request import RunRequest
from ferbench.cells.resolve import resolve
from ferbench.discovery.loader import load_registry
from ferbench.discovery.registry import Registry
from ferbench.errors import PluginError
from ferbench.execution.plan import PlannedCell, make_plan
from ferbench.execution.run_cell import sources_of
from ferbench.hookspecs import Register, hookimpl
from ferbench.records.cell import Cell
from ferbench.records.options_v1 import in_names_of_today, recipe_of_today
from ferbench.records.reproduction import Sources
from tests.support.refusals import refused
from tests.unit.discovery.test_loader import plugin, registering
from tests.unit.discovery.test_tunings import TUNED, tuning

RECORDS = sorted((Path(__file__).parents[3] / "leaderboard" / "records").rglob("record.json"))
INSTALLED = load_registry()
FIXMATCH = "ferbench.builtin.methods.fixmatch:FixMatch"


def with_tuning(options: dict[str, Any], family: str = "synthfaces", **named: Any) -> Registry:
    """The built-ins, and FixMatch as the tuned method of a third party."""
    call = (("ratio-v1", family, options), {**TUNED, **named})
    hooks = registering("mine", target=FIXMATCH) | tuning(call)
    return load_registry({}, [plugin("ferbench-mine", **hooks)])  # type: ignore[list-item]


def plan(registry: Registry, patterns: Path, tmp_path: Path, **settings: Any) -> PlannedCell:
    request = RunRequest(
        methods=["mine"],
        datasets=[str(patterns)],
        ratios=["0.05"],
        backbones=["small-resnet/4"],
        overrides=settings,
        runs=tmp_path / "runs",
        device="cpu",
    )
    (planned,) = make_plan(request, registry, check_data=False)
    return planned


def test_a_third_party_ships_tuned_options_and_stays_standard(patterns: Path, tmp_path: Path) -> None:
    registry = with_tuning({"threshold": 0.6})
    planned = plan(registry, patterns, tmp_path)
    resolved = resolve(planned.cell, registry, sources_of(planned.job))
    assert resolved.standard
    assert resolved.config.model_dump()["threshold"] == 0.6
    assert {role: tuned.trials for role, tuned in resolved.tunings.items()} == {"method": 4}
    # The same value given by hand is no override; another one is.
    assert plan(registry, patterns, tmp_path, threshold=0.6).cell == planned.cell
    changed = plan(registry, patterns, tmp_path, threshold=0.7)
    assert changed.cell.overrides.method == {"threshold": 0.7}


def test_a_variant_overrides_a_tuned_option(patterns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = with_tuning({"threshold": 0.6, "align": True})
    method = registry.load("methods", "mine")
    monkeypatch.setattr(method, "variants", {"described": {}, "other": {"threshold": 0.5}})
    cell = plan(registry, patterns, tmp_path).cell.model_copy(update={"variant": "other"})
    config = resolve(cell, registry, Sources(str(patterns))).config.model_dump()
    assert (config["threshold"], config["align"]) == (0.5, True)


def test_options_of_another_family_are_not_taken(patterns: Path, tmp_path: Path) -> None:
    registry = with_tuning({"threshold": 0.6}, family="default")
    planned = plan(registry, patterns, tmp_path)
    resolved = resolve(planned.cell, registry, sources_of(planned.job))
    assert resolved.config.model_dump()["threshold"] == 0.95
    assert resolved.tunings == {}


def test_an_option_that_is_not_there_is_the_plugins_fault(patterns: Path, tmp_path: Path) -> None:
    with refused(PluginError, "ferbench-mine", "treshold", "did you mean 'threshold'"):
        plan(with_tuning({"treshold": 0.6}), patterns, tmp_path)


def test_a_backbone_is_tuned_in_fields_of_the_recipe_that_leave_data_and_steps_alone(patterns: Path) -> None:
    @hookimpl
    def ferbench_register_backbones(register: Register) -> None:
        register("wide", "ferbench.builtin.backbones.small_resnet:build", summary="Wide")

    def learning_rate(options: dict[str, Any]) -> float:
        calls = tuning((("ratio-v1", "synthfaces", options), {"backbone": "wide", "trials": 2, "source": "x"}))
        hooks = {"ferbench_register_backbones": ferbench_register_backbones, **calls}
        registry = load_registry({}, [plugin("ferbench-wide", **hooks)])  # type: ignore[list-item]
        assert registry.problems == ()
        cell = {"protocol": "ratio-v1", "dataset": str(patterns.name), "classes": "3", "budget": {"ratio": "0.05"}}
        cell |= {"method": "fixmatch", "backbone": "wide/8", "seed": 0}
        return resolve(Cell.model_validate(cell), registry, Sources(str(patterns))).recipe.learning_rate

    assert learning_rate({"learning_rate": 0.25}) == 0.25
    with refused(PluginError, "ferbench-wide", "steps", "learning_rate"):
        learning_rate({"steps": 9})


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: "-".join(path.parts[-7:-1]))
def test_every_published_cell_runs_with_the_options_that_it_ran_with(path: Path) -> None:
    record = json.loads(path.read_text("utf-8"))
    resolved = resolve(Cell.model_validate(record["cell"]), INSTALLED)
    used = record["config"]
    assert resolved.cell.cell_id == record["cell_id"]
    assert resolved.config.model_dump(mode="json") == in_names_of_today(resolved.cell.method, used["method"])
    assert dict(resolved.head_options) == used.get("head", {})
    recipe = resolved.recipe.model_dump(mode="json", exclude={"backbone", "joint_forward"})
    today = recipe_of_today(used["protocol"])
    assert recipe == {name: today[name] for name in recipe}
    assert recipe_of_today(recipe) == recipe
