"""Ways in which a copy of a dataset may be damaged, or made to lead a reader astray."""

import contextlib
import io
import os
import random
import shutil
import struct
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fer_lookalikes.expected import grey_image, write, write_image

SECRET = "CANARY"
"""What stands in every text outside the root."""
SECRET_SHADE, SECRET_SIZE = 231, (9, 9)
"""Of every image outside; none in a tree is so large."""
IMAGES = (".jpg", ".jpeg", ".png", ".tiff", ".tif", ".bmp")
ARCHIVES = (".tar", ".rec")
TEXTS = (".csv", ".txt", ".lst", ".idx")


@dataclass
class Tree:
    """A tree that is being damaged, beside a folder that no reader may look into."""

    root: Path
    outside: Path
    chance: random.Random
    touched: set[Path] = field(default_factory=set)
    """Files and folders of which nothing can be expected any more."""
    lines: list[tuple[Path, int, str]] = field(default_factory=list)
    """Lines that were changed: file, number and what stood there."""
    moved: dict[Path, int] = field(default_factory=dict)
    """Of each file the line from which on others stand at their numbers."""
    locked: dict[Path, int] = field(default_factory=dict)
    """The rights of what was made unreadable."""
    same: dict[bytes, bytes] = field(default_factory=dict)
    """Images in another format, each with the file that it was made of."""

    def damage(self) -> str:
        """Damage something; returns how."""
        found = (path for path in self.root.rglob("*") if not path.is_symlink())
        path = self.chance.choice(sorted(path for path in found if path.is_dir() or path.is_file()) or [self.root])
        kinds = [*(BESIDE if path == self.root else ANY_FOLDER if path.is_dir() else ANY_FILE)]
        if path.is_file():
            suffix = path.suffix.lower()
            kinds += 2 * LINES if suffix in TEXTS else OF_KIND.get("image" if suffix in IMAGES else suffix, [])
        kind = self.chance.choice(kinds)
        kind(self, path)
        return f"{kind.__name__} {path.relative_to(self.root)}"


def plant(outside: Path) -> None:
    """The folder beside the root: whatever a reader might look for, with contents that can be told."""
    write_image(outside / "canary.jpg", SECRET_SHADE, size=SECRET_SIZE)
    write_image(outside / "canary.png", SECRET_SHADE, size=SECRET_SIZE)
    write(outside / "canary.txt", f"{SECRET},1,2,3\n" * 3)


Damaging = Callable[[Tree, Path], None]

# -- a file or a folder as a whole


def _clear(tree: Tree, path: Path) -> None:
    tree.touched.add(path)
    if path.is_dir():
        tree.touched.update(path.rglob("*"))
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def missing(tree: Tree, path: Path) -> None:
    _clear(tree, path)


