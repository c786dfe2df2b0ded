"""Whatever a refusal tells a person to run does run, on the copy that was refused.

Every reader is shown every look-alike, and the commands in all that is said are collected and run.
"""

import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest
from tests.support.command import call

import ferbench.execution.api
from ferbench.cli.main import main
from ferbench.data.prepare.registered_copies import open_reader
from ferbench.data.prepare.which_reader import check_layout, prepare_commands
from ferbench.discovery.loader import load_registry
from ferbench.errors import DataError, FerbenchError
from ferbench.execution import devices

from fer_lookalikes import MODULES, fer2013_folders, ferplus, ferplus_label_csv, raf_db_poster
from fer_lookalikes.expected import write, write_image

REGISTRY = load_registry()
READERS = [name for name, entry in sorted(REGISTRY.entries["datasets"].items()) if entry.load().needs_root]
ANYBODYS = {name for name in READERS if REGISTRY.get("datasets", name).load().needs_name}
COMMAND = re.compile(r"(?:`|: )(ferbench [^`\n]+?)(?:`|$)", re.M)

look_alikes = pytest.mark.parametrize("look_alike", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(devices, "visible_gpus", lambda: [])  # without a GPU, `prepare` prints two commands


def commands_in(text: str) -> list[list[str]]:
    return [shlex.split(command)[1:] for command in COMMAND.findall(text)]


def refusal(name: str, root: Path) -> str:
    """What `prepare` would say of a layout that is another reader's; empty where it is this one's."""
    reader = open_reader(REGISTRY.get("datasets", name), root, "mine" if name in ANYBODYS else None)
    try:
        check_layout(REGISTRY, name, reader)
    except DataError as error:
        return str(error)
    return ""


@pytest.mark.slow
@look_alikes
def test_every_command_in_a_refusal_runs(tmp_path: Path, look_alike: ModuleType) -> None:
    root = tmp_path / "copy"
    own = look_alike.build(root)
    refusals = {name: refusal(name, root) for name in READERS if name not in own}
    refused = {name: text for name, text in refusals.items() if text}
    if any(sample.label for samples in own.values() for sample in samples):
        assert len(refused) > len(READERS) / 2, "the readers of other layouts refuse this one"
    commands = {tuple(words) for text in refused.values() for words in commands_in(text)}
    assert all(commands_in(text) for text in refused.values()), "each refusal has one"
    for words in commands:
        follow(list(words))


def follow(words: list[str], most: int = 3) -> None:
    """Run a command, and what it says to run where it refuses: something is left over, or a class is missing."""
    done = call(*words, "--check", "--workers", "1")
    if done.code:
        further = commands_in(done.err)
        assert further and most, f"{shlex.join(words)}: {done.err}"
        follow(further[-1], most - 1)


@pytest.mark.slow
@look_alikes
def test_no_reader_names_another(tmp_path: Path, look_alike: ModuleType) -> None:
    """Only `prepare` does, as it has tried the other; so no two can send to each other."""
    look_alike.build(tmp_path)
    for name in READERS:
        if REGISTRY.get("datasets", name).load().marks:
            continue
        reader = open_reader(REGISTRY.get("datasets", name), tmp_path, "mine" if name in ANYBODYS else None)
        try:
            for _ in reader.samples():
                pass
        except FerbenchError as error:
            told = str(error).replace(str(tmp_path), "")
            assert not [other for other in READERS if f"'{other}'" in told or f"prepare {other}" in told]


@pytest.mark.slow
@look_alikes
def test_a_folder_without_a_description_is_answered_with_its_reader(tmp_path: Path, look_alike: ModuleType) -> None:
    root = tmp_path / "some copy"
    own = look_alike.build(root)
    done = call("run", "--method", "fixmatch", "--dataset", str(root), "--ratio", "0.05", "--runs", str(tmp_path / "r"))
    assert done.code == 4
    named = [words[1] for words in commands_in(done.err)]
    # The tar files of that pool have labels beside some images.
    assert set(named) & {*own, "shards" if "webdataset" in own else ""}, done.err
    assert all(words[0] == "prepare" and words[3] == str(root) for words in commands_in(done.err))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reader", "build"),
    [("raf-db", raf_db_poster.build), ("fer2013-folders", fer2013_folders.build)],
    ids=["raf-db", "fer2013-folders"],
)
def test_what_was_prepared_is_run_by_the_command_that_is_printed(  # type: ignore[no-untyped-def]
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str, build
) -> None:
    build(tmp_path / "copy")
    done = call("prepare", reader, "--root", str(tmp_path / "copy"), "--workers", "1")
    monkeypatch.setattr(ferbench.execution.api, "execute", lambda *_: [])  # all is planned, nothing is trained
    standard, for_a_cpu = commands_in(done.out)
    for words in (standard, for_a_cpu):
        assert words[0] == "run" and main([*words, "--runs", str(tmp_path / "runs")]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("subjects", [False, True])
def test_a_set_without_a_test_split_is_not_run_as_if_it_had_one(tmp_path: Path, subjects: bool) -> None:
    for number in range(12):
        write_image(tmp_path / f"copy/happy/{number}.png", 10 * number)
        write_image(tmp_path / f"copy/sad/{number}.png", 10 * number + 5)
    rows = [f"{name}/{n}.png,{name},s{n if subjects else ''}" for name in ("happy", "sad") for n in range(12)]
    write(tmp_path / "copy/manifest.csv", "\n".join(["path,label,subject", *rows]))
    done = call("prepare", "manifest", "--name", "mine", "--root", str(tmp_path / "copy"), "--workers", "1")
    words = commands_in(done.out)[0]
    option = "--dataset" if subjects else "--test-on"
    assert words[words.index(option) + 1] == "mine"
    assert ("subject-folds-v1" in words) == subjects
    assert call(*words, "--dry-run", "--runs", str(tmp_path / "runs")).code == 0


def test_run_names_the_command_that_prepares_a_folder(tmp_path: Path) -> None:
    fer2013_folders.build(tmp_path / "fer2013")
    done = call("run", "--method", "fixmatch", "--dataset", str(tmp_path / "fer2013"), "--ratio", "0.05")
    own, anybodys = commands_in(done.err)
    assert (done.code, own) == (4, ["prepare", "fer2013-folders", "--root", f"{tmp_path}/fer2013"])
    assert anybodys[1:2] + anybodys[4:] == ["image-folder", "--name", "my-fer2013"], "the name is not that of a reader"
    for words in (own, anybodys):
        assert call(*words, "--check", "--workers", "1").code == 0


def test_the_rule_that_was_asked_for_is_kept(tmp_path: Path) -> None:
    ferplus.build(tmp_path / "tables")
    ferplus_label_csv.build(tmp_path / "folders")
    assert "prepare ferplus-label-csv-argmax --root" in refusal("ferplus-argmax", tmp_path / "folders")
    assert "prepare ferplus-multi-target --root" in refusal("ferplus-label-csv-multi-target", tmp_path / "tables")


def test_a_folder_in_a_folder_is_looked_into(tmp_path: Path) -> None:
    write_image(tmp_path / "a/b/Happy/1.png")
    write_image(tmp_path / "a/b/Sad/1.png")
    write(tmp_path / "a/.DS_Store")
    (command,) = prepare_commands(REGISTRY, tmp_path)
    assert f"prepare image-folder --root {tmp_path}/a/b --name b`" in command


def test_where_nothing_fits_nothing_is_named(tmp_path: Path) -> None:
    write(tmp_path / "notes.txt", "no images")
    assert prepare_commands(REGISTRY, tmp_path) == []
    done = call("run", "--method", "fixmatch", "--dataset", str(tmp_path), "--ratio", "0.05")
    assert (done.code, "no dataset.json here" in done.err) == (4, True)
