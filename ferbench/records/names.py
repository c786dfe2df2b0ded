"""Names that consist of several parts."""

from dataclasses import dataclass

DESCRIBED = "described"
"""The variant that names of folders and rows omit, whichever variant runs by default."""


@dataclass(frozen=True)
class RowName:
    """The name of a row: `method[@variant][+head]`.

    Without a variant it means the method's first variant in a request for a run, but `described` in folders and tables.
    """

    method: str
    variant: str | None = None
    head: str | None = None

    @classmethod
    def parse(cls, text: str) -> "RowName":
        """Split a name as a person writes it."""
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
    """The name of an unlabeled pool: `NAME`, or `rest+NAME` if the rest of the training set is unlabeled data too."""

    dataset: str
    keeps_rest: bool = False

    @classmethod
    def parse(cls, text: str) -> "PoolName":
        """Split a name."""
        return cls(text.removeprefix(REST), text.startswith(REST))

    def __str__(self) -> str:
        return f"{REST}{self.dataset}" if self.keeps_rest else self.dataset
