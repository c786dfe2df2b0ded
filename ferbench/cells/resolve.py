"""From a cell to what its names stand for, protocol, recipe, data, method, options: every name and key is checked."""

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
from ferbench.errors import PluginError, UsageError, suggestion
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
    """A cell with its names replaced by what they stand for; `test_set` is another set that is tested, if one is.

    The method is loaded when it is first asked for: who only looks at data runs no method's code, nor does who knows
    its facts.
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
        """What trains the model: this, or the same without another set that is tested."""
        return self if self.test_set is None else replace(self, cell=self.cell.base, test_set=None)

    def on(self, other: Dataset) -> "ResolvedCell":
        """The same, tested on another set; raises UsageError where the two share fewer than two classes."""
        shared_classes(self.dataset, self.class_names, other)
        try:
            cell = Cell.model_validate({**self.cell.model_dump(mode="json"), "test_on": other.info.name})
        except ValidationError as error:
            raise UsageError(f"this cell cannot be: {first_problem(error)}") from None
        return replace(self, cell=cell, test_set=other)

    @cached_property
    def method_class(self) -> "type[Method]":
        """The class of the cell's method."""
        return method_class(self.registry, self.cell.method)

    @cached_property
    def config(self) -> "MethodConfig":
        """The options that the method runs with."""
        cell, tuned = self.cell, self.tunings.get("method")
        return method_config(cell.method, self.method_class, cell.variant, tuned, cell.overrides.method)

    @cached_property
    def declared(self) -> "Method":
        """The configured method, attached to nothing: for what it says of itself."""
        return self.method_class(self.config)

    @property
    def head_options(self) -> Mapping[str, Any]:
        """What is tuned of a head that `--head` names."""
        return self.tunings["head"].options if "head" in self.tunings else {}

    @cached_property
    def tunings(self) -> Mapping[str, Tuning]:
        """What is tuned of the cell's method, head and backbone, by role."""
        cell, family = self.cell, self.dataset.info.family
        parts = {"method": cell.method, "head": cell.head or "", "backbone": cell.backbone.partition("/")[0]}
        found = {
            role: tuning_of(self.registry, self.protocol, family, role, name, cell.variant)
            for role, name in parts.items()
        }
        return {role: tuning for role, tuning in found.items() if tuning}

    @cached_property
    def facts(self) -> MethodFacts:
        """What the configured method says of itself."""
        return self.known or facts_of(self.declared, self.recipe, self.protocol)

    @property
    def standard(self) -> bool:
        """Whether the cell belongs in a standard table."""
        return not self.departures

    @cached_property
    def departures(self) -> list[str]:
        """Why the cell does not belong in a standard table, as far as it is known before the run."""
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
    """Look up every name of a cell; `sources` say where datasets are opened if not by their names.

    `opened` opens them; who resolves many cells gives one that remembers. The method is asked unless its facts
    are `known`.
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
    """The registered names of all views that a method asks for, sorted."""
    views = [
        declared
        for stage in method.declared_stages()
        for declared in (stage.views.labeled, stage.views.unlabeled or {})
    ]
    return sorted({spec.kind for declared in views for spec in declared.values()})


def check_groups(registry: Registry, protocol: Protocol, info: DatasetInfo) -> None:
    """Raises UsageError where a protocol would draw labels by image from frames of videos."""
    if info.rank_groups not in ("image", protocol.rank_groups):
        fitting = " or ".join(protocols_by(registry, info.rank_groups))
        raise UsageError(
            f"protocol '{protocol.name}' draws labels by {protocol.rank_groups}; those of '{info.name}' must be drawn "
            f"by {info.rank_groups}, as its images are frames; choose --protocol {fitting or 'of a plugin that does'}"
        )


def protocols_by(registry: Registry, groups: RankGroups) -> list[str]:
    """The protocols that draw labels by image, subject or video."""
    return [name for name in registry.names("protocols") if registry.load("protocols", name).rank_groups == groups]


def method_class(registry: Registry, name: str) -> "type[Method]":
    """The class of a registered method."""
    method: type[Method] = registry.load("methods", name)
    return method


def tuning_of(
    registry: Registry, protocol: Protocol, family: str, role: str, name: str, variant: str = DESCRIBED
) -> Tuning | None:
    """What is tuned of a method's variant, a head or a backbone for a family.

    Families without a recipe share what is tuned with the recipe that they share.
    """
    families = (family,) if family in protocol.recipes else (family, "default")
    return registry.tuning(f"{role}s", name, protocol.name, families, variant)


def recipe_of(
    registry: Registry, protocol: Protocol, dataset: Dataset, backbone: str, overrides: Mapping[str, Any]
) -> Recipe:
    """The protocol's recipe for a dataset and a backbone, with fields set by the user (`weak.padding` is a view's).

    What is tuned of the family of a backbone, `small-vit` of `small-vit/96`, is the same for all rows.
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
    """Plugin default < tuned default < the variant's preset < the user."""
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
    """What is wrong with the name of an option that the method does not have, and what to write instead."""
    if option in (renamed := names_since_version_1(name)):
        return f"this was the option of ferbench 0.1; write --set {name}.{renamed[option]}=... now"
    known = list(config.option_fields())
    if option in groups_of(known):
        names = ", ".join(key for key in known if key.startswith(f"{option}."))
        return f"'{option}' is a group of options of method '{name}'; name one of {names}"
    return f"method '{name}' has no option '{option}' (it has {', '.join(known) or 'none'}){suggestion(option, known)}"


def groups_of(options: Iterable[str]) -> frozenset[str]:
    """The groups that dotted names of options lie in: `released` of `released.state_decay`."""
    parts = [name.split(".") for name in options]
    return frozenset(".".join(names[:count]) for names in parts for count in range(1, len(names)))


def option_values(config: "MethodConfig") -> dict[str, Any]:
    """The value of every option, as JSON, by dotted name."""
    return dict(flat(config.model_dump(mode="json"), groups_of(config.option_fields())))


def _check_tuned(tuned: Tuning, names: Iterable[str], known: Iterable[str]) -> None:
    for name in names:
        if name not in known:
            raise PluginError(
                f"{tuned.distribution} tunes '{name}' of {tuned}, where {', '.join(known) or 'nothing'} may be tuned"
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
        # Without a place it is about several fields, and its input is all of them.
        value = f"{key} = {first['input']!r}: " if key else ""
        raise UsageError(f"{what}: {value}{first['msg'].removeprefix('Value error, ')}") from None
