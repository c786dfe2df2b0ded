"""Unlabeled pools in tar files, the format of WebDataset."""

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ferbench.contract.dataset import Damage
from ferbench.readers.images import LOOKED_AT, unread_image
from ferbench.readers.paths import IMAGE_SUFFIXES, is_hidden
from ferbench.readers.streams import ArchiveStream, Place
from ferbench.readers.tars import BAD_TAR, CutShortError, members
from ferbench.readers.text import suffix_of


class WebDatasetStream(ArchiveStream):
    """Tar files (`00000.tar`, ...) with images; other members, such as labels, are added to the account."""

    SUFFIX = ".tar"

    def _records(self, shard: str, path: Path) -> Iterator[Place | Damage]:
        size, last = path.stat().st_size, "the beginning"
        try:
            with path.open("rb") as file:
                for _, member in members(file):
                    last = member.name
                    if not self._is_image(f"{shard}/{member.name}", member, file):
                        continue
                    if member.offset_data + member.size > size:
                        yield Damage(member.name, "the file is truncated inside this record")
                        return
                    yield Place(f"{shard}/{member.name}", member.offset_data, member.size)
        except CutShortError as error:
            yield Damage(f"after {last}", f"{error}; the rest cannot be read")
        except BAD_TAR as error:
            yield Damage(f"after {last}", f"the rest cannot be read ({error})")

    def _is_image(self, where: str, member: tarfile.TarInfo, file: IO[bytes]) -> bool:
        """Whether a member is an image; adds other members to the account with the reason."""
        name = member.name.lower()
        if any(is_hidden(part) for part in name.split("/") if part):
            self.account.ignore("member", where, "hidden, or left by an operating system")
        elif not member.isfile():
            if not member.isdir():
                say = self.account.leave if name.endswith(IMAGE_SUFFIXES) else self.account.ignore
                say("member", where, "a link, which is not followed")
        elif name.endswith(IMAGE_SUFFIXES):
            return True
        else:
            file.seek(member.offset_data)
            if unread := unread_image(name, file.read(min(LOOKED_AT, member.size))):
                self.account.leave("member", where, unread)
            else:
                self.account.ignore("member", where, f"not an image; a pool needs no labels: *{suffix_of(name)}")
        return False
