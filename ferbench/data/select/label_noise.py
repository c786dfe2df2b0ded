"""Label noise: which label of an image a method sees, by the hash of the image's id."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ferbench.contract.protocol import ConfusionNoise, LabelNoise
from ferbench.data.load.image_store import ImageStore
from ferbench.data.select.ranks import rank
from ferbench.errors import UsageError
from ferbench.records.cell import digest

DIGITS = 13
"""Hexadecimal digits of a number that is drawn: 52 bits, which a float holds exactly."""


@dataclass(frozen=True)
class DrawnNoise:
    """The noise of a protocol as one seed draws it."""

    declared: LabelNoise
    rule: str
    seed: int

    def on(self, images: ImageStore, rows: Sequence[int], class_names: Sequence[str]) -> tuple[ImageStore, str]:
        """The images with the labels that a method sees of these rows, and the fingerprint of what was changed."""
        labels = seen_labels(images, rows, class_names, self.declared, self.rule, self.seed)
        wrong = sorted([images.ids[row], label] for row, label in labels.items() if label != images.labels[row])
        return images.with_labels(labels), digest([self.declared.model_dump(mode="json"), wrong])


def seen_labels(
    images: ImageStore, rows: Sequence[int], class_names: Sequence[str], noise: LabelNoise, rule: str, seed: int
) -> dict[int, str]:
    """The label of each of these rows that a method sees.

    It depends on rule, dataset, seed, image and class names, so it is the same in every budget and for every method.
    Raises UsageError where a confusion table lacks a class or names another one.
    """
    if isinstance(noise, ConfusionNoise):
        named = noise.confusion.keys() | {name for row in noise.confusion.values() for name in row}
        if odd := sorted(set(class_names) - noise.confusion.keys()) + sorted(named - set(class_names)):
            raise UsageError(
                f"the label noise of the protocol is a table of other classes than those of '{images.name}' "
                f"({', '.join(odd)}); choose the classes with --classes, or another --protocol"
            )
    return {row: _seen(images, row, sorted(class_names), noise, rule, seed) for row in rows}


def _seen(images: ImageStore, row: int, names: Sequence[str], noise: LabelNoise, rule: str, seed: int) -> str:
    label = str(images.labels[row])
    first, second = _uniforms(rank(f"{rule}/label-noise", images.name, seed, images.ids[row]))
    if isinstance(noise, ConfusionNoise):
        return _in_table(sorted(noise.confusion[label].items()), first)
    others = [name for name in names if name != label]
    return others[int(second * len(others))] if first < noise.rate else label


def _in_table(chances: Sequence[tuple[str, float]], drawn: float) -> str:
    reached = 0.0
    for name, chance in chances:
        reached += chance
        if drawn < reached:
            return name
    # A row may add up to a little less than 1.
    return next(name for name, chance in reversed(chances) if chance > 0)


def _uniforms(digest: str) -> Iterator[float]:
    """Two independent numbers in 0..1, without 1."""
    return (int(digest[begin : begin + DIGITS], 16) / 16**DIGITS for begin in (0, DIGITS))
