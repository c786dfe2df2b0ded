"""Find options of a method that have no effect: vary each option, and note which options are read."""

import types
import typing
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Literal

from pydantic import ValidationError

from ferbench.cells.resolve import option_values
from ferbench.conformance.toy_run import Ended
from ferbench.contract.method import Method, MethodConfig
from ferbench.errors import FerbenchError
from ferbench.records.dotted import nested

QUICK, LONG = 4, 20  # steps of the runs that are compared
TRIED = 2  # number of other values of an option in each variant
WHOLE = ("model_dump", "model_dump_json", "model_copy", "__dict__", "__iter__")
"""Attributes through which all options of a group can be read."""


def ignored_options(
    method: type[Method], configs: Sequence[MethodConfig], run: Callable[..., Ended]
) -> tuple[list[str], list[str], list[str]]:
    """Return the options that no code reads, those that are read but had no effect, and those without a second value.

    An option counts as read if any run reads it, because many options matter only for one value of another option.
    """
    readings = _Readings()
    names = list(configs[0].option_fields())
    idle = {name: list(_varied(method, configs, name)) for name in names}
    unvaried = [name for name in names if not idle[name]]
    for steps, tried in ((QUICK, None), (LONG, 1)):
        ends = [_end(run, readings.watched(config), steps) for config in configs]
        for name in [name for name in names if idle.get(name)]:
            others = idle[name][:tried]
            if any(_end(run, readings.watched(varied), steps) != ends[base] for base, varied in others):
                del idle[name]
    unread = [name for name in idle if name not in readings.names]
    rest = [name for name in idle if name in readings.names]
    return unread, [name for name in rest if name not in unvaried], [name for name in rest if name in unvaried]


class _Readings:
    """Notes the dotted names of options that are read."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self._classes: dict[tuple[type[MethodConfig], str], type[MethodConfig]] = {}

    def watched(self, config: MethodConfig, prefix: str = "") -> MethodConfig:
        """Return a copy of the options that notes every reading."""
        copied = config.model_copy()
        for name, value in config.__dict__.items():
            if isinstance(value, MethodConfig):
                copied.__dict__[name] = self.watched(value, f"{prefix}{name}.")
        object.__setattr__(copied, "__class__", self._watching(type(config), prefix))
        return copied

    def _watching(self, config: type[MethodConfig], prefix: str) -> type[MethodConfig]:
        if (config, prefix) not in self._classes:
            names, options = self.names, {name: f"{prefix}{name}" for name in config.option_fields()}

            def read(instance: MethodConfig, name: str) -> Any:
                if name in options:
                    names.add(options[name])
                elif name in WHOLE:
                    names.update(options.values())
                return object.__getattribute__(instance, name)

            self._classes[config, prefix] = type(config.__name__, (config,), {"__getattribute__": read})
        return self._classes[config, prefix]


def _varied(method: type[Method], configs: Sequence[MethodConfig], name: str) -> Iterator[tuple[int, MethodConfig]]:
    """Yield configurations with other values of an option, each after the number of the one it was made from."""
    field = configs[0].option_fields()[name]
    for number, config in enumerate(configs):
        found = 0
        values = option_values(config)
        for value in _other_values(values[name], field.annotation):
            with suppress(ValidationError, FerbenchError, ValueError):
                varied = type(config).model_validate(nested({**values, name: value}))
                method(varied).stages()
                if varied != config:
                    yield number, varied
                    found += 1
            if found == TRIED:
                break


def _other_values(value: Any, annotation: Any) -> Iterator[Any]:
    """Yield candidates for another value, in JSON, similar ones first; some may be invalid."""
    origin = typing.get_origin(annotation)
    if origin is Literal:
        yield from (choice for choice in typing.get_args(annotation) if choice != value)
    elif origin in (typing.Union, types.UnionType):
        for part in typing.get_args(annotation):
            if part is type(None):
                yield from [] if value is None else [None]
            else:
                yield from _other_values(value if value is not None else _some(part), part)
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        kind = int if annotation is int else float
        near = (value / 2, value * 2, value + 0.5, value - 0.5, value + 1, value - 1, 0, 1, 0.25, 3)
        yield from dict.fromkeys(kind(each) for each in near)
    elif isinstance(value, list | tuple) and value:
        for first in _other_values(value[0], type(value[0])):
            yield [first, *value[1:]]


def _some(annotation: Any) -> Any:
    return {bool: False, int: 2, float: 0.3}.get(annotation)


def _end(run: Callable[..., Ended], config: MethodConfig, steps: int) -> str:
    """Return the digest of a run's result, or the text of its error."""
    try:
        return run(config, steps=steps).everything
    except Exception as error:  # a value that makes the run fail has an effect
        return repr(error)
