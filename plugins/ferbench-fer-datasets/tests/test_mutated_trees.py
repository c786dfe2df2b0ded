"""A thousand changed copies, each through `prepare --check`: read as the original was, or refused for a stated reason.

A number makes the same copy each time: `pytest -k 'copy[137]'`.
"""

import hashlib
import os
import random
import re
import shlex
import shutil
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.support.command import Outcome, call
from tests.support.ordinary_user import ordinary_user
from tests.support.time_limit import time_limit

import ferbench.contract.account
import ferbench.readers.account
import ferbench.reporting.data_card  # it imports torch, which takes longer than a command
from ferbench.contract.account import Account
from ferbench.contract.dataset import Dataset, Sample
from ferbench.data.prepare.decode import UNDECODABLE, decode_face
from ferbench.errors import FerbenchError
from ferbench.readers.paths import ImageFiles

from fer_lookalikes import MODULES
from fer_lookalikes.damaging import IMAGES, SECRET, Tree, plant
from fer_lookalikes.expected import open_set
from fer_lookalikes.mutations import mutate, shift_labels
from fer_lookalikes.surviving import SECRETS, Known, given, of_undamaged, opened, survivors
from fer_lookalikes.watching import nothing_read_in

TREES, QUICK = 1000, 30
OPTIONS = ("--check", "--workers", "1", "--size", "8")
UNUSED, OTHERWISE = "look like data and are not used", "must be read in another way"
BY_A_SYSTEM = ("__macosx", "@eadir", "thumbs.db", "desktop.ini")
HINT = re.compile(r"^to (?:use it|leave it unused): ferbench (.*)$|`ferbench (prepare .*?)`", re.M)

Given = tuple[Any, ...]
"""Split, label, subject, video and box of an image."""


@dataclass(frozen=True)
class Case:
    """A copy, which set a reader makes of it, and what the original had."""

    tree: Tree
    name: str
    known: Known
    steps: list[str]

    @property
    def command(self) -> tuple[str, ...]:
        named = ("--name", "mine") if open_set(self.name, self.tree.root).needs_name else ()
        return ("prepare", self.name, "--root", str(self.tree.root), *named, *OPTIONS)

    def original(self, content: str) -> str:
        """The image that one in another format was made of, each by the SHA-256 of its file."""
        same = {_sha256(made): _sha256(before) for made, before in self.tree.same.items()}
        return same.get(content, content)


# -- cases -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Look-alikes whose images differ in their last bytes, each made once."""

    @cache
    def build(module: ModuleType) -> tuple[Path, list[str]]:
        root = tmp_path_factory.mktemp("original")
        names = sorted(module.build(root))
        for path in root.rglob("*"):
            if path.suffix.lower() in IMAGES and path.is_file():
                path.write_bytes(path.read_bytes() + path.relative_to(root).as_posix().encode().rjust(64))
        return root, names

    return build


def make(number: int, folder: Path, build: Any) -> Case:
    """The copy of a number: damaged in up to two ways, then changed in one to three."""
    module = MODULES[number % len(MODULES)]
    source, names = build(module)
    chance = random.Random(f"{number} {module.__name__}")
    tree = Tree(folder / "root", folder / "outside", chance)
    shutil.copytree(source, tree.root)
    plant(tree.outside)
    name = chance.choice(names)
    known = of_undamaged(name, tree.root)
    if chance.random() < 0.06:
        steps = [shift_labels(tree)]
    else:
        steps = [tree.damage() for _ in range(chance.choice((0, 0, 0, 1, 2)))]
        steps += [mutate(tree) for _ in range(chance.choice((1, 1, 2, 3)))]
    return Case(tree, name, known, steps)


# -- what must hold --------------------------------------------------------------------------------------------------


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[Dataset, Account]]:
    """The accounts that commands take, with the names of all parts."""
    accounts: list[tuple[Dataset, Account]] = []
    take = ferbench.readers.account.take_account

    def remember(dataset: Dataset) -> Account:
        accounts.append((dataset, take(dataset)))
        return accounts[-1][1]

    monkeypatch.setattr(ferbench.readers.account, "take_account", remember)
    monkeypatch.setattr(ferbench.contract.account, "EXAMPLES", 10**9)
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "cache"))
    return accounts


