"""The mistakes of a first hour, each with the value, the reason and a remedy that works."""

import codecs
import json
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from ferbench.cells.cpu_recipe import cpu_options
from ferbench.discovery.loader import builtin_protocols
from ferbench.execution import devices
from ferbench.leaderboard.reported import read_paper, shipped
from ferbench.readers.description import read_description
from tests.support.command import call, succeed
from tests.unit.records.factory import make_cell, write_record

RUN = ("run", "--method", "fixmatch", "--dry-run")


@pytest.mark.parametrize(
    ("arguments", "words", "never"),
    [
        (["--ratio", "0,05"], ["--ratio 0,05", "write 0.05, with a point"], ""),
        (["--ratio", "0.05", "--epochs", "3"], ["'--epochs'", "'--set steps=...'"], "processes"),
        (["--ratio", "0.05", "--lr", "3"], ["'--set learning_rate=...'"], ""),
        (["--ratio", "0.05", "--set", "batch_size=3"], ["'--set labeled_batch=...'"], ""),
        (["--ratio", "0.05", "--epoch", "3"], ["'--set steps=...'"], ""),
        (["--ratio", "0.05", "--batch_size", "3"], ["'--set labeled_batch=...'"], ""),
        (["--ratio", "0.05", "--pretrained"], ["did you mean '--init'?"], "--retries"),
        (["--ratio", "0.05", "--labeled", "40"], ["did you mean '--labels'?"], "--unlabeled"),
        (["--ratio", "0.05", "--ulb_dataset", "x"], ["did you mean '--unlabeled'?"], ""),
        (["--ratio", "0.05", "--gpus", "3"], ["'--device'"], ""),
        (["--ratio", "0.05", "--seeds", "3"], ["did you mean '--seed'?"], ""),
        (["--ratio", "0.05", "--device", "cuda:0,1"], ["cuda:0,1", "a list of GPUs", "cuda:0-3"], ""),
        (["--ratio", "0.05", "--quux"], ["no option '--quux'", "ferbench run --help"], "did you mean"),
        (["--ratio", "0.05", "--backbone", "resnet18"], ["did you mean 'timm/resnet18'?"], "small-resnet"),
        (["--ratio", "0.05", "--backbone", "resnet50"], ["write 'timm/resnet50'"], "small-resnet"),
        (["--ratio", "0.05", "--backbone", "timm/resnet188"], ["did you mean 'timm/resnet18"], ""),
        (["--ratio", "0.05", "--protocol", "ratio"], ["did you mean 'ratio-v1'?"], ""),
        (["--ratio", "0.05", "--seed", ""], ["--seed: names nothing"], ""),
        (["--ratio", "0.05", "--dataset", "my_faces"], ["'my_faces'", "ferbench list datasets"], "synthfaces"),
        (["--ratio", "0.05", "--dataset", "./nowhere"], ["here, no such folder", "prepare image-folder"], ""),
        (["--ratio", "0.05", "--timeout", "0,5"], ["'0,5'", "write 0.5, with a point"], ""),
        (["--ratio", "0.05", "--timeout", "-5"], ["must be above 0"], "x>0"),
        (["--ratio", "0.05", "--set", "threshold=0,9"], ["threshold = '0,9'", "write 0.9, with a point"], ""),
        (["--ratio", "0.05", "--set", "lr=0.1"], ["--set lr", "'--set learning_rate=...'"], ""),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_with_what_is_meant(arguments: list[str], words: list[str], never: str) -> None:
    shown = call(*RUN, *arguments)
    assert shown.code in (2, 4)
    for word in words:
        assert word in shown.err
    assert not never or never not in shown.err


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["export", ".", "--output", "x"], "--out"),
        (["status", "--output", "x"], "--runs"),
        (["run", "--out", "x"], "--runs"),
    ],
)
def test_options_of_other_programs_are_answered_with_those_of_the_verb(arguments: list[str], option: str) -> None:
    assert f"did you mean '{option}'?" in call(*arguments).err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('method = "fixmatch"\n', ["'method' is not in a table", "[run]"]),
        ('methode = "fixmatch"\n', ["'methode'", "did you mean 'method'?", "[run]"]),
        ("[run]\nepochs = 3\n", ["'epochs'", "set = { steps = ... }"]),
        ('[runs]\nmethod = "fixmatch"\n', ["[runs]", "did you mean 'run'?"]),
        ("", ["no options", "[run]"]),
        ('[run]\njobs = "two"\n', ["jobs = 'two'", "integer"]),
        ('[run]\nratio = "0,05"\n', ["ratio = '0,05'", "write 0.05"]),
        ('[run]\nseed = ["0..4"]\n', ["0..4", "such as 0-4"]),
    ],
)
def test_a_file_of_options_is_named_with_what_is_wrong_in_it(tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text(text)
    shown = call("run", "--config", str(path), "--method", "fixmatch", "--ratio", "0.05", "--dry-run")
    assert shown.code == 2
    for word in (str(path), *words):
        assert word in shown.err


def test_a_missing_choice_is_answered_in_one_line() -> None:
    assert "Missing option '--to'. Choose from: onnx, safetensors, card; see" in call("export", ".", "--out", "x").err


def test_a_byte_order_mark_is_read_in_what_people_write(tmp_path: Path) -> None:
    sweep = tmp_path / "sweep.toml"
    sweep.write_bytes(codecs.BOM_UTF8 + b'[run]\r\nmethod = "fixmatch"\r\nratio = [0.05, 0.1]\r\nseed = "3"\r\n')
    assert "2 cells, 2 to run" in succeed("run", "--config", str(sweep), "--dry-run", "--runs", str(tmp_path / "runs"))
    (tmp_path / "dataset.json").write_bytes(codecs.BOM_UTF8 + json.dumps({"name": "mine"}).encode())
    assert read_description(tmp_path)[2].name == "mine"
    paper = next(shipped().glob("*.toml"))
    assert tomllib.loads(paper.read_text("utf-8"))
    (tmp_path / paper.name).write_bytes(codecs.BOM_UTF8 + paper.read_bytes())
    assert read_paper(tmp_path / paper.name) == read_paper(paper)


def test_who_looks_into_an_empty_folder_is_told_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FERBENCH_RUNS", raising=False)
    assert f"no records under runs ({tmp_path / 'runs'}, which does not exist)" in succeed("status")
    assert f"runs ({tmp_path / 'runs'}, which does not exist)" in call("verify").err
    (tmp_path / "runs").mkdir()
    assert f"no records under runs ({tmp_path / 'runs'});" in succeed("status")
    assert str(tmp_path / "runs") in call("logs", "fixmatch").err
    assert str(tmp_path / "runs") in call("compare", "fixmatch", "supervised").err


def test_reproduce_takes_a_folder_above_a_run_and_names_what_it_cannot_read(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    shown = call("reproduce", str(empty))
    assert shown.code == 2 and f"{empty}: no record.json in this folder or below" in shown.err
    path = write_record(tmp_path / "runs", make_cell())
    assert "ferbench run --method fixmatch" in succeed("reproduce", str(tmp_path / "runs"))
    fields = json.loads(path.read_text())
    for commit, named in (("0a" * 20, True), ("$(touch pwned)", False)):
        path.write_text(json.dumps({**fields, "git": {"commit": commit, "dirty": False}}))
        assert (f"in a clone: git switch --detach {commit}" in succeed("reproduce", str(path))) == named
    write_record(tmp_path / "runs", make_cell(seed=1))
    shown = call("reproduce", str(tmp_path / "runs"))
    assert shown.code == 2 and "several runs" in shown.err and str(path.parent) in shown.err
    other = tmp_path / "model.safetensors"
    other.write_bytes(b"\xff")
    for verb in ("reproduce", "report"):
        shown = call(verb, str(other))
        assert shown.code == 5 and f"{other}: " in shown.err and "name a run, which has a file record.json" in shown.err
    path.write_text("{")
    shown = call("reproduce", str(path.parent))
    assert shown.code == 5 and f"error: {path}: " in shown.err


def test_a_folder_that_is_no_class_is_answered_with_the_classes(tmp_path: Path) -> None:
    (tmp_path / "smiling").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "smiling" / "a.png")
    shown = call("prepare", "image-folder", "--root", str(tmp_path), "--name", "mine", "--check")
    assert "--class smiling=CLASS (neutral, happiness, sadness, surprise, fear, disgust, anger" in shown.out + shown.err


def test_the_recipe_for_a_cpu_is_that_of_the_built_in_faces() -> None:
    protocol = builtin_protocols()["ratio-v1"]
    words = cpu_options(protocol, "my-faces")
    assert words[:2] == ["--backbone", "small-resnet/16"]
    assert {"image_size=48", "steps=1800", "learning_rate=0.004", "weak.padding=2"} <= set(words)
    assert cpu_options(protocol, "synthfaces") == []
    assert cpu_options(builtin_protocols()["papers-v1"], "raf-db") == []


@pytest.mark.process
@pytest.mark.parametrize("gpus", [[], ["0"]])
def test_on_ones_own_data_and_no_gpu_a_recipe_for_a_cpu_is_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: list[str]
) -> None:
    monkeypatch.setattr(devices, "visible_gpus", lambda: gpus)
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "cache"))
    for split in ("train", "test"):
        for number, name in enumerate(("happy", "sad")):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            Image.new("RGB", (16, 16), (100 * number, 50, len(split))).save(folder / "a.png")
    out = succeed("prepare", "image-folder", "--root", str(tmp_path / "photos"), "--name", "mine", "--size", "16")
    offer = "suits a CPU (its results are not standard): ferbench run --method fixmatch --dataset mine --ratio 0.05 --b"
    assert (offer in out) == (not gpus)
    grid = ("run", "--dataset", "mine", "--method", "supervised", "--ratio", "0.5", "--dry-run")
    assert ("this recipe is made for a GPU" in succeed(*grid)) == (not gpus)
    assert "made for a GPU" not in succeed(*grid, "--set", "steps=20")
