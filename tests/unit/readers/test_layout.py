"""Lists and folders come from strangers: they become paths below the root, Damage, or an error with its line."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferbench.contract.dataset import EIGHT_CLASSES, Damage, DatasetInfo, Sample
from ferbench.errors import DataError
from ferbench.readers.classes import ALIASES, class_folders, class_name
from ferbench.readers.layout import LayoutReader
from ferbench.readers.paths import ImageFiles, below, files, image_files, inside, real, subfolders
from ferbench.readers.tables import MAX_LINE, face_box, float_in, number_in, parsed, read_lines, read_table
from ferbench.readers.text import printable, quoted
from tests.support.refusals import refused


def write(path: Path, content: str | bytes = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# -- names of classes, numbers, texts


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Happy", "happiness"),
        (" SAD ", "sadness"),
        ("surprised", "surprise"),
        ("Afraid", "fear"),
        ("other", "other"),
        ("AF", "fear"),
        ("FE", "fear"),
        ("Su", "surprise"),
    ],
)
def test_spellings_have_one_name(text: str, name: str) -> None:
    assert class_name(text) == name


def test_every_alias_is_a_canonical_class() -> None:
    assert set(ALIASES.values()) == {*EIGHT_CLASSES, "other"}


def test_what_is_no_expression_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"'Hapy' is not an expression; did you mean 'happy'\?"):
        class_name("Hapy")


def test_codes_of_two_letters_are_no_suggestion() -> None:
    with pytest.raises(ValueError, match=r"'hap' is not an expression; did you mean 'happy'\?"):
        class_name("hap")


def test_a_name_is_printable() -> None:
    assert printable("Zoë 7") == "Zoë 7"
    assert printable("") == ""
    for text in ("\ud800", "a\nb", "\x1b[2J"):
        with pytest.raises(ValueError, match="is not printable text") as caught:
            printable(text)
        assert str(caught.value).isprintable()


def test_messages_show_the_beginning_of_a_text_without_control_characters() -> None:
    assert quoted("a\x1b[31m") == r"'a\x1b[31m'"
    assert len(quoted("x" * 10**6)) < 200
    with pytest.raises(ValueError) as caught:
        class_name("x" * 10**6)
    assert len(str(caught.value)) < 200


def test_a_label_is_one_of_the_known_integers() -> None:
    assert number_in(" 3 ", {3: "happiness"}) == 3
    for text in ("4", "3.0", "", "three", "9" * 10**4):
        with pytest.raises(ValueError, match=r"must be one of 1, 2, 3$"):
            number_in(text, range(1, 4))


def test_a_number_is_a_number() -> None:
    assert float_in(" 1.5e1 ") == 15
    with pytest.raises(ValueError, match="'1,5' is not a number"):
        float_in("1,5")


def test_a_box_has_an_inside() -> None:
    assert face_box(0, -1.5, 2, 3) == (0, -1.5, 2, 3)
    for box in [(0, 0, 0, 1), (0, 2, 1, 1), (0, 0, float("nan"), 1), (0, 0, 1, float("inf"))]:
        with pytest.raises(ValueError, match="not a face box"):
            face_box(*box)


# -- paths


def test_names_of_lists_lead_below_the_root() -> None:
    assert below(Path("/r"), " a/b.jpg ") == below(Path("/r"), "a\\b.jpg") == Path("/r/a/b.jpg")


@pytest.mark.parametrize("name", ["../a", "a/../../b", "/etc/passwd", "C:\\a.jpg", "\\\\host\\a", "", ".", "a\0b"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a path below /r"):
        below(Path("/r"), name)


@given(st.text(st.characters(codec="utf-8") | st.sampled_from("./\\:"), max_size=30))
def test_no_name_leads_out(name: str) -> None:
    try:
        path = below(Path("/r"), name)
    except ValueError:
        return
    assert os.path.normpath(path).startswith("/r/")


def test_links_are_followed_within_the_root_alone(tmp_path: Path) -> None:
    outside, root = write(tmp_path / "outside.txt"), tmp_path / "root"
    inside = write(root / "data/a.txt")
    (root / "link.txt").symlink_to(inside)
    (root / "out.txt").symlink_to(outside)
    (root / "gone.txt").symlink_to(root / "nothing")
    (root / "loop.txt").symlink_to(root / "loop.txt")
    os.mkfifo(root / "pipe")
    assert real(root, root / "link.txt") == real(root, inside) == inside
    for name, message in {"out.txt": "leads out of", "data": "not a file", "pipe": "not a file"}.items():
        with pytest.raises(ValueError, match=message):
            real(root, root / name)
    for name in ("gone.txt", "loop.txt"):
        with pytest.raises(OSError):
            real(root, root / name)


def test_a_folder_may_be_inside_and_is_no_file(tmp_path: Path) -> None:
    write(tmp_path / "root/data/a.txt")
    assert inside(tmp_path / "root", tmp_path / "root/data") == tmp_path / "root/data"
    (tmp_path / "root/out").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="leads out of"):
        inside(tmp_path / "root", tmp_path / "root/out")


def test_a_root_may_be_a_link(tmp_path: Path) -> None:
    path = write(tmp_path / "root/a.txt")
    (tmp_path / "link").symlink_to(tmp_path / "root")
    assert real(tmp_path / "link", tmp_path / "link/a.txt") == path


# -- what is where


class Reader(LayoutReader):
    info = DatasetInfo("mine", "Mine", "", {}, "", "mine")

    def samples(self) -> Iterator[Sample]:
        yield from ()


def test_the_nearest_is_found_first_and_then_the_first_name(tmp_path: Path) -> None:
    deep, near = write(tmp_path / "a/b/list.csv"), write(tmp_path / "z/other.csv")
    assert Reader(tmp_path).find("list.csv", "other.csv") == near
    assert Reader(tmp_path).find("list.csv") == deep
    assert Reader(tmp_path).find("list.csv", depth=1) is None
    beside = write(tmp_path / "z/list.csv")
    assert Reader(tmp_path).find("list.csv", "other.csv") == beside
    assert Reader(tmp_path).find("b/list.csv", depth=1) == deep


def test_a_reader_remembers_what_it_has_found(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    reader = Reader(tmp_path)
    reader.find("b")
    reader.find("c")
    reader.require("b", within=tmp_path / "a", depth=0)
    reader.require("a")
    assert list(reader.found) == [tmp_path / "a" / "b", tmp_path / "a"]
    assert reader.require_one("b") == tmp_path / "a" / "b"
    with pytest.raises(DataError, match="c"):
        reader.require("c")


def test_of_several_none_is_taken_where_there_must_be_one(tmp_path: Path) -> None:
    (tmp_path / "x" / "a").mkdir(parents=True)
    assert Reader(tmp_path).require_one("a", "b") == tmp_path / "x" / "a"
    (tmp_path / "y" / "b").mkdir(parents=True)
    with refused(DataError, "x/a", "y/b", "--root"):
        Reader(tmp_path).require_one("a", "b")


def test_hidden_folders_and_links_are_not_searched(tmp_path: Path) -> None:
    write(tmp_path / "root/.cache/list.csv")
    write(tmp_path / "elsewhere/list.csv")
    (tmp_path / "root/link").symlink_to(tmp_path / "elsewhere")
    assert Reader(tmp_path / "root").find("list.csv") is None
    assert subfolders(tmp_path / "root") == []


def test_an_error_names_what_was_looked_for_and_the_remedy(tmp_path: Path) -> None:
    write(tmp_path / "table.csv")
    with refused(DataError, tmp_path, "a.txt", "b.txt", "2 folders", "unpack it"):
        Reader(tmp_path).require("a.txt", "b.txt", hint="unpack it")
    with refused(DataError, tmp_path, "no a.txt here; unpack it"):
        Reader(tmp_path).require("a.txt", depth=0, hint="unpack it")
    assert Reader(tmp_path).require("table.csv") == tmp_path / "table.csv"


def test_files_are_listed_by_name_and_ending_without_hidden_ones(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "._a.png", "c.txt", "d.tiff", "Thumbs.db", "1_exp.npy", "1_val.npy"):
        write(tmp_path / name)
    assert [path.name for path in image_files(tmp_path)] == ["a.png", "b.JPG", "d.tiff"]
    assert files(tmp_path, "_exp.npy") == [tmp_path / "1_exp.npy"]


def test_what_is_no_folder_cannot_be_listed(tmp_path: Path) -> None:
    for path in (write(tmp_path / "file"), tmp_path / "nothing"):
        with pytest.raises(DataError, match="cannot be listed"):
            image_files(path)


def test_folders_of_classes_label_their_images(tmp_path: Path) -> None:
    images = [write(tmp_path / "train" / name) for name in ("Happy/b.png", "Happy/c.jpg", "sad/a.png")]
    write(tmp_path / "train/Happy/notes.txt")
    write(tmp_path / "train/readme.txt")
    write(tmp_path / "train/.git/a.png")
    (tmp_path / "train/surprise").symlink_to(tmp_path / "train/sad")
    (tmp_path / "train/saad").mkdir()
    found = list(class_folders(tmp_path, tmp_path / "train"))
    assert found == [
        ("train/Happy/b.png", (images[0], "happiness")),
        ("train/Happy/c.jpg", (images[1], "happiness")),
        Damage("train/saad", "'saad' is not an expression; did you mean 'sad'?"),
        ("train/sad/a.png", (images[2], "sadness")),
        ("train/surprise/a.png", (tmp_path / "train/surprise/a.png", "surprise")),
    ]


def test_an_image_that_is_a_link_to_itself_is_one_damaged_image(tmp_path: Path) -> None:
    image = write(tmp_path / "train/sad/a.png")
    loop = tmp_path / "train/sad/b.png"
    loop.symlink_to(loop)
    found = list(class_folders(tmp_path, tmp_path / "train"))
    assert found == [("train/sad/a.png", (image, "sadness")), ("train/sad/b.png", (loop, "sadness"))]
    with pytest.raises(OSError, match="symbolic links"):
        ImageFiles(tmp_path).read(Sample("b", loop, "train", "sadness"))


@pytest.mark.parametrize("link", ["root/train/happy", "root/train"])
def test_a_folder_of_classes_out_of_the_root_is_not_listed(tmp_path: Path, link: str) -> None:
    kept = write(tmp_path / "root/train/sad/a.png")
    for name in ("secret.png", "happy/secret.png", "secret/a.png"):
        write(tmp_path / "elsewhere" / name)
    if link == "root/train":
        shutil.rmtree(tmp_path / link)
    (tmp_path / link).symlink_to(tmp_path / "elsewhere")
    damage, *rest = class_folders(tmp_path / "root", tmp_path / "root/train")
    assert isinstance(damage, Damage)
    assert damage.record == link.removeprefix("root/")
    assert "leads out of" in damage.reason
    assert "secret" not in str(damage)
    assert rest == ([("train/sad/a.png", (kept, "sadness"))] if link != "root/train" else [])


def test_images_that_have_no_class_or_lie_too_deep_are_named(tmp_path: Path) -> None:
    image = write(tmp_path / "train/happy/a.png")
    write(tmp_path / "train/loose.jpg")
    write(tmp_path / "train/.hidden.jpg")
    write(tmp_path / "train/happy/s1/deep/1.jpg")
    write(tmp_path / "train/happy/notes/about.txt")
    write(tmp_path / "train/happy/.cache/1.jpg")
    write(tmp_path / "train/happy/__MACOSX/._1.jpg")
    (tmp_path / "train/happy/link").symlink_to(tmp_path)
    write(tmp_path / "elsewhere/notes/about.txt")
    (tmp_path / "train/sad").symlink_to(tmp_path / "elsewhere")
    beside, inside = (
        "is not in a class folder; move it into the folder of its class",
        "is not read because it is inside a class folder; move its images up into the class folder",
    )
    assert list(class_folders(tmp_path, tmp_path / "train")) == [
        Damage("train/loose.jpg", beside),
        ("train/happy/a.png", (image, "happiness")),
        Damage("train/happy/link", inside),
        Damage("train/happy/s1", inside),
        Damage("train/sad/notes", inside),
    ]


# -- lists


@pytest.mark.parametrize("content", ["a\nü\n", "a\nü", "a\r\nü\r\n", b"\xef\xbb\xbf" + "a\nü\n".encode()])
def test_lines_have_numbers_and_no_ends(tmp_path: Path, content: str | bytes) -> None:
    assert list(read_lines(tmp_path, write(tmp_path / "list.txt", content))) == [(1, "a"), (2, "ü")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\n" * 5000 + b"caf\xe9\nb\n", r"list\.txt:5001: not UTF-8; save the file as UTF-8"),
        ("ab\n".encode("utf-16"), r"list\.txt:1: not UTF-8"),
        (b"a\n" + b"x" * 2 * MAX_LINE, rf"list\.txt:2: this line has over {MAX_LINE} characters"),
    ],
)
def test_the_line_that_cannot_be_read_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = write(tmp_path / "list.txt", content)
    with pytest.raises(DataError, match=message):
        list(read_lines(tmp_path, path))


def test_lists_are_files_below_the_root(tmp_path: Path) -> None:
    write(tmp_path / "outside.txt", "a\n")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/list.txt").symlink_to(tmp_path / "outside.txt")
    for name, message in {"list.txt": "leads out of", ".": "not a file", "nothing": "No such file"}.items():
        with pytest.raises(DataError, match=f"cannot be read .*{message}"):
            list(read_lines(tmp_path / "root", tmp_path / "root" / name))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("header", ["Image, label", " label,IMAGE,more"])
def test_columns_are_found_by_name_whatever_parts_them(tmp_path: Path, delimiter: str, header: str) -> None:
    names = [name.strip().lower() for name in header.split(",")]
    rows = [dict(zip(names, values, strict=False)) for values in (("a", "b", "c"), ("d e", "f", "g"))]
    text = "\n".join([header, *(",".join(row.values()) for row in rows)]).replace(",", delimiter)
    table = list(read_table(tmp_path, write(tmp_path / "in/t.csv", text), ("image", "Label")))
    assert table == [("in/t.csv:2", rows[0]), ("in/t.csv:3", rows[1])]


def test_quoted_fields_may_hold_delimiters(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", 'image,box\na,"(0, 1)"\n')
    assert list(read_table(tmp_path, path, ("image", "box"))) == [("t.csv:2", {"image": "a", "box": "(0, 1)"})]


def test_rows_that_are_none_are_damage_and_do_not_hide_others(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", 'a,b\n1,2\n\n3\n4,5,6\n"7,8\n9,10\n')
    assert list(read_table(tmp_path, path, ("a", "b"))) == [
        ("t.csv:2", {"a": "1", "b": "2"}),
        Damage("t.csv:4", "1 fields instead of 2"),
        Damage("t.csv:5", "3 fields instead of 2"),
        Damage("t.csv:6", "unexpected end of data"),
        ("t.csv:7", {"a": "9", "b": "10"}),
    ]


@pytest.mark.parametrize("first", ["", "a,c", '"a,b', "a" * 200_000])
def test_a_header_without_the_columns_is_an_error(tmp_path: Path, first: str) -> None:
    path = write(tmp_path / "t.csv", f"{first}\n1,2\n")
    with refused(DataError, "t.csv:1", "a, B", "try another"):
        list(read_table(tmp_path, path, ("a", "B"), hint="try another"))


@pytest.mark.parametrize("header", ["", "A;b\n", "b; a;c\n"])
def test_a_header_may_be_missing_where_that_is_said(tmp_path: Path, header: str) -> None:
    rows = {"": "1;2", "A;b\n": "1;2", "b; a;c\n": "2;1;3"}[header]
    table = read_table(tmp_path, write(tmp_path / "t.csv", f"{header}{rows}\n"), ("a", "B"), header=False)
    ((where, fields),) = (row for row in table if not isinstance(row, Damage))
    assert where == f"t.csv:{2 if header else 1}"
    assert (fields["a"], fields["b"]) == ("1", "2")


def test_a_first_row_of_another_kind_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "1,2,3\n4,5\n")
    with pytest.raises(DataError, match=r"t\.csv:1: '1,2,3' does not have the columns a, b$"):
        list(read_table(tmp_path, path, ("a", "b"), header=False))


def test_each_row_gives_a_sample_nothing_or_damage() -> None:
    def sample_of(text: str) -> Sample | None:
        return Sample(text, b"", "train", ALIASES[class_name(text)]) if text else None

    rows = [("t:1", "anger"), ("t:2", ""), ("t:3", "angst"), Damage("t:4", "torn"), ("t:5", "fear")]
    samples = list(parsed(rows, sample_of))
    assert [type(entry) for entry in samples] == [Sample, Damage, Damage, Sample]
    assert samples[1] == Damage("t:3", "'angst' is not an expression")
