"""`ferbench verify`: check records with the files beside them."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ferbench.cli.options import FOLDER, looked_in, usual_runs
from ferbench.cli.output import print_json
from ferbench.cli.session import Session
from ferbench.cli.verified import verified_paths
from ferbench.errors import UsageError, VerificationError
from ferbench.render.escape import plain
from ferbench.render.numbers import counted
from ferbench.render.text import print_table

if TYPE_CHECKING:
    from ferbench.records.checks import RecordCheck
    from ferbench.records.verification import Verification

LONG = 2000


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--json", "as_json", is_flag=True, help="Print every check of every record as JSON.")
@click.option(
    "--board",
    type=FOLDER,
    default=Path("leaderboard"),
    show_default=True,
    help="Folder with pinned facts of datasets (pinned/*.json) and of supervised rows (baselines.json).",
)
@click.option("--print-schema", is_flag=True, help="Print the JSON Schema of records and do nothing else.")
@click.pass_obj
def verify(session: Session, paths: Sequence[Path], as_json: bool, board: Path, print_schema: bool) -> None:
    """Recompute the numbers of records; needs no GPU and runs no method.

    PATHS are record files or folders of them; without PATHS, the runs folder is checked (FERBENCH_RUNS, else `runs`).
    Schema, identity, folder, recipe, options and digests are checked. Every metric and the confusion matrix are
    compared with the stored predictions, and the history with both. The split is compared with the pinned facts of the
    dataset, or with the data if it is prepared here. Then records are compared with each other: seeds of a row, equal
    splits, copied models and logits. The output names what could not be checked, and the level of each record:
    `consistent`, `consistent (data not held)`, `submitted` if its protocol is unknown here, or `inconsistent`. The exit
    code is 5 if anything fails.
    """
    from ferbench.records.schema import record_schema

    if print_schema:
        click.echo(record_schema(), nl=False)
        return
    paths = paths or (usual_runs(),)
    found, _ = verified_paths(session, paths, board)
    if not found:
        raise UsageError(
            f"no record.json under {', '.join(map(looked_in, paths))}; name a record or a folder of records"
        )
    broken = [verification for verification in found if not verification.holds]
    if as_json:
        print_json(
            [
                {
                    "record": str(item.path),
                    "holds": item.holds,
                    "level": item.verdict.level,
                    "checks": [_as_json(check) for check in item.checks],
                }
                for item in found
            ]
        )
    else:
        _print(found)
    if broken:
        raise VerificationError(
            f"{len(broken)} of {counted(len(found), 'record')} {'does' if len(broken) == 1 else 'do'} not hold: "
            f"{', '.join(str(item.path) for item in broken)}; run the cell again (`ferbench reproduce RECORD` says how)"
        )


def _as_json(check: "RecordCheck") -> dict[str, str]:
    return {name: value for name, value in asdict(check).items() if name != "remedy" or value}


def _noted(found: Sequence["Verification"]) -> dict[str, list[Path]]:
    notes: dict[str, list[Path]] = {}
    for item in found:
        for check in item.noted:
            notes.setdefault(f"{check.name}: {check.detail}", []).append(item.path.parent)
    return notes


def _print(found: Sequence["Verification"]) -> None:
    verified = [tuple(check.name for check in item.checks if check.state == "verified") for item in found]
    rows = [
        (
            "holds" if item.holds else "FAILS",
            item.verdict.level,
            counted(len(names), "check"),
            ", ".join(check.name for check in item.unchecked) or "-",
            plain(str(item.path.parent), LONG),
        )
        for item, names in zip(found, verified, strict=True)
    ]
    print_table(("verdict", "level", "verified", "not checked", "record"), rows)
    for item in found:
        for check in item.failures:
            click.echo(plain(f"{item.path}: {check.name}: {check.detail}", LONG))
    for note, paths in _noted(found).items():
        click.echo(plain(f"note: {note}: {paths[0]}{f' and {len(paths) - 1} more' if len(paths) > 1 else ''}", LONG))
    for names in dict.fromkeys(verified):
        click.echo(f"{counted(len(names), 'check')}: {', '.join(names) or 'none'}")
    for check in dict.fromkeys(check for item in found for check in item.unchecked):
        remedy = f"; {check.remedy}" if check.remedy else ""
        click.echo(plain(f"not checked: {check.name} ({check.detail}){remedy}", LONG))
    click.echo(f"{sum(item.holds for item in found)} of {counted(len(found), 'record')} without a failed check")
