"""`ferbench status`: how far a runs folder is."""

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ferbench.cli.output import print_json, shown_row
from ferbench.cli.session import Session
from ferbench.render.text import print_table

if TYPE_CHECKING:
    from ferbench.records.progress import RunsProgress

LONG = 1000


@click.command()
@click.option(
    "--runs",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    envvar="FERBENCH_RUNS",
    help="Folder of records.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def status(session: Session, runs: Path, as_json: bool) -> None:
    """Count what is done, failed, running and interrupted, with the reason of each failure.

    A cell runs while a process holds its lock. An interrupted one goes on from its checkpoint when it is run again; a
    failed one starts again.
    """
    from ferbench.records.progress import STATES, progress_of
    from ferbench.records.store import RunStore
    from ferbench.render.escape import plain

    found = progress_of(RunStore(runs))
    if as_json:
        print_json(_as_json(found))
        return
    if found.counts:
        for place, group in groupby(found.counts.items(), key=lambda item: (item[0].dataset, item[0].protocol)):
            click.echo(click.style(f"{place[0]}, {place[1]}", bold=True))
            rows = [
                (shown_row(session.registry, each.row), each.budget.label(), *(str(n[name] or "-") for name in STATES))
                for each, n in group
            ]
            print_table(("method", "labels", *STATES), rows)
        totals = {state: sum(n[state] for n in found.counts.values()) for state in STATES}
        click.echo(", ".join(f"{number} {state}" for state, number in totals.items()) + f" in {runs}")
    else:
        click.echo(f"no records under {runs}; begin with `ferbench run --method supervised,fixmatch --ratio 0.05`")
    for path, reason in found.failures.items():
        click.echo(plain(f"{path}: {reason}", LONG))
    for path, reason in found.broken.items():
        click.echo(plain(f"{path}: broken ({reason}); move it away and run the cell again", LONG))


def _as_json(found: "RunsProgress") -> dict[str, Any]:
    return {
        "cells": [
            {
                "protocol": series.protocol,
                "dataset": series.dataset,
                "budget": series.budget.label(),
                "method": series.row,
                **counts,
            }
            for series, counts in found.counts.items()
        ],
        "failures": {str(path): reason for path, reason in found.failures.items()},
        "broken": {str(path): reason for path, reason in found.broken.items()},
    }
