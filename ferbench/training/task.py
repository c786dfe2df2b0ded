"""The data of a cell on its device."""

from dataclasses import dataclass

import torch

from ferbench.contract.method import Stage
from ferbench.data.load.image_set import ImageSet
from ferbench.data.load.stream import Stream
from ferbench.data.load.views import ViewMaker


@dataclass(frozen=True)
class Task:
    """The images of a cell by role, and what makes their views.

    `keeps_rest` says whether `unlabeled` holds the rest of the training set. `relabeled` are labeled and unlabeled
    images of a second draw, where a stage wants one. `validation` are labeled images that no stage draws.
    """

    labeled: ImageSet
    unlabeled: ImageSet | Stream | None
    test: ImageSet
    maker: ViewMaker
    class_names: tuple[str, ...]
    device: torch.device
    keeps_rest: bool = True
    relabeled: tuple[ImageSet, ImageSet | Stream] | None = None
    validation: ImageSet | None = None

    def images_of(self, stage: Stage) -> tuple[ImageSet, ImageSet | Stream | None]:
        """The labeled and the unlabeled images that a stage draws."""
        if stage.data == "labeled":
            return self.labeled, None
        if stage.data == "all":
            if self.unlabeled is None:
                return self.labeled, self.labeled
            return self.labeled, self.unlabeled.after(self.labeled) if self.keeps_rest else self.unlabeled
        if stage.data == "relabeled" and self.relabeled:
            return self.relabeled
        return self.labeled, self.unlabeled
