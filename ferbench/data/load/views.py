"""Turns stored images into the views of a protocol and of plugins."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ferbench.contract.batch import View, ViewSpec
from ferbench.contract.protocol import Recipe
from ferbench.data.augment import dense_views
from ferbench.data.augment.cutout import Cutout
from ferbench.data.augment.parcel import send
from ferbench.data.augment.randaugment import RandAugment
from ferbench.data.augment.resize import resize, resize_boxes
from ferbench.data.augment.strong import Strong
from ferbench.data.augment.weak import Weak
from ferbench.errors import PluginError

MakeView = Callable[..., View]
"""The function that is registered as a view: `(recipe, **options) -> View`."""


@dataclass(frozen=True)
class Wanted:
    """A view of B images, and the CPU generator that draws it."""

    spec: ViewSpec
    count: int
    generator: torch.Generator


class ViewMaker:
    """Turns stored images into normalised views. `kinds` maps names to further views besides the protocol's own.

    If the recipe stores images at another size than the net's input, every view but the strong one starts from the
    resized image.
    """

    def __init__(
        self,
        recipe: Recipe,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        device: torch.device,
        kinds: Mapping[str, MakeView] | None = None,
    ) -> None:
        self._recipe, self._device = recipe, device
        self._own: Mapping[str, Weak | Strong] = {"weak": _weak(recipe), "strong": _strong(recipe)}
        self._kinds: Mapping[str, MakeView] = {**(kinds or {}), "plain": plain}
        self._made: list[tuple[ViewSpec, _Augment]] = []
        scale = torch.tensor(std) * 255
        self._factor, self._offset = (1 / scale).to(device), (-torch.tensor(mean) * 255 / scale).to(device)

    def prepare(self, wanted: Sequence[Wanted], stored: int, *, boxes: bool) -> list[Any]:
        """Draw what a device needs to `make` views of images of `stored` pixels, in the form that `parcel.send` takes.

        The list is empty on a CPU, where views are drawn when they are made.
        """
        jobs = self._jobs(wanted)
        return dense_views.prepare(jobs, stored, self._recipe.image_size, boxes=boxes) if jobs else []

    def make(
        self,
        wanted: Sequence[Wanted],
        sent: Sequence[Any],
        images: Sequence[Tensor],
        boxes: Sequence[Tensor] | None,
        part: Callable[[Tensor], Tensor] = lambda rows: rows,
    ) -> list[tuple[Tensor, Tensor | None]]:
        """The normalised views, with their boxes if boxes are given; a `part` of each.

        For each wanted view, `images` has (B, S, S, 3) uint8 and `boxes` has (B, 4). `sent` is the result of `prepare`,
        on the device. Views of plugins always get boxes. Raises PluginError if a view returns something else than a
        view.
        """
        found: dict[int, tuple[Tensor, Tensor | None]] = {}
        if jobs := self._jobs(wanted):
            own = [number for number, each in enumerate(wanted) if each.spec.kind in self._own]
            of_own = [boxes[number] for number in own] if boxes else None
            views, moved = dense_views.make(
                jobs, sent, [images[number] for number in own], of_own, self._recipe.image_size
            )
            apart = self.normalised(views).split([job.count for job in jobs])
            found = {
                number: (part(view), part(moved[at]) if moved else None)
                for at, (number, view) in enumerate(zip(own, apart, strict=True))
            }
        for number, each in enumerate(wanted):
            if number not in found:
                pixels, box = self.pixels(each.spec, images[number], boxes[number] if boxes else None, each.generator)
                found[number] = self.normalised(part(pixels)), None if box is None else part(box)
        return [found[number] for number in range(len(wanted))]

    def looks_at_boxes(self, spec: ViewSpec) -> bool:
        """Whether a view needs boxes even if the method does not: true for views of plugins."""
        return spec.kind not in self._own and spec.kind != "plain"

    def pixels(
        self, spec: ViewSpec, images: Tensor, boxes: Tensor | None, generator: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """A view as uint8 (B, T, T, 3) with its boxes; raises PluginError if the function returned something else."""
        if jobs := self._jobs([wanted := Wanted(spec, len(images), generator)]):
            sent = send(self.prepare([wanted], images.shape[1], boxes=boxes is not None), self._device)
            of_own = None if boxes is None else [boxes]
            view, moved = dense_views.make(jobs, sent, [images], of_own, self._recipe.image_size)
            return view, moved[0] if moved else None
        view, box = self._view(spec)(images, generator, boxes)
        if view.dtype != torch.uint8 or view.ndim != 4 or view.shape[::3] != images.shape[::3]:
            raise PluginError(
                f"view '{spec.kind}' gave {tuple(view.shape)} {str(view.dtype).removeprefix('torch.')} for "
                f"{tuple(images.shape)} uint8; give (B, T, T, 3) uint8 and boxes (B, 4)"
            )
        return view, box

    def normalised(self, images: Tensor) -> Tensor:
        """uint8 (B, H, W, 3) to float32 (B, 3, H, W) in channels_last memory. The layout is not copied."""
        values = images.to(torch.float32, memory_format=torch.contiguous_format)
        factor, offset = self._factor, self._offset
        if values.device.type == "cpu":  # looping over three channels is many times slower than looping over a row
            width = values.shape[2]
            values, factor, offset = values.flatten(2), factor.repeat(width), offset.repeat(width)
        return torch.addcmul(offset, values, factor, out=values).view(images.shape).permute(0, 3, 1, 2)

    def pictures(self, images: Tensor) -> Tensor:
        """The inverse of `normalised`, clamped to what a picture can show."""
        levels = (images.permute(0, 2, 3, 1) - self._offset) / self._factor
        return levels.round().clamp(0, 255).to(torch.uint8)

    def _jobs(self, wanted: Sequence[Wanted]) -> list[dense_views.Job]:
        """The protocol's own random views, if the device makes them together."""
        if self._device.type == "cpu":
            return []
        return [
            dense_views.Job(self._own[each.spec.kind], each.count, each.generator)
            for each in wanted
            if each.spec.kind in self._own
        ]

    def _view(self, spec: ViewSpec) -> "_Augment":
        if spec.kind == "strong":
            return self._own["strong"]
        if spec.kind == "weak":
            return _resized_first(self._own["weak"], self._recipe.image_size)
        for known, view in self._made:
            if (known.kind, known.options) == (spec.kind, spec.options):
                return view
        if spec.kind not in self._kinds:
            known_kinds = sorted({*self._kinds, *self._own})
            raise PluginError(f"no view '{spec.kind}' is registered; there are {', '.join(known_kinds)}")
        made = _resized_first(_of(self._kinds[spec.kind](self._recipe, **spec.options)), self._recipe.image_size)
        self._made.append((spec, made))
        return made


