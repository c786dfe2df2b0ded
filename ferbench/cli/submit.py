"""`ferbench leaderboard submit`: put records of a runs folder on a branch, with the text of a pull request."""

import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ferbench.cli.options import FOLDER, looked_in
from ferbench.cli.session import Session
from ferbench.cli.verified import verified
from ferbench.errors import UsageError, VerificationError, listed
from ferbench.render.escape import LONG, plain
from ferbench.render.numbers import counted
from ferbench.render.text import print_table

if TYPE_CHECKING:
    from ferbench.leaderboard.changes import Change
    from ferbench.leaderboard.clone import Clone
    from ferbench.leaderboard.submission import Submission
    from ferbench.records.schema import Record

REQUEST = Path("pull-request.md")


@click.command()
@click.argument("runs", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option(
    "--into", type=FOLDER, required=True, help="A clone of the repository with the board, at its main branch."
)
@click.option("--branch", help="Name of the new branch  [default: records- and a digest of the cells]")
@click.option("--open", "opened", is_flag=True, help="Push the branch to origin and open the request with gh.")
@click.pass_obj
def submit(session: Session, runs: Path, into: Path, branch: str | None, opened: bool) -> None:
    """Check the records in RUNS as the board does, and put the accepted ones on a branch of a clone.

    A row is accepted if its cells are standard and it has all seeds of the protocol; other rows are listed with the
    reason. The branch contains records, histories and predictions (logits without labels, if a licence protects the
    labels), but no models. The clone's working files and current branch do not change. The text of the request, with
    the rows that change, is printed and written to pull-request.md. The exit code is 5 if no row is accepted.
    """
    from ferbench.leaderboard.clone import BOARD, RECORDS, Clone

    clone = Clone(into)
    if branch is not None:
        clone.check_new(branch)
    if opened and shutil.which("gh") is None:
        raise UsageError("gh is not installed; omit --open and open the request by hand")
    chosen = _chosen(session, runs, into / BOARD)
    branch = branch or _branch(chosen)
    clone.check_new(branch)
    title = f"Records of {counted(len(chosen.rows), 'row')}: {plain(', '.join(map(str, chosen.rows)))}"
    with clone.worktree() as tree:
        _publish(session, chosen, tree / BOARD)
        text = _request(chosen, _changes(session, tree / RECORDS, tree / BOARD))
        clone.commit(tree, branch, title)
        REQUEST.write_text(text, encoding="utf-8")
        click.echo(text)
        click.echo(
            f"{counted(len(chosen.cells), 'record')} on branch {branch} of {into}; text of the request: {REQUEST}"
        )
        if opened:
            _open(clone, tree, branch, title)
            return
    click.echo("To open the request (or push the branch, and open it on the web with this text):")
    click.echo(f"  cd {shlex.quote(str(into))} && git switch {branch} && git push --set-upstream origin {branch}")
    click.echo("  " + shlex.join(["gh", "pr", "create", "--title", title, "--body-file", str(REQUEST.absolute())]))


def _chosen(session: Session, runs: Path, board: Path) -> "Submission":
    """The rows of a runs folder that can be accepted. Refused ones are shown with the reason."""
    from ferbench.cells.known import known_protocols
    from ferbench.leaderboard.submission import submission

    found, _ = verified(session, runs, board)
    if not found:
        raise UsageError(
            f"there is no record.json below {looked_in(runs)}; name a runs folder, which `ferbench run` writes"
        )
    chosen = submission(found, known_protocols(session.registry), _records_of(board))
    if chosen.refused:
        print_table(("refused", "reason"), [(plain(str(folder), LONG), plain(reason, LONG))
                                            for folder, reason in sorted(chosen.refused.items())])  # fmt: skip
    if not chosen.cells:
        raise VerificationError(f"of {counted(len(found), 'record')} below {runs} none can be accepted by the board")
    return chosen


def _records_of(board: Path) -> "Iterator[Record]":
    from ferbench.leaderboard.clone import RECORDS
    from ferbench.records.schema import Record
    from ferbench.records.store import RunStore

    for _, record in RunStore(board / RECORDS.name).iterate():
        if isinstance(record, Record):
            yield record


def _branch(chosen: "Submission") -> str:
    from ferbench.records.cell import digest

    return f"records-{digest(sorted(record.cell_id for record in chosen.cells.values()))[:10]}"


def _publish(session: Session, chosen: "Submission", board: Path) -> None:
    """Copy the publishable files of each cell into the board's records. A cell without a result has only its record."""
    from ferbench.cells.known import known
    from ferbench.leaderboard.clone import RECORDS
    from ferbench.records.files import read_bounded, write_atomic
    from ferbench.records.publication import publish
    from ferbench.records.schema import MAX_RECORD_BYTES
    from ferbench.records.store import RECORD

    there = known(session.registry, board)
    for folder, record in chosen.cells.items():
        place = board / RECORDS.name / record.cell.folder()
        if record.result is None:
            write_atomic(place / RECORD, read_bounded(folder / RECORD, MAX_RECORD_BYTES))
        else:
            publish(folder, place, there)


def _changes(session: Session, records: Path, board: Path) -> "list[Change]":
    """The rows that change; raises VerificationError if the board would not be valid."""
    from ferbench.leaderboard.build import make
    from ferbench.leaderboard.changes import EditionFile, changes, read_edition
    from ferbench.leaderboard.exports import render_json
    from ferbench.records.frame import verified_frame

    found, _ = verified(session, records, board)
    broken = [each for each in found if not each.holds]
    if broken:
        lines = [f"{each.path.parent.relative_to(records)}: {'; '.join(each.verdict.failures)}" for each in broken]
        raise VerificationError(f"the board with these records does not hold:{listed(lines)}")
    after = render_json(make(verified_frame(found, session.registry.titles), board, include_nonstandard=False))
    return list(changes(read_edition(board / "leaderboard.json"), EditionFile.model_validate_json(after)))


def _request(chosen: "Submission", changed: "list[Change]") -> str:
    from ferbench.leaderboard.changes import as_markdown
    from ferbench.render.escape import markdown
    from ferbench.version import __version__

    rows = "\n".join(f"- {markdown(str(row), LONG)}" for row in chosen.rows)
    return (
        f"{counted(len(chosen.cells), 'record')}, checked by `ferbench leaderboard submit` {__version__}:\n\n"
        f"{rows}\n\nRows that change:\n\n{as_markdown(changed)}\n\n"
        "Where the method's code can be read:\n\n"
        "Where its models (`model.safetensors` of each seed) can be fetched, for a re-evaluation:\n"
    )


def _open(clone: "Clone", tree: Path, branch: str, title: str) -> None:
    from ferbench.leaderboard.clone import command

    clone.git("push", "--set-upstream", "origin", branch, at=tree)
    body = str(REQUEST.absolute())
    click.echo(command("gh", "pr", "create", "--title", title, "--body-file", body, at=tree))
