"""The `dataset.json` that describes a folder of images."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ferbench.contract.dataset import DatasetInfo
from ferbench.errors import DataError

DESCRIPTION = "dataset.json"


def ignored(description: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    """The patterns `"ignore"` of files that may stay unused; raises DataError if they are not a list of texts."""
    patterns = description.get("ignore", [])
    if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
        raise DataError(f'{path}: "ignore" is {patterns!r}; write a list of patterns, such as ["*.zip"]')
    return tuple(patterns)


def read_description(root: Path | None) -> tuple[Path, dict[str, Any], DatasetInfo]:
    """The folder, the content of its `dataset.json`, and the DatasetInfo; raises DataError that names the remedy."""
    if root is None or not (root / DESCRIPTION).is_file():
        raise DataError(
            f"{root}: no {DESCRIPTION} here{'' if root and root.is_dir() else ', no such folder'}; prepare your own "
            "images with `ferbench prepare image-folder --root FOLDER --name my-faces` and use --dataset my-faces; "
            "`ferbench synthfaces render --out FOLDER` writes a folder with a description, and docs/pools.md explains "
            "how to describe an archive"
        )
    try:
        description: dict[str, Any] = json.loads((root / DESCRIPTION).read_text("utf-8-sig"))
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
            f"{root / DESCRIPTION}: not a valid dataset description ({error!r}); render or write it again"
        ) from None
    return root, description, info
