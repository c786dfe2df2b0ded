"""`ferbench verify`: whether records hold, from the files beside them."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ferbench.cli.output import print_json, print_table
from ferbench.errors import UsageError, VerificationError

if TYPE_CHECKING:
    from ferbench.records.cell import Cell
    from ferbench.records.verification import Verification


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--json", "as_json", is_flag=True, help="Print every check of every record as JSON.")
@click.option("--print-schema", is_flag=True, help="Print the JSON Schema of records and do nothing else.")
def verify(paths: Sequence[Path], as_json: bool, print_schema: bool) -> None:
    """Recompute the numbers of records; needs no GPU and runs no method.

    PATHS are record files or folders of them; without any it is the runs folder (FERBENCH_RUNS, else `runs`). Checked
    are schema, identity, folder, every metric and the confusion matrix against the stored predictions, the digests,
    and the split against the data where it is prepared here. What could not be checked is said. The exit code is 5 if
    anything fails.
    """
    from ferbench.records.schema import record_schema
    from ferbench.records.verification import verify_record

    if print_schema:
        click.echo(record_schema(), nl=False)
        return
    paths = paths or (Path(os.environ.get("FERBENCH_RUNS") or "runs"),)
    found = [verify_record(path, _fingerprints_of) for path in _record_files(paths)]
    if not found:
        raise UsageError(f"no record.json under {', '.join(map(str, paths))}; name a record or a folder of records")
    broken = [verification for verification in found if not verification.holds]
    if as_json:
        print_json([_as_json(verification) for verification in found])
    else:
        _print(found)
    if broken:
        raise VerificationError(
            f"{len(broken)} of {len(found)} record{'' if len(found) == 1 else 's'} "
            f"{'does' if len(broken) == 1 else 'do'} not hold: {', '.join(str(item.path) for item in broken)}"
        )


def _record_files(paths: Sequence[Path]) -> Iterator[Path]:
    from ferbench.records.store import RunStore

    for path in paths:
        if path.is_file():
            yield path
        else:
            yield from (record for record, _ in RunStore(path).iterate())


def _fingerprints_of(cell: "Cell") -> Mapping[str, str] | None:
    from ferbench.data.fingerprints import split_fingerprints

    return split_fingerprints(cell)


def _print(found: Sequence["Verification"]) -> None:
    from ferbench.leaderboard.escape import plain

    rows = []
    for item in found:
        verified = ", ".join(check.name for check in item.checks if check.state == "verified")
        unchecked = ", ".join(check.name for check in item.unchecked)
        rows.append((plain(str(item.path), 1000), "holds" if item.holds else "FAILS", verified, unchecked))
    print_table(("record", "verdict", "verified", "not checked"), rows)
    for item in found:
        for check in item.failures:
            click.echo(plain(f"{item.path}: {check.name}: {check.detail}", 2000))
    reasons = {check.name: check.detail for item in found for check in item.unchecked}
    for name, detail in reasons.items():
        click.echo(plain(f"not checked: {name} ({detail})", 2000))
    holding = sum(item.holds for item in found)
    click.echo(f"{holding} of {len(found)} record{'' if len(found) == 1 else 's'} hold{'s' if holding == 1 else ''}")


def _as_json(item: "Verification") -> dict[str, Any]:
    return {"record": str(item.path), "holds": item.holds, "checks": [asdict(check) for check in item.checks]}
