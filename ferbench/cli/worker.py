"""`ferbench worker`: run one cell in this process, as executors do."""

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

    JOB is a `ferbench.contract.executor.Job` as JSON, or a file with it; executors get this command from `Job.command`.
    Events are lines of JSON. After SIGINT, SIGTERM or SIGHUP the cell is saved first. The exit code is 0 if the cell is
    ok, 1 if it failed, and that of the error if it could not begin.
    """
    from ferbench.execution.worker import work

    return work(job, events, die_with_parent=die_with_parent)
