"""Sheets of faces: what the views of training look like, and which test faces a model is wrong about."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

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
from ferbench.reporting.tiles import contact_sheet

COLUMNS = 7
ERROR_ROWS = 2
MAX_STAGES = 4  # with pictures
MAX_ROWS = 8  # of pictures of a stage
LABELED_VIEWS = ("plain", "weak", "weak", "strong", "strong")
UNLABELED_VIEWS = ("weak", "strong", "strong")
Caption = tuple[str, ...]
VIEW_TITLES = {"plain": "stored", "weak": "weak", "strong": "strong"}
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Sheet:
    """One PNG of a grid of faces; captions (of some lines each) belong to its columns, titles to its rows."""

    png: bytes
    row_titles: tuple[str, ...]
    captions: tuple[Caption, ...]

    @property
    def data_uri(self) -> str:
        """The PNG as it stands in a page."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


@dataclass(frozen=True)
class ConfidentError:
    """A test image that the model was sure of and wrong about."""

    id: str
    label: int
    predicted: int
    confidence: float


def labeled_sheet(local: LocalData, seed: int) -> Sheet:
    """Labeled images of as many classes as there is room for, as stored and in the views of the record's recipe."""
    images, names = local.data.images, local.class_names
    rows = spread_over_classes(images, local.data.selection, names)
    captions = tuple((str(images.labels[row]),) for row in rows)
    return view_sheet(image_set(images, rows, names, CPU), local.recipe, LABELED_VIEWS, seed, captions)


def unlabeled_sheet(local: LocalData, seed: int) -> Sheet | None:
    """Images of the unlabeled pool in their views; None where there is no pool."""
    pool = local.data.pool
    source = pool.source if pool else local.data.images
    rows: list[int] = pool.rows.tolist() if pool else local.data.selection.unlabeled
    if not rows:
        return None
    chosen = [rows[i * len(rows) // COLUMNS] for i in range(min(COLUMNS, len(rows)))]
    return view_sheet(image_set(source, chosen, local.class_names, CPU), local.recipe, UNLABELED_VIEWS, seed, ())


def view_sheet(pool: ImageSet, recipe: Recipe, kinds: Sequence[str], seed: int, captions: tuple[Caption, ...]) -> Sheet:
    """One column per image, one row per view, made by the code that makes the views of training."""
    maker = ViewMaker(recipe, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), CPU)  # views are made before normalisation
    views = []
    for number, kind in enumerate(kinds):
        generator = torch.Generator().manual_seed(derive(seed, "report", kind, number))
        views.append(maker.pixels(ViewSpec(kind), pool.images, pool.boxes, generator)[0].numpy())
    return Sheet(contact_sheet(np.stack(views)), tuple(VIEW_TITLES[kind] for kind in kinds), captions)


def error_sheets(packed: ImageStore, errors: Sequence[ConfidentError], class_names: Sequence[str]) -> list[Sheet]:
    """The faces of errors that are in the packed data, one sheet per row."""
    row_of = {image: row for row, image in enumerate(packed.ids)}
    known = [error for error in errors if error.id in row_of]
    sheets = []
    for start in range(0, len(known), COLUMNS):
        part = known[start : start + COLUMNS]
        pool = image_set(packed, [row_of[error.id] for error in part], class_names, CPU)
        captions = tuple(
            (f"true {class_names[e.label]}", f"said {class_names[e.predicted]}", f"{_percent(e.confidence)} sure")
            for e in part
        )
        sheets.append(Sheet(contact_sheet(pool.images.numpy()[None]), (), captions))
    return sheets


def picture_sheets(folder: Path) -> list[tuple[str, Sheet]]:
    """What stages have shown, by name of the stage; files that are no pictures of a sensible size are left out."""
    sheets = []
    for path in sorted(folder.glob("pictures-*.safetensors"))[:MAX_STAGES]:
        try:
            with safe_open(path, framework="np") as file:
                rows = {title: file.get_tensor(title) for title in sorted(file.keys())}
        except (SafetensorError, OSError, ValueError):
            continue
        if _are_pictures(list(rows.values())):
            sheet = Sheet(contact_sheet(np.stack(list(rows.values()))), tuple(plain(title, 16) for title in rows), ())
            sheets.append((plain(path.stem.removeprefix("pictures-"), 40), sheet))
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
    logits = predictions.logits.astype(np.float64)
    predicted = logits.argmax(axis=1)
    confidence = 1.0 / np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)
    wrong = np.flatnonzero(predicted != predictions.labels).tolist()
    order = sorted(wrong, key=lambda i: (-confidence[i], predictions.ids[i]))[:count]
    return [
        ConfidentError(predictions.ids[i], int(predictions.labels[i]), int(predicted[i]), float(confidence[i]))
        for i in order
    ]


def spread_over_classes(packed: ImageStore, selection: Selection, class_names: Sequence[str]) -> list[int]:
    """Up to `COLUMNS` labeled rows: the first of each class, then the second of each, in the order of the classes."""
    members = [[row for row in selection.labeled if packed.labels[row] == name] for name in class_names]
    turns = max(map(len, members), default=0)
    rows = [
        (rank, turn, of_class[turn])
        for turn in range(turns)
        for rank, of_class in enumerate(members)
        if turn < len(of_class)
    ]
    return [row for _, _, row in sorted(rows[:COLUMNS])]
