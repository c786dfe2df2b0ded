"""`ferbench export`: files that say what the model says, and its card."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scipy.special import softmax
from statsmodels.stats.proportion import proportion_confint

import ferbench as api
from ferbench.errors import DataError
from ferbench.records.store import read_record
from tests.support.tiny_run import tiny_run

Ferbench = Callable[..., "subprocess.CompletedProcess[str]"]
CLASSES = ["neutral", "happiness", "sadness"]


@pytest.fixture(scope="module")
def record(patterns: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(patterns, tmp_path_factory.mktemp("runs"))


def test_safetensors_hold_the_model_and_what_must_be_known_of_it(
    record: Path, ferbench: Ferbench, tmp_path: Path, patterns: Path
) -> None:
    shown = ferbench("export", str(record), "--to", "safetensors", "--out", "m.safetensors")
    assert (shown.returncode, shown.stderr) == (0, "")
    path = tmp_path / "m.safetensors"
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["ferbench"])
    assert about["class_names"] == CLASSES
    assert (about["image_size"], about["mean"], about["std"]) == (16, [0.5] * 3, [0.25] * 3)
    own, model = api.load_model(record), api.load_model(path)
    assert all(torch.equal(value, own.state_dict()[name]) for name, value in model.state_dict().items())
    assert model.class_names == own.class_names and model.record == read_record(record)
    image = tmp_path / "0.png"
    image.write_bytes(pyarrow.parquet.read_table(patterns / "test.parquet").to_pylist()[0]["image"]["bytes"])
    answers = [ferbench("predict", str(which), "0.png", "--format", "csv").stdout for which in (record, path)]
    assert answers[0] == answers[1] != ""


def test_an_exported_file_that_was_changed_is_refused(record: Path, ferbench: Ferbench, tmp_path: Path) -> None:
    assert ferbench("export", str(record), "--to", "safetensors", "--out", "m.safetensors").returncode == 0
    path = tmp_path / "m.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file({name: value + 1 for name, value in load_file(path).items()}, path, metadata)
    with pytest.raises(DataError, match="changed since it was exported"):
        api.load_model(path)


@pytest.mark.slow
def test_onnx_gives_the_logits_of_the_model_without_ferbench(
    record: Path, ferbench: Ferbench, tmp_path: Path, patterns: Path
) -> None:
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    shown = ferbench("export", str(record), "--to", "onnx", "--out", "m.onnx")
    assert shown.returncode == 0, shown.stderr
    assert "its logits are those of the model" in shown.stdout
    graph = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(graph)
    (metadata,) = graph.metadata_props
    assert json.loads(metadata.value)["class_names"] == CLASSES
    rows = pyarrow.parquet.read_table(patterns / "test.parquet").to_pylist()
    for number, row in enumerate(rows):
        (tmp_path / f"{number}.png").write_bytes(row["image"]["bytes"])
    model = api.load_model(record)
    paths = [tmp_path / f"{number}.png" for number in range(len(rows))]
    pixels = np.stack([model.transform.stored(path) for path in paths])
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    logits, probabilities = session.run(None, {"images": pixels})
    with torch.no_grad():
        expected = model(torch.stack([model.transform(path) for path in paths])).numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    np.testing.assert_allclose(probabilities, softmax(expected, axis=1), atol=1e-5)
    assert session.run(None, {"images": pixels[:1]})[0].shape == (1, 3)


def test_without_the_extra_the_command_that_installs_it_is_named(
    record: Path, ferbench: Ferbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    shown = ferbench("export", str(record), "--to", "onnx", "--out", "m.onnx")
    assert shown.returncode == 2
    assert "pip install 'ferbench[export]'" in shown.stderr
    assert not (tmp_path / "m.onnx").exists()


def test_the_card_has_scores_with_wilsons_intervals(record: Path, ferbench: Ferbench, tmp_path: Path) -> None:
    assert ferbench("export", str(record), "--to", "card", "--out", "card.md").returncode == 0
    card, result = (tmp_path / "card.md").read_text(), json.loads(record.read_text())["result"]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in card.splitlines() if line[:1] == "|"]
    by_name = {row[0]: row[1:] for row in rows}
    confusion = np.array(result["confusion"])
    for number, name in enumerate(CLASSES):
        hits, true, predicted = confusion[number, number], confusion[number].sum(), confusion[:, number].sum()
        assert by_name[name][1] == str(true)
        for value, interval, total in ((2, 3, true), (4, 5, predicted)):
            if not total:
                assert by_name[name][value] == "–"
                continue
            low, high = proportion_confint(hits, total, method="wilson")
            assert by_name[name][value] == f"{100 * hits / total:.1f} %"
            assert by_name[name][interval] == f"{100 * low:.1f} to {100 * high:.1f} %"
    low, high = proportion_confint(np.trace(confusion), confusion.sum(), method="wilson")
    assert by_name["Accuracy"][1] == f"{100 * low:.1f} to {100 * high:.1f} %"
    for heading in ("Intended use", "Data", "Protocol", "Scores on the test set", "Limits"):
        assert f"\n## {heading}\n" in card
