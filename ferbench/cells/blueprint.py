"""Blueprints of a net and its method: from a resolved cell with its data, or from a record alone."""

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
        """The registry for looking up names."""

    @property
    def recipe(self) -> Recipe:
        """The recipe: how images are stored, augmented and trained on."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The trained classes, in the order of the logits."""

    @property
    def method_class(self) -> "type[Method]":
        """The class of the cell's method."""

    @property
    def config(self) -> "MethodConfig":
        """The options of the method."""

    @property
    def declared(self) -> "Method":
        """The configured method, not attached to a net."""

    @property
    def head_options(self) -> Mapping[str, Any]:
        """The tuned options of the head that `--head` names."""


@dataclass(frozen=True)
class RecordedCell:
    """The blueprint of a finished cell, from its record alone: the dataset need not be on this machine."""

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
        """The recorded recipe; raises DataError if it is not complete."""
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
        """The recorded options; raises DataError if the installed method does not accept them."""
        try:
            return self.method_class.Config.model_validate(self.record.config.method)
        except ValidationError as error:
            plugin = self.record.plugin
            raise DataError(
                f"the installed method '{self.cell.method}' does not accept the recorded options "
                f"({first_problem(error)}); install {plugin.distribution} {plugin.version}"
            ) from None

    @cached_property
    def declared(self) -> "Method":
        return self.method_class(self.config)

    @property
    def head_options(self) -> Mapping[str, Any]:
        return self.record.config.head
