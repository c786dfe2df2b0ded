"""Errors that reach a person: one line that names the file, the value and the remedy, and an exit code."""

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import ClassVar

MAX_LISTED = 20
ALIKE = 0.7
"""Smallest likeness (difflib's ratio) at which a name counts as a misspelling of another one."""


class FerbenchError(Exception):
    """A problem that a person can act on; the command line prints only its text and exits with its code."""

    exit_code: ClassVar[int] = 1


class UsageError(FerbenchError):
    """The command, a name or a configuration value is wrong."""

    exit_code = 2


class PluginError(FerbenchError):
    """A plugin cannot be loaded, breaks the contract, or clashes with another."""

    exit_code = 3


class DataError(FerbenchError):
    """Data is missing, damaged or not what a record says it was."""

    exit_code = 4


class VerificationError(FerbenchError):
    """A record or a committed table is not valid."""

    exit_code = 5


class ExecutorError(FerbenchError):
    """An executor failed, or reported a wrong status of its jobs; cells that have a record are kept."""


class InterruptedRun(FerbenchError):
    """The person or the scheduler stopped the run; computed results are saved."""

    exit_code = 130


def suggestion(name: str, known: Iterable[str], before: str = "") -> str:
    """Return `; did you mean 'fixmatch'?` for the known name that is probably meant, or an empty string.

    A known name is meant if it is spelled almost the same (ignoring case), starts with `name` (`raf`: `raf-db`), or has
    these initials (`lr`: `learning_rate`). Of names that are equally near, the first one is meant.
    `before` is written before the name: `--`, `timm/`.
    """
    asked, spelled = name.casefold(), {each.casefold(): each for each in known}
    compared = SequenceMatcher(b=asked)

    def likeness(each: str) -> float:
        compared.set_seq1(each)
        return compared.ratio()

    alike = {each: likeness(each) for each in spelled}
    nearest = sorted((each for each in spelled if alike[each] >= ALIKE), key=alike.__getitem__, reverse=True)
    if not nearest and len(asked) > 1:
        nearest = sorted((each for each in spelled if each.startswith(asked) or _initials(each) == asked), key=len)
    return f"; did you mean '{before}{spelled[nearest[0]]}'?" if nearest else ""


def _initials(name: str) -> str:
    return "".join(word[:1] for word in re.split("[-_.]", name))


_OTHER_NAMES = {
    "steps": ("epoch", "epochs", "iterations", "num_train_iter"),
    "learning_rate": ("lr",),
    "labeled_batch": ("batch_size",),
    "unlabeled_batch": ("ulb_batch_size",),
    "weight_decay": ("wd",),
    "ema_decay": ("ema", "ema_m"),
    "image_size": ("img_size", "size"),
}
"""Fields of the recipe, and the names that other programs use for them."""


def recipe_hint(name: str, form: str) -> str:
    """Ask whether a field of the recipe was meant that other programs call so; empty if there is none.

    `form` shows how to set the field, which replaces its {}.
    """
    asked = name.lower().replace("-", "_")
    field = next((field for field, names in _OTHER_NAMES.items() if asked in (field, *names)), None)
    note = " An epoch is a twentieth of the steps" if asked.startswith("epoch") else ""
    return f"; did you mean '{form.format(field)}'?{note}" if field else ""


def decimal_point(text: str) -> str:
    """Return `; write 0.05, with a point` if a number has a decimal comma, else an empty string."""
    return f"; write {text.replace(',', '.')}, with a point" if re.fullmatch(r"[+-]?[0-9]+,[0-9]+", text) else ""


def listed(lines: Sequence[str]) -> str:
    """Return the first lines of a list, each indented after a line break, and the number of further ones."""
    more = [f"and {len(lines) - MAX_LISTED} more"] if len(lines) > MAX_LISTED else []
    return "".join(f"\n  {line}" for line in [*lines[:MAX_LISTED], *more])