def truncated(tree: Tree, path: Path) -> None:
    content = path.read_bytes() if path.is_file() else b""
    _clear(tree, path)
    path.write_bytes(content[: len(content) * tree.chance.randrange(100) // 100])


def empty(tree: Tree, path: Path) -> None:
    _clear(tree, path)
    path.write_bytes(b"")


def garbage(tree: Tree, path: Path) -> None:
    _clear(tree, path)
    path.write_bytes(tree.chance.randbytes(tree.chance.choice((1, 100, 5000))))


def flipped_bytes(tree: Tree, path: Path) -> None:
    content = bytearray(path.read_bytes()) or bytearray(1)
    _clear(tree, path)
    for _ in range(tree.chance.choice((1, 20))):
        content[tree.chance.randrange(len(content))] = tree.chance.randrange(256)
    path.write_bytes(content)


def folder_instead(tree: Tree, path: Path) -> None:
    _clear(tree, path)
    path.mkdir()


def file_instead(tree: Tree, path: Path) -> None:
    _clear(tree, path)
    write(path, "no folder")


def pipe_instead(tree: Tree, path: Path) -> None:
    _clear(tree, path)
    os.mkfifo(path)


def link_to_itself(tree: Tree, path: Path) -> None:
    _clear(tree, path)
    path.symlink_to(path)


def dangling_link(tree: Tree, path: Path) -> None:
    _clear(tree, path)
    path.symlink_to("nothing/at/all")


def link_out(tree: Tree, path: Path) -> None:
    folder = path.is_dir()
    _clear(tree, path)
    kind = "" if folder else "canary.jpg" if path.suffix.lower() in IMAGES else "canary.txt"
    path.symlink_to(tree.outside / kind)


def turned_inside_out(tree: Tree, path: Path) -> None:
    """The folder itself lies outside, and a link stands in its place."""
    place = tree.outside / f"moved{tree.chance.randrange(10**9)}"
    with contextlib.suppress(shutil.Error):  # of pipes
        shutil.copytree(path, place, symlinks=True)
    for file in place.rglob("*"):
        if file.suffix.lower() in IMAGES and file.is_file() and not file.is_symlink():
            file.write_bytes(grey_image(SECRET_SHADE, "JPEG", SECRET_SIZE))
    _clear(tree, path)
    path.symlink_to(place)


# -- what a folder holds beside


def _new(tree: Tree, folder: Path, ending: str) -> Path:
    return folder / f"zz{tree.chance.randrange(10**9)}{ending}"


def link_out_beside(tree: Tree, folder: Path) -> None:
    _new(tree, folder, ".png").symlink_to(tree.outside / "canary.png")
    _new(tree, folder, "").symlink_to(tree.outside)


def loop_beside(tree: Tree, folder: Path) -> None:
    _new(tree, folder, "").symlink_to(folder)
    path = _new(tree, folder, ".jpg")
    path.symlink_to(path)


def pipe_beside(tree: Tree, folder: Path) -> None:
    os.mkfifo(_new(tree, folder, tree.chance.choice((".jpg", ".txt", ".tar", "_exp.npy"))))


def strange_names_beside(tree: Tree, folder: Path) -> None:
    for name in (b"\x1b[2J", b"a\nb", b"\xff\xfe", b"\xe2\x80\xae", b"x" * 240, b"-rf", b"%s{0}", b"=cmd()", b" "):
        path = os.fsencode(folder) + b"/zz" + name + tree.chance.choice((b".jpg", b".png", b"", b".txt"))
        with contextlib.suppress(FileExistsError), open(path, "xb") as file:
            file.write(grey_image(3))


# -- images


def bomb(tree: Tree, path: Path) -> None:
    """A small PNG that declares 3.6 billion pixels."""
    _clear(tree, path)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b""))


# -- lines of a list


def _line(change: Callable[[Tree, str], str]) -> Damaging:
    """One line, other than it was."""

    def damaging(tree: Tree, path: Path) -> None:
        lines = path.read_bytes().split(b"\n")
        number = tree.chance.randrange(len(lines))
        line = lines[number].decode(errors="surrogateescape")
        changed = change(tree, line)
        lines[number] = changed.encode(errors="surrogateescape")
        _note(tree, path, number, line)
        if change in (other_encoding, endless):
            tree.touched.add(path)  # nothing can be read from there on
        if not (line.strip() and changed.strip()) or {"\n", "\r"} & set(changed):
            _move(tree, path, number)
        path.write_bytes(b"\n".join(lines))

    damaging.__name__ = change.__name__
    return damaging


def _note(tree: Tree, path: Path, number: int, line: str) -> None:
    tree.lines.append((path, number + 1, line))


def _move(tree: Tree, path: Path, number: int) -> None:
    tree.moved[path] = min(number + 1, tree.moved.get(path, number + 1))


def wrong_label(tree: Tree, line: str) -> str:
    wrong = tree.chance.choice(("99", "-1", "joyfull", "1e400", "nan", "7" * 5000, "3.5", "", "\u0663", "1_0"))
    for delimiter in ",; \t":
        if delimiter in line:
            fields = line.split(delimiter)
            fields[tree.chance.randrange(len(fields))] = wrong
            return delimiter.join(fields)
    return wrong


