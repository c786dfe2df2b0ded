"""`ferbench leaderboard re-evaluate` and `reproduce`: a maintainer's machine checks submitted records."""

import os
import random
import secrets
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ferbench.cli.options import FOLDER
from ferbench.cli.session import Session
from ferbench.cli.verified import verified
from ferbench.errors import FerbenchError, InterruptedRun, UsageError, VerificationError
from ferbench.render.escape import plain
from ferbench.render.numbers import counted
from ferbench.render.text import print_table

if TYPE_CHECKING:
    from ferbench.discovery.registry import Registry
    from ferbench.execution.re_evaluation import PrivateRenders
    from ferbench.leaderboard.trust import TrustFile
    from ferbench.records.reproduction import Sources
    from ferbench.records.schema import Record
    from ferbench.records.verification import Verification

LONG = 300

_records = click.option(
    "--records", type=FOLDER, default=Path("leaderboard/records"), show_default=True, help="Folder of the records."
)
_out = click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("leaderboard/trust.json"),
    show_default=True,
    help="File that the findings are added to.",
)


@click.command("re-evaluate")
@_records
@click.option("--models", type=FOLDER, required=True, help="Folder with the files of the models, with any names.")
@click.option(
    "--private-seed-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="File with 32 hexadecimal digits: also score on a private render. If omitted: FERBENCH_PRIVATE_SEED, if set.",
)
@_out
@click.pass_obj
def re_evaluate(session: Session, records: Path, models: Path, private_seed_file: Path | None, out: Path) -> None:
    """Recompute the predictions of records from the files of their models, and note the records that hold.

    A record names its model.safetensors by SHA-256. Only names, shapes and numbers are read from that file; the net is
    built by the code that is installed here. Datasets are opened by their names. With a secret seed, a model of
    rendered faces is also scored on test images that nobody else has, once per cell and edition of the board. The
    private column of the board then shows whether its accuracy holds beyond the public test images. The exit code is 5
    if a record fails.
    """
    from ferbench.execution.re_evaluation import models_below, private_renders, secret_seed
    from ferbench.leaderboard.trust import TrustFile

    seed, known = secret_seed(private_seed_file), TrustFile(out)
    if not models.is_dir():
        raise UsageError(f"there is no folder {models}; name the folder of the models' files with --models")
    files, findings = models_below(models), _Findings("re-evaluated", out)
    with ExitStack() as stack:
        renders = None if seed is None else stack.enter_context(private_renders(seed))
        for path, record in _consistent(verified(session, records, out.parent)[0], records):
            model = files.get(record.result.model_digest if record.result else "")
            if model is None:
                findings.add(record, "no model", "the file that it names is not there")
            else:
                findings.of(record, partial(_re_evaluated, session.registry, path, record, model, renders, known))
    findings.show()


def _re_evaluated(
    registry: "Registry",
    path: Path,
    record: "Record",
    model: Path,
    renders: "PrivateRenders | None",
    known: "TrustFile",
) -> str:
    """Check the model of a record, and say what was found."""
    from ferbench.execution.re_evaluation import agreement, rebuild
    from ferbench.leaderboard.trust import ReEvaluation

    cell, entry = record.cell, known.trust.standing(path, record)
    unscored = cell.test_on is None and known.trust.scoring_of(cell) is None
    if entry and entry.re_evaluation and not (renders and unscored):
        return "known already"
    rebuilt = rebuild(record, model, registry)
    found = agreement(rebuilt.predictions(), rebuilt.recorded(path.parent))
    evidence = ReEvaluation(largest_difference=found.largest_difference, other_classes=found.other_classes)
    known.note(path, record, evidence)
    text = f"logits differ by {found.largest_difference:.2g} at most"
    resolved = rebuilt.resolved
    images = renders.of(resolved.dataset, resolved.recipe.packed_size) if renders and unscored else None
    if images is None:
        return text
    known.score(record, rebuilt.score(images))
    return f"{text}; scored on the private render"


