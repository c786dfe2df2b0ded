"""What a net and its method are built from: a cell resolved with its data, or one as its record describes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import ValidationError

from ferbench.cells.resolve import method_class
from ferbench.contract.protocol import Recipe
from ferbench.discovery.registry import Registry
from ferbench.errors import DataError
from ferbench.records.cell import Cell
from ferbench.records.schema import Record, first_problem

if TYPE_CHECKING:
    from ferbench.contract.method import Method, MethodConfig


class Blueprint(Protocol):
    """The names and numbers that a net and its method are built from; no images."""

    @property
    def cell(self) -> Cell:
        """The cell that trains the net."""

    @property
    def registry(self) -> Registry:
        """Where names are looked up."""

    @property
    def recipe(self) -> Recipe:
        """How images are stored, seen and trained on."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The trained classes, in the order of logits."""

    @property
    def method_class(self) -> "type[Method]":
        """The class of the cell's method."""

    @property
    def config(self) -> "MethodConfig":
        """The options that the method runs with."""

    @property
    def declared(self) -> "Method":
        """The configured method, attached to nothing."""

    @property
    def head_options(self) -> Mapping[str, Any]:
        """What is tuned of a head that `--head` names."""


@dataclass(frozen=True)
class RecordedCell:
    """The blueprint of a finished cell, by its record alone: its dataset need not be on this machine."""

    record: Record
    registry: Registry

    @property
    def cell(self) -> Cell:
        return self.record.cell

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self.record.result.class_names) if self.record.result else ()

    @cached_property
    def recipe(self) -> Recipe:
        """The recorded recipe; raises DataError for a record without a whole one."""
        fields = {name: value for name, value in self.record.config.protocol.items() if name in Recipe.model_fields}
        try:
            return Recipe.model_validate({**fields, "backbone": self.cell.backbone})
        except ValidationError as error:
            raise DataError(f"the record's recipe cannot be used: {first_problem(error)}") from None

    @cached_property
    def method_class(self) -> "type[Method]":
        return method_class(self.registry, self.cell.method)

    @cached_property
    def config(self) -> "MethodConfig":
        """The recorded options; raises DataError where the installed method has others."""
        try:
            return self.method_class.Config.model_validate(self.record.config.method)
        except ValidationError as error:
            plugin = self.record.plugin
            raise DataError(
                f"the method '{self.cell.method}' that is installed does not take the recorded options "
                f"({first_problem(error)}); install {plugin.distribution} {plugin.version}"
            ) from None

    @cached_property
    def declared(self) -> "Method":
        return self.method_class(self.config)

    @property
    def head_options(self) -> Mapping[str, Any]:
        return self.record.config.head
