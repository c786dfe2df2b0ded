"""Tar files of strangers, member by member: nothing is extracted, and no header leads round in circles."""

import tarfile
from collections.abc import Iterator
from typing import IO

from ferbench.readers.text import quoted

BAD_TAR = (tarfile.TarError, OSError, ValueError, OverflowError, RecursionError)
"""What tarfile raises for headers that are damaged, or made to break it."""


class CutShortError(tarfile.ReadError):
    """A tar file does not end as one must."""


def members(file: IO[bytes]) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Each member, after the archive that reads it; raises one of `BAD_TAR` where the file is damaged or cut short."""
    with tarfile.open(fileobj=file, mode="r:") as archive:
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # it would keep all of them
            if member.size < 0:  # the next header would be sought before this one, for ever
                raise tarfile.ReadError(f"{quoted(member.name)} has {member.size} bytes")
            yield archive, member
        # tarfile takes a header that is damaged or cut short for the end, which is a block of zeros.
        file.seek(archive.offset)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise CutShortError("the file is cut short or damaged")
