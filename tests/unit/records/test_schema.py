import json
from importlib.resources import files

import pytest
from pydantic import BaseModel

from ferbench.errors import VerificationError
from ferbench.records import cell, schema
from ferbench.records.schema import ErrorReport, Record, parse_json, record_schema
from tests.unit.records.factory import make_cell, make_history, make_predictions, make_record


def record_json(**changes):
    return {**json.loads(make_record(make_cell(), make_predictions(), make_history()).to_json()), **changes}


def test_a_record_survives_json():
    record = make_record(make_cell(), make_predictions(), make_history())
    data = record.to_json()
    assert Record.from_json(data) == record
    assert Record.from_json(data).to_json() == data
    assert data.endswith(b"}\n")
    assert list(json.loads(data)) == sorted(json.loads(data))


def test_the_published_schema_is_up_to_date():
    committed = files("ferbench.records").joinpath("record.schema.json").read_bytes()
    assert committed == record_schema(), "run `ferbench verify --print-schema > ferbench/records/record.schema.json`"


@pytest.mark.parametrize(
    "model",
    [
        item
        for module in (cell, schema)
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, BaseModel) and item.__module__ == module.__name__
    ],
    ids=lambda model: model.__name__,
)
def test_every_field_is_explained(model):
    assert [name for name, field in model.model_fields.items() if not field.description] == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not JSON"),
        (b"[]", "not a record"),
        (b"\x80\x04}", "not UTF-8 at byte 0"),  # how a pickle begins
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b'{"a": 1, "a": 2}', "given twice"),
        (b"[" * 100_000 + b"]" * 100_000, "nested"),
        (b"[" * 40 + b"]" * 40, "nested more than 30"),
        (b" " * 5_000_001, "larger than 5,000,000 bytes"),
        ("é".encode("latin-1"), "not UTF-8"),
        (b'{"status": "\\ud800"}', "lone surrogate"),
        (b'{"\\udfff": 1}', "lone surrogate"),
        (b'{"status": 1e999}', "out of range"),
        (b'{"status": 1' + b"0" * 4000 + b"}", "beyond 2"),
        (b'{"status": "\\ud83d\\ude00"}', "not a record"),  # two halves are a whole
        (b"1" * 5000, "not JSON"),  # Python refuses integers of that length
    ],
    ids=[
        "empty",
        "list",
        "pickle",
        "nan",
        "infinity",
        "twice",
        "very-deep",
        "deep",
        "huge",
        "latin",
        "surrogate",
        "surrogate-key",
        "infinite",
        "4000-digits",
        "whole-character",
        "digits",
    ],
)
def test_what_is_no_record_is_refused(data, message):
    with pytest.raises(VerificationError, match=message):
        Record.from_json(data)


@pytest.mark.parametrize(
    "change",
    [
        {"surprise": 1},
        {"schema_version": 2},
        {"standard": "yes"},
        {"engine_version": "1"},
        {"status": "great"},
        {"status": "failed"},  # with a result
        {"result": None},  # ok without one
        {"error": {"type": "E", "message": "m"}},  # ok with an error
        {"cell_id": "abc"},
    ],
    ids=str,
)
def test_fields_are_strict(change):
    with pytest.raises(VerificationError, match="not a record"):
        Record.from_json(json.dumps(record_json(**change)).encode())


@pytest.mark.parametrize("value", [1.5, -0.1, "0.5", None, True])
def test_metrics_lie_between_0_and_1(value):
    fields = record_json()
    fields["result"]["metrics"]["accuracy"] = value
    with pytest.raises(VerificationError, match=r"result\.metrics\.accuracy"):
        Record.from_json(json.dumps(fields).encode())


def test_a_number_as_text_in_the_cell_is_refused():
    fields = record_json()
    fields["cell"]["seed"] = "0"
    with pytest.raises(VerificationError, match=r"cell\.seed"):
        Record.from_json(json.dumps(fields).encode())


def test_nan_cannot_be_written():
    record = make_record(make_cell(), make_predictions(), make_history())
    broken = record.model_copy(update={"config": record.config.model_copy(update={"method": {"x": float("nan")}})})
    with pytest.raises(ValueError, match="JSON compliant"):
        broken.to_json()


def test_depth_of_a_real_record_is_allowed():
    assert parse_json(json.dumps(record_json()).encode()) == record_json()


def test_the_reason_of_a_failure_fits_on_a_line():
    error = ErrorReport(type="DivergedError", message="loss\nis not finite", step=17)
    assert error.line == "DivergedError: loss (step 17)"
    assert ErrorReport(type="E", message="").line == "E: "
