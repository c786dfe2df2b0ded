"""A git clone of a repository with a board, to which records are added on a branch of their own."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ferbench.errors import FerbenchError, UsageError

BOARD = Path("leaderboard")
RECORDS = BOARD / "records"


class Clone:
    """A clone that nobody else works in meanwhile; its own files and branch stay as they are."""

    def __init__(self, folder: Path) -> None:
        """Raises UsageError for a folder that is no clone of such a repository, or has changes that lie open."""
        self.folder = folder
        if not (folder / ".git").exists() or not (folder / RECORDS).is_dir():
            raise UsageError(f"{folder} is no clone with {RECORDS}; name the root of a clone of the repository")
        if self.git("status", "--porcelain"):
            raise UsageError(f"{folder} has changes that are not committed; commit them, or make a fresh clone")

    def check_new(self, branch: str) -> None:
        """Raises UsageError for a name that is no branch's, or is taken."""
        try:
            self.git("check-ref-format", "--branch", branch)
        except FerbenchError:
            raise UsageError(f"--branch {branch}: git takes no such name; use letters, digits and '-'") from None
        if self.git("branch", "--list", branch):
            raise UsageError(f"{self.folder} has a branch {branch}; name another with --branch, or delete it")

    @contextmanager
    def worktree(self) -> Iterator[Path]:
        """A folder with the files of the last commit, which goes at the end; what is committed there stays."""
        with TemporaryDirectory(prefix="ferbench-") as temporary:
            tree = Path(temporary) / "tree"
            self.git("worktree", "add", "--quiet", "--detach", str(tree))
            try:
                yield tree
            finally:
                self.git("worktree", "remove", "--force", str(tree))

    def commit(self, tree: Path, branch: str, message: str) -> None:
        """Commit the records of a worktree to a new branch; raises UsageError where none is new or another."""
        self.git("add", "--force", "--all", "--", str(RECORDS), at=tree)
        if not self.git("diff", "--cached", "--name-only", at=tree):
            raise UsageError(f"{self.folder} has all of these records already; there is nothing to submit")
        self.git("switch", "--quiet", "--create", branch, at=tree)
        try:
            self.git("commit", "--quiet", "--message", message, at=tree)
        except FerbenchError:
            self.git("switch", "--quiet", "--detach", at=tree)
            self.git("branch", "--delete", "--force", branch)
            raise

    def git(self, *words: str, at: Path | None = None) -> str:
        """What git prints; raises FerbenchError with its reason where it fails."""
        return command("git", *words, at=at or self.folder)


def command(*words: str, at: Path) -> str:
    """What a program prints; raises FerbenchError with its reason where it fails or is not installed."""
    try:
        done = subprocess.run(words, cwd=at, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise UsageError(f"{words[0]} is not installed; install it and try again") from None
    if done.returncode:
        reason = " ".join((done.stderr or done.stdout).split())
        raise FerbenchError(f"`{words[0]} {words[1]}` failed in {at}: {reason}")
    return done.stdout.strip()
