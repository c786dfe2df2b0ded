"""`ferbench prepare`: turn a copy of a dataset into one that `ferbench run` can use."""

import os
import shlex
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ferbench.cli.completion import names_of
from ferbench.cli.output import print_warning
from ferbench.cli.reading import how_to_use, make_options, reader_options, refuse, show_account
from ferbench.cli.session import Session
from ferbench.errors import DataError, UsageError, listed
from ferbench.render.escape import plain
from ferbench.render.numbers import counted
from ferbench.render.text import print_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ferbench.contract.account import Account, ReaderOptions
    from ferbench.contract.dataset import Dataset
    from ferbench.data.load.image_store import ImageStore
    from ferbench.data.prepare.writer import DecodingProgress
    from ferbench.readers.streams import StreamedDataset
    from ferbench.reporting.data_card import CountTable

LINE_SECONDS = 10.0


@click.command()
@click.argument("dataset", shell_complete=names_of("datasets"))
@click.option("--root", required=True, metavar="DIR", help="Folder of your copy; the layout is detected inside it.")
@click.option(
    "--name",
    metavar="NAME",
    help="Name for `ferbench run --dataset`, if DATASET is a generic reader (image-folder, ...).",
)
@click.option(
    "--size",
    type=click.IntRange(8, 1024),
    metavar="PX",
    help="Side of the stored images in pixels; the protocols' size if omitted.",
)
@click.option(
    "--crop", type=click.FloatRange(0, 2), metavar="MARGIN", help="Crop to the face box, enlarged by this share."
)
@click.option("--no-crop", is_flag=True, help="Keep whole images, even if the reader would crop them to the face box.")
@click.option(
    "--on-bad-record",
    type=click.Choice(["stop", "skip"]),
    default="stop",
    show_default=True,
    help="What to do with a damaged image or line; `skip` omits and counts it.",
)
@click.option("--workers", type=click.IntRange(1), help="Number of decoding processes; one per processor if omitted.")
@click.option("--check", is_flag=True, help="Read and decode everything and report, but write nothing.")
@reader_options
@click.pass_obj
def prepare(
    session: Session,
    dataset: str,
    root: str,
    name: str | None,
    size: int | None,
    crop: float | None,
    no_crop: bool,
    on_bad_record: str,
    workers: int | None,
    check: bool,
    **options: Any,
) -> None:
    """Prepare your copy of DATASET, so that `ferbench run --dataset DATASET` can use it.

    Every image is decoded once and packed; your copy is never changed. A report accounts for every file, column and
    archive member. If something looks like data but is not used, the command stops with exit code 4. A data card shows
    the counts beside the official ones, damaged and missing images, images that are in two splits, and faces of each
    class. An interrupted run continues when it is started again.
    """
    # Not at the top: help must not wait for pyarrow.
    from ferbench.readers.account import readable
    from ferbench.readers.streams import StreamedDataset

    # Pillow's warnings are about the header of some image, and name no file.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    reader = _open(session, dataset, root, name, make_options(**options))
    digest = reader.source_digest
    # One digest throughout, even if the source changes while it is read.
    reader.source_digest = cache(digest)  # type: ignore[method-assign]
    if no_crop or crop is not None:
        reader.crop = None if no_crop else crop
    reader.on_bad_record = "skip" if on_bad_record == "skip" else "stop"
    with readable(reader):
        info = reader.info
    size = size or session.protocols["ratio-v1"].recipe_for(info.family).packed_size
    workers = workers or len(os.sched_getaffinity(0))
    click.echo(f"{info.title}: {info.rule}" if info.rule else info.title)
    account = _account(reader)
    if check:
        _inspect(dataset, reader, account, size, workers)
        return
    refuse(dataset, reader, account)
    if isinstance(reader, StreamedDataset):
        packed = None
        _index(reader, size)
    else:
        packed = _pack(dataset, reader, account, size, workers)
    _remember(dataset, reader)
    click.echo(f"now: {_next_step(session, reader, packed)}")
    count = packed.splits.count("unlabeled") if packed is not None and "test" in packed.splits else 0
    if count and reader.info.classes:
        pool = f"--protocol external-v1 --unlabeled rest+{reader.info.name}"
        click.echo(f"{counted(count, 'image')} without a label: not in the pool of this run; {pool} adds them")
    _offer_cpu_recipe(session, reader, packed)
    if digest() != reader.source_digest():
        print_warning("the source has changed while it was read; run this command again to include the changes")


