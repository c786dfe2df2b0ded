"""Options of `ferbench prepare` that explain the names in a copy, and the report of how every part was used."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from ferbench.cli.options import Decorator
from ferbench.contract.account import Account, ReaderOptions, escaped, matching
from ferbench.errors import DataError, UsageError, listed, suggestion
from ferbench.render.escape import plain
from ferbench.render.text import print_table

if TYPE_CHECKING:
    from ferbench.contract.dataset import Dataset


def reader_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that explain the names in a copy."""
    options: Sequence[Decorator] = (
        click.option("--label-column", metavar="COLUMN", help="The column or JSON key that holds the labels."),
        click.option("--split-column", metavar="COLUMN", help="The column or JSON key that names the split of a row."),
        click.option("--id-column", metavar="COLUMN", help="The column that holds the ids of images."),
        click.option("--split", "splits", multiple=True, metavar="NAME=SPLIT", help="NAME of your copy is this split."),
        click.option(
            "--class", "classes", multiple=True, metavar="NAME=CLASS", help="NAME or number of your copy is this class."
        ),
        click.option("--ignore", multiple=True, metavar="PATTERN", help="What may stay unused; repeat it for more."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def make_options(
    label_column: str | None,
    split_column: str | None,
    id_column: str | None,
    splits: Sequence[str],
    classes: Sequence[str],
    ignore: Sequence[str],
) -> ReaderOptions:
    """The values of the options; raises UsageError for a value that is not a split or class."""
    # Not at the top: help must not wait for readers.
    from typing import get_args

    from ferbench.contract.dataset import SplitName
    from ferbench.readers.classes import WORDS, class_name

    def split(name: str, text: str) -> str:
        known = get_args(SplitName)
        if text not in known:
            raise UsageError(f"--split {name}={text}: write {', '.join(known)}{suggestion(text, known)}")
        return text

    def expression(name: str, text: str) -> str:
        try:
            return class_name(text)
        except ValueError:
            known = list(dict.fromkeys(WORDS.values()))
            raise UsageError(f"--class {name}={text}: write {', '.join(known)}{suggestion(text, WORDS)}") from None

    return ReaderOptions(
        label_column=label_column,
        split_column=split_column,
        id_column=id_column,
        splits=dict(sorted(_pairs("--split", splits, split))),
        classes=dict(sorted(_pairs("--class", classes, expression))),
        ignore=tuple(sorted(set(ignore))),
    )


def _pairs(flag: str, texts: Sequence[str], meaning: Callable[[str, str], str]) -> Iterator[tuple[str, str]]:
    seen: dict[str, str] = {}
    for text in texts:
        # Split at the last '=': a name may contain one, but a class never does.
        name, sign, value = text.rpartition("=")
        key = name.strip().lower()
        if not sign or not key:
            raise UsageError(f"{flag} {text}: write the name of your copy, '=' and what it is")
        value = meaning(name, value.strip().lower())
        if seen.setdefault(key, value) != value:
            raise UsageError(f"{flag}: '{name}' cannot be {seen[key]} and {value}; omit one of them")
        yield key, value


def show_account(account: Account) -> None:
    """Print one line for all parts with the same outcome and reason, with the first ones as examples."""
    rows = [
        (
            line.what,
            "UNUSED" if line.outcome == "unused" else line.outcome,
            f"{line.count:,}",
            *_words(line.reason, line),
        )
        for line in account.lines
    ]
    print_table(("given", "outcome", "count", "reason", "such as"), rows)


def _words(reason: str, line: Any) -> tuple[str, str]:
    more = ", ..." if line.count > len(line.examples) else ""
    return plain(reason, 160), ", ".join(plain(example, 60) for example in line.examples) + more


def refuse(dataset: str, reader: "Dataset", account: Account) -> None:
    """Raise DataError if data was not used, if labels must be read in another way, or if there is no image.

    This does not depend on `--on-bad-record`: omitting such lines would leave wrong labels on other images.
    """
    from ferbench.data.prepare.systematic import systematic_differences
    from ferbench.readers.account import unused_lines

    name, texts = reader.info.name, []
    if found := list(systematic_differences(account, reader.info.official)):
        texts.append(f"the labels must be read in another way, or repaired:{listed([plain(t, 400) for t in found])}")
    if lines := unused_lines(account):
        shown = listed([plain(line, 400) for line in lines])
        texts.append(f"{account.count('unused'):,} parts look like data and are not used:{shown}")
    if texts:
        raise DataError("\n".join([f"dataset '{name}': {texts[0]}", *texts[1:], *_ways_on(dataset, reader, account)]))
    if not account.count("sample") and not account.count("damage"):
        raise DataError(f"dataset '{name}': no samples found in {reader.root}; is the folder complete?")


def how_to_use(dataset: str, reader: "Dataset", account: Account) -> str:
    """The command that would also read the unknown parts, if their meaning is clear; else an empty text."""
    from ferbench.data.prepare.registered_copies import command_words

    words = [word for remedy in account.remedies for word in shlex.split(remedy)]
    return shlex.join([*command_words(dataset, reader), *words]) if words else ""


def _ways_on(dataset: str, reader: "Dataset", account: Account) -> list[str]:
    """Commands that would run, as far as the meaning of the parts is clear."""
    from ferbench.data.prepare.registered_copies import command_words

    # Sorted from the shortest, since a folder stands for everything below it.
    places: list[str] = []
    for place in sorted({place for line in account.unused() for place in line.places}, key=len):
        if not matching(places, place):
            places.append(escaped(place))
    ignoring = [word for place in sorted(places) for word in ("--ignore", place)]
    use = how_to_use(dataset, reader, account)
    leave = shlex.join([*command_words(dataset, reader), *ignoring]) if ignoring else ""
    ways = {"to use it": use, "to leave it unused": leave}
    return [f"{what}: {plain(command, 4000)}" for what, command in ways.items() if command]
