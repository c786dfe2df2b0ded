"""AffectNet: the release of 2021 with a file of NumPy per label, that of 2017 with lists and face boxes."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.refusals import refused

from ferbench.errors import DataError
from ferbench_fer_datasets.affectnet import scalar

from fer_lookalikes import affectnet, affectnet_2017
from fer_lookalikes.affectnet_2017 import row
from fer_lookalikes.expected import damage, open_set, read, replace_line

TRAINING = "Manually_Annotated_file_lists/training.csv"


# -- the release of 2021


def npy(value: object) -> bytes:
    return affectnet.npy(np.asarray(value))


@pytest.mark.parametrize("kind", ["i1", "u1", "<i2", ">i4", "<i8", ">u8", "S1", "S8", "<U1", ">U2"])
def test_a_label_is_read_from_every_kind_of_integer_and_string(kind: str) -> None:
    assert scalar(npy(np.asarray("7").astype(kind))) == scalar(npy(np.asarray(["7"]).astype(kind))) == "7"


@given(st.integers(-(2**63), 2**63 - 1))
@settings(deadline=None)
def test_integers_are_read_as_numpy_reads_them(number: int) -> None:
    assert scalar(npy(number)) == str(number)


def claiming(shape: str, kind: str = "<i8") -> bytes:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(8)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"7",
        npy(3.0),
        npy([1, 2]),
        npy(None),
        npy("7" * 100),
        npy(7)[:-1],
        npy(7) + b"\0",
        npy("7") + bytes(10**6),
        npy("\ud800"),
        npy("7")[:-4] + b"\xff" * 4,
        npy(b"\xff"),
        claiming("(1000000000000,)"),
        claiming("()", "|O"),
        claiming("()", "<i99"),
        claiming("(" * 900),
    ],
)
def test_a_file_with_anything_else_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        scalar(content)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    affectnet.build(tmp_path)
    np.save(tmp_path / "train_set/annotations/3_exp.npy", np.asarray(Trap(tmp_path / "sprung"), dtype=object))
    assert damage("affectnet", tmp_path).keys() == {"train_set/images/3.jpg"}
    assert not (tmp_path / "sprung").exists()


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_what_is_there_without_the_other_is_named(tmp_path: Path) -> None:
    affectnet.build(tmp_path)
    (tmp_path / "train_set/annotations/0_exp.npy").unlink()
    (tmp_path / "train_set/images/6.jpg").unlink()
    (tmp_path / "val_set/annotations/9_exp.npy").write_bytes(npy(11))
    (tmp_path / "val_set/annotations/12_exp.npy").unlink()
    (tmp_path / "val_set/annotations/12_exp.npy").symlink_to("/etc/hostname")
    (tmp_path / "val_set/images/._3.jpg").touch()
    found = damage("affectnet", tmp_path)
    assert found.keys() == {
        "train_set/images/0.jpg",
        "train_set/annotations/6_exp.npy",
        "val_set/images/9.jpg",
        "val_set/images/12.jpg",
    }
    assert found["train_set/images/0.jpg"] == "no annotations/0_exp.npy"
    assert "label '11' must be one of 0, 1," in found["val_set/images/9.jpg"]
    assert "leads out of" in found["val_set/images/12.jpg"]


def test_copies_call_the_validation_set_otherwise(tmp_path: Path) -> None:
    affectnet.build(tmp_path)
    before = read("affectnet", tmp_path)
    (tmp_path / "val_set").rename(tmp_path / "valid_set")
    assert read("affectnet", tmp_path) == before


# -- the release of 2017


@pytest.mark.parametrize(("first", "header"), [("training", True), ("validation", False)])
def test_semicolons_part_a_list_whose_landmarks_are_quoted(tmp_path: Path, first: str, header: bool) -> None:
    affectnet_2017.build(tmp_path)
    before = read("affectnet-2017", tmp_path)
    path = tmp_path / f"Manually_Annotated_file_lists/{first}.csv"
    text = path.read_text().replace("1.5;2.5;3.5;4.5", '"1.5|2.5|3.5|4.5"').replace(",", ";").replace("|", ";")
    assert text.startswith("subDirectory") == header
    path.write_text(text)
    assert read("affectnet-2017", tmp_path) == before


def test_every_line_that_says_nothing_is_named(tmp_path: Path) -> None:
    affectnet_2017.build(tmp_path)
    wrong = {
        2: (row("1/a.jpg", (1, 2, 3, 4), 11), "label '11' must be one of 0, 1,"),
        3: (row("../a.jpg", (1, 2, 3, 4), 1), "'../a.jpg' is not a path below"),
        4: (row("1/a.jpg", (1, 2, 0, 4), 1), "not a face box: 1, 2, 1, 6"),
        5: (row("1/a.jpg", (1, 2, 3, 4), 1).replace(",4,", ",high,"), "'high' is not a number"),
        6: (row("1/a,b.jpg", (1, 2, 3, 4), 1), "10 fields instead of 9"),
        7: (row('1/"a.jpg', (1, 2, 3, 4), 1).replace("1/", ""), "unexpected end of data"),
    }
    for number, (line, _) in wrong.items():
        replace_line(tmp_path / TRAINING, number, line)
    found = damage("affectnet-2017", tmp_path)
    assert found.keys() == {f"{TRAINING}:{number}" for number in wrong}
    assert all(reason in found[f"{TRAINING}:{number}"] for number, (_, reason) in wrong.items())


def test_a_list_of_another_kind_is_refused(tmp_path: Path) -> None:
    affectnet_2017.build(tmp_path)
    (tmp_path / TRAINING).write_text("image,label\n1/a.jpg,3\n")
    with refused(DataError, "training.csv:1", "'image,label'", "subDirectory"):
        read("affectnet-2017", tmp_path)


# -- both


def test_the_official_numbers_add_up(tmp_path: Path) -> None:
    official = {name: open_set(name, tmp_path).info for name in ("affectnet", "affectnet-2017")}
    for info in official.values():
        of_train, of_test = info.official["train"], info.official["test"]
        assert sum(of_train.values()) == 287651
        assert sum(n for name, n in of_train.items() if name in info.classes["7"]) == 283901
        assert sum(n for name, n in of_test.items() if name in info.classes["7"]) == 3500
    assert sum(official["affectnet"].official["test"].values()) == 3999
    assert sum(official["affectnet-2017"].official["test"].values()) == 4000
