"""Read untrusted tar files member by member: nothing is extracted, and no header can cause an endless loop."""

import tarfile
from collections.abc import Iterator
from typing import IO

from ferbench.readers.text import quoted

BAD_TAR = (tarfile.TarError, OSError, ValueError, OverflowError, RecursionError)
"""Exceptions of tarfile for damaged or malicious headers."""


class CutShortError(tarfile.ReadError):
    """A tar file lacks its end mark."""


def members(file: IO[bytes]) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Each archive and member; raises one of `BAD_TAR` if the file is damaged or truncated."""
    with tarfile.open(fileobj=file, mode="r:") as archive:
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # otherwise it would keep all of them
            if member.size < 0:  # tarfile would look for the next header before this one, forever
                raise tarfile.ReadError(f"{quoted(member.name)} has {member.size} bytes")
            yield archive, member
        # tarfile treats a damaged or truncated header as the end, but a real end is a block of zeros.
        file.seek(archive.offset)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise CutShortError("the file is truncated or damaged")
