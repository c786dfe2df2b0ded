"""An exception of a method in a record, also one that nobody can print."""

import pytest

from ferbench.execution.record_builder import error_report
from ferbench.records.schema import ErrorReport


class Mute(Exception):
    def __str__(self) -> str:
        raise self


@pytest.mark.parametrize(
    ("error", "line"),
    [(Mute(), "Mute: its message cannot be read"), (ValueError("\ud800 of it"), r"ValueError: \ud800 of it")],
)
def test_every_exception_can_stand_in_a_record(error: Exception, line: str) -> None:
    try:
        raise error
    except Exception as caught:
        report = error_report(caught)
    assert report.line == line
    assert ErrorReport.model_validate_json(report.model_dump_json()) == report
