"""`ferbench predict`: what the model of a run says of your images, or of a dataset."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ferbench.cli.output import print_warning
from ferbench.cli.session import Session
from ferbench.errors import DataError, UsageError
from ferbench.render.escape import plain
from ferbench.render.numbers import counted
from ferbench.render.text import print_table

if TYPE_CHECKING:
    from ferbench.execution.trained_model import TrainedModel

PATH = click.Path(path_type=Path)
FORMATS = ("table", "csv", "json", "html")
FILE_FORMATS = ("csv", "parquet")
SPLITS = ("train", "validation", "test", "unlabeled")


@click.command()
@click.argument("model", type=PATH)
@click.argument("images", type=PATH, nargs=-1)
@click.option("--faces", is_flag=True, help="Find the face in each image first; needs the extra `boxes`.")
@click.option(
    "--format", "as_format", type=click.Choice(FORMATS), help="What to write  [default: as --out ends, table]"
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="The file to write.")
@click.option("--dataset", metavar="NAME", help="Predict a whole dataset, by name or folder, in place of images.")
@click.option("--split", type=click.Choice(SPLITS), default="test", show_default=True, help="Which split of --dataset.")
@click.pass_obj
def predict(
    session: Session,
    model: Path,
    images: tuple[Path, ...],
    faces: bool,
    as_format: str | None,
    out: Path | None,
    dataset: str | None,
    split: str,
) -> None:
    """Say which class each of IMAGES has, by the model of a run.

    MODEL is a run (its record.json, its folder, or a folder with one run below it) or a file of `ferbench export --to
    safetensors`. IMAGES are files, folders, or CSV files with a column `path`. Each is decoded and resized as `ferbench
    prepare` does. An image that cannot be read is named, and the others go on; the exit code is then 4.

    A whole dataset: `ferbench predict MODEL --dataset NAME --out FILE.csv`, or FILE.parquet.
    """
    if bool(images) == bool(dataset):
        raise UsageError("name the images to predict, or a dataset with --dataset NAME; one of the two")
    if dataset is not None:
        if faces or as_format or out is None or out.suffix[1:] not in FILE_FORMATS:
            raise UsageError("--dataset writes a table: name it with --out FILE.csv or --out FILE.parquet, and no more")
        _predict_dataset(session, _load(session, model), dataset, split, out)
        return
    _predict_images(session, model, images, faces, _format(as_format, out), out)


def _format(given: str | None, out: Path | None) -> str:
    """The format that is asked for, else the one that the name of the file has."""
    found = given or (out.suffix[1:] if out else "table")
    if found not in FORMATS or (out is not None and found == "table"):
        raise UsageError(f"--out {out}: end its name with .csv, .json or .html, or choose one of them with --format")
    return found


def _load(session: Session, model: Path) -> "TrainedModel":
    from ferbench.execution.trained_model import load_model

    return load_model(model, device="auto", registry=session.registry)


def _predict_images(
    session: Session, model: Path, images: tuple[Path, ...], faces: bool, as_format: str, out: Path | None
) -> None:
    from ferbench.contract.dataset import Damage
    from ferbench.data.prepare.face_boxes import detector
    from ferbench.execution.predict import predict_pictures
    from ferbench.readers.image_lists import named_images
    from ferbench.records.files import write_atomic
    from ferbench.reporting.predictions import Predictions

    if faces:
        detector()  # before anything is loaded: where it is missing, this says how to install it
    loaded, said, damages = _load(session, model), [], []
    for found in predict_pictures(loaded, named_images(images), find_faces=faces):
        if isinstance(found, Damage):
            print_warning(plain(f"{found.record}: {found.reason}", 2000))
            damages.append(found)
            continue
        if found.seen.faces > 1:
            print_warning(plain(f"{found.seen.name}: {found.seen.faces} faces; the largest is taken", 2000))
        said.append(found)
    predictions = Predictions(loaded, said, damages)
    if as_format == "table":
        print_table(*predictions.table())
    else:
        content: bytes = getattr(predictions, as_format)()
        if out is None:
            click.echo(content.decode(), nl=False)
        else:
            write_atomic(out, content)
            click.echo(out)
    if damages:
        raise DataError(
            f"{counted(len(damages), 'image')} of {len(damages) + len(said)} without a prediction, as above"
        )


def _predict_dataset(session: Session, model: "TrainedModel", name: str, split: str, out: Path) -> None:
    import io

    from ferbench.data.sources import open_dataset
    from ferbench.execution.predict import predict_dataset
    from ferbench.records.files import write_atomic

    dataset, trained = open_dataset(session.registry, name), model.record
    if split == "test" and dataset.info.name == trained.cell.dataset and "folds" in trained.config.protocol:
        print_warning(
            f"this model was tested on a fold of subjects: it was trained on some of the {split} images of "
            f"'{dataset.info.name}'; predictions of its own test images are beside its record"
        )
    frame, buffer = predict_dataset(model, dataset, split), io.BytesIO()  # type: ignore[arg-type]
    if out.suffix == ".csv":
        frame.to_csv(buffer, index=False, lineterminator="\n")
    else:
        frame.to_parquet(buffer, index=False)
    write_atomic(out, buffer.getvalue())
    click.echo(f"{counted(len(frame), 'image')} of '{dataset.info.name}': {out}")