@click.command()
@_records
@click.option("--sample", type=click.IntRange(min=1), required=True, help="Number of cells to run again.")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of the choice of cells.  [default: random, and shown]")
@click.option("--init", metavar="FILE", help="The file of initial weights, for cells that start from it.")
@click.option(
    "--runs", type=FOLDER, default=Path("reproduced"), show_default=True, help="Folder of the new records; a fresh one."
)
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1.")
@_out
@click.pass_obj
def reproduce(
    session: Session,
    records: Path,
    sample: int,
    seed: int | None,
    init: str | None,
    runs: Path,
    device: str,
    out: Path,
) -> None:
    """Run randomly chosen cells again, look for leaks of labels, and note the cells that hold.

    This trains with the installed code of methods: use it only for code that you trust or have read. Name the folder of
    one submission with --records. A chosen cell is trained again from the labels of its budget, and twice more by the
    leak audit. On the same kind of machine, with equal versions and code, the result must be equal bit for bit. On
    other machines its headline may differ from the recorded one as much as the seeds of the row differ from each other,
    but by no more than 2 points. Not chosen are cells that are already noted as reproduced, and cells that cannot be
    audited (a named pool, or a test on another dataset). The exit code is 5 if a record fails.
    """
    from ferbench.execution.audit import is_auditable
    from ferbench.execution.re_evaluation import SEED_VARIABLE
    from ferbench.leaderboard.trust import TrustFile
    from ferbench.records.reproduction import Sources

    if SEED_VARIABLE in os.environ:
        raise UsageError(f"{SEED_VARIABLE} is set, and the code of methods could read it; unset it for this command")
    known, findings = TrustFile(out), _Findings("reproduced", out)
    seed = secrets.randbits(32) if seed is None else seed
    found, _ = verified(session, records, out.parent)
    consistent, spreads = _consistent(found, records), _spreads(found)
    able = [cell for cell in consistent if is_auditable(cell[1].cell)]
    left = [cell for cell in able if not ((entry := known.trust.standing(*cell)) and entry.reproduction)]
    chosen = random.Random(seed).sample(left, min(sample, len(left)))
    click.echo(f"{len(chosen)} of {counted(len(consistent), 'cell')}, chosen with --seed {seed}")
    if others := len(consistent) - len(able):
        click.echo(f"{counted(others, 'cell')} not chosen: the leak audit takes no named pool and no --test-on")
    for path, record in chosen:
        sources = Sources(init=None if record.cell.init == "scratch" else init)
        spread = spreads.get(record.cell_id)
        findings.of(record, partial(_reproduced, session.registry, path, record, sources, spread, runs, device, known))
    findings.show()


def _reproduced(
    registry: "Registry",
    path: Path,
    record: "Record",
    sources: "Sources",
    spread: float | None,
    runs: Path,
    device: str,
    known: "TrustFile",
) -> str:
    """Run the cell of a record again, and say what was found."""
    from ferbench.execution.re_evaluation import check_labels
    from ferbench.execution.reproduction import check_leaks, circumstances, run_again
    from ferbench.leaderboard.trust import Reproduction

    if record.cell.init != "scratch" and sources.init is None:
        raise UsageError(f"the cell starts from {record.cell.init}; name that file with --init FILE")
    check_labels(path, record, registry)
    now = run_again(record, runs, sources, device)
    evidence = Reproduction.of(record, now, same_kind=not circumstances(record, registry), spread=spread)
    check_leaks(record, registry, sources, device)
    known.note(path, record, evidence)
    if evidence.equal:
        return "equal, bit for bit; no leak found"
    near = f"{record.headline} is {100 * evidence.headline:.2f} %, within the spread of the row; no leak found"
    entry = known.trust.standing(path, record)
    return near if entry and entry.re_evaluation else f"{near}; counts once the record is re-evaluated too"


def _spreads(found: "Sequence[Verification]") -> dict[str, float]:
    """How far the seeds of a cell's row differ, by cell: seeds whose records hold. Rows with one seed are omitted."""
    from ferbench.leaderboard.tables import grouped
    from ferbench.records.frame import verified_frame

    cells = verified_frame(found)
    rows = [(key, row) for key, rows in grouped(cells[cells["status"] == "ok"]).items() for row in rows.values()]
    return {
        cell_id: float(row[key.headline].max() - row[key.headline].min())
        for key, row in rows
        if len(row) > 1
        for cell_id in row["cell_id"]
    }


def _consistent(found: "Sequence[Verification]", records: Path) -> "list[tuple[Path, Record]]":
    """Every valid record with a result, in the order of folders; raises UsageError if there is none."""
    held = [(each.path, each.record) for each in found if each.holds and each.record and each.record.result]
    if not held:
        raise UsageError(f"no record below {records} has a result and holds; `ferbench verify {records}` says why")
    return held


@dataclass
class _Findings:
    """What a command has found about cells. A cell that cannot be checked does not stop the others."""

    what: str
    out: Path
    rows: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, record: "Record", verdict: str, text: str) -> None:
        self.rows.append((verdict, text, str(record.cell.folder())))

    def of(self, record: "Record", check: Callable[[], str]) -> None:
        try:
            self.add(record, "holds", check())
        except VerificationError as error:
            self.add(record, "FAILS", str(error))
        except InterruptedRun:
            raise
        except FerbenchError as error:
            self.add(record, "not checked", str(error))

    def show(self) -> None:
        """Print all findings; raises an error that names what has failed, or what could not be checked."""
        print_table(("verdict", self.what, "cell"), [tuple(plain(text, LONG) for text in row) for row in self.rows])
        held, failed, unchecked = (
            [cell for verdict, _, cell in self.rows if verdict == name] for name in ("holds", "FAILS", "not checked")
        )
        click.echo(f"{len(held)} of {counted(len(self.rows), 'cell')} {self.what}; noted in {self.out}")
        if failed:
            raise VerificationError(
                f"not {self.what}: {', '.join(failed)}; ask whoever submitted, or note a dispute in {self.out}"
            )
        if unchecked:
            raise FerbenchError(f"not checked: {', '.join(unchecked)}; the table above says why")
