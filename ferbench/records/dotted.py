"""Dotted names of nested values: `released.state_decay` for `{"released": {"state_decay": ...}}`."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any


def flat(
    values: Mapping[str, Any], groups: Collection[str] | None = None, prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """Values by dotted names. With `groups`, the dotted names of those, other mappings are values by themselves.

    An empty mapping is a value too, unless it is a group.
    """
    for key, value in values.items():
        name = prefix + key
        if isinstance(value, Mapping) and (bool(value) if groups is None else name in groups):
            yield from flat(value, groups, f"{name}.")
        else:
            yield name, value


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flat`."""
    tables: dict[str, Any] = {}
    for name, value in values.items():
        *groups, option = name.split(".")
        table = tables
        for group in groups:
            table = table.setdefault(group, {})
        table[option] = value
    return tables
