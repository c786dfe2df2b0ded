"""Face boxes for datasets without boxes: a detector fills a cache once, and cells that need boxes read it.

The detector is the frontal-face cascade of scikit-image (Zhang et al., ICCV 2007; trained by OpenCV's authors), which
is part of that package: nothing is downloaded. As in SSFER's code, an image with no face or several faces gets no box,
so its central box is used.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from ferbench.contract.dataset import Dataset, Sample
from ferbench.data.cache import cache_root, read_sealed, write_sealed
from ferbench.data.prepare.decode import UNDECODABLE, Box, decode_face
from ferbench.data.prepare.decoders import in_order
from ferbench.errors import DataError, UsageError
from ferbench.readers.paths import ImageFiles
from ferbench.records.cell import digest

DETECTOR = "scikit-image-lbp-frontal-face-v1"
SIDE = 128
"""Longer side in pixels at which the detector sees an image."""
MARGIN = 32
"""Width in pixels of a grey border; without it the detector often misses a face that fills its crop."""
SMALLEST = 0.3
"""Smallest face, as a fraction of the shorter side; a smaller face is not the labeled one."""


def boxes_path(name: str, source_digest: str) -> Path:
    """The file of a dataset's detected boxes, whether or not it exists."""
    return cache_root() / "boxes" / f"{name}-{digest([DETECTOR, source_digest])[:12]}.json"


def read_boxes(name: str, source_digest: str) -> Mapping[str, Box]:
    """The detected boxes by id, as fractions of width and height; empty if the detector has not run."""
    path = boxes_path(name, source_digest)
    if not path.is_file():
        return {}
    try:
        boxes = read_sealed(path)["boxes"]
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: damaged cache of face boxes ({error}); remove it, and run `ferbench boxes` again"
        ) from None
    return {sample_id: tuple(box) for sample_id, box in boxes.items() if box is not None}


def find_boxes(dataset: Dataset) -> Iterator[tuple[int, int]]:
    """Detect the face in every image without a box, and write the boxes to the cache.

    Yields the number of images so far, and the number of images with a box. Raises UsageError if the detector is not
    installed, DataError that names an image that cannot be decoded, unless the dataset skips such images.
    """
    detector()
    samples = (sample for sample in dataset.samples() if isinstance(sample, Sample) and sample.box is None)
    boxes: dict[str, list[float] | None] = {}
    n_found = 0
    for sample, box in in_order(
        partial(_box, root=dataset.root, skips=dataset.on_bad_record == "skip"), samples, len(os.sched_getaffinity(0))
    ):
        boxes[sample.id] = None if box is None else np.array(box, np.float32).tolist()
        n_found += box is not None
        yield len(boxes), n_found
    if boxes:
        write_sealed(boxes_path(dataset.info.name, dataset.source_digest()), {"boxes": boxes})


def detect(image: Image.Image) -> Box | None:
    """The only face of an image (x0, y0, x1, y1), as fractions of width and height; None for no face or several."""
    found = faces(image, SIDE, SMALLEST)
    return found[0] if len(found) == 1 else None


def faces(image: Image.Image, side: int, smallest: float) -> list[Box]:
    """All faces of an image (x0, y0, x1, y1), as fractions of width and height; the largest first.

    The image is scaled so that its longer side has `side` pixels. A face has at least the fraction `smallest` of the
    shorter side.
    """
    scale = side / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    small = ImageOps.expand(image.resize((width, height), Image.Resampling.BILINEAR), MARGIN, "grey")
    least, most = max(1, round(smallest * min(width, height))), min(width, height) + MARGIN
    found: Sequence[Mapping[str, int]] = detector().detect_multi_scale(
        np.asarray(small), scale_factor=1.1, step_ratio=1, min_size=(least, least), max_size=(most, most)
    )

    def box(face: Mapping[str, int]) -> Box:
        x0, y0 = face["c"] - MARGIN, face["r"] - MARGIN
        x1, y1 = x0 + face["width"], y0 + face["height"]
        return max(0, x0) / width, max(0, y0) / height, min(1, x1 / width), min(1, y1 / height)

    return [box(face) for face in sorted(found, key=lambda face: -face["width"] * face["height"])]


def _box(sample: Sample, root: Path | None, skips: bool) -> Box | None:
    try:
        return detect(decode_face(ImageFiles(root).read(sample)).image)
    except UNDECODABLE as error:
        if skips:  # as packing does
            return None
        raise DataError(f"{sample.id}: {error}; replace or remove this image, then run again") from None


@cache
def detector() -> Any:
    """The cascade; raises UsageError that names the extra if scikit-image is not installed."""
    try:
        from skimage.data import lbp_frontal_face_cascade_filename
        from skimage.feature import Cascade
    except ImportError:
        raise UsageError("finding faces needs scikit-image; install it with: pip install 'ferbench[boxes]'") from None
    return Cascade(lbp_frontal_face_cascade_filename())
