"""Names that have parts come back as they were written."""

import pytest

from ferbench.records.names import PoolName, RowName


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("fixmatch", RowName("fixmatch")),
        ("supervised@weak", RowName("supervised", "weak")),
        ("fixmatch+leaf", RowName("fixmatch", head="leaf")),
        ("leaf@released+linear", RowName("leaf", "released", "linear")),
    ],
)
def test_a_row(text: str, parts: RowName) -> None:
    assert RowName.parse(text) == parts
    assert str(parts) == text


@pytest.mark.parametrize(
    ("text", "parts"),
    [("synthfaces-fr", PoolName("synthfaces-fr")), ("rest+synthfaces-fr", PoolName("synthfaces-fr", keeps_rest=True))],
)
def test_a_pool(text: str, parts: PoolName) -> None:
    assert PoolName.parse(text) == parts
    assert str(parts) == text
