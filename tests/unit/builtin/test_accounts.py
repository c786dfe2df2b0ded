"""What readers of anybody's images say of columns, members and folders that they do not read, and how users say it."""

import io
import json
import tarfile
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from ferbench.builtin.datasets.image_folder import ImageFolder
from ferbench.builtin.datasets.manifest import Manifest
from ferbench.builtin.datasets.named import NamedDataset
from ferbench.builtin.datasets.shards import Shards
from ferbench.contract.account import Account, ReaderOptions
from ferbench.contract.dataset import Damage, Sample
from ferbench.errors import DataError
from ferbench.readers.account import take_account
from ferbench.readers.parquet import ParquetDataset


def png(level: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (level, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def unused(account: Account) -> set[str]:
    return {name for line in account.unused() for name in line.examples}


def found(dataset: NamedDataset, **options: object) -> list[tuple[str, str, object]]:
    dataset.options = ReaderOptions(**options)  # type: ignore[arg-type]
    assert set(dataset.options.given()) <= dataset.takes
    entries = list(dataset.samples())
    assert all(isinstance(entry, Sample) for entry in entries), entries
    return [(entry.id, entry.split, entry.label) for entry in entries if isinstance(entry, Sample)]


# -- manifests -------------------------------------------------------------------------------------------------------


def manifest(root: Path, *lines: str) -> Manifest:
    for name in ("a.png", "b.png"):
        (root / name).write_bytes(png())
    (root / "manifest.csv").write_text("\n".join(lines))
    return Manifest(root, "mine")


@pytest.mark.parametrize(
    ("column", "first", "second"),
    [("emotion", "happy", "sad"), ("face", "happy", "sad"), ("label_id", "3", "4"), ("Expression", "", "5")],
)
def test_a_label_column_of_another_name_makes_no_pool_in_silence(
    tmp_path: Path, column: str, first: str, second: str
) -> None:
    account = take_account(manifest(tmp_path, f"path,{column}", f"a.png,{first}", f"b.png,{second}"))
    assert unused(account) == {column.lower()}
    assert list(account.remedies) == [f"--label-column {column.lower()}"]


def test_a_split_column_of_another_name_trains_on_no_test_image_in_silence(tmp_path: Path) -> None:
    dataset = manifest(tmp_path, "path,label,Usage", "a.png,happy,Training", "b.png,sad,PrivateTest")
    assert unused(take_account(dataset)) == {"usage"}
    options = {"split_column": "Usage", "splits": {"privatetest": "test"}}
    assert found(dataset, **options) == [("a.png", "train", "happiness"), ("b.png", "test", "sadness")]
    assert not unused(take_account(dataset))


def test_a_column_without_a_name_can_be_ignored(tmp_path: Path) -> None:
    dataset = manifest(tmp_path, "path,", "a.png,sad", "b.png,joy")
    account = take_account(dataset)
    assert (unused(account), list(account.remedies)) == ({"(no name)"}, [])
    dataset.options = ReaderOptions(ignore=("(no name)",))
    assert unused(take_account(dataset)) == set()


def test_columns_are_what_the_user_says(tmp_path: Path) -> None:
    dataset = manifest(tmp_path, "path,y,set,key", "a.png,3,dev,one", "b.png,suprise,held out,two")
    options = {
        "label_column": "y",
        "split_column": "set",
        "id_column": "key",
        "classes": {"3": "happiness", "suprise": "surprise"},
        "splits": {"held out": "test"},
    }
    assert found(dataset, **options) == [("one", "validation", "happiness"), ("two", "test", "surprise")]


def test_other_columns_are_ignored_for_a_stated_reason(tmp_path: Path) -> None:
    dataset = manifest(tmp_path, "path,label,old_label,age", "a.png,sad,happy,9", "b.png,sad,sad,8")
    account = take_account(dataset)
    ignored = {name for line in account.lines if line.outcome == "ignored" for name in line.examples}
    assert (unused(account), ignored) == (set(), {"old_label", "age"})


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    dataset = manifest(tmp_path, "path,y", "a.png,sad")
    dataset.options = ReaderOptions(label_column="z")
    with pytest.raises(DataError, match=r"--label-column z: manifest\.csv has the columns path, y"):
        list(dataset.samples())


def test_images_and_lists_beside_a_manifest_are_unused(tmp_path: Path) -> None:
    dataset = manifest(tmp_path, "path,label", "a.png,sad")
    pyarrow.parquet.write_table(pyarrow.table({"path": ["b.png"]}), tmp_path / "manifest.parquet")
    assert unused(take_account(dataset)) == {"b.png", "manifest.parquet"}


def test_names_of_parquet_columns_are_read_as_those_of_csv(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    pyarrow.parquet.write_table(pyarrow.table({"Path": ["a.png"], " Label": ["joy"]}), tmp_path / "manifest.parquet")
    assert found(Manifest(tmp_path, "mine")) == [("a.png", "train", "happiness")]
    pyarrow.parquet.write_table(pyarrow.table({"path": ["a.png"], "Path": ["a.png"]}), tmp_path / "manifest.parquet")
    with pytest.raises(DataError, match="only in case"):
        list(Manifest(tmp_path, "mine").samples())


def test_a_csv_column_that_stands_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the column label appears twice"):
        list(manifest(tmp_path, "path,label,Label", "a.png,sad,joy").samples())


def test_images_in_a_column_are_unused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    table = pyarrow.table({"path": ["a.png"], "label": ["sad"], "aligned": [{"bytes": png(3), "path": "x"}]})
    pyarrow.parquet.write_table(table, tmp_path / "manifest.parquet")
    assert unused(take_account(Manifest(tmp_path, "mine"))) == {"aligned"}


# -- folders ---------------------------------------------------------------------------------------------------------


def test_folders_are_what_the_user_says(tmp_path: Path) -> None:
    for name in ("train/0_angry/a.png", "eval/3/b.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(png())
    dataset = ImageFolder(tmp_path, "mine")
    account = take_account(dataset)
    assert unused(account) == {"train/0_angry/a.png", "eval/3/b.png"}
    assert list(account.remedies) == ["--class 0_angry=anger"]
    options = {"classes": {"0_angry": "anger", "3": "fear"}, "splits": {"eval": "test"}}
    assert found(dataset, **options) == [
        ("eval/3/b.png", "test", "fear"),
        ("train/0_angry/a.png", "train", "anger"),
    ]


# -- shards ----------------------------------------------------------------------------------------------------------


def shard(path: Path, *members: tuple[str, bytes]) -> None:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_every_member_is_accounted_for(tmp_path: Path) -> None:
    shard(
        tmp_path / "train-0.tar",
        ("./1.left.jpg", png()),
        ("./1.png", png()),
        ("./1.jpg", png()),
        ("./1.cls", b"sad"),
        ("2.png", png()),
        ("2.emotion", b"happy"),
        ("3.cls", b"fear"),
        ("4.data", png()),
        ("._5.png", b"\0\5\26\7"),
        ("readme.txt", b"who made it"),
    )
    (tmp_path / "deep").mkdir()
    shard(tmp_path / "deep" / "train-1.tar", ("1.png", png()))
    account = take_account(Shards(tmp_path, "mine"))
    members = ("./1.left.jpg", "./1.jpg", "2.emotion", "3.cls", "4.data")
    assert unused(account) == {"deep/train-1.tar", *(f"train-0.tar/{name}" for name in members)}
    assert account.counts == {"train": {"sadness": 1}, "unlabeled": {"unknown": 1}}
    ignored = {name for line in account.lines if line.outcome == "ignored" for name in line.examples}
    assert ignored == {"train-0.tar/._5.png", "train-0.tar/readme.txt"}


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ((("1.png", png()), ("1.png", png())), ".png occurs twice"),
        ((("1.png", png()), ("1.cls", b"x" * 2**17)), ".cls has 131072 bytes"),
    ],
)
def test_a_member_that_cannot_be_taken_is_damage(
    tmp_path: Path, members: tuple[tuple[str, bytes], ...], reason: str
) -> None:
    shard(tmp_path / "train-0.tar", *members)
    (damage,) = Shards(tmp_path, "mine").samples()
    assert isinstance(damage, Damage) and damage.record == "train-0.tar/1"
    assert reason in damage.reason


def test_keys_of_json_are_columns(tmp_path: Path) -> None:
    about = json.dumps({"emotion": 3, "subset": "val", "age": 30}).encode()
    shard(tmp_path / "faces-0.tar", ("1.png", png()), ("1.json", about))
    dataset = Shards(tmp_path, "mine")
    account = take_account(dataset)
    assert unused(account) == {"emotion", "subset"}
    assert set(account.remedies) == {"--label-column emotion", "--split-column subset"}
    options = {"label_column": "emotion", "split_column": "subset", "classes": {"3": "fear"}}
    assert found(dataset, **options) == [("faces-0.tar/1", "validation", "fear")]


def test_a_label_of_json_is_missed_though_others_stand_beside_their_images(tmp_path: Path) -> None:
    about = json.dumps({"emotion": "fear", "age": 30}).encode()
    shard(tmp_path / "train-0.tar", ("1.png", png()), ("1.cls", b"sad"), ("2.png", png()), ("2.json", about))
    account = take_account(Shards(tmp_path, "mine"))
    assert (unused(account), set(account.remedies)) == ({"emotion"}, {"--label-column emotion"})
    shard(tmp_path / "train-0.tar", ("1.png", png()), ("1.cls", b"sad"), ("1.json", about))
    assert unused(take_account(Shards(tmp_path, "mine"))) == set()


def test_the_split_of_json_counts_beside_another_label(tmp_path: Path) -> None:
    shard(tmp_path / "faces-0.tar", ("1.png", png()), ("1.cls", b"sad"), ("1.json", b'{"split": "test"}'))
    assert found(Shards(tmp_path, "mine")) == [("faces-0.tar/1", "test", "sadness")]


def test_a_shard_of_no_split_beside_others_is_not_trained_on(tmp_path: Path) -> None:
    for name in ("train-0.tar", "heldout-0.tar"):
        shard(tmp_path / name, ("1.png", png()), ("1.cls", b"sad"))
    dataset = Shards(tmp_path, "mine")
    first, second = dataset.samples()
    assert isinstance(first, Damage) and "--split heldout=test" in first.reason
    assert isinstance(second, Sample)
    assert [split for _, split, _ in found(dataset, splits={"heldout": "test"})] == ["test", "train"]


# -- parquet ---------------------------------------------------------------------------------------------------------


def parquet(root: Path, split: str, **columns: object) -> ParquetDataset:
    root.mkdir(exist_ok=True)
    (root / "dataset.json").write_text('{"name": "mine", "classes": {"2": ["fear", "anger"]}, "default_classes": "2"}')
    table = pyarrow.table({"id": [f"{split}/a"], "image": [{"bytes": png()}], **columns})
    pyarrow.parquet.write_table(table, root / f"{split}.parquet")
    return ParquetDataset(root)


def test_a_parquet_set_is_read_whole_or_refused(tmp_path: Path) -> None:
    dataset = parquet(tmp_path, "train", label=["fear"])
    parquet(tmp_path, "validation", label=["anger"])
    assert [(s.id, s.split, s.label) for s in dataset.samples()] == [
        ("train/a", "train", "fear"),
        ("validation/a", "validation", "anger"),
    ]
    parquet(tmp_path, "val", label=["anger"])
    with pytest.raises(DataError, match=r"val\.parquet would not be read"):
        list(dataset.samples())


def test_a_parquet_set_with_labels_of_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the column emotion looks like labels"):
        list(parquet(tmp_path / "a", "train", emotion=["fear"]).samples())
    assert len(list(parquet(tmp_path / "b", "train", fold=[3]).samples())) == 1
