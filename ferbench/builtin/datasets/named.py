"""What readers of anybody's images share: the user names the set, its labels say which classes it has."""

from collections.abc import Iterable
from functools import cached_property
from typing import ClassVar

from ferbench.contract.dataset import EIGHT_CLASSES, DatasetInfo, Sample, SplitName
from ferbench.readers.layout import LayoutReader
from ferbench.readers.text import quoted

CLASSES = (*EIGHT_CLASSES, "other")
SPLITS: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "unlabeled": "unlabeled",
    "unlabelled": "unlabeled",
}


def split_name(text: str) -> SplitName:
    """The split that a layout spells its own way; raises ValueError for none."""
    name = text.strip().lower()
    if name not in SPLITS:
        raise ValueError(f"{quoted(text.strip())} is no split; write train, validation, test or unlabeled")
    return SPLITS[name]


class NamedDataset(LayoutReader):
    """A set of the user's; its task has all the classes that occur, and is named by their number."""

    needs_name: ClassVar[bool] = True
    rule: ClassVar[str]

    def found_classes(self) -> Iterable[str]:
        """The canonical names of the classes that occur, in any order and as often as they do."""
        return (str(sample.label) for sample in self.samples() if isinstance(sample, Sample) and sample.label)

    @cached_property
    def info(self) -> DatasetInfo:
        found = set(self.found_classes())
        names = tuple(name for name in CLASSES if name in found)
        task = str(len(names))
        return DatasetInfo(
            name=str(self.name),
            title=str(self.name),
            licence="",
            classes={task: names} if len(names) > 1 else {},
            default_classes=task if len(names) > 1 else "",
            family=str(self.name),
            rule=self.rule,
        )