@pytest.mark.parametrize(
    "number", [*range(QUICK), *(pytest.param(n, marks=pytest.mark.fuzz) for n in range(QUICK, TREES))]
)
def test_a_changed_copy(tmp_path: Path, build: Any, taken: list[tuple[Dataset, Account]], number: int) -> None:
    case = make(number, tmp_path, build)
    print(case.name, *case.steps, sep="\n")
    done = quietly(case, case.command)
    dataset, account = taken[-1] if taken else (open_set(case.name, case.tree.root), None)
    followed = [quietly(case, command) for command in hints(done)]
    for path, mode in case.tree.locked.items():
        if path.exists():
            path.chmod(mode)
    if account is not None and not refused(done, account):
        check_what_is_kept(case, dataset.info.rule)
    if account is not None and done.code == 0:
        check_what_is_not_kept(case, account)
    for hint, then in zip(hints(done), followed, strict=True):
        assert then.err != done.err, f"{hint} changes nothing"
        assert "--ignore" not in hint or UNUSED not in then.err, f"{hint} is not enough: {then.err}"


def quietly(case: Case, command: tuple[str, ...]) -> Outcome:
    """A command that ends well or with an error of ferbench's own, in time, and reads nothing outside the root."""
    with (
        time_limit(),
        ordinary_user(),
        warnings.catch_warnings(record=True) as caught,
        nothing_read_in(case.tree.outside),
    ):
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", ResourceWarning)
        done = call(*command)
    said = done.out + done.err
    assert done.code in (0, 4), said
    assert not [words for words in ("Traceback", "this is a bug", SECRET) if words in said], said
    assert all(char.isprintable() or char == "\n" for char in said)
    assert [str(warning.message) for warning in caught] == []
    assert ("error: " in done.err) == bool(done.code) and len(done.err) < 50_000
    return done


def hints(done: Outcome) -> list[tuple[str, ...]]:
    """The commands that a refusal names."""
    found = [first or second for first, second in HINT.findall(done.err)]
    return [(*shlex.split(command), *OPTIONS) for command in found]


def refused(done: Outcome, account: Account) -> bool:
    """Whether nothing of the copy is kept until somebody has changed it, or says what is what."""
    return bool(done.code) and (UNUSED in done.err or OTHERWISE in done.err or bool(account.unknown_labels))


def check_what_is_kept(case: Case, rule: str) -> None:
    """An image that is kept has the label, the split and the box of the original."""
    untouched = survivors(case.tree, case.known)
    truth: dict[str, set[Given]] = {}
    for key, (_, about) in case.known.items():
        truth.setdefault(about[-1], set()).add(_hashable(about[:-1]) if key in untouched else ())
    for key, (*about, content) in kept(case):
        assert content not in SECRETS
        said = truth.get(case.original(content))
        if said is None and key in untouched:
            said = {_hashable(case.known[key][1][:-1])}
        if said is None or () in said:
            continue  # nobody has said of it what it is, or a line that is another one now
        found = {_as_told(case.name, rule, each) for each in said}
        assert _as_told(case.name, rule, _hashable(about)) in found, key


def _as_told(name: str, rule: str, about: Given) -> Given:
    """What must be equal: a validation split may be the test split where the rule says so."""
    split, *others = about
    if "validation folder is the test split" in rule and split == "validation":
        split = "test"
    # People of anybody's list are known by a column of that name, and unknown without it.
    return (split, others[0], others[-1]) if name == "manifest" else (split, *others)


def kept(case: Case) -> Iterator[tuple[str, Given]]:
    """The images that can be decoded, as a reader gives them."""
    dataset, files = opened(case.name, case.tree.root), ImageFiles(case.tree.root)
    try:
        samples = [entry for entry in dataset.samples() if isinstance(entry, Sample)]
    except FerbenchError:
        return
    for sample in samples:
        try:
            with warnings.catch_warnings(action="ignore"):
                decode_face(files.read(sample), sample.box, dataset.crop)
        except UNDECODABLE:
            continue
        yield sample.id, given(sample, case.tree.root)


def check_what_is_not_kept(case: Case, account: Account) -> None:
    """With exit code 0 every file is in the account, and no image of the original has vanished."""
    names = {name for line in account.lines for name in line.examples}
    left = {case.original(about[-1]) for _, about in kept(case)}
    untouched = {about[-1] for key, (_, about) in case.known.items() if key in survivors(case.tree, case.known)}
    for path in _files(case.tree.root):
        name = path.relative_to(case.tree.root).as_posix()
        assert name in names or account.key(path) in account.touched, f"{name} is not in the account"
        if not any(part[0] == "." or part.lower() in BY_A_SYSTEM for part in name.split("/")):
            content = case.original(_sha256(path.read_bytes()))
            assert content not in untouched or content in left, f"{name} has vanished"


def _files(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        paths = [Path(folder, name) for name in names]
        yield from (path for path in paths if path.is_file() and not path.is_symlink())


def _hashable(about: Any) -> Given:
    return tuple(tuple(sorted(part.items())) if isinstance(part, Mapping) else part for part in about)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
