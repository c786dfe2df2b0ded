"""The tutorials, followed: every block of theirs that is not marked `not run`, in its order, with fewer steps."""

import glob
import importlib
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow.parquet
import pytest
from PIL import Image, ImageEnhance

from ferbench_synthfaces.dataset import packaged
from tests.support.command import succeed
from tests.support.distributions import pip_install
from tests.support.docs_blocks import ROOT, Block, blocks

pytestmark = [pytest.mark.slow, pytest.mark.process]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, where cells run in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FERBENCH_RUN_EXECUTOR", "inline")
    return tmp_path


def follow(name: str, steps: int) -> Iterator[tuple[Block, str]]:
    """Each block that is run, and what its commands have printed."""
    for block in blocks(f"docs/tutorials/{name}.md"):
        if not block.not_run and block.language != "text":
            yield block, run(block, steps)


def run(block: Block, steps: int) -> str:
    text = re.sub(r"(steps ?= ?)\d+", rf"\g<1>{steps}", block.text)
    if block.language != "sh":
        named = re.match(r"# (\S+)\n", text)
        if named is None:
            exec(compile(text, str(block), "exec"), {})
            return ""
        (path,) = [Path(named[1]), *Path().glob(f"*/{named[1]}")][-1:]
        path.write_text(text, "utf-8")
        return ""
    shown = []
    for words in Block(block.page, block.line, "sh", text, "").commands():
        if words[0] == "ferbench":
            shown.append(succeed(*(found for word in words[1:] for found in expanded(word))))
        else:
            assert words[:2] == ["pip", "install"]
            for package in (Path(word.partition("[")[0]) for word in words[2:] if word.startswith("ferbench-")):
                install_editable(package)
    return "\n".join(shown)


def install_editable(package: Path) -> None:
    """Install a package into `site`; what is changed in its folder holds at once."""
    pip_install(Path("site"), package.resolve())
    module = package.name.replace("-", "_")
    shutil.rmtree(Path("site") / module)
    (Path("site") / module).symlink_to((package / module).resolve())
    importlib.invalidate_caches()


def expanded(word: str) -> list[str]:
    """What a shell makes of a word."""
    return (sorted(glob.glob(word)) if "*" in word else []) or [word]


def pictures(split: str, classes: tuple[str, ...], count: int) -> Iterator[tuple[str, int, Image.Image]]:
    """The first shipped faces of each class."""
    seen = dict.fromkeys(classes, 0)
    for row in pyarrow.parquet.read_table(packaged("synthfaces") / f"{split}.parquet").to_pylist():
        if seen.get(row["label"], count) < count:
            seen[row["label"]] += 1
            yield row["label"], seen[row["label"]], Image.open(io.BytesIO(row["image"]["bytes"]))


def test_a_method_of_ones_own_stands_beside_the_others(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(here / "site"))
    shown = {block.line: text for block, text in follow("method", steps=20)}
    assert "soft-labels" in "".join(shown.values())
    table = (here / "tables" / "leaderboard.md").read_text()
    assert re.findall(r"^\| \d \| ([\w -]+?) (?:\(\w+ views\) )?\|", table, re.MULTILINE).count("soft-labels") == 1
    assert "fixmatch" in table and "supervised (weak views)" in table
    (record,) = (here / "runs").rglob("soft-labels*/**/record.json")
    assert json.loads(record.read_text())["config"]["method"] == {"decay": 0.99}


def test_a_folder_of_photos_becomes_a_model_with_a_card(here: Path) -> None:
    classes = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
    for split, count in (("train", 12), ("test", 4)):
        for label, number, picture in pictures(split, classes, count):
            path = here / "photos" / split / label / f"{number:03}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)
    shown = "\n".join(text for _, text in follow("dataset", steps=20))
    assert "3 cells, 0 to run" in shown
    assert "photos/test/anger/001.jpg" in shown
    assert "## Intended use" in (here / "MODEL_CARD.md").read_text()


def test_photos_of_a_phone_become_a_labeled_set(here: Path) -> None:
    data = pytest.importorskip("skimage.data")
    portrait = Image.fromarray(data.astronaut())
    for label, brightness in (("happiness", 0.9), ("happiness", 1.1), ("neutral", 1.2)):
        path = here / "mine" / label / f"IMG_{100 * brightness:.0f}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        ImageEnhance.Brightness(portrait).enhance(brightness).save(path)
    list(follow("phone", steps=20))
    assert "IMG_90.jpg" in (here / "said.html").read_text()
    predictions = pd.read_csv(here / "predictions.csv")
    assert sorted(predictions["label"]) == ["happiness", "happiness", "neutral"]
    assert predictions["predicted"].notna().all()


def test_a_record_of_the_board_has_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    shown = "\n".join(text for _, text in follow("reproduce", steps=20))
    assert "ferbench run --method fixmatch" in shown
    assert "5 of 5 records without a failed check" in shown
