"""`ferbench report`: a run as one HTML file."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ferbench.cli import completion
from ferbench.cli.options import FOLDER, dataset_folder, test_on_folder
from ferbench.cli.session import Session
from ferbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from ferbench.contract.dataset import Dataset


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True), shell_complete=completion.runs)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write [default: next to the record]"
)
@dataset_folder
@test_on_folder
@click.option("--plots", type=FOLDER, help="Folder for the curves as SVG files.")
@click.option("--embedding", is_flag=True, help="Add a map of the test images; needs the extra `embedding`.")
@click.option("--open/--no-open", "open_it", default=False, help="Open the report in the browser.")
@click.pass_obj
def report(
    session: Session,
    run: Path,
    out: Path | None,
    dataset: str | None,
    test_on: str | None,
    plots: Path | None,
    embedding: bool,
    open_it: bool,
) -> None:
    """Write the report of RUN: one self-contained HTML file.

    RUN is a record.json, its folder, or a folder with one run below it. The report shows scores, curves, confusion
    matrix, calibration, the surest errors, pseudo-labels, configuration and, if the dataset is on this machine, the
    faces that the model got wrong and sheets of the views. For a failed run the report shows the reason.
    """
    from ferbench.records.files import write_atomic, write_out
    from ferbench.records.store import find_record
    from ferbench.reporting.page import curve_files, report_page
    from ferbench.reporting.run_files import read_run

    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--out {out}: the report is an HTML file; the name must end in .html")
    if embedding:
        from ferbench.reporting.embedding import check_extra

        check_extra()
    if plots is not None:
        plots.mkdir(parents=True, exist_ok=True)
    path = find_record(run)
    files = read_run(path)
    cell = files.record.cell
    page = report_page(
        files,
        session.registry,
        _open_named(session, dataset, cell.dataset, "--dataset") if dataset else None,
        _open_named(session, test_on, cell.test_on, "--test-on") if test_on else None,
        embedding=embedding,
    )
    target = out or path.parent / "report.html"
    try:
        write_out(target, page)
    except DataError as error:
        reason = getattr(error.__cause__, "strerror", None) or error
        raise DataError(f"cannot write {target} ({reason}); name another file with --out") from None
    click.echo(target)
    if plots is not None:
        for name, svg in curve_files(files):
            write_atomic(plots / name, svg)
            click.echo(plots / name)
    if open_it:
        click.launch(str(target))


def _open_named(session: Session, name: str, expected: str | None, option: str) -> "Dataset":
    from ferbench.data.sources import open_dataset

    dataset = open_dataset(session.registry, name)
    if dataset.info.name != expected:
        run = f"is on '{expected}'" if expected else "is not tested on another dataset"
        raise UsageError(f"{option} {name}: this is '{dataset.info.name}'; the run {run}")
    return dataset
