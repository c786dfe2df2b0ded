"""How a file of initial weights fits a net, tensor by tensor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ferbench.errors import DataError

SHOWN = 3


@dataclass(frozen=True)
class Match:
    """What of a file became what of a net. Names are the net's, but those of `left_over` are the file's."""

    file: Path
    place: str
    """The keys, joined by dots, below which the file has these tensors; empty where they are at its top."""
    prefix: str
    """What stands before the net's names in the file, such as `module.`."""
    matched: tuple[str, ...]
    adapted: Mapping[str, str] = field(default_factory=dict)
    """Tensors of another shape that were made to fit, and how."""
    misshapen: Mapping[str, str] = field(default_factory=dict)
    """Tensors that have the net's name and another shape, and both shapes."""
    missing: tuple[str, ...] = ()
    left_over: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    """Other places and prefixes of the file that fit as well; they are not read."""
    reason: str = ""
    """Why the file does not fit; empty where it does."""

    @property
    def fitting(self) -> int:
        """How many tensors of the net the file fills."""
        return len(self.matched) + len(self.adapted)

    @property
    def total(self) -> int:
        """How many tensors the net has."""
        return self.fitting + len(self.misshapen) + len(self.missing)

    def figures(self) -> str:
        """`120 of the net's 122 tensors matched; missing: bn1.bias, bn1.weight; left over: 2 of fc`."""
        parts = [f"{self.fitting} of the net's {self.total} tensors matched"]
        if self.misshapen:
            parts.append(f"of another shape: {_first([f'{name} {both}' for name, both in self.misshapen.items()])}")
        if self.missing:
            parts.append(f"missing: {_first(self.missing)}")
        if self.left_over:
            parts.append(
                f"left over: {', '.join(_groups([name.removeprefix(self.prefix) for name in self.left_over]))}"
            )
        return "; ".join(parts)

    def summary(self) -> str:
        """What a run tells of its initial weights, in one line."""
        read = [f"of '{self.place}'"] if self.place else []
        read += [f"without the prefix '{self.prefix}'"] if self.prefix else []
        parts = [f"initial weights {self.file.name}{' (' + ', '.join(read) + ')' if read else ''}: {self.figures()}"]
        parts += [f"{name} {how}" for name, how in self.adapted.items()]
        if self.others:
            parts.append(f"not used, though it fits as well: {', '.join(self.others)}")
        return "; ".join(parts)


class WeightsMismatch(DataError):
    """Initial weights do not fit the net; `match` has the whole list."""

    def __init__(self, match: Match, remedy: str) -> None:
        super().__init__(
            f"{match.file}: {match.reason} ({match.figures()}); {remedy}; the whole list: "
            f"ferbench init inspect {match.file} --backbone NAME"
        )
        self.match = match


def _groups(names: Sequence[str]) -> list[str]:
    """Names of tensors by their first part, with numbers: `2 of fc`."""
    counts: dict[str, int] = {}
    for name in names:
        first = name.partition(".")[0]
        counts[first] = counts.get(first, 0) + 1
    shown = [f"{number} of {first}" for first, number in list(counts.items())[:SHOWN]]
    return shown + ([f"{len(counts) - SHOWN} more groups"] if len(counts) > SHOWN else [])


def _first(names: Sequence[str]) -> str:
    more = [f"{len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return ", ".join([*names[:SHOWN], *more])
