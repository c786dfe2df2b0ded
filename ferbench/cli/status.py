"""`ferbench status`: how far a runs folder is."""

from itertools import groupby
from pathlib import Path

import click

from ferbench.cli.options import json_option, runs_folder
from ferbench.cli.output import print_json, shown_row
from ferbench.cli.session import Session
from ferbench.render.escape import plain
from ferbench.render.text import print_table

LONG = 1000


@click.command()
@runs_folder()
@json_option
@click.pass_obj
def status(session: Session, runs: Path, as_json: bool) -> None:
    """Count what is done, failed, running and interrupted, with the reason of each failure.

    A cell runs while a process holds its lock. An interrupted one goes on from its checkpoint when it is run again; a
    failed one starts again.
    """
    from ferbench.records.progress import STATES, progress_of
    from ferbench.records.store import RunStore

    found = progress_of(RunStore(runs))
    failures, broken = ({str(path): reason for path, reason in each.items()} for each in (found.failures, found.broken))
    if as_json:
        cells = [
            {"protocol": s.protocol, "dataset": s.dataset, "budget": s.budget.label(), "method": s.row, **counts}
            for s, counts in found.counts.items()
        ]
        print_json({"cells": cells, "failures": failures, "broken": broken})
        return
    for (dataset, protocol), group in groupby(
        found.counts.items(), key=lambda item: (item[0].dataset, item[0].protocol)
    ):
        click.echo(click.style(f"{dataset}, {protocol}", bold=True))
        rows = [
            (shown_row(session.registry, series.row), series.budget.label(), *(str(n[name] or "-") for name in STATES))
            for series, n in group
        ]
        print_table(("method", "labels", *STATES), rows)
    if found.counts:
        totals = {state: sum(n[state] for n in found.counts.values()) for state in STATES}
        click.echo(", ".join(f"{number} {state}" for state, number in totals.items()) + f" in {runs}")
    else:
        click.echo(f"no records under {runs}; begin with `ferbench run --method supervised,fixmatch --ratio 0.05`")
    for path, reason in failures.items():
        click.echo(plain(f"{path}: {reason}", LONG))
    for path, reason in broken.items():
        click.echo(plain(f"{path}: broken ({reason}); move it away and run the cell again", LONG))
