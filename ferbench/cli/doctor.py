"""`ferbench doctor`: check this installation and say how to repair it."""

from dataclasses import asdict
from pathlib import Path

import click

from ferbench.cli.diagnosis import diagnose
from ferbench.cli.options import json_option, runs_folder
from ferbench.cli.output import print_json
from ferbench.errors import DataError, PluginError
from ferbench.render.text import print_table


@click.command()
@runs_folder("Folder of the runs.", show_default=False)
@json_option
@click.pass_context
def doctor(ctx: click.Context, runs: Path, as_json: bool) -> None:
    """Check versions, device, memory, folders, plugins and datasets, and name the remedy for each problem.

    Exit code 3 if a plugin has a problem, 4 if there is no dataset, 1 for any other problem.
    """
    checks = list(diagnose(runs))
    if as_json:
        print_json([{**asdict(check), "result": check.result} for check in checks])
    else:
        print_table(("check", "result", "found"), ((c.name, c.result, c.detail) for c in checks))
        for check in checks:
            if check.remedy:
                click.echo(f"{check.result}: {check.name}: {check.remedy}")
    codes = {check.exit_code for check in checks} - {0}
    for code in (PluginError.exit_code, DataError.exit_code, 1):
        if code in codes:
            ctx.exit(code)
