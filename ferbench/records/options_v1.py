"""The options that methods had in ferbench 0.1, frozen, for reading and verifying its records.

Methods that are not listed have the same options as in 0.1.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from ferbench.records.dotted import flat, nested
from ferbench.records.schema import Record, RecordConfig

COMMIT = "fa07dc9"
"""The commit of ferbench 0.1."""


OptionV1 = tuple[JsonValue, str]
"""The default of an option in 0.1, and its present name."""


def _same(options: Mapping[str, JsonValue]) -> dict[str, OptionV1]:
    """Options whose name has not changed."""
    return {name: (default, name) for name, default in options.items()}


_MARGIN: dict[str, OptionV1] = {
    "initial_margin": (0.8, "margin.initial"),
    "margin_floor": (0.8, "margin.floor"),
    "margin_decay": (0.97, "margin.decay"),
}
_LOOP: dict[str, OptionV1] = {
    "augmented_statistics": (False, "released.augmented_statistics"),
    "separate_forwards": (False, "released.separate_forwards"),
    "state_decay": (0.0, "released.state_decay"),
}
_WEIGHTS: dict[str, JsonValue] = {
    "temperature": 0.07,
    "labeled_weight": 0.5,
    "unlabeled_weight": 1.0,
    "contrast_weight": 0.1,
}

OPTIONS_V1: Mapping[str, Mapping[str, OptionV1]] = {
    "ada-cm": {
        **_same({**_WEIGHTS, "dropout": 0.5}),
        "margin": ("epoch", "margin.update"),
        "margin_momentum": (0.99, "margin.momentum"),
        "contrast_gradient": (True, "released.contrast_gradient"),
        **_MARGIN,
        **_LOOP,
    },
    "leaf": {
        **_same({**_WEIGHTS, "consistency_weight": 1.0}),
        "dropout": (0.5, "head.dropout"),
        "semantic": (True, "head.semantic"),
        "instance": (True, "head.instance"),
        "decoupled": (True, "head.decoupled"),
        "experts": (8, "head.experts"),
        "top_k": (2, "head.top_k"),
        "balance_weight": (0.01, "head.balance_weight"),
        "category": (True, "category.ambiguous"),
        "positives": (3, "category.positives"),
        "positive_mass": (0.9, "category.mass"),
        "shared_experts": (False, "released.shared_experts"),
        "off_by_one": (False, "released.off_by_one"),
        "batch_mask": (False, "released.batch_mask"),
        **_MARGIN,
        **_LOOP,
    },
    "fr-pretrain-mixup": {
        **_same(
            {
                "pretraining": 3.0,
                "mask_ratio": 0.75,
                "decoder_width": 2 / 3,
                "decoder_depth": 8,
                "normalize_patches": False,
                "pretraining_rate": 3.4e-4,
                "finetuning_rate": 1.5e-4,
                "decay": 0.05,
                "facemix_share": 0.25,
                "mixing": "facemix",
                "label_smoothing": 0.1,
                "threshold": 0.7,
                "unlabeled_weight": 5.0,
            }
        ),
        "in_place_mixing": (False, "released.in_place_mixing"),
        "second_split": (False, "released.second_split"),
        "first_average": (False, "released.first_average"),
        "constant_rate": (False, "released.constant_rate"),
    },
}

RECIPES_V1: Mapping[str, Mapping[str, JsonValue]] = {"small-vit": {"learning_rate": 1e-3}}
"""Recipe fields that 0.1 tuned per backbone family, in all protocols; its records do not name them."""

ADDED_SINCE: Mapping[str, Mapping[str, JsonValue]] = {
    "leaf": {"margin.update": "epoch", "margin.momentum": 0.99},
    "dtm": {
        "floor": 0.8,
        "weak_views": 1,
        "normalized": False,
        "released.augmented_statistics": False,
        "released.separate_forwards": False,
        "released.state_decay": 0.0,
    },
}
"""Options added since 0.1, with the value that reproduces the behaviour of 0.1."""


def names_since_version_1(method: str) -> dict[str, str]:
    """Map the name in 0.1 to the present name, for each option of a method that was renamed."""
    return {name: now for name, (_, now) in OPTIONS_V1.get(method, {}).items() if now != name}


def has_version_1(method: str, config: Mapping[str, Any]) -> bool:
    """Whether a record's options of a method have the names of 0.1.

    A present group may have the name of an old option, so mappings do not count.
    """
    return any(name in config and not isinstance(config[name], Mapping) for name in names_since_version_1(method))


def in_names_of_today(method: str, config: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return a record's options of a method by their present names, in groups, with the options added since."""
    added = ADDED_SINCE.get(method, {})
    if has_version_1(method, config):
        names = names_since_version_1(method)
        options = {names.get(name, name): value for name, value in config.items()}
    else:
        options = dict(flat(config, {name.rpartition(".")[0] for name in added}))
    return nested({**added, **options})


def recipe_of_today(protocol: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return a record's protocol fields, with the recipe fields added since 0.1."""
    weak = protocol.get("weak")
    since = {"weak": {"padding_share": 0.0, **weak}} if isinstance(weak, Mapping) else {}
    return {"stored_size": None, "ema_ramp": True, **protocol, **since}


def config_of_today(record: Record) -> RecordConfig:
    """Return a record's configuration with the present fields of the recipe and the present names of options."""
    method = in_names_of_today(record.cell.method, record.config.method)
    return record.config.model_copy(update={"protocol": recipe_of_today(record.config.protocol), "method": method})


def option_problems(method: str, config: Mapping[str, Any], overrides: Mapping[str, Any]) -> list[str]:
    """Return the problems of a record's options: wrong names or types for 0.1, and overrides that were not used."""
    problems = []
    if has_version_1(method, config):
        options = OPTIONS_V1[method]
        problems += [f"option {name} is missing" for name in sorted(options.keys() - config.keys())]
        problems += [f"ferbench 0.1 has no option {name}" for name in sorted(config.keys() - options.keys())]
        problems += [
            f"option {name} is {config[name]!r}, which has another type than the default {default!r}"
            for name, (default, _) in options.items()
            if name in config and _kind(config[name]) is not _kind(default)
        ]
    for name, value in overrides.items():
        if (used := _at(config, name)) != value:
            problems.append(f"option {name} is {used!r}, but the cell asks for {value!r}")
    return problems


def _kind(value: object) -> type:
    return float if type(value) is int else type(value)


def _at(config: Mapping[str, Any], name: str) -> object:
    value: object = config
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
