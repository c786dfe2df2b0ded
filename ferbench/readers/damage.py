"""From an error of a reader to the damage that it is."""

from ferbench.contract.dataset import Damage


class UnknownLabel(ValueError):
    """A label that is no class, or a split that is none; many with the same one are to be read otherwise."""

    def __init__(self, label: str, reason: str) -> None:
        super().__init__(reason)
        self.label = label


def about(name: str, error: Exception) -> ValueError:
    """The same complaint with the name of the file that it is about in front."""
    text = f"{name}: {error}"
    return UnknownLabel(error.label, text) if isinstance(error, UnknownLabel) else ValueError(text)


def damage_of(record: str, error: Exception) -> Damage:
    """What a record is that gave this error."""
    return Damage(record, str(error), error.label if isinstance(error, UnknownLabel) else None)
