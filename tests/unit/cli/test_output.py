"""Rows as people read them: titles of variants, of methods, and names without any."""

from typing import Any

import pytest

from ferbench.cli.output import shown_row
from ferbench.discovery.registry import Registry
from tests.unit.discovery.test_loader import load, plugin, registering


def registry(**named: Any) -> Registry:
    return load(plugin("ferbench-mine", **registering("mine", **named)))


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        ("mine", "Mine of old"),
        ("mine@described", "Mine of old"),
        ("mine@from-code", "Mine (code)"),
        ("mine@from-code+leaf~84ef80e1", "Mine (code)+leaf~84ef80e1"),
        ("mine~84ef80e1", "Mine of old~84ef80e1"),
        ("mine@other", "mine@other"),
        ("supervised@weak", "supervised@weak"),
        ("nobodys@weak", "nobodys@weak"),
    ],
)
def test_the_title_of_a_variant_stands_for_method_and_variant(row: str, shown: str) -> None:
    titles = {"from-code": "Mine (code)", "described": "Mine of old"}
    assert shown_row(registry(titles=titles), row) == shown


def test_the_title_of_a_method_stands_for_its_name_alone() -> None:
    found = registry(title="My method", titles={"fast": "Mine, fast"})
    assert [shown_row(found, row) for row in ("mine", "mine@slow+leaf", "mine@fast")] == [
        "My method",
        "My method@slow+leaf",
        "Mine, fast",
    ]
