"""What is published: built as a release is, or as it lies in the folder that DIST names."""

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Mapping
from email.parser import Parser
from pathlib import Path, PurePosixPath
from typing import Any

import click
import pytest

from ferbench.discovery.loader import builtin_registry
from ferbench.version import __version__

ROOT = Path(__file__).parents[2]
PROJECTS = {
    path.parent: tomllib.loads(path.read_text())
    for path in [ROOT / "pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml")]
}
NAMES = [str(content["project"]["name"]) for content in PROJECTS.values()]


def project(name: str) -> tuple[Path, Mapping[str, Any]]:
    return next((folder, content) for folder, content in PROJECTS.items() if content["project"]["name"] == name)


def committed(folder: Path) -> set[str]:
    """The files below a folder that git knows, relative to it."""
    if not (ROOT / ".git").exists():
        pytest.skip("not in a clone")
    done = subprocess.run(["git", "ls-files", "-z"], cwd=folder, capture_output=True, text=True, check=True)
    return {name for name in done.stdout.split("\0") if name and (folder / name).exists()}


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the sdists, and of wheels made of them."""
    if place := os.environ.get("DIST"):
        return Path(place)
    out = tmp_path_factory.mktemp("dist")
    for folder in PROJECTS:
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "--directory", str(out)],
            cwd=folder,
            check=True,
            capture_output=True,
        )
    return out


def files_of(dist: Path, name: str) -> tuple[set[str], set[str], Any]:
    """The names of a distribution's files in its wheel and in its sdist, and the metadata of the wheel."""
    module = name.replace("-", "_")
    (wheel,), (sdist,) = dist.glob(f"{module}-{__version__}-*.whl"), dist.glob(f"{module}-{__version__}.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        inner = set(archive.namelist())
        metadata = Parser().parsestr(archive.read(f"{module}-{__version__}.dist-info/METADATA").decode())
    with tarfile.open(sdist) as archive:
        members = {str(PurePosixPath(*PurePosixPath(each.name).parts[1:])) for each in archive if each.isfile()}
    return inner, members, metadata


def test_all_distributions_have_one_version() -> None:
    for folder, content in PROJECTS.items():
        text = (folder / content["tool"]["hatch"]["version"]["path"]).read_text()
        assert re.findall(r'^__version__ = "(.+)"$', text, re.MULTILINE) == [__version__], folder
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_all_is_every_plugin_and_every_extra_for_people() -> None:
    extras = PROJECTS[ROOT]["project"]["optional-dependencies"]
    wanted = [requirement.partition("[")[0] for requirement in extras["all"]]
    assert sorted(wanted) == sorted(NAMES)
    own = set(re.findall(r"\[(.+)\]", extras["all"][0])[0].split(","))
    assert own == extras.keys() - {"all", "test", "browser", "lint", "dev", "release", "docs"}


def test_the_lock_has_versions_and_hashes_and_names_no_place() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text and "index" not in text
    entries = re.split(r"(?m)^(?=[a-z0-9])", text)[1:]
    for entry in entries:
        assert re.fullmatch(r"[a-z0-9._-]+==\S+( ; .+?)?( \\\n    --hash=sha256:[0-9a-f]{64})+\n", entry), entry
    locked = {entry.partition("==")[0] for entry in entries}
    own = {name.lower() for name in NAMES}
    for folder, content in PROJECTS.items():
        extras = content["project"].get("optional-dependencies", {})
        needed = [
            *content["project"]["dependencies"],
            *extras.get("test", ()),
            *(each for extra in ("browser", "docs", "lint") if folder == ROOT for each in extras[extra]),
        ]
        names = {re.split(r"[<>=!~\[ ;]", requirement)[0].lower() for requirement in needed}
        assert names - own <= locked, f"run `make lock`: {names - own - locked}"


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("name", NAMES)
def test_a_distribution_has_its_files_and_no_others(dist: Path, name: str) -> None:
    folder, content = project(name)
    inner, members, metadata = files_of(dist, name)
    module = name.replace("-", "_")
    known = committed(folder)
    package = {file for file in known if file.startswith(f"{module}/")}
    info = f"{module}-{__version__}.dist-info/"
    for source, place in content["tool"]["hatch"]["build"]["targets"]["wheel"].get("force-include", {}).items():
        package |= {file.replace(source, place, 1) for file in known if file.startswith(f"{source}/")}
    assert {file for file in inner if not file.startswith(info)} == package
    assert f"{module}/py.typed" in inner and f"{info}licenses/LICENSE" in inner
    assert (metadata["Version"], metadata["Requires-Python"]) == (__version__, ">=3.11")
    assert metadata["Description-Content-Type"] == "text/markdown" and metadata.get_payload().startswith("# ")
    entry_points = content["project"].get("entry-points", {})
    assert (f"{info}entry_points.txt" in inner) == bool(entry_points or content["project"].get("scripts"))
    assert {"PKG-INFO", "pyproject.toml", "README.md", "LICENSE"} <= members
    included = tuple(path.lstrip("/") for path in content["tool"]["hatch"]["build"]["targets"]["sdist"]["include"])
    wanted = {file for file in known if file in included or file.startswith(tuple(f"{each}/" for each in included))}
    assert members - {"PKG-INFO", ".gitignore"} == wanted | {"pyproject.toml", "README.md", "LICENSE"}


@pytest.mark.slow
@pytest.mark.process
def test_every_verb_has_a_man_page(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / ".ci" / "man", tmp_path], check=True)
    pages = {path.name: path.read_text() for path in tmp_path.glob("*.1")}
    builtins = builtin_registry().entries["commands"]
    assert {f"ferbench-{name}.1" for name in builtins} | {"ferbench.1", "ferbench-leaderboard-build.1"} <= pages.keys()
    for name, entry in builtins.items():
        assert name in pages["ferbench.1"]
        # A hyphen may be a minus to troff.
        text = pages[f"ferbench-{name}.1"].replace("\\-", "-")
        for option in entry.load().params:
            assert isinstance(option, click.Argument) or option.hidden or option.opts[0] in text
