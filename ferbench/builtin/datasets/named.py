"""Base class of readers for users' own images: the user names the dataset, and its labels decide its classes."""

import shlex
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import ClassVar, cast

from ferbench.contract.dataset import EIGHT_CLASSES, DatasetInfo, Sample, SplitName
from ferbench.readers.classes import WORDS, class_name, nearest_class
from ferbench.readers.columns import NAMELESS, UnreadColumns
from ferbench.readers.damage import UnknownLabel
from ferbench.readers.layout import LayoutReader
from ferbench.readers.splits import SPLITS
from ferbench.readers.text import MAX_QUOTED, quoted

CLASSES = (*EIGHT_CLASSES, "other")
NAMES = frozenset({"splits", "classes"})
COLUMNS = frozenset({"label_column", "split_column", "id_column"})


class NamedDataset(LayoutReader):
    """A user's own dataset; its task has all classes that occur, and the number of classes as its name."""

    needs_name: ClassVar[bool] = True
    takes = NAMES
    rule: ClassVar[str]

    def found_classes(self) -> Iterable[str]:
        """Return the canonical names of the classes that occur, in any order; names may repeat."""
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

    # -- how the copy spells things ----------------------------------------------------------------------------------

    def class_of(self, text: str) -> str:
        """Return the class for a text in the copy, also by the user's `--class`; raises UnknownLabel with a remedy."""
        try:
            return self.known_class(text)
        except UnknownLabel as error:
            nearest = nearest_class(error.label)
            option = _option("--class", error.label, nearest or "CLASS")
            if nearest and option:
                self.account.remedies[option] = None
            known = "" if nearest else f" ({', '.join(dict.fromkeys(WORDS.values()))})"
            remedy = option and f"; name its class with {option}{known}"
            raise UnknownLabel(error.label, f"{error}{remedy}") from None

    def split_of(self, text: str) -> SplitName:
        """Return the split for a text in the copy, also by the user's `--split`; raises UnknownLabel with a remedy."""
        name = text.strip()
        if said := self.options.splits.get(name.lower()):
            return cast(SplitName, said)
        if name.lower() not in SPLITS:
            option = _option("--split", name, "SPLIT")
            how = f"add {option}, where SPLIT is" if option else "write"
            reason = f"{quoted(name)} is not a split; {how} train, validation, test or unlabeled"
            raise UnknownLabel(name[:MAX_QUOTED], reason)
        return SPLITS[name.lower()]

    @staticmethod
    def split_with(label: str | None, split: SplitName) -> SplitName:
        """Return the split of an image: one for training that has no label is unlabeled."""
        return "unlabeled" if split == "train" and label is None else split

    def is_split(self, text: str) -> bool:
        """Whether a text is the name of a split."""
        return text.strip().lower() in self.options.splits or text.strip().lower() in SPLITS

    def account_for_columns(
        self,
        columns: UnreadColumns,
        where: str,
        read: Mapping[str, str | None],
        classes: Iterable[str] = (),
        missed: Iterable[str] = (),
    ) -> None:
        """Account for columns: the role for which each is read, or why it is not read.

        `read` maps `label` and `split` to the column that is read for it, if any. `classes` are columns whose type says
        that they contain labels, whatever their name. `missed` are columns that look like labels of unlabeled images.
        """
        for role, column in read.items():
            if column:
                self.account.read("column", column, role)
        for name, kind in columns.kinds(self.known_class, self.split_of).items():
            kind, shown = "label" if name in set(classes) else kind, name or NAMELESS
            if kind == "image":
                self.account.leave("column", shown, "contains images, but this reader uses another image column")
            elif kind and (not read.get(kind) or name in set(missed)):
                reason = f"looks like {kind}s, but no column of {where} is read for them"
                self.account.leave("column", shown, reason, f"--{kind}-column {shlex.quote(name)}" if name else "")
            else:
                self.account.ignore("column", shown, f"not one of the columns that are read from {where}")

    def known_class(self, text: str) -> str:
        """Like `class_of`, but for texts that may not be labels: it does not suggest a remedy."""
        return self.options.classes.get(text.strip().lower()) or class_name(text)


def _option(flag: str, name: str, meaning: str) -> str:
    """Return an option of `prepare`, quoted for a shell; empty if the name cannot be typed."""
    typed = name.isprintable() and 0 < len(name) <= MAX_QUOTED
    return f"{flag} {shlex.quote(f'{name}={meaning}')}" if typed else ""
