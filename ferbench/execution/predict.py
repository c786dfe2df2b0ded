"""Predictions of a run's model for pictures, and for the images of a dataset."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from scipy.special import softmax

from ferbench.contract.dataset import Damage, Dataset, SplitName
from ferbench.data.load.image_store import ImageStore
from ferbench.data.prepare.decode import resized
from ferbench.data.prepare.face_boxes import faces
from ferbench.data.prepare.pack import ensure_packed
from ferbench.errors import DataError, UsageError
from ferbench.execution.trained_model import TrainedModel, open_picture
from ferbench.readers.streams import StreamedDataset

TOGETHER = 64
"""Number of pictures that are decoded before the model sees them."""
SIDE = 256
"""Longer side, in pixels, to which a photo is scaled to find faces."""
SMALLEST = 0.15
"""Smallest face that is found, as a fraction of the photo's shorter side."""
MARGIN = 0.1
"""Margin added on each side of a found face, as a fraction of its sides: aligned datasets show this much around it."""
Pixels = NDArray[np.uint8]
Corners = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Seen:
    """A picture as the model sees it: stored pixels (P, P, 3), the part that was cut out, and the number of faces."""

    name: str
    pixels: Pixels
    face: Corners | None = None
    faces: int = 0


@dataclass(frozen=True, eq=False)
class Said:
    """A model's prediction for a picture: the probability of each class (C,), float64."""

    seen: Seen
    probabilities: NDArray[np.float64]

    @property
    def predicted(self) -> int:
        """The number of the class with the highest probability."""
        return int(self.probabilities.argmax())

    @property
    def confidence(self) -> float:
        """The highest probability."""
        return float(self.probabilities.max())


def predict_pictures(
    model: TrainedModel, pictures: Iterable[Path | Damage], *, find_faces: bool = False
) -> Iterator[Said | Damage]:
    """Return the prediction for each picture, in order; Damage for unreadable ones.

    With `find_faces` the largest face of each picture is cut out first. A picture without a face gives Damage. Raises
    UsageError if the detector is not installed.
    """
    waiting: list[Seen | Damage] = []
    for picture in pictures:
        waiting.append(picture if isinstance(picture, Damage) else _seen(model, picture, find_faces))
        if len(waiting) == TOGETHER:
            yield from _said(model, waiting)
            waiting = []
    yield from _said(model, waiting)


def _seen(model: TrainedModel, path: Path, find_faces: bool) -> Seen | Damage:
    try:
        picture, corners, count = open_picture(Path(os.path.realpath(path))), None, 0
    except DataError as error:
        return Damage(str(path), str(error).removeprefix(f"{os.path.realpath(path)}: "))
    if find_faces:
        boxes = faces(picture, SIDE, SMALLEST)
        if not boxes:
            return Damage(str(path), "no face was found in it")
        corners, count = _corners(picture, boxes[0]), len(boxes)
        picture = picture.crop(corners)
    return Seen(str(path), resized(picture, model.transform.recipe.packed_size), corners, count)


def _corners(picture: Image.Image, box: Sequence[float]) -> Corners:
    """The corners of a face in pixels, with its margin, but within the picture."""
    x0, y0, x1, y1 = (part * side for part, side in zip(box, picture.size * 2, strict=True))
    wider, higher = MARGIN * (x1 - x0), MARGIN * (y1 - y0)
    left, top = max(0, round(x0 - wider)), max(0, round(y0 - higher))
    return left, top, min(picture.width, round(x1 + wider)), min(picture.height, round(y1 + higher))


def _said(model: TrainedModel, waiting: Sequence[Seen | Damage]) -> Iterator[Said | Damage]:
    stored = [seen.pixels for seen in waiting if isinstance(seen, Seen)]
    probabilities = iter(_probabilities(model, np.stack(stored)) if stored else ())
    for seen in waiting:
        yield seen if isinstance(seen, Damage) else Said(seen, next(probabilities))


def _probabilities(model: TrainedModel, stored: Pixels) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = softmax(model.logits_of(stored).astype(np.float64), axis=1)
    return shares


def predict_dataset(model: TrainedModel, dataset: Dataset, split: SplitName) -> pd.DataFrame:
    """Return the predictions for every image of a split: one row per image, in the order of the dataset.

    Columns: `id`; `label` (the dataset's label, empty if there is none); `predicted`; `confidence`; and `p_<class>` for
    each class of the model. Raises DataError if the split has no image, and UsageError for a stream.
    """
    name = dataset.info.name
    if isinstance(dataset, StreamedDataset):
        raise UsageError(f"--dataset {name}: this is a stream of unlabeled images, which has no split")
    images = ImageStore(ensure_packed(dataset, model.transform.recipe.packed_size))
    rows = [row for row, own in enumerate(images.splits) if own == split]
    if not rows:
        raise DataError(f"dataset '{name}' has no {split} images; it has {', '.join(sorted(set(images.splits)))}")
    parts = [rows[start : start + TOGETHER] for start in range(0, len(rows), TOGETHER)]
    shares = np.concatenate([_probabilities(model, images.images[part]) for part in parts])
    names = np.array(model.class_names)
    return pd.DataFrame(
        {
            "id": [images.ids[row] for row in rows],
            "label": pd.array([images.labels[row] for row in rows], dtype="string"),
            "predicted": names[shares.argmax(axis=1)],
            "confidence": shares.max(axis=1),
            **{f"p_{one}": shares[:, position] for position, one in enumerate(names)},
        }
    )
