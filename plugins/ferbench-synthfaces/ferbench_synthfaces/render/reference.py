"""Check whether this machine renders the same pixels as the machine that made the reference.

The reference is a folder with `pixels.json` (a SHA-256 per image) and the first images as PNG files, so that
differences can be measured.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ferbench_synthfaces.render import GENERATOR_VERSION
from ferbench_synthfaces.render.assets import load_assets
from ferbench_synthfaces.render.plan import TEST, SetPlan, plan_split
from ferbench_synthfaces.render.render_set import render_image

PLAN = SetPlan("reference", seed=11, size=64, train=0, test=64, pool=0)
STORED_IMAGES = 8
TABLE = "pixels.json"


@dataclass(frozen=True)
class Comparison:
    """Comparison of this machine's pixels with the reference."""

    images: int
    identical: int  # images without any difference
    mean_difference: float  # over the stored images, 0..255
    largest_difference: int  # over all channels and pixels of the stored images, 0..255

    def __str__(self) -> str:
        """The result as one line of text."""
        text = f"{self.identical} of {self.images} images are identical to the reference"
        if self.identical == self.images:
            return text
        return (
            f"{text}; over the {STORED_IMAGES} stored images the mean difference is {self.mean_difference:.4f} "
            f"of 255 and the largest is {self.largest_difference} of 255"
        )


def render_reference() -> list[NDArray[np.uint8]]:
    """The reference images, (64, 64, 3) each, before they are compressed."""
    assets = load_assets()
    split_plan = plan_split(PLAN.seed, TEST, PLAN.test)
    return [render_image(assets, PLAN, TEST, split_plan, index)[2].image for index in range(PLAN.test)]


def write_reference(folder: Path) -> None:
    """Replace the reference by the pixels of this machine."""
    images = render_reference()
    for index, image in enumerate(images[:STORED_IMAGES]):
        Image.fromarray(image).save(folder / f"{index}.png", optimize=True)
    table = {"generator": GENERATOR_VERSION, "sha256": [_digest(image) for image in images]}
    (folder / TABLE).write_text(json.dumps(table, indent=1) + "\n", "utf-8")


def compare_with_reference(folder: Path) -> Comparison:
    """Render the reference images and compare them with those in `folder`."""
    digests = json.loads((folder / TABLE).read_text("utf-8"))["sha256"]
    images = render_reference()
    differences = [
        np.abs(image.astype(np.int16) - np.asarray(Image.open(folder / f"{index}.png")))
        for index, image in enumerate(images[:STORED_IMAGES])
    ]
    return Comparison(
        images=len(images),
        identical=sum(_digest(image) == digest for image, digest in zip(images, digests, strict=True)),
        mean_difference=float(np.mean(differences)),
        largest_difference=int(np.max(differences)),
    )


def _digest(image: NDArray[np.uint8]) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()
