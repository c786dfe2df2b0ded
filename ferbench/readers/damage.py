"""Turn errors of readers into Damage."""

from ferbench.contract.dataset import Damage


class UnknownLabel(ValueError):
    """An unknown class or split. Many entries with the same label suggest that the list must be read differently."""

    def __init__(self, label: str, reason: str) -> None:
        super().__init__(reason)
        self.label = label


def about(name: str, error: Exception) -> ValueError:
    """The same error, with the name of its file in front."""
    text = f"{name}: {error}"
    return UnknownLabel(error.label, text) if isinstance(error, UnknownLabel) else ValueError(text)


def damage_of(record: str, error: Exception) -> Damage:
    """The Damage of a record that raised this error."""
    return Damage(record, str(error), error.label if isinstance(error, UnknownLabel) else None)
