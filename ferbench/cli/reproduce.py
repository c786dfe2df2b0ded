"""`ferbench reproduce`: run a record's cell again and compare the results."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ferbench.cli import completion
from ferbench.cli.options import FOLDER, dataset_folder, place_of, test_on_folder
from ferbench.cli.output import print_warning
from ferbench.cli.session import Session
from ferbench.errors import UsageError, VerificationError
from ferbench.render.escape import plain
from ferbench.render.text import print_table

if TYPE_CHECKING:
    from ferbench.records.reproduction import Difference, Sources
    from ferbench.records.schema import Record

LONG = 200


@click.command()
@click.argument("record", type=click.Path(path_type=Path, exists=True), shell_complete=completion.runs)
@click.option("--run", "run_it", is_flag=True, help="Run the command in a fresh folder and compare the results.")
@click.option(
    "--runs", type=FOLDER, default=Path("reproduced"), show_default=True, help="With --run: folder of the new record."
)
@dataset_folder
@place_of("--unlabeled", "the unlabeled pool")
@test_on_folder
@click.option("--init", metavar="FILE", help="File of initial weights; a record contains only its SHA-256.")
@click.option("--device", default="auto", show_default=True, help="With --run: cpu, cuda, cuda:1.")
@click.pass_obj
def reproduce(
    session: Session,
    record: Path,
    run_it: bool,
    runs: Path,
    dataset: str | None,
    unlabeled: str | None,
    test_on: str | None,
    init: str | None,
    device: str,
) -> None:
    """Show the command that gives RECORD (a record.json, its folder, or a folder with one run below it), and the
    differences between this machine and the one that made it.

    With --run the command runs and every field of the result is compared: exit code 5 if one differs. On the same
    machine with the same versions results are equal bit for bit; elsewhere the last digits may differ, and so may
    predictions. A model that is tested on another dataset is trained first.
    """
    from ferbench.execution.reproduction import circumstances
    from ferbench.records.options_v1 import has_version_1
    from ferbench.records.reproduction import Sources, run_command
    from ferbench.records.store import find_record, read_named

    path = find_record(record)
    found = read_named(path)
    if found.cell_id != found.cell.cell_id:
        raise VerificationError(f"{path} does not hold; run `ferbench verify {shlex.quote(str(path))}`")
    older = has_version_1(found.cell.method, found.config.method)
    if older:
        click.echo(f"git switch --detach {_commit(found)}")
    sources = Sources(dataset, unlabeled, init, test_on)
    weights = None if init or found.cell.init == "scratch" else "WEIGHTS-FILE"
    shown = Sources(dataset, unlabeled, init or weights, test_on)
    click.echo(shlex.join([*run_command(found.cell, shown), "--device", device]))
    if older:
        print_warning(f"the record has options of ferbench 0.1; run the command with the code of {_commit(found)}")
    if weights:
        print_warning(f"replace {weights} with the file whose hash is {found.cell.init}, or name it with --init")
    if differences := circumstances(found, session.registry):
        _show("here is different", differences)
        if not older and (commit := _recorded_commit(found)):
            click.echo(f"the code of the record, in a clone: git switch --detach {commit}")
    else:
        click.echo("versions, code and hardware are those of the record")
    if not run_it:
        return
    if older:
        raise UsageError(
            f"{path} has options of ferbench 0.1, which have other names now; commit {_commit(found)} makes it: "
            "check it out, and reproduce the record there"
        )
    if weights:
        raise UsageError(f"the cell starts from {found.cell.init}; name that file with --init FILE")
    _run_and_compare(found, path, runs, sources, device)
    click.echo(plain(f"the result is that of {path}, in every field", 1000))


def _commit(record: "Record") -> str:
    """The commit whose code has the options of a record of ferbench 0.1: the record's own commit, if possible."""
    from ferbench.records.options_v1 import COMMIT

    return _recorded_commit(record) or COMMIT


def _recorded_commit(record: "Record") -> str:
    """The commit that a record names; empty if it names none."""
    return record.git.commit if record.git and re.fullmatch("[0-9a-f]{7,64}", record.git.commit) else ""


def _run_and_compare(record: "Record", path: Path, runs: Path, sources: "Sources", device: str) -> None:
    from ferbench.execution.reproduction import run_again
    from ferbench.records.reproduction import result_differences
    from ferbench.records.store import RunStore

    if record.result is None:
        status = f"status {record.status}"
        raise UsageError(f"{path} has no result to compare with ({status}); run the command above instead")
    now = run_again(record, runs, sources, device)
    if differences := result_differences(record.result, now):
        _show("result", differences)
        number, target = len(differences), RunStore(runs).folder(record.cell)
        raise VerificationError(f"{number} fields of the result differ from {path}; the new record is in {target}")


def _show(title: str, differences: "Sequence[Difference]") -> None:
    rows = [(plain(each.name), plain(each.recorded, LONG), plain(each.now, LONG)) for each in differences]
    print_table((title, "in the record", "here"), rows)
