"""The model of a run, loaded for use: it says of images what its record says."""

import io
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import ferbench
from ferbench.errors import DataError, UsageError
from ferbench.records.metrics import to_float16
from ferbench.records.store import read_predictions, read_record
from tests.support.tiny_run import runs_of, tiny_run


@pytest.fixture(scope="module")
def record(patterns: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(patterns, tmp_path_factory.mktemp("runs"))


def files_of(patterns: Path) -> dict[str, bytes]:
    rows = pyarrow.parquet.read_table(patterns / "test.parquet").to_pylist()
    return {row["id"]: row["image"]["bytes"] for row in rows}


def test_its_logits_are_those_of_the_record(record: Path, patterns: Path, tmp_path: Path) -> None:
    said, files = read_predictions(record.parent / "predictions.parquet"), files_of(patterns)
    state = torch.random.get_rng_state()
    model = ferbench.load_model(record.parent)
    assert torch.equal(torch.random.get_rng_state(), state), "who loads a model keeps his random numbers"
    assert isinstance(model, torch.nn.Module) and not model.training
    assert model.class_names == ("neutral", "happiness", "sadness")
    paths = [tmp_path / f"{number}.png" for number in range(len(said.ids))]
    for path, image in zip(paths, said.ids, strict=True):
        path.write_bytes(files[image])
    from_paths = torch.stack([model.transform(path) for path in paths])
    from_pictures = torch.stack([model.transform(Image.open(io.BytesIO(files[image]))) for image in said.ids])
    assert torch.equal(from_paths, from_pictures)
    with torch.no_grad():
        logits = model(from_paths).numpy()
    assert logits.shape == (30, 3)
    # rounding to float16 may turn a difference of 1e-7 into one step
    np.testing.assert_allclose(to_float16(logits).astype(float), said.logits.astype(float), atol=1e-5, rtol=2**-10)


def test_the_transform_is_decoding_resizing_and_normalisation(record: Path, tmp_path: Path) -> None:
    model = ferbench.load_model(record)
    noise = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    small = np.asarray(picture.resize((16, 16), Image.Resampling.BICUBIC), np.float64) / 255
    expected = (small - 0.5) / 0.25
    assert np.allclose(model.transform(picture).permute(1, 2, 0).numpy(), expected, atol=1e-5)
    grey, turned = picture.convert("L"), tmp_path / "turned.jpg"
    assert torch.equal(model.transform(grey), model.transform(grey.convert("RGB")))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    picture.save(turned, exif=exif, quality=95)
    upright = Image.fromarray(np.rot90(np.asarray(Image.open(turned)), -1))
    assert torch.equal(model.transform(turned), model.transform(upright))
    (tmp_path / "torn.png").write_bytes(b"\x89PNG torn")
    with pytest.raises(DataError, match=r"torn\.png: "):
        model.transform(tmp_path / "torn.png")


def test_a_model_is_found_by_record_folder_file_and_the_record_itself(record: Path) -> None:
    known = ferbench.load_model(record).state_dict()
    for way in (record.parent, record.parents[3], record.parent / "model.safetensors", read_record(record)):
        found = ferbench.load_model(way, runs=runs_of(record)).state_dict()
        assert all(torch.equal(found[name], known[name]) for name in known)


def test_the_data_set_need_not_be_there(patterns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    shutil.copytree(patterns, data)
    record = tiny_run(data, tmp_path / "runs")
    shutil.rmtree(data)
    monkeypatch.setenv("FERBENCH_CACHE", str(tmp_path / "empty"))
    assert len(ferbench.load_model(record).class_names) == 3


class Bomb:
    """Says so where it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("BOOM",))


def test_files_of_unknown_origin_are_named_and_not_unpickled(
    record: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.pt").write_bytes(pickle.dumps(Bomb()))
    save_file({"weight": torch.zeros(3)}, tmp_path / "strange.safetensors")
    shutil.copy(record.parent / "model.safetensors", tmp_path / "lost.safetensors")
    for name, words in (
        ("net.pt", "neither a record.json nor a safetensors file"),
        ("strange.safetensors", "neither a record.json nor a safetensors file"),
        ("lost.safetensors", "unknown origin"),
    ):
        with pytest.raises(DataError, match=words) as error:
            ferbench.load_model(tmp_path / name)
        assert name in str(error.value)
    assert "BOOM" not in capsys.readouterr().out
    with pytest.raises(UsageError, match="no such run"):
        ferbench.load_model(tmp_path / "nowhere")


def test_another_model_and_a_run_without_one_are_refused(record: Path, tmp_path: Path) -> None:
    shutil.copytree(record.parent, tmp_path / "run")
    path = tmp_path / "run" / "model.safetensors"
    tensors = load_file(path)
    save_file({name: value + 1 for name, value in tensors.items()}, path, {"ferbench": '{"class_names": []}'})
    with pytest.raises(DataError, match="not the model of the record"):
        ferbench.load_model(tmp_path / "run")
    failed = json.loads(record.read_text())
    failed |= {"status": "failed", "result": None}
    (tmp_path / "run" / "record.json").write_text(json.dumps(failed))
    with pytest.raises(DataError, match="ended as 'failed'"):
        ferbench.load_model(tmp_path / "run")
    huge = json.loads(record.read_text())
    huge["config"]["protocol"]["image_size"] = 10**6
    (tmp_path / "run" / "record.json").write_text(json.dumps(huge))
    with pytest.raises(DataError, match="1024 pixels"):
        ferbench.load_model(tmp_path / "run")
