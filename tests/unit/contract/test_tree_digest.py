"""The digest of a source is of what `os.walk` shows: packed copies of before are found by it."""

import hashlib
import os
from pathlib import Path

from ferbench.contract.dataset import tree_digest


def by_os_walk(root: Path) -> str:
    content = hashlib.sha256()
    for folder, below, names in os.walk(root):
        below.sort()
        for name in sorted(names):
            found = os.lstat(os.path.join(folder, name))
            path = os.path.relpath(os.path.join(folder, name), root)
            line = f"{path}\0{found.st_size}\0{found.st_mtime_ns}\n"
            content.update(line.encode(errors="surrogateescape"))
    return content.hexdigest()


def test_it_is_of_names_sizes_and_times_in_the_order_of_a_walk(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/1.png", "b.png", "a/c/x", "a/c.d/y", ".hidden/z", "a/0"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "empty").mkdir()
    (tmp_path / "to-folder").symlink_to("a")
    (tmp_path / "to-file").symlink_to("b.png")
    (tmp_path / "to-itself").symlink_to("to-itself")
    os.mkfifo(tmp_path / "pipe")
    assert tree_digest(tmp_path) == by_os_walk(tmp_path)
    before = tree_digest(tmp_path)
    (tmp_path / "a/c/x").write_text("other")
    assert tree_digest(tmp_path) != before
