"""Sheets of faces: what the views of training look like, and which test faces a model is wrong about."""

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError, safe_open
from scipy.special import softmax

from ferbench.contract.batch import ViewSpec
from ferbench.contract.protocol import Recipe
from ferbench.data.load.image_set import ImageSet, image_set
from ferbench.data.load.image_store import ImageStore
from ferbench.data.load.views import ViewMaker
from ferbench.data.seeds import derive
from ferbench.data.select.splits import Selection
from ferbench.records.predictions import Predictions
from ferbench.render.escape import plain
from ferbench.reporting.local_data import MAX_IMAGE_SIZE, LocalData

COLUMNS = 7
ERROR_ROWS = 2
MAX_STAGES = 4  # with pictures
MAX_ROWS = 8  # of pictures of a stage
LARGEST_FACE = 96  # pixels
LABELED_VIEWS = ("plain", "weak", "weak", "strong", "strong")
UNLABELED_VIEWS = ("weak", "strong", "strong")
VIEW_TITLES = {"plain": "stored", "weak": "weak", "strong": "strong"}
CPU = torch.device("cpu")
Caption = tuple[str, ...]


@dataclass(frozen=True)
class Sheet:
    """Rows of faces (data URIs) with their titles; captions, of some lines each, belong to the columns."""

    rows: Sequence[tuple[str, Sequence[str]]]
    captions: Sequence[Caption] = ()


@dataclass(frozen=True)
class ConfidentError:
    """A test image that the model was sure of and wrong about."""

    id: str
    label: int
    predicted: int
    confidence: float


def face_row(title: str, images: Iterable[NDArray[np.uint8]]) -> tuple[str, Sequence[str]]:
    """A row of a sheet."""
    return title, [face_uri(image) for image in images]


def face_uri(image: NDArray[np.uint8]) -> str:
    """A face (S, S, 3) with its own pixels, which the page enlarges; only a large one loses some."""
    picture, buffer = Image.fromarray(image), io.BytesIO()
    picture.thumbnail((LARGEST_FACE, LARGEST_FACE), Image.Resampling.LANCZOS)
    picture.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def labeled_sheet(local: LocalData, seed: int) -> Sheet:
    """Labeled images of as many classes as there is room for, as stored and in the views of the record's recipe."""
    images, names = local.data.images, local.class_names
    rows = spread_over_classes(images, local.data.selection, names)
    captions = [(str(images.labels[row]),) for row in rows]
    return view_sheet(image_set(images, rows, CPU), local.recipe, LABELED_VIEWS, seed, captions)


def unlabeled_sheet(local: LocalData, seed: int) -> Sheet | None:
    """Images of the unlabeled pool in their views; None where there is no pool."""
    pool = local.data.pool
    source = pool.source if pool else local.data.images
    rows: list[int] = pool.rows.tolist() if pool else local.data.selection.unlabeled
    if not rows:
        return None
    chosen = [rows[i * len(rows) // COLUMNS] for i in range(min(COLUMNS, len(rows)))]
    return view_sheet(image_set(source, chosen, CPU), local.recipe, UNLABELED_VIEWS, seed)


def view_sheet(
    pool: ImageSet, recipe: Recipe, kinds: Sequence[str], seed: int, captions: Sequence[Caption] = ()
) -> Sheet:
    """One column per image, one row per view, made by the code that makes the views of training."""
    maker = ViewMaker(recipe, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), CPU)  # views are made before normalisation
    rows = []
    for number, kind in enumerate(kinds):
        generator = torch.Generator().manual_seed(derive(seed, "report", kind, number))
        view, _ = maker.pixels(ViewSpec(kind), pool.images, pool.boxes, generator)
        rows.append(face_row(VIEW_TITLES[kind], view.numpy()))
    return Sheet(rows, captions)


def error_sheets(packed: ImageStore, errors: Sequence[ConfidentError], class_names: Sequence[str]) -> list[Sheet]:
    """The faces of errors that are in the packed data, one sheet per row."""
    row_of = {image: row for row, image in enumerate(packed.ids)}
    known = [error for error in errors if error.id in row_of]
    sheets = []
    for start in range(0, len(known), COLUMNS):
        part = known[start : start + COLUMNS]
        pool = image_set(packed, [row_of[error.id] for error in part], CPU)
        captions = [
            (f"true {class_names[e.label]}", f"said {class_names[e.predicted]}", f"{_percent(e.confidence)} sure")
            for e in part
        ]
        sheets.append(Sheet([face_row("", pool.images.numpy())], captions))
    return sheets


def picture_sheets(folder: Path) -> dict[str, Sheet]:
    """What stages have shown, by name of the stage; files that are no pictures of a sensible size are left out."""
    sheets = {}
    for path in sorted(folder.glob("pictures-*.safetensors"))[:MAX_STAGES]:
        try:
            with safe_open(path, framework="np") as file:
                rows = {title: file.get_tensor(title) for title in sorted(file.keys())}
        except (SafetensorError, OSError, ValueError):
            continue
        if _are_pictures(list(rows.values())):
            stage = plain(path.stem.removeprefix("pictures-"), 40)
            sheets[stage] = Sheet([face_row(plain(title, 16), faces) for title, faces in rows.items()])
    return sheets


def _are_pictures(rows: list[NDArray[np.uint8]]) -> bool:
    if not 0 < len(rows) <= MAX_ROWS or len({row.shape for row in rows}) > 1:
        return False
    shape = rows[0].shape
    square = len(shape) == 4 and shape[1] == shape[2] and shape[3] == 3
    return square and rows[0].dtype == np.uint8 and 0 < shape[0] <= COLUMNS and 0 < shape[1] <= MAX_IMAGE_SIZE


def _percent(confidence: float) -> str:
    return "> 99 %" if confidence > 0.99 else f"{100 * confidence:.0f} %"


def confident_errors(predictions: Predictions, count: int = COLUMNS * ERROR_ROWS) -> list[ConfidentError]:
    """The wrong predictions with the largest softmax value, the surest first; equal ones by id."""
    ids, labels = predictions.ids, predictions.labels
    shares = softmax(predictions.logits.astype(np.float64), axis=1)
    predicted, confidence = shares.argmax(axis=1), shares.max(axis=1)
    wrong = np.flatnonzero(predicted != labels).tolist()
    surest = sorted(wrong, key=lambda i: (-confidence[i], ids[i]))[:count]
    return [ConfidentError(ids[i], int(labels[i]), int(predicted[i]), float(confidence[i])) for i in surest]


def spread_over_classes(packed: ImageStore, selection: Selection, class_names: Sequence[str]) -> list[int]:
    """Up to `COLUMNS` labeled rows: the first of each class, then the second of each, in the order of the classes."""
    members = [[row for row in selection.labeled if packed.labels[row] == name] for name in class_names]
    turns = sorted((turn, rank) for rank, of_class in enumerate(members) for turn in range(len(of_class)))
    return [members[rank][turn] for turn, rank in sorted(turns[:COLUMNS], key=lambda place: place[::-1])]
