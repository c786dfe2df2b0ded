"""Label noise: the label that a method sees, drawn by the hash of the image's id."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ferbench.contract.protocol import ConfusionNoise, LabelNoise
from ferbench.data.load.image_store import ImageStore
from ferbench.data.select.ranks import rank
from ferbench.errors import UsageError
from ferbench.records.cell import digest

DIGITS = 13
"""Hexadecimal digits of a drawn number: 52 bits, which a float represents exactly."""


@dataclass(frozen=True)
class DrawnNoise:
    """The noise of a protocol, drawn with one seed."""

    declared: LabelNoise
    rule: str
    seed: int

    def on(self, images: ImageStore, rows: Sequence[int], class_names: Sequence[str]) -> tuple[ImageStore, str]:
        """The images with the labels that a method sees for these rows, and the fingerprint of the changes."""
        labels = seen_labels(images, rows, class_names, self.declared, self.rule, self.seed)
        wrong = sorted([images.ids[row], label] for row, label in labels.items() if label != images.labels[row])
        return images.with_labels(labels), digest([self.declared.model_dump(mode="json"), wrong])


def seen_labels(
    images: ImageStore, rows: Sequence[int], class_names: Sequence[str], noise: LabelNoise, rule: str, seed: int
) -> dict[int, str]:
    """The label that a method sees, for each of these rows.

    It depends on rule, dataset, seed, image and class names, so it is the same for every budget and every method.
    Raises UsageError if the classes of a confusion table are not `class_names`.
    """
    if isinstance(noise, ConfusionNoise):
        named = noise.confusion.keys() | {name for row in noise.confusion.values() for name in row}
        if odd := sorted(set(class_names) - noise.confusion.keys()) + sorted(named - set(class_names)):
            raise UsageError(
                f"the label noise of the protocol has other classes than '{images.name}' ({', '.join(odd)}); choose "
                "the class set with --classes, or another --protocol"
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
    # Because of rounding, the chances of a row may sum to slightly less than 1.
    return next(name for name, chance in reversed(chances) if chance > 0)


def _uniforms(digest: str) -> Iterator[float]:
    """Two independent uniform numbers in [0, 1)."""
    return (int(digest[begin : begin + DIGITS], 16) / 16**DIGITS for begin in (0, DIGITS))
