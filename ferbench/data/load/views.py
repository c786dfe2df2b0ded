"""From stored images to the views of a protocol."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ferbench.contract.protocol import Recipe
from ferbench.data.augment.cutout import Cutout
from ferbench.data.augment.randaugment import RandAugment
from ferbench.data.augment.strong import Strong
from ferbench.data.augment.weak import Weak

View = Callable[[Tensor, torch.Generator, Tensor], tuple[Tensor, Tensor | None]]


class ViewMaker:
    """Turns stored images into normalised views of the protocol's kinds."""

    def __init__(
        self, recipe: Recipe, mean: tuple[float, float, float], std: tuple[float, float, float], device: torch.device
    ) -> None:
        weak = Weak(recipe.weak.padding, recipe.weak.crop_probability, recipe.weak.flip_probability)
        strong = Strong(RandAugment(recipe.strong.operations), Cutout(recipe.strong.cutout), weak)
        self._kinds: Mapping[str, View] = {"weak": weak, "strong": strong, "plain": _identity}
        scale = torch.tensor(std) * 255
        self._factor = (1 / scale).view(1, 3, 1, 1).to(device)
        self._offset = (-torch.tensor(mean) * 255 / scale).view(1, 3, 1, 1).to(device)

    def pixels(self, kind: str, images: Tensor, boxes: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A view as uint8 (B, S, S, 3) with its boxes; for face sheets and tests."""
        view, moved = self._kinds[kind](images, generator, boxes)
        return view, boxes if moved is None else moved

    def normalised(self, images: Tensor) -> Tensor:
        """uint8 (B, S, S, 3) to float32 (B, 3, S, S) in channels_last memory, without a copy of the layout."""
        return torch.addcmul(self._offset, images.permute(0, 3, 1, 2).float(), self._factor)

    def pictures(self, images: Tensor) -> Tensor:
        """The inverse of `normalised`, clamped to what a picture can show."""
        return ((images - self._offset) / self._factor).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def _identity(images: Tensor, generator: torch.Generator, boxes: Tensor) -> tuple[Tensor, Tensor]:
    return images, boxes
