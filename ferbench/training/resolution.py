"""From a cell to what it runs with: protocol, recipe, method, options; every name and key is checked here."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ferbench.contract.backbone import Backbone, BackboneRequest
from ferbench.contract.dataset import Dataset, DatasetInfo, RankGroups
from ferbench.contract.head import Head
from ferbench.contract.method import Method, MethodConfig
from ferbench.contract.protocol import TUNED, Protocol, Recipe
from ferbench.data.sources import classes_of, open_dataset, shared_classes
from ferbench.errors import PluginError, UsageError, suggestion
from ferbench.plugins import registry
from ferbench.records.cell import Cell
from ferbench.records.checks import is_standard
from ferbench.records.schema import first_problem

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Resolved:
    """A cell with its names replaced by what they stand for; `test_set` is another set that is tested, if one is."""

    cell: Cell
    protocol: Protocol
    recipe: Recipe
    dataset: Dataset
    pool: Dataset | None
    class_names: tuple[str, ...]
    method_class: type[Method]
    config: MethodConfig
    test_set: Dataset | None = None

    @property
    def base(self) -> "Resolved":
        """What trains the model: this, or the same without another set that is tested."""
        return self if self.test_set is None else replace(self, cell=self.cell.base, test_set=None)

    def on(self, other: Dataset) -> "Resolved":
        """The same, tested on another set; raises UsageError where the two share fewer than two classes."""
        shared_classes(self.dataset, self.class_names, other)
        try:
            cell = Cell.model_validate({**self.cell.model_dump(mode="json"), "test_on": other.info.name})
        except ValidationError as error:
            raise UsageError(f"this cell cannot be: {first_problem(error)}") from None
        return replace(self, cell=cell, test_set=other)

    @property
    def head_options(self) -> Mapping[str, Any]:
        """What the recipe sets of a head that `--head` names."""
        return self.recipe.head_defaults.get(self.cell.head or "", {})

    @cached_property
    def declared(self) -> Method:
        """The configured method, attached to nothing: for what it says of itself."""
        return self.method_class(self.config)

    @property
    def wants_boxes(self) -> bool:
        """Whether the method uses face boxes."""
        return "boxes" in self.declared.requires

    @property
    def relabels(self) -> bool:
        """Whether a stage has a second draw of labeled images."""
        return any(stage.data == "relabeled" for stage in self.declared.stages())

    @property
    def standard(self) -> bool:
        """Whether the cell belongs in a standard table."""
        return is_standard(self.cell, self.protocol, relabels=self.relabels)


def resolve(cell: Cell, dataset: str | None = None, pool: str | None = None, test_on: str | None = None) -> Resolved:
    """Look up every name of a cell; `dataset`, `pool` and `test_on` say where to open them if not by their names."""
    protocol = load_protocol(cell.protocol)
    opened = open_dataset(dataset or cell.dataset)
    _, class_names = classes_of(opened, cell.classes)
    recipe = recipe_of(protocol, opened, cell.backbone, cell.overrides.get("protocol", {}))
    method_class = load_method(cell.method)
    base = Resolved(
        cell=cell.base,
        protocol=protocol,
        recipe=recipe,
        dataset=opened,
        pool=open_dataset(pool or cell.pool_name) if cell.pool_name else None,
        class_names=class_names,
        method_class=method_class,
        config=method_config(cell.method, method_class, cell.variant, recipe, cell.overrides.get("method", {})),
    )
    return base.on(open_dataset(test_on or cell.test_on)) if cell.test_on else base


def load_protocol(name: str) -> Protocol:
    """The protocol of a registered name."""
    protocol = registry().get("protocols", name).load()
    if not isinstance(protocol, Protocol):
        raise PluginError(f"protocol '{name}': {protocol!r} is no ferbench.contract.protocol.Protocol")
    return protocol


def check_groups(protocol: Protocol, info: DatasetInfo) -> None:
    """Raises UsageError where a protocol would draw labels by image from frames of videos."""
    if info.rank_groups not in ("image", protocol.rank_groups):
        fitting = " or ".join(protocols_by(info.rank_groups))
        raise UsageError(
            f"protocol '{protocol.name}' draws labels by {protocol.rank_groups}; those of '{info.name}' must be drawn "
            f"by {info.rank_groups}, as its images are frames; choose --protocol {fitting or 'of a plugin that does'}"
        )


def protocols_by(groups: RankGroups) -> list[str]:
    """The protocols that draw labels by image, subject or video."""
    return [name for name in registry().names("protocols") if load_protocol(name).rank_groups == groups]


def load_method(name: str) -> type[Method]:
    """The class of a registered method."""
    method = registry().get("methods", name).load()
    if not (isinstance(method, type) and issubclass(method, Method)):
        raise PluginError(f"method '{name}': {method!r} does not subclass ferbench.contract.method.Method")
    return method


def recipe_of(protocol: Protocol, dataset: Dataset, backbone: str, overrides: Mapping[str, Any]) -> Recipe:
    """The protocol's recipe for a data set and a backbone, with fields set by the user (`weak.padding` is a view's)."""
    recipe = protocol.recipe_for(dataset.info.family).for_backbone(backbone)
    values = recipe.model_dump()
    for key, value in overrides.items():
        *parents, leaf = key.split(".")
        target = values
        for parent in parents:
            target = target.get(parent) if isinstance(target, dict) else None  # type: ignore[assignment]
        if not isinstance(target, dict) or leaf not in target or key in TUNED:
            raise UsageError(
                f"--set {key}: protocol '{protocol.name}' has no such field{suggestion(key, _keys(recipe))}"
            )
        target[leaf] = value
    return _validated(Recipe, values, f"protocol '{protocol.name}'")


def method_config(
    name: str, method: type[Method], variant: str, recipe: Recipe, overrides: Mapping[str, Any]
) -> MethodConfig:
    """Plugin default < the recipe's tuned default < the variant's preset < the user."""
    if variant not in method.variants:
        known = ", ".join(method.variants)
        raise UsageError(
            f"method '{name}' has no variant '{variant}'; it has {known}{suggestion(variant, method.variants)}"
        )
    fields = method.Config.model_fields
    for key in overrides:
        if key not in fields:
            known = ", ".join(fields) or "none"
            raise UsageError(
                f"--set {key}: method '{name}' has no such option (it has {known}){suggestion(key, fields)}"
            )
    values = {**recipe.method_defaults.get(name, {}), **method.variants[variant], **overrides}
    return _validated(method.Config, values, f"method '{name}'")


def _keys(model: BaseModel, prefix: str = "") -> list[str]:
    keys = []
    for key, value in model:
        keys.append(prefix + key)
        if isinstance(value, BaseModel):
            keys += _keys(value, f"{prefix}{key}.")
    return keys


def _validated(model: type[M], values: Mapping[str, Any], what: str) -> M:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        # Without a place it is about several fields, and its input is all of them.
        value = f"{key} = {first['input']!r}: " if key else ""
        raise UsageError(f"{what}: {value}{first['msg'].removeprefix('Value error, ')}") from None


def build_backbone(name: str, image_size: int, init: Path | str | None) -> Backbone:
    """The backbone of a name `family` or `family/variant`."""
    family, _, variant = name.partition("/")
    builder = registry().get("backbones", family).load()
    backbone = builder(BackboneRequest(variant=variant, image_size=image_size, init=init))
    if not isinstance(backbone, Backbone) or not hasattr(backbone, "feature_size"):
        raise PluginError(f"backbone '{name}': the builder gave {type(backbone).__name__} without a feature_size")
    return backbone


def build_head(
    name: str | None, method: Method, feature_size: int, n_classes: int, options: Mapping[str, Any] | None = None
) -> Head:
    """The head of a registered name with options of its own, or the method's."""
    if name is None:
        head: object = method.make_head(feature_size, n_classes)
    else:
        head = registry().get("heads", name).load()(feature_size, n_classes, **(options or {}))
    if not isinstance(head, Head):
        what = f"head '{name}'" if name else f"{type(method).__name__}.make_head"
        raise PluginError(f"{what}: {type(head).__name__} does not subclass ferbench.contract.head.Head")
    return head
