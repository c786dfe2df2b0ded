"""Names that have parts."""

from dataclasses import dataclass

DESCRIBED = "described"
"""The variant that folders and rows leave out of their names, whichever is planned by default."""


@dataclass(frozen=True)
class RowName:
    """The name of a row: `method[@variant][+head]`.

    Where a run is asked for, no variant is the method's first; in folders and tables it is `described`.
    """

    method: str
    variant: str | None = None
    head: str | None = None

    @classmethod
    def parse(cls, text: str) -> "RowName":
        """The parts of a name, however a person has written it."""
        rest, _, head = text.partition("+")
        method, _, variant = rest.partition("@")
        return cls(method, variant or None, head or None)

    def __str__(self) -> str:
        variant = "" if self.variant is None else f"@{self.variant}"
        head = "" if self.head is None else f"+{self.head}"
        return f"{self.method}{variant}{head}"


REST = "rest+"


@dataclass(frozen=True)
class PoolName:
    """The name of an unlabeled pool: `NAME`, or `rest+NAME` where the rest of the training set is unlabeled too."""

    dataset: str
    keeps_rest: bool = False

    @classmethod
    def parse(cls, text: str) -> "PoolName":
        """The parts of a name."""
        return cls(text.removeprefix(REST), text.startswith(REST))

    def __str__(self) -> str:
        return f"{REST}{self.dataset}" if self.keeps_rest else self.dataset
