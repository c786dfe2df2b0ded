"""What people read for the row of a record, before and since variants have titles of their own."""

import pytest

from ferbench.records.rows import row_title, titled
from ferbench.records.schema import Record
from tests.unit.records.factory import STAMP, make_cell, make_history, make_predictions, make_record

TITLES = {("ferbench", "mine", "described"): "Mine of old", ("ferbench", "mine", "fast"): "Mine, fast"}


def record(variant: str, head: str | None = None, **stamp: str) -> Record:
    cell = make_cell("mine", variant=variant, head=head)
    return make_record(cell, make_predictions(), make_history(), plugin=STAMP.model_copy(update=stamp))


@pytest.mark.parametrize(
    ("made", "title"),
    [
        (record("described"), "mine"),
        (record("fast"), "mine (fast)"),
        (record("fast", title="My method"), "My method (fast)"),
        (record("fast", title="My method", variant_title="Mine, quick"), "Mine, quick"),
        (record("described", "leaf", variant_title="Mine as it was"), "Mine as it was, leaf head"),
    ],
)
def test_the_title_of_a_variant_is_whole(made: Record, title: str) -> None:
    assert row_title(made) == title


@pytest.mark.parametrize(
    ("made", "title"),
    [
        (record("described", title="Mine (0.1)"), "Mine of old"),
        (record("fast"), "Mine, fast"),
        (record("fast", variant_title="Mine, quick"), "Mine, quick"),
        (record("slow"), "mine (slow)"),
        (record("fast", distribution="ferbench-other"), "mine (fast)"),
    ],
)
def test_a_record_without_a_title_of_its_variant_gets_that_of_its_plugin(made: Record, title: str) -> None:
    assert row_title(titled(made, TITLES)) == title


def test_a_record_without_a_title_of_its_variant_is_written_as_before() -> None:
    assert "variant_title" not in record("fast").model_dump_json()
    made = record("fast", variant_title="Mine")
    assert Record.model_validate_json(made.model_dump_json()) == made
