"""Names that have parts."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RowName:
    """The name of a row in a table: `method[@variant][+head]`; no variant is the method's first."""

    method: str
    variant: str | None = None
    head: str | None = None

    @classmethod
    def parse(cls, text: str) -> "RowName":
        """The parts of a name, however a person has written it."""
        rest, _, head = text.partition("+")
        method, _, variant = rest.partition("@")
        return cls(method, variant or None, head or None)
