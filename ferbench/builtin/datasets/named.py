"""What readers of anybody's images share: the user names the set, its labels say which classes it has."""

import shlex
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import ClassVar, cast

from ferbench.contract.dataset import EIGHT_CLASSES, DatasetInfo, Sample, SplitName
from ferbench.readers.classes import class_name, nearest_class
from ferbench.readers.columns import NAMELESS, UnreadColumns
from ferbench.readers.damage import UnknownLabel
from ferbench.readers.layout import LayoutReader
from ferbench.readers.splits import SPLITS
from ferbench.readers.text import MAX_QUOTED, quoted

CLASSES = (*EIGHT_CLASSES, "other")
NAMES = frozenset({"splits", "classes"})
COLUMNS = frozenset({"label_column", "split_column", "id_column"})


class NamedDataset(LayoutReader):
    """A set of the user's; its task has all the classes that occur, and is named by their number."""

    needs_name: ClassVar[bool] = True
    takes = NAMES
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

    # -- how the copy spells things ----------------------------------------------------------------------------------

    def class_of(self, text: str) -> str:
        """The class that the copy, or the user with `--class`, calls so; raises UnknownLabel with the remedy."""
        try:
            return self.known_class(text)
        except UnknownLabel as error:
            nearest = nearest_class(error.label)
            option = _option("--class", error.label, nearest or "CLASS")
            if nearest and option:
                self.account.remedies[option] = None
            raise UnknownLabel(error.label, f"{error}{option and '; say so with '}{option}") from None

    def split_of(self, text: str) -> SplitName:
        """The split that the copy, or the user with `--split`, calls so; raises UnknownLabel with the remedy."""
        name = text.strip()
        if said := self.options.splits.get(name.lower()):
            return cast(SplitName, said)
        if name.lower() not in SPLITS:
            option = _option("--split", name, "SPLIT")
            how = f"say with {option}" if option else "write"
            reason = f"{quoted(name)} is no split; {how}: train, validation, test or unlabeled"
            raise UnknownLabel(name[:MAX_QUOTED], reason)
        return SPLITS[name.lower()]

    def is_split(self, text: str) -> bool:
        """Whether a name is that of a split."""
        return text.strip().lower() in self.options.splits or text.strip().lower() in SPLITS

    def account_for_columns(
        self,
        columns: UnreadColumns,
        where: str,
        read: Mapping[str, str | None],
        classes: Iterable[str] = (),
        missed: Iterable[str] = (),
    ) -> None:
        """Say of columns what they are read for, or why they are not.

        `read` has the column that each of `label` and `split` is read from; `classes` are columns that hold labels by
        their type, whatever they are called; `missed` are those that look like labels of images that have none.
        """
        for role, column in read.items():
            if column:
                self.account.read("column", column, role)
        for name, kind in columns.kinds(self.known_class, self.split_of).items():
            kind, shown = "label" if name in set(classes) else kind, name or NAMELESS
            if kind == "image":
                self.account.leave("column", shown, "holds images, and this reader takes those of another column")
            elif kind and (not read.get(kind) or name in set(missed)):
                reason = f"looks like {kind}s, and no column of {where} is read for them"
                self.account.leave("column", shown, reason, f"--{kind}-column {shlex.quote(name)}" if name else "")
            else:
                self.account.ignore("column", shown, f"no column that is read from {where}")

    def known_class(self, text: str) -> str:
        """As `class_of`, for a look at texts that may be no labels: it leaves no remedy."""
        return self.options.classes.get(text.strip().lower()) or class_name(text)


def _option(flag: str, name: str, meaning: str) -> str:
    """An option of `prepare` as a shell takes it; empty for a name that cannot be typed."""
    typed = name.isprintable() and 0 < len(name) <= MAX_QUOTED
    return f"{flag} {shlex.quote(f'{name}={meaning}')}" if typed else ""
