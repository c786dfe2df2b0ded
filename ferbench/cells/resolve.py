"""Resolve the names of a cell: protocol, recipe, datasets, method, options; every name and key is checked."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from ferbench.cells.method_facts import MethodFacts, facts_of
from ferbench.contract.dataset import Dataset, DatasetInfo, RankGroups
from ferbench.contract.protocol import TUNABLE, Protocol, Recipe
from ferbench.data.sources import classes_of, open_dataset, shared_classes
from ferbench.discovery.registry import Registry, Tuning
from ferbench.errors import PluginError, UsageError, decimal_point, suggestion
from ferbench.records.cell import Cell
from ferbench.records.checks import departures
from ferbench.records.dotted import flat, nested
from ferbench.records.names import DESCRIBED
from ferbench.records.options_v1 import names_since_version_1
from ferbench.records.reproduction import Sources
from ferbench.records.schema import first_problem

if TYPE_CHECKING:
    from ferbench.contract.method import Method, MethodConfig

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class ResolvedCell:
    """A cell with the objects that its names stand for; `test_set` is another tested dataset, if any.

    The method is loaded on first use, so that code which only looks at data, or knows the facts, runs no method code.
    """

    cell: Cell
    registry: Registry
    protocol: Protocol
    recipe: Recipe
    dataset: Dataset
    pool: Dataset | None
    class_names: tuple[str, ...]
    test_set: Dataset | None = None
    known: MethodFacts | None = None

    @property
    def base(self) -> "ResolvedCell":
        """The cell that trains the model: this one, or the same without another test dataset."""
        return self if self.test_set is None else replace(self, cell=self.cell.base, test_set=None)

    def on(self, other: Dataset) -> "ResolvedCell":
        """Return the same cell, tested on another dataset; raises UsageError if they share fewer than two classes."""
        shared_classes(self.dataset, self.class_names, other)
        try:
            cell = Cell.model_validate({**self.cell.model_dump(mode="json"), "test_on": other.info.name})
        except ValidationError as error:
            raise UsageError(f"this combination of options is not possible: {first_problem(error)}") from None
        return replace(self, cell=cell, test_set=other)

    @cached_property
    def method_class(self) -> "type[Method]":
        """The class of the cell's method."""
        return method_class(self.registry, self.cell.method)

    @cached_property
    def config(self) -> "MethodConfig":
        """The options of the method."""
        cell, tuned = self.cell, self.tunings.get("method")
        return method_config(cell.method, self.method_class, cell.variant, tuned, cell.overrides.method)

    @cached_property
    def declared(self) -> "Method":
        """The configured method, not attached to a net: it can be asked for its facts."""
        return self.method_class(self.config)

    @property
    def head_options(self) -> Mapping[str, Any]:
        """The tuned options of the head that `--head` names."""
        return self.tunings["head"].options if "head" in self.tunings else {}

    @cached_property
    def tunings(self) -> Mapping[str, Tuning]:
        """The tunings of the cell's method, head and backbone, by role."""
        cell, family = self.cell, self.dataset.info.family
        parts = {"method": cell.method, "head": cell.head or "", "backbone": cell.backbone.partition("/")[0]}
        found = {
            role: tuning_of(self.registry, self.protocol, family, role, name, cell.variant)
            for role, name in parts.items()
        }
        return {role: tuning for role, tuning in found.items() if tuning}

    @cached_property
    def facts(self) -> MethodFacts:
        """The facts that the configured method states about itself."""
        return self.known or facts_of(self.declared, self.recipe, self.protocol)

    @property
    def standard(self) -> bool:
        """Whether the cell belongs in a standard table."""
        return not self.departures

    @cached_property
    def departures(self) -> list[str]:
        """Why the cell does not belong in a standard table, as far as is known before the run."""
        facts = self.facts
        return departures(
            self.cell,
            self.protocol,
            relabels=facts.relabeled,
            selection=facts.selection,
            optimizers=list(facts.optimizers),
        )


def resolve(
    cell: Cell,
    registry: Registry,
    sources: Sources | None = None,
    *,
    opened: Callable[[str], Dataset] | None = None,
    known: MethodFacts | None = None,
) -> ResolvedCell:
    """Look up every name of a cell; `sources` says how to open datasets that are not opened by their names.

    `opened` opens a dataset; pass a cached function to resolve many cells. The method is asked for its facts unless
    they are `known`. Raises UsageError for unknown names and options.
    """
    sources, opened = sources or Sources(), opened or partial(open_dataset, registry)
    protocol = registry.load("protocols", cell.protocol)
    dataset = opened(sources.dataset or cell.dataset)
    _, class_names = classes_of(dataset, cell.classes)
    base = ResolvedCell(
        cell=cell.base,
        registry=registry,
        protocol=protocol,
        recipe=recipe_of(registry, protocol, dataset, cell.backbone, cell.overrides.protocol),
        dataset=dataset,
        pool=opened(sources.pool or cell.pool_name) if cell.pool_name else None,
        class_names=class_names,
        known=known,
    )
    return base.on(opened(sources.test_on or cell.test_on)) if cell.test_on else base


def view_kinds(method: "Method") -> list[str]:
    """Return the sorted registered names of all views that a method asks for."""
    views = [
        declared
        for stage in method.declared_stages()
        for declared in (stage.views.labeled, stage.views.unlabeled or {})
    ]
    return sorted({spec.kind for declared in views for spec in declared.values()})


