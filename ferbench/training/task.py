"""The data of a cell on its device."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ferbench.contract.stage import Stage
from ferbench.data.load.image_set import ImageSet, LabeledImages
from ferbench.data.load.stream import Stream
from ferbench.data.load.views import ViewMaker


@dataclass(frozen=True)
class Task:
    """The images of a cell by role, and what makes their views. Only the labeled images carry labels.

    Stages with data "all" draw their unlabeled images from `everything`. `relabeled` holds labeled and unlabeled images
    of a second draw, if a stage wants one. `validation` holds labeled images that no stage draws.
    """

    labeled: LabeledImages
    unlabeled: ImageSet | Stream | None
    maker: ViewMaker
    class_names: tuple[str, ...]
    device: torch.device
    everything: Callable[[], ImageSet | Stream] | None = None
    relabeled: tuple[LabeledImages, ImageSet | Stream] | None = None
    validation: LabeledImages | None = None

    def images_of(self, stage: Stage) -> tuple[LabeledImages, ImageSet | Stream | None]:
        """The labeled and the unlabeled images that a stage draws."""
        if stage.data == "labeled":
            return self.labeled, None
        if stage.data == "all":
            return self.labeled, self.everything() if self.everything else self.labeled
        if stage.data == "relabeled" and self.relabeled:
            return self.relabeled
        return self.labeled, self.unlabeled

    def name_of(self, stage: Stage) -> str:
        """The name of the stage's unlabeled images in files."""
        if stage.data == "relabeled" and self.relabeled is None:
            return "unlabeled"
        return {"all": "everything", "labeled+unlabeled": "unlabeled"}.get(stage.data, stage.data)
