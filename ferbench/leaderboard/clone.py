"""A git clone of a repository with a board; records are added to it on a new branch."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ferbench.errors import FerbenchError, UsageError

BOARD = Path("leaderboard")
RECORDS = BOARD / "records"


class Clone:
    """A clone that nobody else uses at the same time; its working files and current branch are not changed."""

    def __init__(self, folder: Path) -> None:
        """Raises UsageError if the folder is not a clone of such a repository, or has uncommitted changes."""
        self.folder = folder
        if not (folder / ".git").exists() or not (folder / RECORDS).is_dir():
            raise UsageError(f"{folder} is not a clone with {RECORDS}; name the root of a clone of the repository")
        if self.git("status", "--porcelain"):
            raise UsageError(f"{folder} has uncommitted changes; commit them, or make a fresh clone")

    def check_new(self, branch: str) -> None:
        """Raises UsageError if git does not accept the name, or the branch exists."""
        try:
            self.git("check-ref-format", "--branch", branch)
        except FerbenchError:
            raise UsageError(f"--branch {branch}: git does not accept this name; use letters, digits and '-'") from None
        if self.git("branch", "--list", branch):
            raise UsageError(f"{self.folder} already has a branch {branch}; choose another with --branch, or delete it")

    @contextmanager
    def worktree(self) -> Iterator[Path]:
        """A temporary folder with the files of the last commit; commits made in it stay in the clone."""
        with TemporaryDirectory(prefix="ferbench-") as temporary:
            tree = Path(temporary) / "tree"
            self.git("worktree", "add", "--quiet", "--detach", str(tree))
            try:
                yield tree
            finally:
                self.git("worktree", "remove", "--force", str(tree))

    def commit(self, tree: Path, branch: str, message: str) -> None:
        """Commit the records of a worktree to a new branch; raises UsageError if no record is new or changed."""
        self.git("add", "--force", "--all", "--", str(RECORDS), at=tree)
        if not self.git("diff", "--cached", "--name-only", at=tree):
            raise UsageError(f"{self.folder} already has all of these records; there is nothing to submit")
        self.git("switch", "--quiet", "--create", branch, at=tree)
        try:
            self.git("commit", "--quiet", "--message", message, at=tree)
        except FerbenchError:
            self.git("switch", "--quiet", "--detach", at=tree)
            self.git("branch", "--delete", "--force", branch)
            raise

    def git(self, *words: str, at: Path | None = None) -> str:
        """Run git and return its output; raises FerbenchError with git's reason if it fails."""
        return command("git", *words, at=at or self.folder)


def command(*words: str, at: Path) -> str:
    """Run a program and return its output; raises FerbenchError with the reason if it fails or is not installed."""
    try:
        done = subprocess.run(words, cwd=at, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise UsageError(f"{words[0]} is not installed; install it and try again") from None
    if done.returncode:
        reason = " ".join((done.stderr or done.stdout).split())
        raise FerbenchError(f"`{words[0]} {words[1]}` failed in {at}: {reason}")
    return done.stdout.strip()
