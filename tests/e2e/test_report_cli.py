"""`ferbench report` on runs that were just made."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ferbench.data.prepare.pack import ensure_packed
from ferbench.discovery.loader import load_registry
from ferbench.readers.parquet import ParquetDataset
from ferbench.reporting.page import report_page
from ferbench.reporting.run_files import read_run
from tests.support.command import succeed
from tests.support.pattern_set import write_pattern_set
from tests.unit.records.factory import make_cell, write_failure, write_record
from tests.unit.reporting.samples import PageReader

Ferbench = Callable[..., "subprocess.CompletedProcess[str]"]
SETTINGS = ("steps=20", "image_size=16", "labeled_batch=8", "unlabeled_batch=8")
HELP = """
import sys
from ferbench.cli.main import main
main(["report", "--help"])
print([name for name in ("torch", "matplotlib", "pydantic", "jinja2", "PIL") if name in sys.modules], file=sys.stderr)
"""


@pytest.fixture(scope="module")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pattern_set(tmp_path_factory.mktemp("patterns"))


@pytest.fixture(scope="module")
def finished(patterns: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The record of a short FixMatch run."""
    runs = tmp_path_factory.mktemp("runs")
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    cell = ("--dataset", str(patterns), "--method", "fixmatch", "--ratio", "0.1", "--backbone", "small-resnet/4")
    succeed("run", *cell, *settings, "--runs", str(runs), "--executor", "inline")
    return next(runs.rglob("record.json"))


def pictures(page: Path) -> int:
    reader = PageReader(page.read_bytes())
    assert reader.unbalanced == []
    return sum(tag == "img" for tag, _ in reader.elements)


@pytest.mark.slow
def test_a_report_is_written_beside_the_record(ferbench: Ferbench, finished: Path, patterns: Path) -> None:
    shown = ferbench("report", str(finished.parent.parent), "--dataset", str(patterns))
    assert (shown.returncode, shown.stderr) == (0, "")
    page = finished.parent / "report.html"
    assert shown.stdout == f"{page}\n"
    assert pictures(page) >= 2
    first = page.read_bytes()
    assert b"Views of unlabeled images" in first
    assert ferbench("report", str(finished), "--dataset", str(patterns)).returncode == 0
    assert page.read_bytes() == first


def test_without_the_data_set_there_is_a_report_without_faces(
    ferbench: Ferbench, finished: Path, tmp_path: Path
) -> None:
    shown = ferbench("report", str(finished), "--out", "new/page.html")
    assert (shown.returncode, shown.stdout) == (0, "new/page.html\n")
    page = tmp_path / "new" / "page.html"
    assert pictures(page) == 0
    assert b"--dataset FOLDER" in page.read_bytes()


def test_another_data_set_is_refused(ferbench: Ferbench, finished: Path, tmp_path: Path) -> None:
    other = write_pattern_set(tmp_path / "other", name="bars")
    shown = ferbench("report", str(finished), "--dataset", str(other))
    assert shown.returncode == 2
    assert "this is 'bars'; the run is on 'patterns'" in shown.stderr


def test_the_same_name_with_other_images_gives_no_faces(ferbench: Ferbench, finished: Path, tmp_path: Path) -> None:
    other = write_pattern_set(tmp_path / "patterns", seed=1)
    ensure_packed(ParquetDataset(other), 16)  # at a size that is not the protocol's the report itself packs nothing
    shown = ferbench("report", str(finished), "--dataset", str(other), "--out", "page.html")
    assert shown.returncode == 0
    assert "not the record's" in PageReader((tmp_path / "page.html").read_bytes()).text


def test_a_failed_run_is_reported(ferbench: Ferbench, tmp_path: Path) -> None:
    path = write_failure(tmp_path, make_cell(dataset="theirs"), message="the loss went away")
    assert ferbench("report", str(path)).returncode == 0
    assert "the loss went away" in PageReader((path.parent / "report.html").read_bytes()).text


def test_several_runs_are_listed(ferbench: Ferbench, tmp_path: Path) -> None:
    for seed in (0, 1):
        write_record(tmp_path, make_cell(seed=seed))
    shown = ferbench("report", str(tmp_path))
    assert shown.returncode == 2
    assert "seed0" in shown.stderr
    assert "seed1" in shown.stderr
    assert "Traceback" not in shown.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere"], 2, "nowhere"),
        (["."], 2, "no record.json"),
        (["record.json"], 5, "record.json: "),
        (["record.json", "--out", "record.json"], 2, "must end in .html"),
    ],
)
def test_errors_are_one_line_with_their_exit_code(
    ferbench: Ferbench, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    if "record.json" in arguments:
        (tmp_path / "record.json").write_text(json.dumps({"schema_version": 1}))
    shown = ferbench("report", *arguments)
    assert shown.returncode == code
    assert words in shown.stderr
    assert shown.stderr.count("\n") == 1


def test_a_place_that_cannot_be_written_is_named(ferbench: Ferbench, tmp_path: Path) -> None:
    path = write_record(tmp_path, make_cell(dataset="theirs"))
    (tmp_path / "file").write_text("")
    shown = ferbench("report", str(path), "--out", "file/page.html")
    assert shown.returncode == 4
    assert "name another file with --out" in shown.stderr


@pytest.mark.process
def test_help_is_light() -> None:
    shown = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True)
    assert "--dataset FOLDER" in shown.stdout
    assert shown.stderr.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_the_api_gives_the_bytes_of_the_command(ferbench: Ferbench, finished: Path, tmp_path: Path) -> None:
    assert ferbench("report", str(finished), "--out", "page.html").returncode == 0
    assert report_page(read_run(finished), load_registry()) == (tmp_path / "page.html").read_bytes()


@pytest.mark.slow
def test_the_embedding_is_drawn_where_model_and_images_are(
    ferbench: Ferbench, finished: Path, patterns: Path, tmp_path: Path
) -> None:
    pytest.importorskip("sklearn.manifold")
    page, words = tmp_path / "page.html", ("report", str(finished), "--embedding", "--out", "page.html")
    assert ferbench(*words, "--dataset", str(patterns)).returncode == 0
    assert "Embedding of test images" in PageReader(page.read_bytes()).text
    first = page.read_bytes()
    assert ferbench(*words, "--dataset", str(patterns)).returncode == 0
    assert page.read_bytes() == first
    assert ferbench(*words).returncode == 0
    assert "No embedding: " in PageReader(page.read_bytes()).text


def test_without_scikit_learn_the_command_that_installs_it_is_named(
    ferbench: Ferbench, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    shown = ferbench("report", str(finished), "--embedding", "--out", "page.html")
    assert (shown.returncode, "pip install 'ferbench[embedding]'" in shown.stderr) == (2, True)


@pytest.mark.slow
def test_curves_are_written_as_files_too(finished: Path, ferbench: Ferbench, tmp_path: Path) -> None:
    shown = ferbench("report", str(finished), "--out", str(tmp_path / "page.html"), "--plots", str(tmp_path / "plots"))
    assert shown.returncode == 0, shown.stderr
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert {"loss.svg", "pseudo-labels.svg"} <= names
    assert all((tmp_path / "plots" / name).read_text().rstrip().endswith("</svg>") for name in names)
