"""Parsing of option values that are lists, ranges or settings."""

import json
import re
from collections.abc import Iterable
from typing import Any

from ferbench.errors import UsageError


def split_list(values: Iterable[str]) -> list[str]:
    """`("a,b", "c")` to `["a", "b", "c"]`, without repetitions."""
    parts = [part.strip() for value in values for part in str(value).split(",")]
    return list(dict.fromkeys(part for part in parts if part))


def split_integers(values: Iterable[str], option: str) -> list[int]:
    """`("0-2,7",)` to `[0, 1, 2, 7]`; raises UsageError naming the option."""
    numbers: list[int] = []
    for part in split_list(values):
        match = re.fullmatch(r"([0-9]{1,18})(?:-([0-9]{1,18}))?", part)
        if not match:
            raise UsageError(f"{option} {part}: give whole numbers and ranges, such as 0-4 or 0,2,5")
        first, last = int(match[1]), int(match[2] or match[1])
        if not 0 <= last - first <= 10_000:
            raise UsageError(f"{option} {part}: the range must rise, by at most 10000")
        numbers += range(first, last + 1)
    return list(dict.fromkeys(numbers))


def parse_settings(values: Iterable[str], option: str = "--set") -> dict[str, Any]:
    """`("steps=60", "fixmatch.align=true")` to a dict; values are JSON where they can be, else text."""
    settings: dict[str, Any] = {}
    for value in values:
        name, equals, text = value.partition("=")
        key = name.strip()
        if not equals or not key:
            raise UsageError(f"{option} {value}: write KEY=VALUE, as in --set steps=60 or --set fixmatch.threshold=0.9")
        if key in settings:
            raise UsageError(f"{option} {key}: given twice; keep one")
        try:
            settings[key] = json.loads(text)
        except ValueError:
            settings[key] = text
    return settings