def _inspect(dataset: str, reader: "Dataset", account: "Account", size: int, workers: int) -> None:
    from ferbench.data.prepare.pack import inspect

    with _progress(account.count("sample") + account.count("damage")) as progress:
        found = inspect(reader, size, workers=workers, progress=progress)
    _show_counts(reader, found.counts)
    for damage in found.damages:
        click.echo(plain(str(damage), 1000))
    refuse(dataset, reader, account)
    if found.damages:
        raise DataError(f"{len(found.damages)} entries give no image{_as_meant(dataset, reader, account)}")
    click.echo("every image can be decoded; nothing was kept (--check)")


def _as_meant(dataset: str, reader: "Dataset", account: "Account") -> str:
    command = how_to_use(dataset, reader, account)
    return f"\nto read labels as they seem to be meant: {plain(command, 4000)}" if command else ""


def _account(reader: "Dataset") -> "Account":
    """Say which files and folders the reader has found, and what happens with each of them."""
    from ferbench.data.prepare.systematic import leave_empty_classes
    from ferbench.readers.account import take_account
    from ferbench.readers.layout import LayoutReader

    account = take_account(reader)
    leave_empty_classes(account, reader.info.official)
    places = []
    if isinstance(reader, LayoutReader) and reader.root is not None:
        places = [str(path.relative_to(reader.root)) for path in reader.found]
    total = account.count("sample") + account.count("damage")
    click.echo(f"found {plain(', '.join(places), 1000) or 'images'} in {reader.root}: {total:,} entries")
    show_account(account)
    return account


def _open(session: Session, dataset: str, root: str, name: str | None, options: "ReaderOptions") -> "Dataset":
    from ferbench.data.cache import cache_root
    from ferbench.data.prepare.registered_copies import open_reader
    from ferbench.data.prepare.which_reader import check_layout
    from ferbench.data.sources import check_name

    entry = session.registry.get("datasets", dataset)
    reader = entry.load()
    if not getattr(reader, "needs_root", False):
        raise UsageError(f"dataset '{dataset}' includes its images; there is nothing to prepare")
    needs_name = getattr(reader, "needs_name", False)
    if needs_name and name is None:
        raise UsageError(f"'{dataset}' reads any images; choose a name for `ferbench run --dataset` with --name")
    if name is not None and not needs_name:
        raise UsageError(f"--name {name}: '{dataset}' has a fixed name; omit --name")
    if name is not None:
        check_name(session.registry, name)
    folder = Path(root).resolve() if Path(root).exists() else Path(root)
    if not str(folder).isprintable():
        raise DataError(f"{str(folder)!a}: the name of this folder is not printable text; rename it")
    if cache_root().resolve().is_relative_to(folder):
        raise UsageError(
            f"FERBENCH_CACHE ({cache_root()}) is inside --root, which must not be modified; choose another folder"
        )
    opened = open_reader(entry, folder, name, options)
    check_layout(session.registry, dataset, opened)
    return opened


def _pack(dataset: str, reader: "Dataset", account: "Account", size: int, workers: int) -> "ImageStore":
    """Pack all images and write the data card."""
    from ferbench.data.load.image_store import ImageStore
    from ferbench.data.prepare.pack import DamagedImages, ensure_packed, read_inspection
    from ferbench.data.prepare.registered_copies import prepared_folder
    from ferbench.data.select.duplicate_report import across_splits
    from ferbench.records.files import write_atomic
    from ferbench.reporting.data_card import Findings, card_page, damages_csv, duplicates_csv

    folder = prepared_folder(reader.info.name)
    try:
        with _progress(account.count("sample") + account.count("damage")) as progress:
            packed = ImageStore(ensure_packed(reader, size, workers=workers, progress=progress, renew=True))
    except DamagedImages as error:
        write_atomic(folder / "damaged.csv", damages_csv(error.damages))
        lines = listed([plain(str(damage), 400) for damage in error.damages])
        raise DataError(
            f"dataset '{reader.info.name}': {len(error.damages)} entries give no image; they are listed in "
            f"{folder / 'damaged.csv'}. Repair them and run this command again (decoded images are kept), or leave "
            f"them out with --on-bad-record skip:{lines}{_as_meant(dataset, reader, account)}"
        ) from None
    found = read_inspection(packed.folder)
    table = _show_counts(reader, found.counts)
    duplicates = across_splits(packed)
    findings = Findings(table, found.damages, duplicates, found.converted, reader.on_bad_record == "skip")
    write_atomic(folder / "damaged.csv", damages_csv(found.damages))
    write_atomic(folder / "duplicates.csv", duplicates_csv(duplicates))
    write_atomic(folder / "card.html", card_page(reader, packed, findings))
    if found.damages:
        print_warning(f"{len(found.damages)} damaged or missing images are left out; {folder / 'damaged.csv'}")
    if duplicates.found:
        print_warning(f"{len(duplicates.found)} images are in two splits; {folder / 'duplicates.csv'}")
    click.echo(f"{len(packed.ids):,} images of {size} pixels in {packed.folder}")
    click.echo(f"data card: {folder / 'card.html'}")
    return packed