_Augment = Callable[[Tensor, torch.Generator, Tensor | None], tuple[Tensor, Tensor | None]]


def weak(recipe: Recipe) -> View:
    """The protocol's weak view."""
    return _with_boxes(_weak(recipe))


def strong(recipe: Recipe) -> View:
    """The protocol's strong view, for images at their stored size."""
    return _with_boxes(_strong(recipe))


def plain(recipe: Recipe) -> View:
    """The image as it is."""
    return lambda images, boxes, generator: (images, boxes)


def _weak(recipe: Recipe) -> Weak:
    padding = recipe.weak.pixels_of_padding(recipe.image_size)
    return Weak(padding, recipe.weak.crop_probability, recipe.weak.flip_probability)


def _strong(recipe: Recipe) -> Strong:
    parts = RandAugment(recipe.strong.operations), Cutout(recipe.strong.cutout), _weak(recipe)
    return Strong(*parts, size=recipe.image_size)


def _with_boxes(augment: _Augment) -> View:
    def view(images: Tensor, boxes: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        made, moved = augment(images, generator, boxes)
        return made, boxes if moved is None else moved

    return view


def _of(view: View) -> _Augment:
    """A view of a plugin. If boxes are None, they are passed on as they are."""
    return lambda images, generator, boxes: view(images, boxes, generator)  # type: ignore[arg-type]


def _resized_first(view: _Augment, size: int) -> _Augment:
    def resized(images: Tensor, generator: torch.Generator, boxes: Tensor | None) -> tuple[Tensor, Tensor | None]:
        moved = None if boxes is None else resize_boxes(boxes, images.shape[1], size)
        return view(resize(images, size), generator, moved)

    return resized
