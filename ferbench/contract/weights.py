"""The match of a file of initial weights with a net, tensor by tensor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ferbench.errors import DataError

SHOWN = 3


@dataclass(frozen=True)
class Match:
    """Which tensors of a net a file fills. Names are the net's, except in `left_over`, which has the file's."""

    file: Path
    place: str
    """The keys, joined by dots, below which the file has these tensors; empty if they are at its top level."""
    prefix: str
    """The prefix of the net's names in the file, such as `module.`."""
    matched: tuple[str, ...]
    adapted: Mapping[str, str] = field(default_factory=dict)
    """Tensors of another shape that were adapted to the net, and how."""
    misshapen: Mapping[str, str] = field(default_factory=dict)
    """Tensors with the net's name but another shape, with both shapes."""
    missing: tuple[str, ...] = ()
    left_over: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    """Other places and prefixes of the file that fit as well, but are not used."""
    reason: str = ""
    """Why the file does not fit; empty if it does."""

    @property
    def fitting(self) -> int:
        """Number of the net's tensors that the file fills."""
        return len(self.matched) + len(self.adapted)

    @property
    def total(self) -> int:
        """Number of the net's tensors."""
        return self.fitting + len(self.misshapen) + len(self.missing)

    def figures(self) -> str:
        """Return `120 of the net's 122 tensors matched; missing: bn1.bias, bn1.weight; left over: 2 of fc`."""
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
        """Return the line in which a run describes its initial weights."""
        read = [f"from '{self.place}'"] if self.place else []
        read += [f"without the prefix '{self.prefix}'"] if self.prefix else []
        parts = [f"initial weights {self.file.name}{' (' + ', '.join(read) + ')' if read else ''}: {self.figures()}"]
        parts += [f"{name} {how}" for name, how in self.adapted.items()]
        if self.others:
            parts.append(f"these would fit as well, but are not used: {', '.join(self.others)}")
        return "; ".join(parts)


class WeightsMismatch(DataError):
    """Initial weights do not fit the net; `match` has the full list."""

    def __init__(self, match: Match, remedy: str) -> None:
        super().__init__(
            f"{match.file}: {match.reason} ({match.figures()}); {remedy}; for the full list run "
            f"ferbench init inspect {match.file} --backbone NAME"
        )
        self.match = match


def _groups(names: Sequence[str]) -> list[str]:
    """Tensors counted by the first part of their names: `2 of fc`."""
    counts: dict[str, int] = {}
    for name in names:
        first = name.partition(".")[0]
        counts[first] = counts.get(first, 0) + 1
    shown = [f"{number} of {first}" for first, number in list(counts.items())[:SHOWN]]
    return shown + ([f"{len(counts) - SHOWN} more groups"] if len(counts) > SHOWN else [])


def _first(names: Sequence[str]) -> str:
    more = [f"{len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return ", ".join([*names[:SHOWN], *more])
