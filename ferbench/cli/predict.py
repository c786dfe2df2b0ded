"""`ferbench predict`: classify your images, or a whole dataset, with the model of a run."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ferbench.cli import completion
from ferbench.cli.output import print_warning
from ferbench.cli.session import Session
from ferbench.errors import DataError, UsageError
from ferbench.render.escape import csv_path, plain
from ferbench.render.numbers import counted
from ferbench.render.text import print_table

if TYPE_CHECKING:
    from ferbench.execution.trained_model import TrainedModel

PATH = click.Path(path_type=Path)
FORMATS = ("table", "csv", "json", "html")
FILE_FORMATS = ("csv", "parquet")
SPLITS = ("train", "validation", "test", "unlabeled")


@click.command()
@click.argument("model", type=PATH, shell_complete=completion.runs)
@click.argument("images", type=PATH, nargs=-1)
@click.option("--faces", is_flag=True, help="First find the face in each image; needs the extra `boxes`.")
@click.option(
    "--format",
    "as_format",
    type=click.Choice(FORMATS),
    help="Output format [default: by the ending of --out, else table]",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="The file to write.")
@click.option(
    "--dataset",
    metavar="NAME",
    help="Predict a whole dataset, by name or folder, instead of IMAGES.",
    shell_complete=completion.datasets,
)
@click.option("--split", type=click.Choice(SPLITS), help="Split of --dataset [default: test]")
@click.pass_obj
def predict(
    session: Session,
    model: Path,
    images: tuple[Path, ...],
    faces: bool,
    as_format: str | None,
    out: Path | None,
    dataset: str | None,
    split: str | None,
) -> None:
    """Predict the class of each of IMAGES with the model of a run.

    MODEL is a run (its record.json, its folder, or a folder with one run below it) or a file of `ferbench export --to
    safetensors`. IMAGES are files, folders, or CSV files with a column `path`. Each is decoded and resized as `ferbench
    prepare` does. An unreadable image is named and skipped; the exit code is then 4.

    A whole dataset: `ferbench predict MODEL --dataset NAME --out FILE.csv`, or FILE.parquet.
    """
    if bool(images) == bool(dataset):
        raise UsageError("name either images to predict, or a dataset with --dataset NAME")
    if dataset is not None:
        if faces or as_format or out is None or out.suffix[1:].lower() not in FILE_FORMATS:
            raise UsageError("--dataset writes a table: give --out FILE.csv or --out FILE.parquet, and nothing else")
        _predict_dataset(session, _load(session, model, out), dataset, split or "test", out)
        return
    if split:
        raise UsageError(f"--split {split}: images have no splits; give it with --dataset NAME")
    _predict_images(session, model, images, faces, _format(as_format, out), out)


def _format(given: str | None, out: Path | None) -> str:
    """The requested format, else the one that the file name suggests."""
    found = given or (out.suffix[1:].lower() if out else "table")
    if found not in FORMATS or (out is not None and found == "table"):
        raise UsageError(f"--out {out}: end its name with .csv, .json or .html, or choose one of them with --format")
    return found


def _load(session: Session, model: Path, out: Path | None) -> "TrainedModel":
    """The model; before it is loaded, the file that its predictions go to is tried."""
    from ferbench.execution.trained_model import load_model
    from ferbench.records.files import check_writable

    if out is not None:
        check_writable(out)
    return load_model(model, device="auto", registry=session.registry)


def _predict_images(
    session: Session, model: Path, images: tuple[Path, ...], faces: bool, as_format: str, out: Path | None
) -> None:
    from ferbench.contract.dataset import Damage
    from ferbench.data.prepare.face_boxes import detector
    from ferbench.execution.predict import predict_pictures
    from ferbench.readers.image_lists import named_images
    from ferbench.records.files import write_out
    from ferbench.reporting.predictions import Predictions

    if faces:
        detector()  # before the model is loaded: if the detector is missing, this says how to install it
    loaded, said, damages = _load(session, model, out), [], []
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
            write_out(out, content)
            click.echo(out)
    if damages:
        raise DataError(
            f"{counted(len(damages), 'image')} of {len(damages) + len(said)} without a prediction, as above"
        )


def _predict_dataset(session: Session, model: "TrainedModel", name: str, split: str, out: Path) -> None:
    import io

    from ferbench.data.sources import open_dataset
    from ferbench.execution.predict import predict_dataset
    from ferbench.records.files import write_out

    dataset, trained = open_dataset(session.registry, name), model.record
    if split == "test" and dataset.info.name == trained.cell.dataset and "folds" in trained.config.protocol:
        print_warning(
            f"this model was tested on a fold of subjects: it was trained on some of the {split} images of "
            f"'{dataset.info.name}'; predictions of its own test images are beside its record"
        )
    frame, buffer = predict_dataset(model, dataset, split), io.BytesIO()  # type: ignore[arg-type]
    if out.suffix.lower() == ".csv":
        texts = ["id", "label", "predicted"]
        frame[texts] = frame[texts].map(csv_path, na_action="ignore")
        frame.to_csv(buffer, index=False, lineterminator="\n")
    else:
        frame.to_parquet(buffer, index=False)
    write_out(out, buffer.getvalue())
    click.echo(f"{counted(len(frame), 'image')} of '{dataset.info.name}': {out}")
