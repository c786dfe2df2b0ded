"""Dotted names of nested values: `released.state_decay` for `{"released": {"state_decay": ...}}`."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any


def flat(
    values: Mapping[str, Any], groups: Collection[str] | None = None, prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """Yield the dotted name of each value with the value.

    If `groups` is given, only the mappings with these dotted names are opened; any other mapping is a value. An empty
    mapping is also a value, unless `groups` names it.
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
