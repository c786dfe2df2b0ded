"""Published numbers and runs: the commands are ones that ferbench takes, and a run's distance is by hand."""

import re
import shlex
import subprocess
import sys
import zipfile
from decimal import Decimal
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from ferbench.builtin import protocols
from ferbench.cli.run import run as run_command
from ferbench.contract.protocol import Protocol, Recipe
from ferbench.discovery.registry import Registry
from ferbench.leaderboard import reported
from ferbench.leaderboard.published import commands, distances, published_fields
from ferbench.leaderboard.reported import Origin, Published, ReportedBlock, read_paper, read_reported, shipped
from ferbench.records.cell import Budget
from ferbench.records.checks import departures
from ferbench.records.names import RowName
from tests.support.command import call
from tests.unit.records.factory import make_cell, make_history, make_predictions, make_record

ROOT = Path(__file__).parents[3]
COMMITTED = ROOT / "leaderboard" / "reported"
LABELS = Budget(count=400, allocation="adacm")


def published(method="fixmatch", budget=LABELS, percent="50.00", **changes):
    origin = {
        "citation": "Doe et al., 2026", "source": "Table 2", "address": "https://papers.example", "metric": "accuracy",
        "selected_on": "best test epoch", "protocol": "20 epochs", "backbone": "ResNet-18",
        "reproduced_by": "papers-v1", "init": None,
    }  # fmt: skip
    block = {"dataset": "raf-db", "classes": "7", "test_images": None, "note": None}
    origin |= {name: value for name, value in changes.items() if name in origin}
    block |= {name: value for name, value in changes.items() if name in block}
    return Published(ReportedBlock(Origin(**origin), **block), "Theirs", method, budget, Decimal(percent))


def record(seed=0, skill=2.0, n_test=210, method="fixmatch", **cell):
    fields = {"protocol": "papers-v1", "dataset": "raf-db", "budget": LABELS, "backbone": "timm/resnet18", **cell}
    made = make_cell(method, seed, **fields)
    return make_record(made, make_predictions(skill, seed, n_test), make_history())


# Commands


def test_one_command_measures_a_block_and_each_number_has_its_own():
    values = [
        published(method, Budget(per_class=number), reproduced_by=None)
        for method in ("pi-model", "supervised@weak")
        for number in (10, 25)
    ]
    grid = "ferbench run --dataset raf-db --classes 7 --method pi-model,supervised@weak --per-class 10,25 --seed 0-4"
    assert commands(values) == [grid]
    assert [commands([value])[0].split()[6:10] for value in values[1:3]] == [
        ["--method", "pi-model", "--per-class", "25"],
        ["--method", "supervised@weak", "--per-class", "10"],
    ]
    assert commands([published(None)]) == []
    assert published_fields([published(None), values[0]])["command"].partition(" | ")[0] == "none"


def test_ways_of_counting_labels_are_commands_of_their_own():
    values = [published(budget=budget) for budget in (Budget(ratio="0.05"), LABELS, Budget(ratio="0.1"))]
    assert commands(values) == [
        f"ferbench run --protocol papers-v1 --dataset raf-db --classes 7 --method fixmatch {labels} --seed 0-4"
        for labels in ("--ratio 0.05,0.1", "--labels 400 --allocation adacm")
    ]


def shipped_values() -> list[Published]:
    return list(read_reported(shipped()))


@pytest.mark.parametrize("value", shipped_values(), ids=lambda value: f"{value.title}-{value.block.dataset}")
def test_the_command_of_a_shipped_number_is_one_that_run_takes(value: Published, registry: Registry):
    (command,) = commands([value])
    program, verb, *words = shlex.split(command)
    assert (program, verb) == ("ferbench", "run")
    options = run_command.make_context("run", words).params
    assert options["methods"] == [value.method]
    assert options["seeds"] == [0, 1, 2, 3, 4]
    protocol: Protocol = registry.load(
        "protocols", options["protocol"] or ("ratio-v1" if options["ratios"] else "count-v1")
    )
    assert value.block.dataset in registry.names("datasets")
    cell = make_cell("fixmatch", protocol=protocol.name, budget=value.budget)
    assert departures(cell, protocol, relabels=False, selection=protocol.selection, optimizers=[]) == []
    if value.block.origin.reproduced_by:
        method = RowName.parse(str(value.method))
        assert method.variant in registry.load("methods", method.method).variants


def test_every_row_that_a_file_names_is_a_method(registry: Registry):
    pytest.importorskip("ferbench_ssl_baselines", reason="the baselines of papers are a plugin")
    named = {RowName.parse(value.method).method for value in shipped_values() if value.method}
    assert named <= set(registry.names("methods"))


def test_ada_cm_is_reproduced_by_the_papers_protocol():
    (value,) = read_paper(shipped() / "ada-cm.toml").values()
    assert commands([value]) == [
        "ferbench run --protocol papers-v1 --dataset raf-db --classes 7 --method ada-cm@released --labels 4000 "
        "--allocation adacm --init resnet18_msceleb.pth --seed 0-4"
    ]


# Distances


