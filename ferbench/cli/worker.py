"""`ferbench worker`: one cell in this process, as executors run it."""

from pathlib import Path

import click


@click.command()
@click.argument("job")
@click.option(
    "--events",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Append events to this file; without it they are printed.",
)
@click.option("--die-with-parent", is_flag=True, help="End when standard input does, without saving.")
def worker(job: str, events: Path | None, die_with_parent: bool) -> int:
    """Run one cell.

    JOB is the JSON of a `ferbench.contract.executor.Job`, or a file of it; executors take the command from
    `Job.command`. Events are lines of JSON. SIGINT, SIGTERM and SIGHUP let the cell be saved. The exit code is 0 if
    the cell is ok, 1 if it failed, that of the error if it could not begin.
    """
    from ferbench.execution.worker import work

    return work(job, events, die_with_parent=die_with_parent)
