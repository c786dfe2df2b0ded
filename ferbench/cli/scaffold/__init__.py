"""`ferbench plugins new`: a package with a working method, rendered from `templates/`."""

import keyword
import re
from pathlib import Path

import jinja2

from ferbench.discovery.registry import Registry
from ferbench.errors import DataError, UsageError
from ferbench.version import __version__

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def write_plugin(registry: Registry, name: str, parent: Path) -> Path:
    """Write `parent/ferbench-NAME` and return it; nothing that exists is touched."""
    name = name.removeprefix("ferbench-")
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise UsageError(
            f"plugin name '{name}': use lower-case letters, digits and single hyphens, as in 'soft-labels'; "
            "the first is a letter"
        )
    if name in registry.entries["methods"]:
        owner = registry.entries["methods"][name].distribution
        raise UsageError(f"a method '{name}' exists already (of {owner}); choose another name")
    folder = parent / f"ferbench-{name}"
    files = _render(name)
    try:
        folder.mkdir(parents=True)
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    except FileExistsError:
        raise UsageError(f"{folder} exists already; choose another name or --dir") from None
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror}); choose another place with --dir") from error
    return folder


def _render(name: str) -> dict[Path, str]:
    """The files of the package by relative path."""
    module = f"ferbench_{name.replace('-', '_')}"
    values = {
        "name": name,
        "module": module,
        "class_name": "".join(part.capitalize() for part in name.split("-")),
        "ferbench_version": __version__,
    }
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    files = {}
    for template in environment.list_templates(extensions=["j2"]):
        target = template.removesuffix(".j2").replace("package/", f"{module}/")
        files[Path(target)] = environment.get_template(template).render(values)
    return files
