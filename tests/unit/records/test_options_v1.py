"""The frozen options of ferbench 0.1 against the records that it left and the options of today."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ferbench.cells.resolve import method_config, tuning_of
from ferbench.discovery.loader import load_registry
from ferbench.records.frame import load
from ferbench.records.options_v1 import (
    ADDED_SINCE,
    OPTIONS_V1,
    has_version_1,
    in_names_of_today,
    names_since_version_1,
    option_problems,
)

RECORDS = Path(__file__).parents[3] / "leaderboard" / "records"


def of_version_1(method: str) -> dict[str, Any]:
    """The options of a committed record of 0.1."""
    paths = sorted(RECORDS.glob(f"*/*/*/{method}/*/seed0/record.json"))
    config: dict[str, Any] = json.loads(paths[0].read_text())["config"]["method"]
    return config


@pytest.mark.parametrize("method", OPTIONS_V1)
def test_every_option_has_its_default_under_the_name_of_today(method: str) -> None:
    now = load_registry().load("methods", method).Config.option_fields()
    table = OPTIONS_V1[method]
    assert {name for _, name in table.values()} == now.keys() - ADDED_SINCE.get(method, {}).keys()
    assert all(now[name].default == default for default, name in table.values())


@pytest.mark.parametrize("method", OPTIONS_V1)
def test_a_committed_record_has_the_options_of_version_1(method: str) -> None:
    config = of_version_1(method)
    assert config.keys() == OPTIONS_V1[method].keys()
    assert has_version_1(method, config)
    assert option_problems(method, config, {}) == []


@pytest.mark.parametrize("method", [*OPTIONS_V1, "fixmatch", "dtm", "supervised"])
def test_a_record_of_0_1_has_the_configuration_that_its_cell_has_today(method: str) -> None:
    """So that a finished cell of 0.1 is not trained again for the names of its options."""
    registry = load_registry()
    path = sorted(RECORDS.glob(f"*/*/*/{method}*/*/seed0/record.json"))[0]
    record = json.loads(path.read_text())
    variant = record["cell"].get("variant", "described")
    tuned = tuning_of(registry, registry.load("protocols", "ratio-v1"), "synthfaces", "method", method)
    today = method_config(method, registry.load("methods", method), variant, tuned, {}).model_dump(mode="json")
    assert in_names_of_today(method, record["config"]["method"]) == today


def test_a_frame_has_one_configuration_for_a_row_of_both_versions(tmp_path: Path) -> None:
    (old,) = RECORDS.glob("ratio-v1/synthfaces/ratio-0.05/leaf/*/seed0")
    shutil.copytree(old, tmp_path / "old")
    record = json.loads((old / "record.json").read_text())
    record["config"]["method"] = in_names_of_today("leaf", record["config"]["method"])
    record["config"]["protocol"] |= {"stored_size": None, "ema_ramp": True}
    record["config"]["protocol"]["weak"]["padding_share"] = 0.0
    (tmp_path / "new").mkdir()
    (tmp_path / "new/record.json").write_text(json.dumps(record))
    frames = [load(tmp_path / name) for name in ("old", "new")]
    assert frames[0]["config"].tolist() == frames[1]["config"].tolist()


@pytest.mark.parametrize("method", [*OPTIONS_V1, "fixmatch", "dtm", "supervised"])
def test_the_options_of_today_are_not_those_of_version_1(method: str) -> None:
    config = load_registry().load("methods", method).Config().model_dump(mode="json")
    assert not has_version_1(method, config)
    assert option_problems(method, config, {}) == []


@pytest.mark.parametrize("method", ADDED_SINCE)
def test_options_of_today_are_returned_as_they_are(method: str) -> None:
    config = load_registry().load("methods", method).Config().model_dump(mode="json")
    changed = {name: value if isinstance(value, dict) else "other" for name, value in config.items()}
    for options in (config, changed):
        assert in_names_of_today(method, options) == options


def test_a_method_with_the_same_options_has_no_other_names() -> None:
    assert names_since_version_1("dtm") == {}
    assert names_since_version_1("ada-cm")["margin_floor"] == "margin.floor"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"margin_floor": None}, "margin_floor is None"),
        ({"margin_flor": 0.5}, "no option margin_flor"),
        ({"separate_forwards": 1}, "separate_forwards is 1"),
        ({"dropout": "0"}, "dropout is '0'"),
    ],
)
def test_what_no_record_of_version_1_has_is_a_problem(change: dict[str, Any], word: str) -> None:
    (problem,) = option_problems("ada-cm", {**of_version_1("ada-cm"), **change}, {})
    assert word in problem


def test_a_missing_option_is_a_problem() -> None:
    config = of_version_1("ada-cm")
    del config["temperature"]
    assert option_problems("ada-cm", config, {}) == ["option temperature is missing"]


@pytest.mark.parametrize(
    ("config", "overrides"),
    [({"threshold": 0.9}, {"threshold": 0.9}), ({"released": {"state_decay": 0.1}}, {"released.state_decay": 0.1})],
)
def test_an_override_must_be_what_was_used(config: dict[str, Any], overrides: dict[str, Any]) -> None:
    assert option_problems("fixmatch", config, overrides) == []
    (name,) = overrides
    (problem,) = option_problems("fixmatch", config, {name: 0.5})
    assert name in problem and "0.5" in problem
    assert option_problems("fixmatch", {}, overrides)
