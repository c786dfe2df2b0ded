"""`ferbench splits export`: write the labeled, unlabeled, held-out and test images as lists for other programs."""

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ferbench.cli.completion import datasets, names_of
from ferbench.cli.session import Session
from ferbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ferbench.data.select.splits import Selection


@click.group()
def splits() -> None:
    """Splits: the labeled, unlabeled, held-out and test images of a cell."""


@splits.command()
@click.option("--dataset", required=True, metavar="NAME", help="Dataset, by name or folder.", shell_complete=datasets)
@click.option("--ratio", help="Share of the labels, such as 0.05.")
@click.option("--labels", type=click.IntRange(1), help="Total number of labels, for protocols that count them.")
@click.option("--per-class", type=click.IntRange(1), help="Number of labels per class.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the draw.")
@click.option(
    "--protocol",
    metavar="NAME",
    help="Protocol; ratio-v1 for a ratio, else count-v1, if omitted.",
    shell_complete=names_of("protocols"),
)
@click.option("--classes", metavar="TASK", help="Task of the dataset, such as 7 or 8.")
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder to write into.")
@click.pass_obj
def export(
    session: Session,
    dataset: str,
    ratio: str | None,
    labels: int | None,
    per_class: int | None,
    seed: int,
    protocol: str | None,
    classes: str | None,
    out: Path,
) -> None:
    """Write the ids of a split: labeled.csv, unlabeled.csv, test.csv, validation.csv (if any) and split.json.

    A run with the same options has the same split, whatever its method. Lists have the columns id and label
    (unlabeled.csv: id) and are sorted by id. Equal options give equal bytes on every machine.
    """
    from ferbench.cells.request import RunRequest, budgets_of
    from ferbench.cells.resolve import check_groups
    from ferbench.cells.select import draw
    from ferbench.data.load.image_store import ImageStore
    from ferbench.data.prepare.pack import ensure_packed, find_packed
    from ferbench.data.sources import classes_of, open_dataset
    from ferbench.readers.streams import StreamedDataset
    from ferbench.records.cell import canonical_json

    registry = session.registry
    by = registry.load("protocols", protocol or ("ratio-v1" if ratio else "count-v1"))
    request = RunRequest(
        methods=(),
        ratios=[ratio] if ratio else (),
        counts=[labels] if labels else (),
        per_class=[per_class] if per_class else (),
    )
    budgets = budgets_of(request, by)
    if len(budgets) > 1:
        raise UsageError("give exactly one of --ratio, --labels and --per-class")
    opened = open_dataset(registry, dataset)
    if isinstance(opened, StreamedDataset):
        raise UsageError(f"--dataset {dataset}: this is an unlabeled pool, which has no split")
    check_groups(registry, by, opened.info)
    task, class_names = classes_of(opened, classes)
    # Splits do not depend on the size of the images.
    folder = find_packed(opened) or ensure_packed(opened, by.recipe_for(opened.info.family).packed_size)
    selection = draw(by, ImageStore(folder), class_names, budgets[0], seed)
    about = {
        "dataset": opened.info.name,
        "protocol": by.name,
        "classes": task,
        "budget": budgets[0].model_dump(mode="json", exclude_none=True),
        "seed": seed,
        "fingerprints": selection.fingerprints.model_dump(mode="json", exclude_none=True),
    }
    _write(out, selection, canonical_json(about))


def _write(out: Path, selection: "Selection", about: bytes) -> None:
    from ferbench.records.files import write_atomic

    roles = {"labeled": selection.labeled, "unlabeled": selection.unlabeled, "test": selection.test}
    if selection.validation:
        roles["validation"] = selection.validation
    try:
        out.mkdir(parents=True, exist_ok=True)
        for role, rows in roles.items():
            path = out / f"{role}.csv"
            write_atomic(path, _csv(selection, rows, with_labels=role != "unlabeled"))
            click.echo(f"{len(rows):,} {role}: {path}")
        if not selection.validation:
            (out / "validation.csv").unlink(missing_ok=True)  # left by an earlier split in this folder
        write_atomic(out / "split.json", about)
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror or error}); choose another --out") from None


def _csv(selection: "Selection", rows: "Sequence[int]", *, with_labels: bool) -> bytes:
    """The ids as they are, not changed for spreadsheets: programs find the images by them."""
    images, text = selection.seen, io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("id", "label") if with_labels else ("id",))
    for row in sorted(rows, key=lambda row: images.ids[row]):
        writer.writerow((images.ids[row], images.labels[row]) if with_labels else (images.ids[row],))
    return text.getvalue().encode()
