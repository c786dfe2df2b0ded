"""docs/architecture.md shows the house as it is: every room, no path that is gone, the layers of import-linter."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "ferbench"
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")


def rooms() -> list[str]:
    """Packages and modules of ferbench, and packages of ferbench.data, as the page must name them."""
    packages = {path.parent for folder in (PACKAGE, PACKAGE / "data") for path in folder.glob("*/*.py")}
    modules = [path for path in PACKAGE.glob("*.py") if not path.name.startswith("__")]
    return sorted([f"{path.relative_to(PACKAGE)}/" for path in packages] + [path.name for path in modules])


@pytest.mark.parametrize("room", rooms())
def test_every_room_has_a_row(room: str) -> None:
    assert re.search(rf"^\| `{re.escape(room)}` \| \S.* \| \S.* \|$", PAGE, re.MULTILINE), f"no row for `{room}`"


def test_every_path_on_the_page_exists() -> None:
    named = set(re.findall(r"[\w/-]+(?:\.py|/)(?![\w.])", PAGE))
    assert {"errors.py", "data/load/", "cells/select.py"} <= named
    assert [path for path in sorted(named) if not any((base / path).exists() for base in (ROOT, PACKAGE))] == []


def test_layers_are_those_that_import_linter_holds() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    held = [[layer.replace("ferbench.", "") for layer in each["layers"]] for each in contracts if "layers" in each]
    shown = re.findall(r"^```layers\n(.+?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert [block.splitlines() for block in shown] == held
