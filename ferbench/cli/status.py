"""`ferbench status`: the progress of a runs folder."""

import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ferbench.cli.options import json_option, looked_in, runs_folder
from ferbench.cli.output import print_json, shown_row
from ferbench.cli.session import Session
from ferbench.errors import UsageError
from ferbench.render.escape import plain, shell
from ferbench.render.numbers import duration
from ferbench.render.text import print_table

if TYPE_CHECKING:
    from ferbench.records.progress import RunningCell, RunsProgress

LONG = 1000
WATCH_SECONDS = 5.0
SHOWN = 20
"""Number of running cells that are listed; more are only counted."""


@click.command()
@runs_folder()
@json_option
@click.option("--watch", is_flag=True, help=f"Update every {WATCH_SECONDS:.0f} s until nothing runs or waits.")
@click.pass_obj
def status(session: Session, runs: Path, as_json: bool, watch: bool) -> None:
    """Count cells that are done, failed, running, interrupted and waiting, with the reason of each failure.

    A cell is running while a process holds its lease, on this machine or on another one that shares the folder. When
    run again, an interrupted cell continues from its checkpoint and a failed cell starts from the beginning. A waiting
    cell was requested by a `ferbench run` and has not started. The remaining time is estimated from finished cells.
    """
    from ferbench.records.progress import progress_of
    from ferbench.records.store import RunStore

    if watch and as_json:
        raise UsageError("--watch: prints text for people; omit --json")
    while True:
        found = progress_of(RunStore(runs))
        if as_json:
            print_json(_as_json(found))
            return
        if watch:
            click.clear()
        _show(session, runs, found)
        left = sum(counts[state] for counts in found.counts.values() for state in ("running", "waiting"))
        if not watch or not left:
            return
        time.sleep(WATCH_SECONDS)


def _as_json(found: "RunsProgress") -> dict[str, object]:
    from ferbench.records.progress import STATES

    cells = [
        {
            **{"protocol": s.protocol, "dataset": s.dataset, "budget": s.budget.label(), "method": s.row},
            **{state: counts[state] for state in STATES},
        }
        for s, counts in found.counts.items()
    ]
    running = [
        {
            "cell": str(one.cell.folder()),
            "host": one.host,
            "pid": one.pid,
            "since": one.since,
            "step": one.step.step if one.step else None,
            "steps": one.step.steps if one.step else None,
        }
        for one in found.running
    ]
    failures, broken = ({str(path): reason for path, reason in each.items()} for each in (found.failures, found.broken))
    return {
        "cells": cells,
        "running": running,
        "seconds": round(found.seconds, 1),
        "seconds_of_a_cell": None if found.pace is None else round(found.pace, 1),
        "seconds_left": None if found.eta is None else round(found.eta, 1),
        "failures": failures,
        "broken": broken,
    }


def _show(session: Session, runs: Path, found: "RunsProgress") -> None:
    from ferbench.records.progress import STATES

    for (dataset, protocol), group in groupby(
        found.counts.items(), key=lambda item: (item[0].dataset, item[0].protocol)
    ):
        click.echo(click.style(f"{dataset}, {protocol}", bold=True))
        rows = [
            (shown_row(session.registry, series.row), series.budget.label(), *(str(n[name] or "-") for name in STATES))
            for series, n in group
        ]
        print_table(("method", "labels", *STATES), rows)
    for one in found.running[:SHOWN]:
        click.echo(plain(f"running: {_place(one)}", LONG))
    if len(found.running) > SHOWN:
        click.echo(f"and {len(found.running) - SHOWN} more")
    if found.counts:
        totals = {state: sum(n[state] for n in found.counts.values()) for state in STATES}
        cost = f"{duration(found.seconds)} of work so far"
        left = f", about {duration(found.eta)} left" if found.eta else ""
        if found.eta and found.pace:
            left += f" at {3600 * len(found.running) / found.pace:.3g} cells an hour"
        click.echo(
            f"{', '.join(f'{number} {state}' for state, number in totals.items())} in {looked_in(runs)}; {cost}{left}"
        )
        if not found.running:
            _show_asked(found.asked)
    else:
        begin = "begin with `ferbench run --method supervised,fixmatch --ratio 0.05`, or name your folder with --runs"
        click.echo(f"no records under {looked_in(runs)}; {begin}")
    for path, reason in found.failures.items():
        click.echo(plain(f"{path}: {reason}", LONG))
    for path, reason in found.broken.items():
        click.echo(plain(f"{path}: broken ({reason}); move it away and run the cell again", LONG))


def _show_asked(commands: Sequence[tuple[str, ...]]) -> None:
    """Say how waiting cells start: nobody can see from here whether a cluster's queue still holds them."""
    if commands:
        click.echo("No cell runs. If no queue holds the waiting cells, start them:")
    for command in dict.fromkeys(commands):
        click.echo(f"  {shell(('ferbench', *command))}" if command else "  the same call of ferbench.run in Python")


def _place(one: "RunningCell") -> str:
    done = f"step {one.step.step} of {one.step.steps}, " if one.step else ""
    return f"{one.cell.folder()}: {done}process {one.pid} on {one.host} since {one.since}"
