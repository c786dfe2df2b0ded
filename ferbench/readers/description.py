"""The `dataset.json` that describes a folder of images."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ferbench.contract.dataset import DatasetInfo
from ferbench.errors import DataError

DESCRIPTION = "dataset.json"


def ignored(description: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    """The patterns of what may stay unused, `"ignore"`; raises DataError where they are no list of texts."""
    patterns = description.get("ignore", [])
    if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
        raise DataError(f'{path}: "ignore" is {patterns!r}; write a list of patterns, such as ["*.zip"]')
    return tuple(patterns)


def read_description(root: Path | None) -> tuple[Path, dict[str, Any], DatasetInfo]:
    """The folder, its `dataset.json` as written, and what it says of the set; raises DataError naming the remedy."""
    if root is None or not (root / DESCRIPTION).is_file():
        raise DataError(
            f"{root}: no {DESCRIPTION} here; name a folder written by 'ferbench synthfaces render --out DIR', or "
            "describe an archive of images as docs/pools.md says"
        )
    try:
        description: dict[str, Any] = json.loads((root / DESCRIPTION).read_text("utf-8"))
        name = str(description["name"])
        info = DatasetInfo(
            name=name,
            title=str(description.get("title", name)),
            licence=str(description.get("licence", "")),
            classes={task: tuple(names) for task, names in description.get("classes", {}).items()},
            default_classes=str(description.get("default_classes", "")),
            family=str(description.get("family", name)),
            citation=str(description.get("citation", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{root / DESCRIPTION}: not a dataset description ({error!r}); render or write it again"
        ) from None
    return root, description, info
