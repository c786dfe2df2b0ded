"""INDEX.md of a runs folder: a line per cell, right whoever publishes when."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

import pytest

from ferbench.records.cell import Overrides
from ferbench.records.store import RunStore
from tests.unit.records.factory import make_cell, write_failure, write_record

WRITER = """
import sys
from pathlib import Path
from tests.unit.records.factory import make_cell, write_record
for seed in map(int, sys.argv[2:]):
    write_record(Path(sys.argv[1]), make_cell(seed=seed))
"""


def rows(root: Path) -> dict[str, list[str]]:
    """The fields of each line by the folder that its link leads to; read with the rules of Markdown alone."""
    lines = [line for line in (root / "INDEX.md").read_text("utf-8").splitlines() if line.startswith("| [")]
    fields = [re.split(r"(?<!\\) \| ", line.removeprefix("| ").removesuffix(" |")) for line in lines]
    return {unquote(re.search(r"\(<(.*)>\)$", first)[1]): rest for first, *rest in fields}  # type: ignore[index]


def test_a_line_says_what_a_hash_in_a_folder_stands_for(tmp_path: Path) -> None:
    cell = make_cell(overrides=Overrides(method={"threshold": 0.8}, protocol={"steps": 60}), precision="bf16", seed=3)
    path = write_record(tmp_path, cell)
    (folder, fields), *others = rows(tmp_path).items()
    assert not others
    assert tmp_path / folder == path.parent
    assert re.search("~[0-9a-f]{8}", folder)
    text = " ".join(fields)
    for word in ("fixmatch", "5 % of the labels", "synthfaces", "ratio-v1", "small-resnet", "3", "precision=bf16"):
        assert word in text
    assert "method.threshold=0.8, protocol.steps=60" in text
    accuracy = RunStore(tmp_path).read(cell).result.metrics.accuracy  # type: ignore[union-attr]
    assert f"{100 * accuracy:.1f} %" in text and "ok" in fields


def test_a_cell_has_one_line_which_follows_it(tmp_path: Path) -> None:
    cell, store = make_cell(), RunStore(tmp_path)
    with store.lock(cell):
        assert "begun, no record yet" in rows(tmp_path)[str(cell.folder())]
        write_failure(tmp_path, cell)
    assert store.read(cell).status in rows(tmp_path)[str(cell.folder())]  # type: ignore[union-attr]
    write_record(tmp_path, cell)
    assert list(rows(tmp_path)) == [str(cell.folder())]
    assert "ok" in rows(tmp_path)[str(cell.folder())]


def test_what_a_process_left_that_was_killed_while_it_wrote_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".INDEX.md.0123abcd.tmp").write_bytes(b"half")
    (tmp_path / ".ferbench-runs.json.0123abcd.tmp").write_bytes(b"of somebody who may live")
    write_record(tmp_path, make_cell())
    assert {path.name for path in tmp_path.glob("*.tmp")} == {".ferbench-runs.json.0123abcd.tmp"}


def test_what_was_removed_or_edited_by_hand_is_put_right_when_a_cell_is_published(tmp_path: Path) -> None:
    first, second = write_record(tmp_path, make_cell(seed=0)), make_cell(seed=1)
    first.unlink()
    (tmp_path / "INDEX.md").write_text("my notes")
    write_record(tmp_path, second)
    assert list(rows(tmp_path)) == [str(second.folder())]


def test_text_from_files_cannot_become_markup(tmp_path: Path) -> None:
    folder = tmp_path / "a | <b> [c](d) \n*e*"
    folder.mkdir()
    (folder / "record.json").write_text('{"<script>": "|"}')
    cell = make_cell()
    write_record(tmp_path, cell)
    found = rows(tmp_path)
    assert set(found) == {folder.name, str(cell.folder())}
    assert {len(fields) for fields in found.values()} == {10}
    text = (tmp_path / "INDEX.md").read_text("utf-8")
    assert "<script" not in text and "<b>" not in text and not re.search(r"(?<!\\)\]\(d\)", text)


def test_a_name_that_is_no_text_stands_there_too(tmp_path: Path) -> None:
    (tmp_path / "\udcff").mkdir()
    (tmp_path / "\udcff" / "record.json").write_text("{}")
    write_record(tmp_path, make_cell())
    assert len(rows(tmp_path)) == 2


def test_a_failure_to_write_it_costs_no_record(tmp_path: Path) -> None:
    (tmp_path / "INDEX.md").mkdir()
    cell = make_cell()
    write_record(tmp_path, cell)
    assert RunStore(tmp_path).is_done(cell)


@pytest.mark.slow
@pytest.mark.process
def test_it_is_right_when_several_processes_publish_at_once(tmp_path: Path) -> None:
    seeds = [range(first, 40, 4) for first in range(4)]

    def publish(part: range) -> int:
        return subprocess.run([sys.executable, "-c", WRITER, str(tmp_path), *map(str, part)], check=False).returncode

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(publish, seeds)) == {0}
    assert set(rows(tmp_path)) == {str(make_cell(seed=seed).folder()) for seed in range(40)}
    assert not list(tmp_path.glob("*.tmp"))
