"""Parsing of option values that are lists, ranges or settings."""

import json
import re
from collections.abc import Iterable
from typing import Any

from ferbench.errors import UsageError, decimal_point


def split_list(values: Iterable[str], option: str = "") -> list[str]:
    """Turn `("a,b", "c")` into `["a", "b", "c"]`, without repetitions. `option` is the name for error messages."""
    parts = [part.strip() for value in values for part in str(value).split(",")]
    return list(dict.fromkeys(part for part in parts if part))


def split_decimals(values: Iterable[str], option: str) -> list[str]:
    """Like `split_list`; raises UsageError for a decimal comma such as `0,05`, which would mean two numbers."""
    given = [str(value) for value in values]
    for value in given:
        if (first := re.match(r"0,[0-9]+", value)) or (first := re.search(r"(?<=,)0,[0-9]+", value)):
            raise UsageError(f"{option} {value}: commas separate numbers{decimal_point(first[0])}")
    return split_list(given)


def split_integers(values: Iterable[str], option: str) -> list[int]:
    """Turn `("0-2,7",)` into `[0, 1, 2, 7]`; raises UsageError, which names the option."""
    numbers: list[int] = []
    for part in split_list(values):
        match = re.fullmatch(r"([0-9]{1,18})(?:-([0-9]{1,18}))?", part)
        if not match:
            raise UsageError(f"{option} {part}: give whole numbers and ranges, such as 0-4 or 0,2,5")
        first, last = int(match[1]), int(match[2] or match[1])
        if not 0 <= last - first <= 10_000:
            raise UsageError(f"{option} {part}: a range must go up, by at most 10000")
        numbers += range(first, last + 1)
    return list(dict.fromkeys(numbers))


def parse_settings(values: Iterable[str], option: str = "--set") -> dict[str, Any]:
    """Turn `("steps=60", "fixmatch.align=true")` into a dict. Values are JSON if possible, else text."""
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
            json.dumps(settings[key], allow_nan=False)
        except json.JSONDecodeError:
            settings[key] = text
        except ValueError:
            raise UsageError(f"{option} {value}: numbers must be finite") from None
    return settings
