"""`ferbench list`: the names that a run can use."""

from dataclasses import asdict

import click

from ferbench.cli.options import json_option
from ferbench.cli.output import print_json, warn_problems
from ferbench.cli.session import Session
from ferbench.discovery.registry import KINDS
from ferbench.render.text import print_list

LISTED = tuple(kind for kind in KINDS if kind != "commands")


@click.command("list")
@click.argument("kind", type=click.Choice(LISTED), required=False)
@json_option
@click.pass_obj
def list_(session: Session, kind: str | None, as_json: bool) -> None:
    """List the names that a run accepts, from the core and from plugins. Without KIND, list everything."""
    known = session.registry
    warn_problems(known.problems)
    kinds = (kind,) if kind else LISTED
    entries = [known.entries[kind][name] for kind in kinds for name in known.names(kind)]
    if as_json:
        print_json([asdict(entry) for entry in entries])
    elif not entries:
        click.echo(f"no {kind} are registered; `ferbench doctor` says what to install")
    else:
        columns = ("name", "summary", "paper", "from") if kind else ("name", "kind", "summary", "paper", "from")
        rows = [{**vars(entry), "from": f"{entry.distribution} {entry.version}"} for entry in entries]
        print_list(columns, ([row[column] for column in columns] for row in rows), columns.index("summary"))
