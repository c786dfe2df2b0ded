"""Options that several commands have."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
FOLDER = click.Path(path_type=Path, file_okay=False)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


RUNS_VARIABLE = "FERBENCH_RUNS"
"""Environment variable for the folder of records; `--runs` overrides it."""


def usual_runs() -> Path:
    """The folder of records for a command without `--runs`."""
    return Path(os.environ.get(RUNS_VARIABLE) or "runs")


def runs_folder(help: str = "Folder of records.", *, show_default: bool = True) -> Decorator:
    """The option `--runs`, which can also be set in the environment."""
    return click.option(
        "--runs", type=FOLDER, default=Path("runs"), show_default=show_default, envvar=RUNS_VARIABLE, help=help
    )


def looked_in(folder: Path) -> str:
    """A folder as text, with its absolute path if needed, so that people notice when it is not the one they meant."""
    about = [] if folder.is_absolute() else [str(folder.absolute())]
    about += [] if folder.exists() else ["which does not exist"]
    return f"{folder} ({', '.join(about)})" if about else str(folder)


def place_of(option: str, what: str) -> Decorator:
    """An option for the place of a part of a record's data on this machine."""
    return click.option(option, metavar="FOLDER", help=f"Folder of {what}, if it is not found by its name.")


dataset_folder = place_of("--dataset", "the dataset")
test_on_folder = place_of("--test-on", "the other tested dataset")
