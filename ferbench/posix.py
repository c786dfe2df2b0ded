"""Checks at the start that Python has the POSIX functions that ferbench needs; otherwise it would fail later."""

import os

from ferbench.errors import UsageError

NEEDED = ("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "sysconf")


def require_posix() -> None:
    """Raise UsageError on a system whose Python lacks something; Windows does."""
    if missing := [name for name in NEEDED if not hasattr(os, name)]:
        raise UsageError(
            f"ferbench needs a POSIX system, and Python here has no os.{missing[0]}; on Windows, install it in WSL"
        )
