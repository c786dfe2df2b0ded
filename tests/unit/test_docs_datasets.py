"""The reader that docs/datasets.md shows works as it stands there."""

import re
from pathlib import Path

from PIL import Image

from ferbench.contract.dataset import Damage, Dataset, Sample

PAGE = Path(__file__).parents[2] / "docs" / "datasets.md"


def shown_reader() -> type[Dataset]:
    (code,) = re.findall(r"^```python\n(.+?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    names: dict[str, type[Dataset]] = {}
    exec(compile(code, str(PAGE), "exec"), names)
    return names["OurFaces"]


def test_the_example_reads_a_folder_and_names_what_is_wrong(tmp_path: Path) -> None:
    lines = [
        "file,emotion,person,fold",
        "a.png,Happy,p1,0",
        "b/c.png,anger,p2,1",
        "d.png,hungry,p1,1",
        "../e.png,fear,p1,1",
    ]
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "b").mkdir()
    for name in ("a.png", "b/c.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    dataset = shown_reader()(tmp_path)
    first, second, unknown, outside = dataset.samples()
    assert first == Sample("a.png", tmp_path / "a.png", "test", "happiness", subject="p1")
    assert second == Sample("b/c.png", tmp_path / "b" / "c.png", "train", "anger", subject="p2")
    assert isinstance(unknown, Damage) and unknown.record == "labels.csv:4" and "hungry" in unknown.reason
    assert isinstance(outside, Damage) and outside.record == "labels.csv:5" and "not a path below" in outside.reason
    assert dataset.info.name == "our-faces"
