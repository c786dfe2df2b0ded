"""`ferbench run --test-on`: one training, tests on other sets by the classes of both, and all that reads them."""

from pathlib import Path

import pytest

import ferbench
from ferbench.contract.dataset import EIGHT_CLASSES
from ferbench.records.schema import Record
from ferbench.records.store import RunStore
from tests.support.archives import face, png
from tests.support.command import Outcome, call
from tests.support.pattern_set import write_pattern_set
from tests.unit.data.select.test_cross_test import images, with_test_images
from tests.unit.reporting.samples import PageReader

OPTIONS = {"steps": 20, "image_size": 16, "labeled_batch": 6, "unlabeled_batch": 8}
SMALL = ("--backbone=small-resnet/4", "--device=cpu", *(f"--set={name}={value}" for name, value in OPTIONS.items()))
SIX = ("anger", "sadness", "fear", "neutral", "disgust", "surprise")


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "eight"
    return write_pattern_set(folder, name="eight", classes=EIGHT_CLASSES[::-1], n_test=40, seed=3)


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set without a test split."""
    return write_pattern_set(tmp_path_factory.mktemp("data") / "six", name="six", classes=SIX, n_test=0, seed=4)


@pytest.fixture(scope="module")
def finished(patterns: Path, eight: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder with a model and its test on the set of eight classes."""
    runs = tmp_path_factory.mktemp("runs")
    made = run(patterns, runs, "--method=supervised", "--test-on", str(eight), "--executor=inline")
    assert made.code == 0, made.out + made.err
    assert "2 cells: 0 cached, 2 to run" in made.out
    return runs


def run(dataset: Path, runs: Path, *arguments: str) -> Outcome:
    return call("run", "--dataset", str(dataset), "--ratio", "0.1", "--runs", str(runs), *SMALL, *arguments)


def crossed(runs: Path) -> Path:
    (path,) = (runs / "ratio-v1" / "patterns@3@eight").rglob("record.json")
    return path


def test_a_later_set_is_tested_without_another_training(patterns: Path, eight: Path, six: Path, finished: Path) -> None:
    base = next((finished / "ratio-v1" / "patterns@3").rglob("record.json"))
    before = base.stat().st_mtime_ns
    more = ("--method=supervised", "--test-on", f"{eight},{six}")
    assert "3 cells, 1 to run" in run(patterns, finished, *more, "--dry-run").out
    made = run(patterns, finished, *more)
    assert made.code == 0, made.out + made.err
    assert "3 cells: 2 cached, 1 to run" in made.out
    assert "'six' has no test split" in made.out
    assert base.stat().st_mtime_ns == before
    assert "3 cells: 3 cached, 0 to run" in run(patterns, finished, *more).out
    found = {r.cell.test_on: r for _, r in RunStore(finished).iterate() if isinstance(r, Record) and r.result}
    assert {name: record.result.class_names for name, record in found.items() if record.result} == {
        None: ["neutral", "happiness", "sadness"],
        "eight": ["neutral", "happiness", "sadness"],
        "six": ["neutral", "sadness"],
    }
    assert {name: record.result.n_test for name, record in found.items() if record.result} == {
        None: 30, "eight": 15, "six": 20,
    }  # fmt: skip


def test_it_is_verified_counted_compared_and_tabled(finished: Path, tmp_path: Path) -> None:
    verified = call("verify", str(finished))
    assert verified.code == 0, verified.out
    assert "model" in verified.out
    assert "patterns@3@eight, ratio-v1" in call("status", "--runs", str(finished)).out
    paths = str(crossed(finished)), str(crossed(finished))
    assert "trained on patterns, 3 classes, tested on eight (3 shared classes)" in call("compare", *paths).out
    own = next((finished / "ratio-v1" / "patterns@3").rglob("record.json"))
    refused = call("compare", str(own), str(crossed(finished)))
    assert (refused.code, "test fingerprints differ" in refused.err) == (2, True)
    tables = call("leaderboard", "build", "--runs", str(finished), "--out", str(tmp_path), "--include-nonstandard")
    assert tables.code == 0
    page = (tmp_path / "leaderboard.md").read_text()
    assert page.index("): patterns, 3 classes") < page.index("): trained on patterns, 3 classes, tested on eight")


