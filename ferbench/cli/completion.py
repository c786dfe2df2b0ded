"""Shell completion: names of methods, datasets and other parts, and the runs of a runs folder.

`eval "$(_FERBENCH_COMPLETE=bash_source ferbench)"` turns it on, with zsh_source or fish_source in other shells.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from ferbench.cli.options import usual_runs
from ferbench.cli.session import Session

Completion = Callable[[click.Context, click.Parameter, str], Sequence[CompletionItem]]


def _items(names: Iterable[tuple[str, str]], incomplete: str) -> list[CompletionItem]:
    """Completions for the last entry of a list such as `fixmatch,ada`, with a description of each name."""
    done, comma, part = incomplete.rpartition(",")
    taken = done.split(",") if comma else []
    return [
        CompletionItem(f"{done}{comma}{name}", help=about)
        for name, about in sorted(names)
        if name.startswith(part) and name not in taken
    ]


def names_of(kind: str, *others: str) -> Completion:
    """Complete names of a kind (for families of backbones, their examples) and other words."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> Sequence[CompletionItem]:
        entries = context.ensure_object(Session).registry.entries[kind].values()
        known = [
            (entry.example if kind == "backbones" and entry.example else entry.name, entry.summary) for entry in entries
        ]
        return _items([*known, *((other, "") for other in others)], incomplete)

    return complete


def datasets(context: click.Context, parameter: click.Parameter, incomplete: str) -> Sequence[CompletionItem]:
    """Complete datasets that can be trained and tested on: those with images, and prepared ones; else folders."""
    from ferbench.data.prepare.registered_copies import prepared_names

    entries = context.ensure_object(Session).registry.entries["datasets"].values()
    known = [(entry.name, entry.summary) for entry in entries]
    mine = [(name, "prepared on this machine") for name in prepared_names()]
    return _items([*known, *mine], incomplete) or [CompletionItem(incomplete, type="dir")]


def cells(context: click.Context, parameter: click.Parameter, incomplete: str) -> Sequence[CompletionItem]:
    """Complete the cells of the runs folder."""
    return _items(((folder, "") for folder in _folders(_runs(context))), incomplete)


def rows(context: click.Context, parameter: click.Parameter, incomplete: str) -> Sequence[CompletionItem]:
    """Complete the rows of the runs folder, or files."""
    folders = (Path(folder).parts for folder in _folders(_runs(context)))
    found = {parts[-3].partition("~")[0] for parts in folders if len(parts) >= 3}
    return _items(((row, "") for row in found), incomplete) or [CompletionItem(incomplete, type="file")]


def runs(context: click.Context, parameter: click.Parameter, incomplete: str) -> Sequence[CompletionItem]:
    """Complete the folders of runs, or files."""
    root = usual_runs()  # not --runs, which means another folder for a command that makes runs
    found = _items(((str(root / folder), "") for folder in _folders(root)), incomplete)
    return found or [CompletionItem(incomplete, type="file")]


def _runs(context: click.Context) -> Path:
    return Path(context.params.get("runs") or usual_runs())


def _folders(root: Path) -> list[str]:
    from ferbench.records.store import RunStore

    return RunStore(root).folders()