def _index(reader: "StreamedDataset", size: int) -> None:
    """Read a stream once from start to end, so that its records can be found."""
    from ferbench.data.prepare.registered_copies import prepared_folder
    from ferbench.data.prepare.stream_index import DamagedRecords, ensure_index
    from ferbench.records.files import write_atomic
    from ferbench.reporting.data_card import damages_csv

    path = prepared_folder(reader.info.name) / "damaged.csv"
    try:
        index = ensure_index(reader, size, renew=True)
    except DamagedRecords as error:
        write_atomic(path, damages_csv(error.damages))
        raise DataError(f"{error}\nthey are listed in {path}") from None
    click.echo(f"{len(index):,} images, {index.damaged:,} damaged records left out; index in {index.folder}")


def _remember(dataset: str, reader: "Dataset") -> None:
    from ferbench.data.prepare.registered_copies import Prepared, write_prepared
    from ferbench.readers.streams import StreamedDataset

    assert reader.root is not None
    write_prepared(
        Prepared(
            name=reader.info.name,
            reader=dataset,
            root=reader.root,
            crop=reader.crop,
            on_bad_record=reader.on_bad_record,
            options=reader.options,
            source_digest=reader.source_digest(),
            info=None if isinstance(reader, StreamedDataset) else reader.info,
        )
    )


def _next_step(session: Session, reader: "Dataset", packed: "ImageStore | None") -> str:
    """The command that uses the dataset: as a pool, on its test split or folds, or to test other models."""
    from ferbench.cells.resolve import protocols_by

    name, ranked_by = reader.info.name, reader.info.rank_groups
    if packed is None or not reader.info.classes:
        return f"ferbench run --method fixmatch --protocol external-v1 --unlabeled {name} --ratio 0.05"
    protocol = ""  # the default protocol
    if ranked_by != "image":
        protocol = next(iter(protocols_by(session.registry, ranked_by)), "")
    elif "test" not in packed.splits:
        folds = session.protocols["subject-folds-v1"].folds or 0
        if packed.known_groups("subject") < folds:
            return f"ferbench run --method fixmatch --test-on {name} --ratio 0.05"
        protocol = "subject-folds-v1"
    return f"ferbench run --method fixmatch --dataset {name}{protocol and f' --protocol {protocol}'} --ratio 0.05"


def _offer_cpu_recipe(session: Session, reader: "Dataset", packed: "ImageStore | None") -> None:
    """If there is no GPU, also show the command that suits a CPU."""
    from ferbench.cells.cpu_recipe import cpu_options
    from ferbench.execution.devices import visible_gpus

    command = _next_step(session, reader, packed)
    options = cpu_options(session.protocols["ratio-v1"], reader.info.family)
    if options and f"--dataset {reader.info.name}" in command and not visible_gpus():
        click.echo(
            f"no GPU found; this recipe suits a CPU (its results are not standard): {command} {shlex.join(options)}"
        )


def _show_counts(reader: "Dataset", counts: "Mapping[str, int]") -> "CountTable":
    from ferbench.reporting.data_card import count_table

    table = count_table(counts, reader.info.official)
    rows = [(name, *(count.words for count in of_class)) for name, of_class in table.rows]
    print_table(("class", *table.splits), rows)
    if table.differences:
        print_warning(f"{table.differences} counts are not the official ones")
    return table


@contextmanager
def _progress(total: int) -> "Iterator[DecodingProgress]":
    """A progress bar on a terminal, occasional lines elsewhere."""
    if not sys.stdout.isatty():
        yield _lines(total)
        return
    # Importing rich takes too long for a command that only prints help.
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("decoding"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(compact=True)
    with Progress(*columns, TextColumn("{task.fields[line]}")) as bars:
        task = bars.add_task("decoding", total=total, line="")

        def update(looked_at: int, damaged: int) -> None:
            bars.update(task, completed=looked_at, line=f"{damaged} damaged" if damaged else "")

        yield update


def _lines(total: int) -> "DecodingProgress":
    began = last = time.monotonic()

    def update(looked_at: int, damaged: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= LINE_SECONDS and looked_at:
            last, left = now, (now - began) / looked_at * (total - looked_at)
            words = f", {damaged} damaged" if damaged else ""
            click.echo(f"{looked_at:,} of {total:,} decoded{words}, about {left:.0f} s left")

    return update