def test_it_is_reported_with_the_faces_of_both_sets(finished: Path, patterns: Path, eight: Path) -> None:
    path = crossed(finished)
    page = path.parent / "report.html"
    assert call("report", str(path), "--dataset", str(patterns)).code == 0
    assert "No sheets of faces: no dataset 'eight'" in PageReader(page.read_bytes()).text
    sets = ("--dataset", str(patterns), "--test-on", str(eight))
    assert call("report", str(path), *sets).code == 0
    reader = PageReader(page.read_bytes())
    assert "No sheets of faces" not in reader.text
    assert "supervised (weak views): patterns to eight" in reader.text
    swapped = call("report", str(path), "--test-on", str(patterns))
    assert (swapped.code, swapped.err.count("\n")) == (2, 1)
    assert "this is 'patterns'; the run is on 'eight'" in swapped.err


@pytest.mark.process
def test_it_is_reproduced_with_its_training(finished: Path, patterns: Path, eight: Path, tmp_path: Path) -> None:
    sets = ("--dataset", str(patterns), "--test-on", str(eight))
    again = call("reproduce", str(crossed(finished)), *sets, "--device=cpu", "--run", "--runs", str(tmp_path / "again"))
    assert again.code == 0, again.out + again.err
    assert f"--test-on {eight}" in again.out
    assert "in every field" in again.out


def test_the_api_gives_the_record_of_the_training_first(
    finished: Path, patterns: Path, eight: Path, tmp_path: Path
) -> None:
    records = ferbench.run(
        method="supervised",
        dataset=str(patterns),
        ratio=0.1,
        test_on=str(eight),
        backbone="small-resnet/4",
        device="cpu",
        runs=finished,
        overrides=OPTIONS,
        executor="inline",
    )
    assert [record.cell.test_on for record in records] == [None, "eight"]


def test_a_training_that_fails_leaves_nothing_to_test(patterns: Path, eight: Path, tmp_path: Path) -> None:
    broken = ("--method=supervised", "--set=learning_rate=1e30", "--test-on", str(eight))
    made = run(patterns, tmp_path / "runs", *broken)
    assert made.code == 1
    assert "seed 0: diverged" in made.out
    assert "has no finished record, whose model would be tested" in made.out


def test_bad_input_is_one_line_with_its_remedy(patterns: Path, six: Path, tmp_path: Path) -> None:
    strangers = write_pattern_set(tmp_path / "b", name="b", classes=("anger", "sadness", "fear"))
    odd = write_pattern_set(tmp_path / "odd", name="My Faces")
    for name, code, words in (
        (str(strangers), 2, "--test-on b: 'patterns' (neutral, happiness, sadness) and 'b' (anger, sadness, fear)"),
        (f"{six},{patterns}", 2, "--test-on patterns: every run on 'patterns' is tested on it anyway"),
        (str(odd), 2, "test_on: String should match pattern"),
        ("synthface", 2, "synthface"),
        (str(tmp_path / "nowhere"), 4, "no dataset.json here"),
    ):
        shown = run(patterns, tmp_path / "runs", "--method=supervised", "--test-on", name, "--dry-run")
        assert (shown.code, shown.err.count("\n")) == (code, 1), shown.err
        assert words in shown.err


def test_a_training_image_in_the_other_set_stops_before_anything_trains(patterns: Path, tmp_path: Path) -> None:
    with_test_images(tmp_path / "copied", "copied", [png(face(1)), images(patterns, "train")[4]])
    shown = run(patterns, tmp_path / "runs", "--method=supervised", "--test-on", str(tmp_path / "copied"))
    assert shown.code == 4
    assert "1 test image(s) equal training images of 'patterns'" in shown.err
    assert "added-1" in shown.err
    assert not (tmp_path / "runs").exists()