def test_a_distance_is_from_the_best_test_epoch_and_from_the_last_step():
    made = record(init="sha256:" + "ab" * 32)
    last, best = made.result.metrics.accuracy, made.result.oracle.accuracy
    assert best > last
    (line,) = distances([made], [published(percent="84.42")])
    assert line == (
        "fixmatch, raf-db, 400 labels (adacm): published 84.42 (best test epoch), here "
        f"{100 * best:.1f} ({100 * best - 84.42:+.1f}) at its best test epoch, {100 * last:.1f} "
        f"({100 * last - 84.42:+.1f}) at the last step "
        "(1 seed, timm/resnet18, initial weights sha256:abababababab, fp32)"
    )


def test_seeds_are_averaged_and_nets_are_not():
    made = [record(seed) for seed in (0, 1, 2)]
    mean = sum(100 * each.result.metrics.macro_f1 for each in made) / 3
    others = [record(backbone="small-resnet"), record(precision="bf16")]
    lines = list(distances([*made, *others], [published(metric="macro_f1")]))
    assert [re.findall(r"\((\d seeds?, .*?)\)", line) for line in lines] == [
        ["3 seeds, timm/resnet18, trained from scratch, fp32"],
        ["1 seed, small-resnet, trained from scratch, fp32"],
        ["1 seed, timm/resnet18, trained from scratch, bf16"],
    ]
    assert f"{mean:.1f} ({mean - 50:+.1f}) at the last step" in lines[0]
    assert "published 50.00 macro-F1 (best test epoch)" in lines[0]


@pytest.mark.parametrize(
    "cell",
    [
        {"protocol": "count-v1"},
        {"dataset": "affectnet"},
        {"classes": "8"},
        {"budget": Budget(count=4000, allocation="adacm")},
        {"budget": Budget(count=400, allocation="balanced")},
        {"variant": "released"},
        {"head": "leaf"},
        {"method": "ada-cm"},
        {"pool": "celeba"},
        {"test_on": "jaffe"},
        {"overrides": {"protocol": {"steps": 60}}},
        {"overrides": {"method": {"threshold": 0.5}}},
        {"n_test": 70},
    ],
    ids=str,
)
def test_what_is_measured_otherwise_has_no_distance(cell):
    assert list(distances([record()], [published(test_images=210)]))
    assert list(distances([record(**cell)], [published(test_images=210)])) == []


def test_only_a_protocol_that_trains_so_has_a_distance():
    assert list(distances([record()], [published(reproduced_by=None)])) == []
    assert list(distances([record(method="supervised", variant="weak")], [published("supervised@weak")]))


# Where the files are


def test_a_clone_has_them_beside_the_leaderboard():
    assert shipped() == COMMITTED


@pytest.mark.process
def test_an_installed_package_has_them_inside(tmp_path: Path):
    wheel = next(iter(WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = "from ferbench.leaderboard.reported import *; print(shipped(), len(read_reported(shipped())))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [str(tmp_path / "site/ferbench/reported"), str(len(shipped_values()))]


# After a run


SHORT = ("--set", "image_size=16", "--set", "steps=2", "--set", "labeled_batch=4", "--set", "evaluations=1")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(reported, "shipped", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_of_the_papers_protocol_ends_with_its_distance(
    folder: Path, patterns: Path, monkeypatch: pytest.MonkeyPatch
):
    small = Recipe(
        backbone="small-resnet/4", image_size=24, stored_size=16, steps=2, labeled_batch=4, unlabeled_batch=4,
        learning_rate=1e-3,
    )  # fmt: skip
    papers = protocols.PAPERS_V1.model_copy(update={"recipes": {"default": small}})
    monkeypatch.setattr(protocols, "PAPERS_V1", papers)
    entry = (COMMITTED / "ada-cm.toml").read_text()
    (folder / "ada-cm.toml").write_text(
        entry.replace('"raf-db"', '"patterns"').replace('classes = "7"', 'classes = "3"').replace("3068", "30")
        .replace('count = 4000, allocation = "adacm"', 'count = 12, allocation = "balanced"')
        .replace("ada-cm@released", "supervised@weak")
    )  # fmt: skip
    words = ("--protocol", "papers-v1", "--dataset", str(patterns), "--labels", "12", "--allocation", "balanced")
    done = call("run", "--method", "supervised@weak,supervised@strong", *words, "--executor", "inline")
    assert done.code == 0, done.err
    (line,) = [line for line in done.out.splitlines() if "published" in line]
    assert line.startswith(
        "supervised@weak, patterns, 12 labels (balanced): published 84.42 (best test epoch of the EMA"
    )
    assert re.search(r"here [\d.]+ \(-[\d.]+\) at its best test epoch, [\d.]+ \(-[\d.]+\) at the last step", line)
    assert line == done.out.splitlines()[-1]


def test_a_file_that_cannot_be_read_costs_no_run(folder: Path, patterns: Path):
    (folder / "torn.toml").write_text("format = ")
    done = call(
        "run", "--method", "supervised", "--dataset", str(patterns), "--ratio", "0.1", "--backbone", "small-resnet/4",
        *SHORT, "--executor", "inline",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "torn.toml: not TOML" in done.err
