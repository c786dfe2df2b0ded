"""The addresses of the pages of tables and rows, which are the same in every edition."""

import re
from urllib.parse import quote

from ferbench.leaderboard.keys import Key
from ferbench.records.cell import digest

LONGEST = 100
DIGITS = 8
"""Digits of a hash, so that two names never share an address."""


def table_address(key: Key) -> str:
    """`tables/ratio-v1-synthfaces-7-ratio-0.05-small-resnet-16-1a2b3c4d`: its page without `.html`."""
    parts = (key.protocol, key.dataset, key.classes, key.budget.label(), key.pool, key.test_on, key.backbone)
    fields = {**vars(key), "budget": key.budget.label()}
    return f"tables/{_slug('-'.join(filter(None, parts)))}-{digest(fields)[:DIGITS]}"


def row_address(table: str, row: str) -> str:
    """The page of a row, without `.html`, given the address of its table."""
    return f"{table.replace('tables/', 'rows/', 1)}/{_slug(row)}-{digest(row)[:DIGITS]}"


def link(path: str) -> str:
    """A path, quoted for an address."""
    return quote(path, safe="/")


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower())[:LONGEST].strip("-.")
