"""`ferbench plugins new`: a package with a working example of a kind, rendered from `templates/`."""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2

from ferbench.discovery.registry import Registry
from ferbench.errors import DataError, UsageError
from ferbench.version import __version__

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_VERSION = re.compile(r"-v\d+$")


@dataclass(frozen=True)
class Example:
    """The parts of a kind's package: what it registers, and how it is used (`{name}` is the registered name).

    Without a `target` it registers a class that is named after the plugin.
    """

    summary: str
    use: str
    target: str = ""


EXAMPLES: Mapping[str, Example] = {
    "method": Example(
        "Pseudo-labels of weak views train strong views, weighted by their confidence",
        "ferbench run --method supervised,{name} --ratio 0.05 --seed 0",
    ),
    "head": Example(
        "Scaled cosines between features and a direction of each class",
        "ferbench run --method fixmatch --head {name} --ratio 0.05 --seed 0",
    ),
    "backbone": Example(
        "Three convolutions; trains on a CPU",
        "ferbench run --method fixmatch --backbone {name} --ratio 0.05 --seed 0",
        "build",
    ),
    "dataset": Example(
        "Images with a list of labels",
        "ferbench prepare {name} --root DIR && ferbench run --dataset {name} --method fixmatch --ratio 0.05 --seed 0",
    ),
    "protocol": Example(
        "2 and 20 % of the labels, seeds 0 to 2",
        "ferbench run --protocol {name} --method supervised,fixmatch --ratio 0.02 --seed 0-2",
        "PROTOCOL",
    ),
    "view": Example(
        "Brighter or darker images",
        'grep -n "view(" ferbench_*/view.py   # a method asks for it by view("{name}")',
        "make",
    ),
    "executor": Example(
        "Processes of this machine with a lower priority",
        "ferbench run --executor {name} --executor-option nice=5 --method fixmatch --ratio 0.05 --seed 0",
    ),
    "command": Example("Count the records of each method", "ferbench {name} --runs runs", "command"),
}


def write_plugin(registry: Registry, kind: str, name: str, parent: Path) -> tuple[Path, str]:
    """Write `parent/ferbench-NAME`; return it and the name that it registers. Existing files are not touched."""
    name = name.removeprefix("ferbench-")
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"plugin name '{name}': use lower-case letters, digits and single hyphens, as in 'soft-labels'; "
            "the first is a letter"
        )
    # Results name their protocol, so an edited protocol needs another name.
    registered = f"{name}-v1" if kind == "protocol" and not _VERSION.search(name) else name
    if registered in registry.entries[f"{kind}s"]:
        owner = registry.entries[f"{kind}s"][registered].distribution
        raise UsageError(f"a {kind} '{registered}' exists already (of {owner}); choose another name")
    folder = parent / f"ferbench-{name}"
    files = _render(kind, name, registered)
    if _names_clash(files):
        raise UsageError(f"plugin name '{name}': is a word that its Python files need; choose another name")
    try:
        folder.mkdir(parents=True)
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    except FileExistsError:
        raise UsageError(f"{folder} exists already; choose another name or --dir") from None
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror}); choose another place with --dir") from error
    return folder, registered


def _render(kind: str, name: str, registered: str) -> dict[Path, str]:
    """The files of the package by relative path."""
    module, example = f"ferbench_{name.replace('-', '_')}", EXAMPLES[kind]
    class_name = "".join(part.capitalize() for part in name.split("-"))
    values = {
        "kind": kind,
        "name": name,
        "registered": registered,
        "module": module,
        "class_name": class_name,
        "target": example.target or class_name,
        "summary": example.summary,
        "use": example.use.format(name=registered),
        "ferbench_version": __version__,
    }
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    files = {}
    for template in (f for part in ("common", kind) for f in environment.list_templates() if f.startswith(f"{part}/")):
        path = template.partition("/")[2].removesuffix(".j2").replace("package/", f"{module}/")
        files[Path(path)] = environment.get_template(template).render(values)
    return files


def _names_clash(files: Mapping[Path, str]) -> bool:
    """Whether the name of the class or module is a word of Python, or one that the same file imports."""
    for path, text in files.items():
        if path.suffix == ".py":
            try:
                nodes = list(ast.walk(ast.parse(text)))
            except SyntaxError:
                return True
            imported = {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
            if imported & {node.name for node in nodes if isinstance(node, ast.ClassDef | ast.FunctionDef)}:
                return True
    return False
