"""What lies beside the data, and files that are not what they were called."""

import gzip
import io
import os
import shutil
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from fer_lookalikes.damaging import Tree
from fer_lookalikes.expected import grey_image, write
from fer_lookalikes.mutations.kinds import everything, files, folders, move

JUNK: Mapping[str, bytes] = {
    # Of systems
    ".DS_Store": b"\0\0\0\1Bud1",
    "Thumbs.db": b"\xd0\xcf\x11\xe0",
    "desktop.ini": b"[.ShellClassInfo]",
    "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg": grey_image(8),
    "__MACOSX/train/._a.jpg": b"\0\5\26\7",
    "a.jpg:Zone.Identifier": b"[ZoneTransfer]",
    "a.jpg.crdownload": grey_image(5)[:50],
    # Of people
    "README.md": b"# Faces",
    "md5sums.txt": b"d41d8cd98f00b204e9800998ecf8427e  a.jpg\n",
    "license.pdf": b"%PDF-1.4",
    "labels.xlsx": b"PK\3\4junk",
    "train.py": b"import os",
    "model.pth": b"PK\3\4",
    "log": b"epoch 1",
    "x.mp4": b"\0\0\0 ftypisom",
    "confusion.png": grey_image(7, "PNG"),
    "plots/loss.png": grey_image(6, "PNG"),
    ".git/objects/ab/cdef": b"x\x9c",
    "train/.ipynb_checkpoints/a-checkpoint.jpg": grey_image(9),
    "notes": "traurig, fröhlich".encode("latin-1"),
    f"{'x' * 250}.txt": b"",
    "empty/": b"",
    # What other readers look for
    "list.json": b"{}",
    "dataset_infos.json": b"[" * 5000,
    "dataset.json": b'{"name": "x", "stream": "webdataset"}',
    "dataset_dict.json": b'{"splits": ["../outside"]}',
    "state.json": b'{"_data_files": [{"filename": "../outside/canary.txt"}]}',
    "metadata.csv": b"file_name,label\n../../outside/canary.jpg,sad\n",
    "data.yaml": b"names: [happy, sad]",
    "labels.csv": b"pth,label\n",
    "manifest.csv": b"path\n",
    "train.tar": b"",
    "train.rec": b"",
    "train.idx": b"",
    "test.parquet": b"PAR1",
    "label.lst": b"\xff\xfe",
}


def junk(tree: Tree) -> None:
    """Two files that are no part of the data."""
    folder = tree.chance.choice([tree.root, tree.root, *folders(tree)])
    for name in tree.chance.sample(sorted(JUNK), 2):
        path = folder / name
        blocked = [above for above in path.parents if os.path.lexists(above) and not above.is_dir()]
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        elif not os.path.lexists(path) and not blocked:
            write(path, JUNK[name])


def archived(tree: Tree) -> None:
    """A folder is an archive too, or nothing else, and the archive may be cut short."""
    if not (found := folders(tree)):
        return
    folder = tree.chance.choice(found)
    held = [path for path in files(tree) if path.is_relative_to(folder)]
    members = {path.relative_to(folder.parent).as_posix(): path.read_bytes() for path in held}
    ending = tree.chance.choice((".zip", ".ZIP", ".tar", ".tar.gz", ".tgz", ".rar", ".7z", ""))
    content = archive_of(ending.lower(), members)
    if tree.chance.random() < 0.5:
        shutil.rmtree(folder)
    path = tree.chance.choice((folder.parent, tree.root)) / f"{folder.name}{ending}"
    if not os.path.lexists(path) and len(os.fsencode(path.name)) < 256:
        write(path, content if tree.chance.random() < 0.8 else content[: len(content) // 2])


def archive_of(ending: str, members: Mapping[str, bytes]) -> bytes:
    """An archive of its kind; of those that Python does not write, the beginning."""
    if ending in (".rar", ".7z"):
        return {".rar": b"Rar!\x1a\x07\x01\0", ".7z": b"7z\xbc\xaf\x27\x1c\0\4"}[ending] + bytes(99)
    buffer = io.BytesIO()
    if ending in (".zip", ""):
        with zipfile.ZipFile(buffer, "w") as packed:
            for name, content in members.items():
                packed.writestr(zipfile.ZipInfo(name.encode("utf-8", "replace").decode()), content)
        return buffer.getvalue()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), mtime=0) if ending.endswith("gz") else buffer.getvalue()


def list_renamed(tree: Tree) -> None:
    """A list, a label or an archive is called otherwise."""
    if found := files(tree, ".csv", ".lst", ".txt", ".npy", ".yaml", ".parquet", ".tar", ".rec", ".idx"):
        path = tree.chance.choice(found)
        copy = f"{path.stem} (1){path.suffix}"
        names = (path.name.upper(), copy, f"{path.name}.txt", f"{path.stem}.tsv", f"old_{path.name}", path.stem)
        move(path, path.with_name(tree.chance.choice(names)))


def unreadable(tree: Tree) -> None:
    """A file or a folder may not be read."""
    if found := everything(tree):
        path: Path = tree.chance.choice(found)
        tree.locked[path] = path.stat().st_mode
        path.chmod(0)
