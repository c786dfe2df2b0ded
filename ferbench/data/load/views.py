"""From stored images to the views of a protocol and of plugins."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ferbench.contract.batch import View, ViewSpec
from ferbench.contract.protocol import Recipe
from ferbench.data.augment.cutout import Cutout
from ferbench.data.augment.randaugment import RandAugment
from ferbench.data.augment.resize import resize, resize_boxes
from ferbench.data.augment.strong import Strong
from ferbench.data.augment.weak import Weak
from ferbench.errors import PluginError

MakeView = Callable[..., View]
"""What is registered as a view: `(recipe, **options) -> View`."""
STRONG = "strong"
"""The view that is made of stored images, and resized within."""


class ViewMaker:
    """Turns stored images into normalised views; `kinds` are functions of views by name, beside the protocol's own.

    Where the recipe stores images at another size than that of the net's input, every view but the strong one is a view
    of the resized image.
    """

    def __init__(
        self,
        recipe: Recipe,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        device: torch.device,
        kinds: Mapping[str, MakeView] | None = None,
    ) -> None:
        self._recipe = recipe
        self._kinds: Mapping[str, MakeView] = {**(kinds or {}), "weak": weak, STRONG: strong, "plain": plain}
        self._made: list[tuple[ViewSpec, View]] = []
        scale = torch.tensor(std) * 255
        self._factor = (1 / scale).view(1, 3, 1, 1).to(device)
        self._offset = (-torch.tensor(mean) * 255 / scale).view(1, 3, 1, 1).to(device)

    def pixels(
        self, spec: ViewSpec, images: Tensor, boxes: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """A view as uint8 (B, T, T, 3) with its boxes; raises PluginError for what is not one."""
        view, moved = self._view(spec)(images, boxes, generator)
        if view.dtype != torch.uint8 or view.ndim != 4 or view.shape[::3] != images.shape[::3]:
            raise PluginError(
                f"view '{spec.kind}' gave {tuple(view.shape)} {str(view.dtype).removeprefix('torch.')} for "
                f"{tuple(images.shape)} uint8; give (B, T, T, 3) uint8 and boxes (B, 4)"
            )
        return view, moved

    def normalised(self, images: Tensor) -> Tensor:
        """uint8 (B, S, S, 3) to float32 (B, 3, S, S) in channels_last memory, without a copy of the layout."""
        return torch.addcmul(self._offset, images.permute(0, 3, 1, 2).float(), self._factor)

    def pictures(self, images: Tensor) -> Tensor:
        """The inverse of `normalised`, clamped to what a picture can show."""
        return ((images - self._offset) / self._factor).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)

    def _view(self, spec: ViewSpec) -> View:
        for known, view in self._made:
            if (known.kind, known.options) == (spec.kind, spec.options):
                return view
        if spec.kind not in self._kinds:
            raise PluginError(f"no view '{spec.kind}' is at hand; there are {', '.join(sorted(self._kinds))}")
        made = self._kinds[spec.kind](self._recipe, **spec.options)
        if spec.kind != STRONG:
            made = _resized_first(made, self._recipe.image_size)
        self._made.append((spec, made))
        return made


def weak(recipe: Recipe) -> View:
    """The protocol's weak view."""
    return _of(_weak(recipe))


def strong(recipe: Recipe) -> View:
    """The protocol's strong view, of images as they are stored."""
    parts = RandAugment(recipe.strong.operations), Cutout(recipe.strong.cutout), _weak(recipe)
    return _of(Strong(*parts, size=recipe.image_size))


def plain(recipe: Recipe) -> View:
    """The image as it is."""
    return lambda images, boxes, generator: (images, boxes)


def _weak(recipe: Recipe) -> Weak:
    padding = recipe.weak.pixels_of_padding(recipe.image_size)
    return Weak(padding, recipe.weak.crop_probability, recipe.weak.flip_probability)


def _of(augment: Callable[[Tensor, torch.Generator, Tensor], tuple[Tensor, Tensor | None]]) -> View:
    def view(images: Tensor, boxes: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        made, moved = augment(images, generator, boxes)
        return made, boxes if moved is None else moved

    return view


def _resized_first(view: View, size: int) -> View:
    def resized(images: Tensor, boxes: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return view(resize(images, size), resize_boxes(boxes, images.shape[1], size), generator)

    return resized
