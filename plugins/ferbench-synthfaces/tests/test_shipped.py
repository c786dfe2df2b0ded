"""The sets inside the package."""

import io
import json

import pyarrow.parquet as pq
import pytest
from PIL import Image

from ferbench_synthfaces.dataset import SynthFaces, SynthFacesFR, packaged
from ferbench_synthfaces.render.plan import class_counts

FILES = {
    "train": packaged("synthfaces") / "train.parquet",
    "test": packaged("synthfaces") / "test.parquet",
    "unlabeled": packaged("synthfaces-fr") / "unlabeled.parquet",
}
pytestmark = pytest.mark.skipif(
    not packaged("synthfaces").exists(), reason="the sets are not rendered: run tools/render_shipped.py"
)


@pytest.mark.parametrize(("split", "count"), [("train", 8250), ("test", 3100)])
def test_class_counts(split: str, count: int) -> None:
    labels = pq.read_table(FILES[split], columns=["label"])["label"].to_pylist()
    assert {name: labels.count(name) for name in class_counts(count)} == class_counts(count)


def test_the_pool_has_no_labels() -> None:
    schema = pq.read_schema(FILES["unlabeled"])
    assert pq.read_metadata(FILES["unlabeled"]).num_rows == 8000
    assert not {"label", "action_units", "intensity"} & set(schema.names)


def test_nobody_is_in_two_splits() -> None:
    people = []
    for path in FILES.values():
        rows = pq.read_table(path, columns=["age", "gender", "ancestry"]).to_pylist()
        people.append({(row["age"], row["gender"], *row["ancestry"].values()) for row in rows})
    assert len(set.union(*people)) == sum(len(group) for group in people)


def test_everything_fits_into_30_megabytes() -> None:
    assert sum(path.stat().st_size for path in packaged("").rglob("*") if path.is_file()) <= 30e6


def test_images_decode() -> None:
    for path in FILES.values():
        rows = pq.ParquetFile(path).read_row_group(0, columns=["image"])["image"].to_pylist()
        assert {Image.open(io.BytesIO(row["bytes"])).size for row in rows} == {(64, 64)}


def test_the_core_knows_both() -> None:
    assert (SynthFaces().info.name, SynthFacesFR().info.name) == ("synthfaces", "synthfaces-fr")
    assert SynthFaces().info.default_classes == "7"
    generator = json.loads((packaged("synthfaces") / "dataset.json").read_text("utf-8"))["generator"]
    assert generator["seed"] == 20261