def further_column(tree: Tree, line: str) -> str:
    return line + tree.chance.choice((",1", " 1", ";", "\t\t"))


def missing_column(tree: Tree, line: str) -> str:
    return line[: tree.chance.randrange(len(line) + 1)]


def other_encoding(tree: Tree, line: str) -> str:
    return f"{line[:3]}\udce9{line[3:]}"


def endless(tree: Tree, line: str) -> str:
    return line + tree.chance.choice(("x", "1 ", ",")) * 2**20


def absolute(tree: Tree, line: str) -> str:
    return f"{tree.outside}/canary.jpg{tree.chance.choice((' ', ','))}{line}"


def climbing(tree: Tree, line: str) -> str:
    return "../" * tree.chance.randrange(1, 9) + f"{tree.outside.name}/canary.jpg" + line[line.find(",") :]


def control_characters(tree: Tree, line: str) -> str:
    place = tree.chance.randrange(len(line) + 1)
    return line[:place] + tree.chance.choice(("\0", "\x1b[2J", "\r", "\x85", "\u2028", "\u202e")) + line[place:]


def quote(tree: Tree, line: str) -> str:
    place = tree.chance.randrange(len(line) + 1)
    return f'{line[:place]}"{line[place:]}'


def blank(tree: Tree, line: str) -> str:
    return ""


def twice(tree: Tree, line: str) -> str:
    return f"{line}\n{line}"


def in_utf_16(tree: Tree, path: Path) -> None:
    text = path.read_bytes().decode(errors="replace")
    _clear(tree, path)
    path.write_bytes(text.encode("utf-16"))


def other_line_ends(tree: Tree, path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace(b"\r", b"").replace(b"\n", b"\r\n"))


# -- archives


def members_that_lead_out(tree: Tree, path: Path) -> None:
    """Names and links that an extraction would follow; what was there stays."""
    with contextlib.suppress(tarfile.TarError), tarfile.open(path, "a") as archive:
        for name in (f"../../{tree.outside.name}/new.jpg", str(tree.outside / "new.jpg"), "zz/\x1b[2J.jpg"):
            member = tarfile.TarInfo(name)
            member.size = len(grey_image(5))
            archive.addfile(member, io.BytesIO(grey_image(5)))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE):
            member = tarfile.TarInfo(f"zz/{kind.decode()}.jpg")
            member.type, member.linkname = kind, str(tree.outside / "canary.jpg")
            archive.addfile(member)


def boastful_member(tree: Tree, path: Path) -> None:
    """A header that declares 4 GiB behind itself."""
    content = path.read_bytes()
    member = tarfile.TarInfo("zz/huge.jpg")
    member.size = 2**32
    tree.touched.add(path)
    path.write_bytes(content[:1024] + member.tobuf())


ANY_FILE: list[Damaging] = [
    *(missing, truncated, empty, garbage, flipped_bytes, folder_instead, pipe_instead),
    *(link_to_itself, dangling_link, link_out),
]
BESIDE: list[Damaging] = [link_out_beside, loop_beside, pipe_beside, strange_names_beside]
ANY_FOLDER: list[Damaging] = [
    *(missing, file_instead, pipe_instead, link_to_itself, dangling_link, link_out, turned_inside_out),
    *(2 * BESIDE),
]
CHANGES = (
    *(wrong_label, further_column, missing_column, other_encoding, endless, absolute, climbing, control_characters),
    *(quote, blank, twice),
)
LINES: list[Damaging] = [*map(_line, CHANGES), in_utf_16, other_line_ends]
OF_KIND: dict[str, list[Damaging]] = {"image": [bomb] * 3, ".tar": [members_that_lead_out, boastful_member] * 4}
