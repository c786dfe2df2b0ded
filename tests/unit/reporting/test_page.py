"""The page as a reader, a browser and an attacker see it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ferbench.discovery.loader import load_registry
from ferbench.render.html import MAX_BLOCK
from ferbench.reporting.page import report_page
from ferbench.reporting.run_files import RunFiles, read_run
from tests.unit.records.factory import CLASS_NAMES, make_cell, make_measured, write_failure
from tests.unit.reporting.samples import HOSTILE, PageReader, hostile_failure, hostile_run, write_run

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
LOADED = """
import sys
from pathlib import Path
from ferbench.discovery.loader import load_registry
from ferbench.discovery.loader import load_registry
from ferbench.reporting.page import report_page
from ferbench.reporting.run_files import read_run
report_page(read_run(Path(sys.argv[1])), load_registry())
print("torch" in sys.modules)
"""


REGISTRY = load_registry()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFiles:
    return read_run(write_run(tmp_path_factory.mktemp("runs")))


@pytest.fixture(scope="module")
def page(run: RunFiles) -> bytes:
    return report_page(run, REGISTRY)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("hostile")
    return [
        report_page(hostile_run(folder / "ok"), REGISTRY),
        report_page(hostile_failure(folder / "failed"), REGISTRY),
    ]


def test_everything_is_said(page: bytes, run: RunFiles) -> None:
    text = PageReader(page).text
    assert run.record.result is not None
    for words in (
        "fixmatch on synthfaces",
        "5 % of the labels, seed 0",
        "standard",
        f"{100 * run.record.result.metrics.accuracy:.1f} %",
        "Picking the best of 5 evaluations",
        "never for selection",
        "Pseudo-label precision",
        "Method: margin",
        "EMA model after the last step",
        run.record.result.fingerprints.data,
        run.record.result.predictions_digest,
        run.record.cell_id,
        "ferbench reproduce record.json --run",
        "ferbench verify record.json",
        "3.11.7",
    ):
        assert words in text
    for name in CLASS_NAMES:
        assert text.count(name) >= 4


def test_equal_input_gives_equal_bytes(page: bytes, run: RunFiles) -> None:
    assert report_page(run, REGISTRY) == page


def test_the_page_needs_nothing_but_itself(page: bytes, hostile: list[bytes]) -> None:
    for content in (page, *hostile):
        assert len(content) < 3_000_000
        reader = PageReader(content)
        policies = [a["content"] for tag, a in reader.elements if a.get("http-equiv") == "Content-Security-Policy"]
        assert policies == [POLICY]
        assert not reader.tags & {"script", "link", "iframe", "object", "embed", "base", "form", "foreignobject"}
        for tag, attributes in reader.elements:
            for name, value in attributes.items():
                assert not name.startswith("on"), (tag, name)
                if name in ("src", "href", "xlink:href", "action", "data"):
                    assert (value or "").startswith(("#", "data:image/png;base64,")), (tag, name, value)
                assert "url(" not in (value or "") or "url(#" in (value or "")


def test_ids_occur_once_and_every_anchor_leads_somewhere(page: bytes) -> None:
    elements = PageReader(page).elements
    sections = [attributes["id"] for tag, attributes in elements if tag == "section"]
    anchors = [str(attributes["href"])[1:] for tag, attributes in elements if tag == "a"]
    assert len(sections) == len(set(sections))
    assert set(anchors) == set(sections)


def test_strings_of_a_stranger_stay_text(page: bytes, hostile: list[bytes]) -> None:
    benign = PageReader(page)
    for content in hostile:
        reader = PageReader(content)
        assert reader.unbalanced == []
        assert reader.tags <= benign.tags | {"pre", "div", "b"}
        assert "49" not in reader.text.split()
        assert "\u202e" not in content.decode()
    ok, failed = (PageReader(content).text for content in hostile)
    shown = " ".join(HOSTILE.replace("\u202e", " ").split())
    assert ok.count(shown) > 20
    assert failed.count(shown) == 4
    assert "&lt;script&gt;" not in ok


def test_the_page_is_balanced(page: bytes) -> None:
    assert PageReader(page).unbalanced == []


def test_overrides_are_named_and_marked(tmp_path: Path) -> None:
    cell = make_cell(overrides={"protocol": {"steps": 60}})
    text = PageReader(report_page(read_run(write_run(tmp_path, cell)), REGISTRY)).text
    assert "not standard" in text
    assert "protocol.steps=60" in text
    assert "60 (override)" in text


@pytest.mark.parametrize(
    ("cell", "measured", "reason"),
    [
        ({"seed": 77}, {}, "seed 77: not a seed of 'ratio-v1'"),
        ({"compile": "net"}, {}, "compile=net"),
        ({"protocol": "ratio-v2"}, {}, "'ratio-v2' is a draft"),
        ({"protocol": "lab-v1"}, {}, "protocol 'lab-v1' is not installed"),
        ({}, {"executor": "inline"}, "--executor inline"),
    ],
)
def test_a_run_that_is_not_standard_says_why(tmp_path: Path, cell: Any, measured: Any, reason: str) -> None:
    made = make_cell(**cell)
    path = write_run(tmp_path, made, standard=False, measured=make_measured(made, **measured))
    text = PageReader(report_page(read_run(path), REGISTRY)).text
    assert reason in text
    assert "It is not standard" in text
    assert ("a seed of" in text) == ("seed" in cell), "only the real reason"


def test_a_test_on_another_set_has_no_oracle_and_says_what_was_left_out(tmp_path: Path) -> None:
    cell = make_cell(test_on="jaffe")
    path = write_run(tmp_path, cell, history=[])
    record = read_run(path).record
    assert record.result is not None
    path.write_bytes(
        record.model_copy(update={"result": record.result.model_copy(update={"n_test_left_out": 12})}).to_json()
    )
    reader = PageReader(report_page(read_run(path), REGISTRY))
    assert reader.unbalanced == []
    for words in (
        "fixmatch: synthfaces to jaffe",
        "trained on synthfaces and tested on jaffe",
        "tested once on jaffe, on the classes that both have. Test images left out",
        "they look like training images: 12.",
        "--dataset FOLDER --test-on FOLDER",
    ):
        assert words in reader.text
    assert "optimism" not in reader.text


@pytest.mark.slow
@pytest.mark.parametrize("confusion", [[], [[1]], [[1] * 7] * 6, [[1] * 6] * 7, [[-1] * 7] * 7, [[10**30] * 7] * 7])
def test_a_confusion_matrix_of_other_classes_is_not_used(run: RunFiles, confusion: list[list[int]]) -> None:
    assert run.record.result is not None
    result = run.record.result.model_copy(update={"confusion": confusion})
    changed = replace(run, record=run.record.model_copy(update={"result": result}))
    reader = PageReader(report_page(changed, REGISTRY))
    assert "does not fit its classes" in reader.text
    assert "Recall" not in reader.text


def test_the_confusion_matrix_is_shaded_by_shares_of_the_true_class(page: bytes, run: RunFiles) -> None:
    assert run.record.result is not None
    cells = [
        attributes for tag, attributes in PageReader(page).elements if "--share" in (attributes.get("style") or "")
    ]
    shares = [count / max(1, sum(row)) for row in run.record.result.confusion for count in row]
    # above 0.6 the text is light and the ground dark enough for it
    shades = [70 + 30 * share if share > 0.6 else 100 * share for share in shares]
    assert [cell["style"] for cell in cells] == [f"--share: {shade:.0f}%" for shade in shades]


def test_options_within_options_have_the_names_that_set_takes_and_overrides_are_marked(run: RunFiles) -> None:
    config = run.record.config.model_copy(
        update={"protocol": {"steps": 60, "weak": {"padding": 4}, "empty": {}, "init": None, "align": True}}
    )
    cell = run.record.cell.model_copy(
        update={"overrides": run.record.cell.overrides.model_copy(update={"protocol": {"weak.padding": 4}})}
    )
    changed = replace(run, record=run.record.model_copy(update={"config": config, "cell": cell}))
    text = PageReader(report_page(changed, REGISTRY)).text
    assert "Protocol steps 60 weak.padding 4 (override) empty {} init – align true" in text


def test_a_failed_run_says_why(tmp_path: Path) -> None:
    reader = PageReader(report_page(read_run(write_failure(tmp_path, make_cell(), message="loss went away")), REGISTRY))
    assert "loss went away" in reader.text
    assert "step 17" in reader.text
    assert "loss term unlabeled" in reader.text
    assert "diverged" in reader.text
    assert "Test set" not in reader.text
    assert "Confusion" not in reader.text


def test_a_long_traceback_keeps_its_end(tmp_path: Path) -> None:
    run = hostile_failure(tmp_path)
    assert run.record.error is not None
    error = run.record.error.model_copy(update={"traceback": "x" * 10 * MAX_BLOCK + "\x00\nthe end"})
    page = report_page(RunFiles(run.path, run.record.model_copy(update={"error": error}), [], None, ()), REGISTRY)
    assert len(page) < 3 * MAX_BLOCK
    assert b"\nthe end</pre>" in page
    assert b"\x00" not in page


def test_problems_are_shown(tmp_path: Path) -> None:
    path = write_run(tmp_path)
    (path.parent / "history.json").unlink()
    text = PageReader(report_page(read_run(path), REGISTRY)).text
    assert "No curves" in text
    assert "Confusion matrix" in text


@pytest.mark.process
def test_without_the_dataset_the_page_says_how_to_get_it_and_torch_stays_away(tmp_path: Path) -> None:
    path = write_run(tmp_path, make_cell(dataset="unheard-of"))
    shown = subprocess.run([sys.executable, "-c", LOADED, path], capture_output=True, text=True, check=True)
    assert shown.stdout == "False\n"
    text = PageReader(report_page(read_run(path), REGISTRY)).text
    assert "No sheets of faces: no dataset 'unheard-of'" in text
    assert "--dataset FOLDER" in text
