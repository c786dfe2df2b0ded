import pytest

from ferbench.records.cell import Budget
from ferbench.records.metrics import METRICS, Metrics
from ferbench.records.reproduction import Sources, result_differences, run_command, run_options, text_differences
from tests.unit.records.factory import make_cell, make_history, make_predictions, make_result


def test_the_command_names_everything():
    cell = make_cell(
        budget=Budget(count=400, allocation="adacm"),
        pool="vggface2",
        init="sha256:" + "ab" * 32,
        overrides={"protocol": {"weak.padding": 2}, "method": {"threshold": 0.9, "mode": "a b"}},
    )
    command = run_command(cell, Sources(dataset="/data/faces", init="weights.pt"))
    text = " ".join(command)
    assert command[:2] == ["ferbench", "run"]
    for part in (
        "--dataset /data/faces",
        "--unlabeled vggface2",
        "--labels 400 --allocation adacm",
        "--init weights.pt",
    ):
        assert part in text
    for setting in ("weak.padding=2", "fixmatch.threshold=0.9", 'fixmatch.mode="a b"'):
        assert command[command.index(setting) - 1] == "--set"


@pytest.mark.parametrize(("source", "expected"), [(None, "jaffe"), ("/data/faces", "/data/faces")])
def test_another_test_set_is_named(source, expected):
    command = run_command(make_cell(test_on="jaffe"), Sources(test_on=source))
    assert command[command.index("--test-on") + 1] == expected
    assert "--test-on" not in run_command(make_cell(), Sources(test_on=source))


def test_what_a_cell_does_not_have_is_left_away():
    options = run_options(make_cell(budget=Budget(per_class=10)), Sources())
    assert options["per_class"] == 10
    assert options.keys().isdisjoint({"ratio", "labels", "allocation", "unlabeled", "set"})


@pytest.mark.parametrize(("source", "expected"), [(None, "rest+vggface2"), ("/data/faces", "rest+/data/faces")])
def test_a_pool_beside_the_rest_stays_beside_it(source, expected):
    assert run_options(make_cell(pool="rest+vggface2"), Sources(pool=source))["unlabeled"] == expected


def test_results_are_compared_in_every_field():
    predictions, history = make_predictions(), make_history()
    result = make_result(make_cell(), predictions, history)
    assert result_differences(result, result) == []
    other = result.model_copy(update={"steps": 61, "metrics": result.metrics.model_copy(update={"ece": 0.5})})
    names = {difference.name: (difference.recorded, difference.now) for difference in result_differences(result, other)}
    assert names == {"steps": ("1800", "61"), "metrics.ece": (str(result.metrics.ece), "0.5")}


def test_texts_that_one_side_lacks_differ():
    differences = text_differences({"torch": "1", "numpy": "2"}, {"torch": "1", "cuda": "3"})
    assert [(item.name, item.recorded, item.now) for item in differences] == [
        ("cuda", "absent", "3"),
        ("numpy", "2", "absent"),
    ]


def test_a_record_that_is_older_than_a_metric_is_reproduced_all_the_same():
    now = make_result(make_cell(), make_predictions(), make_history())
    stored = now.metrics.model_dump(exclude={metric.key for metric in METRICS if not metric.stored_by_0_1})
    old = now.model_copy(update={"metrics": Metrics(**stored)})
    assert result_differences(old, now) == []
    worse = make_result(make_cell(), make_predictions(1.0), make_history())
    assert "metrics.kappa" in {difference.name for difference in result_differences(old, worse)}


def test_a_record_that_is_older_than_a_count_is_reproduced_all_the_same():
    old = make_result(make_cell(), make_predictions(), make_history())
    now = old.model_copy(update={"forward_images": 400_000, "optimizer_steps": 1800})
    assert result_differences(old, now) == []
    other = now.model_copy(update={"forward_images": 399_999, "n_validation": 3})
    assert {each.name for each in result_differences(now, other)} == {"forward_images", "n_validation"}
    assert {each.name for each in result_differences(now, old)} == {"forward_images", "optimizer_steps"}


def test_a_metric_that_cannot_be_computed_from_the_record_is_not_compared(monkeypatch):
    now = make_result(make_cell(), make_predictions(), make_history())
    monkeypatch.setattr(type(now), "scores", lambda self: {**dict(self.metrics), "kappa": None})
    assert result_differences(now, now) == []
