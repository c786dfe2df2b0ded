"""Options that several commands have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
FOLDER = click.Path(path_type=Path, file_okay=False)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def runs_folder(help: str = "Folder of records.", *, show_default: bool = True) -> Decorator:
    """`--runs`, also from the environment."""
    return click.option(
        "--runs", type=FOLDER, default=Path("runs"), show_default=show_default, envvar="FERBENCH_RUNS", help=help
    )


def place_of(option: str, what: str) -> Decorator:
    """Where a part of a record's data lies on this machine."""
    return click.option(option, metavar="FOLDER", help=f"Where {what} lies, if it is not known by its name.")


dataset_folder = place_of("--dataset", "the dataset")
test_on_folder = place_of("--test-on", "the other set that is tested")
