"""`ferbench predict`: images of any kind and whole datasets through the model of a run."""

import csv
import io
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
import torch
from PIL import Image

import ferbench as api
from ferbench.records.store import read_predictions
from tests.support.tiny_run import tiny_run
from tests.unit.reporting.samples import PageReader

Ferbench = Callable[..., "subprocess.CompletedProcess[str]"]
CLASSES = ["neutral", "happiness", "sadness"]


@pytest.fixture(scope="module")
def record(patterns: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(patterns, tmp_path_factory.mktemp("runs"))


@pytest.fixture
def pictures(patterns: Path, tmp_path: Path) -> Path:
    """A folder with six test images, one in a folder of its own."""
    folder = tmp_path / "pictures"
    (folder / "inner").mkdir(parents=True)
    rows = pyarrow.parquet.read_table(patterns / "test.parquet").to_pylist()[::5]
    for number, row in enumerate(rows):
        path = folder / ("inner" if number == 5 else ".") / f"{number}.png"
        path.write_bytes(row["image"]["bytes"])
    return folder


def expected(record: Path, path: Path) -> list[float]:
    """What the Python API says."""
    model = api.load_model(record)
    with torch.no_grad():
        shares: list[float] = model(model.transform(path)[None]).softmax(-1)[0].tolist()
    return shares


def test_files_folders_and_lists_as_csv(record: Path, pictures: Path, ferbench: Ferbench) -> None:
    (pictures / "list.csv").write_text("path,note\ninner/5.png,a\n" + f"{pictures / '0.png'},b\n")
    one = str(pictures / "1.png")
    shown = ferbench("predict", str(record), one, str(pictures), str(pictures / "list.csv"), "--format", "csv")
    assert (shown.returncode, shown.stderr) == (0, "")
    rows = list(csv.DictReader(io.StringIO(shown.stdout)))
    names = [row["image"] for row in rows]
    inside = [str(pictures / f"{number}.png") for number in range(5)] + [str(pictures / "inner" / "5.png")]
    assert names == [one, *inside, str(pictures / "inner" / "5.png"), str(pictures / "0.png")]
    for row in rows:
        shares = [float(row[f"p_{name}"]) for name in CLASSES]
        np.testing.assert_allclose(shares, expected(record, Path(row["image"])), atol=1e-5)
        assert row["predicted"] == CLASSES[int(np.argmax(shares))]
        assert float(row["confidence"]) == max(shares)


def test_json_and_table_say_the_same(record: Path, pictures: Path, ferbench: Ferbench, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    shown = ferbench("predict", str(record.parent), str(pictures / "0.png"), "--out", str(out))
    assert (shown.returncode, shown.stdout) == (0, f"{out}\n")
    found = json.loads(out.read_text())
    assert found["model"]["class_names"] == CLASSES and found["failed"] == []
    (only,) = found["predictions"]
    table = ferbench("predict", str(record.parent), str(pictures / "0.png")).stdout
    assert only["predicted"] in table
    assert all(f"{100 * share:.1f} %" in table for share in only["probabilities"].values())


@pytest.mark.parametrize("as_format", ["table", "csv", "json", "html"])
def test_what_cannot_be_read_is_named_and_the_others_go_on(
    record: Path, pictures: Path, ferbench: Ferbench, as_format: str
) -> None:
    (pictures / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n no more")
    (pictures / "empty").mkdir()
    (pictures / "list.csv").write_text("file\n0.png\n")
    os.mkfifo(pictures / "pipe.png")
    bad = ["torn.png", "nowhere.png", "empty", "list.csv", "pipe.png"]
    words = [str(pictures / name) for name in bad] + [str(pictures / "0.png")]
    shown = ferbench("predict", str(record), *words, "--format", as_format)
    assert shown.returncode == 4
    lines = shown.stderr.splitlines()
    for name, line in zip(bad, lines, strict=False):
        assert str(pictures / name) in line and line.count(name) == 1
    assert lines[-1].endswith("5 images of 6 without a prediction, as above")
    assert "0.png" in shown.stdout


def test_photos_of_other_formats_and_odd_lines_of_lists_are_named(
    record: Path, pictures: Path, ferbench: Ferbench
) -> None:
    (pictures / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    (pictures / "nul.csv").write_bytes(b"path\n0\0.png\n0.png\n")
    (pictures / "none.csv").write_text("path\n")
    (pictures / "latin.csv").write_bytes(b"path\n0.png\nh\xe9.png\n")
    shown = ferbench("predict", str(record), *(str(pictures / n) for n in ("", "nul.csv", "none.csv", "latin.csv")))
    assert shown.returncode == 4
    heic, nul, none, latin, last = shown.stderr.splitlines()
    assert heic.endswith("IMG_1.HEIC: an image in a format that is not supported; convert it to PNG")
    assert nul.endswith("nul.csv:2: the path contains a null byte")
    assert none.endswith("none.csv: no path below the header")
    assert latin.count("latin.csv") == 1 and "line 3: not UTF-8" in latin
    assert "4 images of 12 without a prediction" in last and shown.stdout.count("0.png") == 3


def test_a_name_that_is_not_utf_8_is_the_same_name_in_json(record: Path, pictures: Path, ferbench: Ferbench) -> None:
    path = pictures / os.fsdecode(b"\xff.png")
    path.write_bytes((pictures / "0.png").read_bytes())
    shown = ferbench("predict", str(record), str(pictures), "--out", "out.JSON", cwd=pictures)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert str(path) in [one["image"] for one in json.loads((pictures / "out.JSON").read_text())["predictions"]]


def test_names_of_files_are_text_in_every_format(record: Path, pictures: Path, ferbench: Ferbench) -> None:
    content = (pictures / "0.png").read_bytes()
    names = ["=1+1.png", "<script>alert(1)<!--.png", "\x1b[31mred.png"]
    for name in names:
        (pictures / name).write_bytes(content)
    page = ferbench("predict", str(record), *names, "--format", "html", cwd=pictures)
    assert page.returncode == 0, page.stderr
    reader = PageReader(page.stdout.encode())
    assert reader.unbalanced == []
    assert "<script>alert(1)<!--.png" in reader.text
    assert not any(tag == "script" for tag, _ in reader.elements)
    sources = [dict(attributes)["src"] for tag, attributes in reader.elements if tag == "img"]
    assert len(sources) == 3 and all(str(source).startswith("data:image/png;base64,") for source in sources)
    table = ferbench("predict", str(record), *names, "--format", "csv", cwd=pictures)
    rows = list(csv.DictReader(io.StringIO(table.stdout)))
    assert rows[0]["image"] == "'=1+1.png"
    assert "\x1b" not in ferbench("predict", str(record), *names, cwd=pictures).stdout


def test_names_of_classes_are_text_too(
    record: Path, patterns: Path, pictures: Path, ferbench: Ferbench, tmp_path: Path
) -> None:
    shutil.copytree(record.parent, tmp_path / "foreign")
    path = tmp_path / "foreign" / "record.json"
    path.write_text(path.read_text().replace('"sadness"', '"=1+1\\u001b[31m"'))
    odd = "=1+1 [31m"
    for what in ([str(pictures)], ["--dataset", str(patterns), "--split", "train"]):
        assert ferbench("predict", str(path), *what, "--out", "out.csv").returncode == 0
        predicted = set(pd.read_csv(tmp_path / "out.csv")["predicted"])
        assert predicted <= {"neutral", "happiness", f"'{odd}"} and f"'{odd}" in predicted
    assert f"p_{odd}" in ferbench("predict", str(path), str(pictures), "--format", "csv").stdout
    assert odd in ferbench("predict", str(path), str(pictures)).stdout


@pytest.mark.parametrize("size", [(3000, 1), (1, 3000), (1, 1)])
def test_a_picture_of_any_shape_is_searched_for_faces(
    record: Path, tmp_path: Path, ferbench: Ferbench, size: tuple[int, int]
) -> None:
    pytest.importorskip("skimage")
    Image.new("RGB", size).save(tmp_path / "line.png")
    shown = ferbench("predict", str(record), "line.png", "--faces")
    assert shown.returncode == 4 and "line.png: no face was found in it" in shown.stderr


def test_faces_are_found_and_cut(record: Path, tmp_path: Path, ferbench: Ferbench) -> None:
    data = pytest.importorskip("skimage.data")
    Image.fromarray(data.astronaut()).save(tmp_path / "photo.png")
    Image.linear_gradient("L").save(tmp_path / "empty.png")
    shown = ferbench("predict", str(record), "empty.png", "photo.png", "--faces", "--format", "json")
    assert shown.returncode == 4
    assert "empty.png: no face was found in it" in shown.stderr
    (only,) = json.loads(shown.stdout)["predictions"]
    x0, y0, x1, y1 = only["face"]
    # the face of that picture lies about (224, 120) and is some 100 pixels wide
    assert x0 < 190 and x1 > 260 and y0 < 90 and y1 > 160
    assert x1 - x0 < 200 and y1 - y0 < 200
    cut = Image.open(tmp_path / "photo.png").crop((x0, y0, x1, y1))
    cut.save(tmp_path / "cut.png")
    np.testing.assert_allclose(list(only["probabilities"].values()), _sorted(record, tmp_path / "cut.png"), atol=1e-5)


def _sorted(record: Path, path: Path) -> list[float]:
    """JSON has the classes in the order of their names."""
    return [share for _, share in sorted(zip(CLASSES, expected(record, path), strict=True))]


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_a_whole_dataset_goes_into_a_file_that_pandas_reads(
    record: Path, patterns: Path, ferbench: Ferbench, tmp_path: Path, name: str
) -> None:
    shown = ferbench("predict", str(record), "--dataset", str(patterns), "--out", name)
    assert (shown.returncode, shown.stderr) == (0, "")
    frame = pd.read_csv(tmp_path / name) if name.endswith(".csv") else pd.read_parquet(tmp_path / name)
    assert list(frame.columns) == ["id", "label", "predicted", "confidence", *(f"p_{name}" for name in CLASSES)]
    said = read_predictions(record.parent / "predictions.parquet")
    logits = dict(zip(said.ids, said.logits.astype(np.float64), strict=True))
    assert set(frame["id"]) == set(logits)
    for row in frame.itertuples():
        shares = np.exp(logits[row.id]) / np.exp(logits[row.id]).sum()
        np.testing.assert_allclose(row[5:], shares, atol=2e-3)
    right = (frame["label"] == frame["predicted"]).mean()
    assert right == pytest.approx(json.loads(record.read_text())["result"]["metrics"]["accuracy"])


def test_another_split_and_one_that_is_not_there(
    record: Path, patterns: Path, ferbench: Ferbench, tmp_path: Path
) -> None:
    words = ("predict", str(record), "--dataset", str(patterns), "--out", "out.csv", "--split")
    assert ferbench(*words, "train").returncode == 0
    assert len(pd.read_csv(tmp_path / "out.csv")) == 120
    missing = ferbench(*words, "unlabeled")
    assert (missing.returncode, "it has test, train" in missing.stderr) == (4, True)


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ([], 2, "name either images"),
        (["0.png", "--dataset", "x"], 2, "name either images"),
        (["0.png", "--out", "x.txt"], 2, ".csv, .json or .html"),
        (["0.png", "--out", "x.csv", "--format", "table"], 2, ".csv, .json or .html"),
        (["--dataset", "x", "--out", "x.json"], 2, "--out FILE.csv or --out FILE.parquet"),
        (["0.png", "--out", "/proc/said.csv"], 4, "cannot write /proc/said.csv"),
        (["0.png", "--split", "train"], 2, "--split train: images have no splits"),
        (["--dataset", "x"], 2, "--out FILE.csv or --out FILE.parquet"),
    ],
)
def test_usage_errors_say_what_to_write(
    record: Path, pictures: Path, ferbench: Ferbench, words: list[str], code: int, text: str
) -> None:
    shown = ferbench("predict", str(record), *words, cwd=pictures)
    assert (shown.returncode, text in shown.stderr) == (code, True), shown.stderr


def test_a_model_of_unknown_origin_is_named(record: Path, pictures: Path, ferbench: Ferbench, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes((record.parent / "model.safetensors").read_bytes())
    shown = ferbench("predict", "model.safetensors", str(pictures))
    assert shown.returncode == 4
    assert "model.safetensors: a model of unknown origin" in shown.stderr
