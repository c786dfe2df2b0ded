"""Sheets of faces that show the views of training."""

from collections.abc import Iterable, Sequence
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
from ferbench.render.escape import plain
from ferbench.reporting.local_data import MAX_IMAGE_SIZE, LocalData
from ferbench.reporting.pictures import picture_uri

COLUMNS = 7
MAX_STAGES = 4  # stages with pictures
MAX_ROWS = 8  # rows of pictures of a stage
LABELED_VIEWS = ("plain", "weak", "weak", "strong", "strong")
UNLABELED_VIEWS = ("weak", "strong", "strong")
VIEW_TITLES = {"plain": "stored", "weak": "weak", "strong": "strong"}
CPU = torch.device("cpu")
Caption = tuple[str, ...]


@dataclass(frozen=True)
class Sheet:
    """Rows of faces (data URIs) with their titles; each column may have a caption of several lines."""

    rows: Sequence[tuple[str, Sequence[str]]]
    captions: Sequence[Caption] = ()


def face_row(title: str, images: Iterable[NDArray[np.uint8]]) -> tuple[str, Sequence[str]]:
    """One row of a sheet, from images (S, S, 3)."""
    return title, [picture_uri(image) for image in images]


def labeled_sheet(local: LocalData, seed: int) -> Sheet:
    """Up to `COLUMNS` labeled images, spread over the classes: as stored, and in the views of the record's recipe."""
    images, names = local.data.images, local.class_names
    rows = spread_over_classes(images, local.data.selection, names)
    captions = [(str(images.labels[row]),) for row in rows]
    return view_sheet(image_set(images, rows, CPU), local.recipe, LABELED_VIEWS, seed, captions)


def unlabeled_sheet(local: LocalData, seed: int) -> Sheet | None:
    """Unlabeled images in their views; None if there are none."""
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
    """One column per image, one row per view, made by the code that makes the views in training."""
    maker = ViewMaker(recipe, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), CPU)  # views are made before normalisation
    rows = []
    for number, kind in enumerate(kinds):
        generator = torch.Generator().manual_seed(derive(seed, "report", kind, number))
        view, _ = maker.pixels(ViewSpec(kind), pool.images, pool.boxes, generator)
        rows.append(face_row(VIEW_TITLES[kind], view.numpy()))
    return Sheet(rows, captions)


def picture_sheets(folder: Path) -> dict[str, Sheet]:
    """The pictures that stages have written, by name of the stage; files without valid pictures are omitted."""
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


def spread_over_classes(packed: ImageStore, selection: Selection, class_names: Sequence[str]) -> list[int]:
    """Up to `COLUMNS` labeled rows, ordered by class: the first of each class, then the second of each, and so on."""
    members = [[row for row in selection.labeled if packed.labels[row] == name] for name in class_names]
    turns = sorted((turn, rank) for rank, of_class in enumerate(members) for turn in range(len(of_class)))
    return [members[rank][turn] for turn, rank in sorted(turns[:COLUMNS], key=lambda place: place[::-1])]
