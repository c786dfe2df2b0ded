"""Turns click's errors about a command line into messages that lead to the right one."""

import re

import click

from ferbench.errors import decimal_point, recipe_hint, suggestion

ELSEWHERE = {
    "--method": ("alg", "algorithm"),
    "--dataset": ("data", "data-dir"),
    "--backbone": ("model", "net"),
    "--labels": ("num-labels", "labeled"),
    "--unlabeled": ("ulb-dataset",),
    "--init": ("pretrained", "weights"),
    "--device": ("gpu", "gpus"),
    "--jobs": ("workers",),
    "--out": ("output", "output-dir"),
    "--runs": ("out", "output", "output-dir"),
}
"""Names that other programs use for the purpose of an option."""


def explain(error: click.ClickException) -> str:
    """The text of an error in one line, without a full stop."""
    if isinstance(error, click.NoSuchOption):
        return f"no option '{error.option_name}'{_meant(error)}"
    message = " ".join(error.format_message().split()).rstrip(".").replace("is not in the range x>0", "must be above 0")
    numbers = re.findall(r"'([^']*)'", message) if isinstance(error, click.BadParameter) else []
    return message + next(filter(None, map(decimal_point, numbers)), "")


def _meant(error: click.NoSuchOption) -> str:
    """The option that the user probably meant, among the options of the command."""
    asked = error.option_name.lstrip("-").replace("_", "-")
    known = [name for option in error.ctx.command.params for name in option.opts] if error.ctx else []
    if "--set" in known and (hint := recipe_hint(asked, "--set {}=...")):
        return hint
    for meant, names in ELSEWHERE.items():
        if asked in names and meant in known:
            return f"; did you mean '{meant}'?"
    # Compared without the hyphens, which all options have in common.
    return suggestion(asked, [name.lstrip("-") for name in known if name.startswith("--")], before="--")
