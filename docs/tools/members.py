"""Functions, classes and fields of models, as the reference shows them."""

import inspect
import pkgutil
import re
from collections.abc import Iterator
from functools import cached_property
from importlib import import_module
from types import FunctionType, ModuleType
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from docs.tools.shown import Entry, Section, prose

LONGEST_LINE = 100


def modules(package: ModuleType) -> list[ModuleType]:
    """The modules of a package, by name."""
    return [import_module(found.name) for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")]


def members(module: ModuleType) -> dict[str, Any]:
    """The public classes and functions that a module defines."""
    return {
        name: member
        for name, member in vars(module).items()
        if not name.startswith("_") and (inspect.isclass(member) or inspect.isfunction(member))
        if member.__module__ == module.__name__
    }


def member_section(name: str, member: Any, level: int = 2) -> Section:
    """How a function or a class is called, what it is, and what a class has."""
    entries: list[Entry] = []
    called = f"```python\n{_signature(name.rpartition('.')[2], member)}\n```\n\n"
    if inspect.isclass(member):
        if issubclass(member, BaseModel):
            called = ""
            entries = [
                Entry(f"{field.name[:-1]}: {field.facts[0][1:]}", field.text, field.facts[1:])
                for field in fields_of(member, deep=False)
            ]
        facts = ("–",) if entries else ()
        methods = [Entry(f"`{_signature(key, value)}`", summary(value), facts) for key, value in _attributes(member)]
        entries += methods
    columns = ("default",) if any(entry.facts for entry in entries) else ()
    text = documentation(member)
    return Section(f"`{name}`", called + prose(text) if text else "", entries, columns, level)


def _attributes(member: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties that a class defines itself."""
    for key, value in vars(member).items():
        if key.startswith("_") or key in getattr(member, "__dataclass_fields__", ()):
            continue
        if isinstance(value, (property, cached_property)):
            yield key, value
        elif isinstance(value, (FunctionType, classmethod, staticmethod)):
            yield key, getattr(member, key)


def _signature(name: str, member: Any) -> str:
    """How something is called, on one line or with a line for each parameter."""
    is_error = inspect.isclass(member) and issubclass(member, Exception)
    if is_error or not callable(member):
        return name
    signature = inspect.signature(member)
    parts = [_parameter(parameter) for parameter in signature.parameters.values() if parameter.name != "self"]
    kinds = [parameter.kind for parameter in signature.parameters.values() if parameter.name != "self"]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        parts.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    returned = signature.return_annotation
    arrow = "" if returned in (inspect.Signature.empty, None) else f" -> {_type(returned)}"
    line = f"{name}({', '.join(parts)}){arrow}"
    if len(line) <= LONGEST_LINE:
        return line
    return "\n".join([f"{name}(", *(f"    {part}," for part in parts), f"){arrow}"])


def _parameter(parameter: inspect.Parameter) -> str:
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    text = f"{stars}{parameter.name}"
    if parameter.annotation is not inspect.Parameter.empty:
        text += f": {_type(parameter.annotation)}"
    default = parameter.default
    if default is inspect.Parameter.empty:
        return text
    shown = repr(default) if not callable(default) and "<" not in repr(default) else getattr(default, "__name__", "...")
    return f"{text} = {'...' if '<' in shown else shown}"


def documentation(member: Any) -> str:
    """Its own docstring; what a dataclass makes up is none."""
    text = inspect.getdoc(member) or ""
    own = not inspect.isclass(member) or "__doc__" in vars(member)
    return text if own and not text.startswith(f"{getattr(member, '__name__', '')}(") else ""


def summary(member: Any) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join((inspect.getdoc(member) or "").partition("\n\n")[0].split())


def _type(annotation: Any) -> str:
    """An annotation without the modules of its names."""
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation.__name__
    text = re.sub(r"ForwardRef\('([^']+)'[^)]*\)", r"\1", str(annotation))
    return re.sub(r"(?<!['\"\w])(?:[a-zA-Z_]\w*\.)+(?=[A-Za-z_])", "", text)


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


def fields_of(model: type[BaseModel], prefix: str = "", *, deep: bool = True) -> Iterator[Entry]:
    """The fields of a model; with `deep` those of the models in them too, as `--set` names them."""
    for name, field in model.model_fields.items():
        inner = list(models_in(field.annotation)) if deep else []
        if len(inner) == 1 and field.annotation is inner[0]:
            yield from fields_of(inner[0], f"{prefix}{name}.")
            continue
        yield Entry(f"`{prefix}{name}`", field.description or "", (f"`{_type(field.annotation)}`", _default(field)))
        for each in inner:
            place = f"{prefix}{name}." if len(inner) > 1 or not name.endswith("s") else f"{prefix}{name}.*."
            yield from fields_of(each, place)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True) if field.default_factory in (dict, list) else field.default
    return f"`{value!r}`" if not isinstance(value, BaseModel) else "–"