def check_groups(registry: Registry, protocol: Protocol, info: DatasetInfo) -> None:
    """Raise UsageError if the dataset needs labels by subject or video, but the protocol draws them by another unit."""
    if info.rank_groups not in ("image", protocol.rank_groups):
        fitting = " or ".join(protocols_by(registry, info.rank_groups))
        raise UsageError(
            f"protocol '{protocol.name}' draws labels by {protocol.rank_groups}, but those of '{info.name}' must be "
            f"drawn by {info.rank_groups}; choose --protocol {fitting or 'of a plugin that does so'}"
        )


def protocols_by(registry: Registry, groups: RankGroups) -> list[str]:
    """Return the names of protocols that draw labels by image, subject or video."""
    return [name for name in registry.names("protocols") if registry.load("protocols", name).rank_groups == groups]


def method_class(registry: Registry, name: str) -> "type[Method]":
    """Return the class of a registered method."""
    method: type[Method] = registry.load("methods", name)
    return method


def tuning_of(
    registry: Registry, protocol: Protocol, family: str, role: str, name: str, variant: str = DESCRIBED
) -> Tuning | None:
    """Return the tuning of a method's variant, a head or a backbone for a family of datasets; None if there is none.

    Families without their own recipe use the `default` recipe and its tunings.
    """
    families = (family,) if family in protocol.recipes else (family, "default")
    return registry.tuning(f"{role}s", name, protocol.name, families, variant)


def recipe_of(
    registry: Registry, protocol: Protocol, dataset: Dataset, backbone: str, overrides: Mapping[str, Any]
) -> Recipe:
    """Return the protocol's recipe for a dataset and a backbone, with the user's overrides such as `weak.padding`.

    Tunings apply to a family of backbones, `small-vit` for `small-vit/96`, and are the same for all rows.
    """
    family = dataset.info.family
    recipe = protocol.recipe_for(family)
    values = recipe.model_dump()
    tuned = tuning_of(registry, protocol, family, "backbone", backbone.partition("/")[0])
    if tuned:
        _check_tuned(tuned, tuned.options, TUNABLE)
        values |= tuned.options
    for key, value in overrides.items():
        *parents, leaf = key.split(".")
        target = values
        for parent in parents:
            target = target.get(parent) if isinstance(target, dict) else None  # type: ignore[assignment]
        if not isinstance(target, dict) or leaf not in target:
            raise UsageError(
                f"--set {key}: protocol '{protocol.name}' has no such field{suggestion(key, _keys(recipe))}"
            )
        target[leaf] = value
    return _validated(Recipe, values, f"protocol '{protocol.name}'")


def method_config(
    name: str, method: "type[Method]", variant: str, tuned: Tuning | None, overrides: Mapping[str, Any]
) -> "MethodConfig":
    """Return the options of a method: the user's override the variant's, then the tuned ones, then the defaults."""
    if variant not in method.variants:
        known = ", ".join(method.variants)
        raise UsageError(
            f"method '{name}' has no variant '{variant}'; it has {known}{suggestion(variant, method.variants)}"
        )
    options = method.Config.option_fields()
    for key in overrides:
        if key not in options:
            raise UsageError(f"--set {key}: {unknown_option(name, method.Config, key)}")
    if tuned:
        _check_tuned(tuned, dict(flat(tuned.options, groups_of(options))), options)
    layers = (tuned.options if tuned else {}, method.variants[variant], overrides)
    values = {key: value for layer in layers for key, value in flat(layer, groups_of(options))}
    return _validated(method.Config, nested(values), f"method '{name}'")


def unknown_option(name: str, config: "type[MethodConfig]", option: str) -> str:
    """Return what is wrong with an option name that the method does not have, and what to write instead."""
    if option in (renamed := names_since_version_1(name)):
        return f"this is the name in ferbench 0.1; now write --set {name}.{renamed[option]}=..."
    known = list(config.option_fields())
    if option in groups_of(known):
        names = ", ".join(key for key in known if key.startswith(f"{option}."))
        return f"'{option}' is a group of options of method '{name}'; name one of {names}"
    return f"method '{name}' has no option '{option}' (it has {', '.join(known) or 'none'}){suggestion(option, known)}"


def groups_of(options: Iterable[str]) -> frozenset[str]:
    """Return the groups in dotted names of options: `released` for `released.state_decay`."""
    parts = [name.split(".") for name in options]
    return frozenset(".".join(names[:count]) for names in parts for count in range(1, len(names)))


def option_values(config: "MethodConfig") -> dict[str, Any]:
    """Return the value of every option, as JSON, by dotted name."""
    return dict(flat(config.model_dump(mode="json"), groups_of(config.option_fields())))


def _check_tuned(tuned: Tuning, names: Iterable[str], known: Iterable[str]) -> None:
    for name in names:
        if name not in known:
            raise PluginError(
                f"{tuned.distribution} tunes '{name}' of {tuned}, but only {', '.join(known) or 'nothing'} may be tuned"
                f"{suggestion(name, known)}"
            )


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
        # Without a location the error is about several fields, and its input is the whole mapping.
        value = f"{key} = {first['input']!r}: " if key else ""
        point = decimal_point(first["input"]) if isinstance(first["input"], str) else ""
        raise UsageError(f"{what}: {value}{first['msg'].removeprefix('Value error, ')}{point}") from None
