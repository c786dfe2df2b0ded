"""Labeled WebDataset shards: tar files whose members share a key, `000001.jpg` and `000001.cls`."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ferbench.builtin.datasets.named import SPLITS, NamedDataset, split_name
from ferbench.contract.dataset import Damage, Sample, SplitName
from ferbench.errors import DataError
from ferbench.readers.classes import class_name
from ferbench.readers.paths import IMAGE_SUFFIXES, MAX_FILE, files, real
from ferbench.readers.text import printable

LABELS = (".cls", ".txt", ".json")
MAX_LABEL = 2**16
"""Bytes of the longest label that is read."""


class Shards(NamedDataset):
    """`train-00000.tar`, `test-00000.tar`, ...: the split begins the name of the shard.

    The label is the class *name* in `KEY.cls`, in `KEY.txt`, or in `KEY.json` as `label`, where `split`, `subject` and
    `video` may stand too; a number is refused, as its order is known to nobody. An image without label is unlabeled.
    """

    rule = "tar shards whose names begin with the split; the class name stands beside each image as .cls, .txt or .json"

    def samples(self) -> Iterator[Sample | Damage]:
        shards = files(self.folder, ".tar")
        if not shards:
            raise DataError(f"{self.folder}: no shard *.tar here, such as train-00000.tar")
        for shard in shards:
            yield from self._shard(shard)

    def _shard(self, shard: Path) -> Iterator[Sample | Damage]:
        start = shard.name.partition("-")[0].lower()
        split = SPLITS.get(start.removesuffix(".tar"))
        key, parts = "", dict[str, bytes]()
        try:
            with real(self.folder, shard).open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
                for member in archive:
                    archive.members.clear()  # type: ignore[attr-defined]  # it would keep all of them
                    name, dot, suffix = member.name.rpartition("/")[2].partition(".")
                    own = member.name[: len(member.name) - len(dot + suffix)]
                    if own != key:
                        yield from _sample(shard, key, parts, split)
                        key, parts = own, {}
                    largest = MAX_FILE if f".{suffix.lower()}" in IMAGE_SUFFIXES else MAX_LABEL
                    if member.isfile() and member.size <= largest and name:
                        parts[f".{suffix.lower()}"] = archive.extractfile(member).read()  # type: ignore[union-attr]
                # tarfile takes a header that is cut short for the end, which is a block of zeros.
                file.seek(archive.offset)
                if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                    raise tarfile.ReadError("the file is cut short or damaged")
                yield from _sample(shard, key, parts, split)
        except (tarfile.TarError, OSError, ValueError) as error:
            yield Damage(f"{shard.name} after {key or 'its beginning'}", f"{error}; what follows cannot be read")


def _sample(shard: Path, key: str, parts: dict[str, bytes], split: SplitName | None) -> Iterator[Sample | Damage]:
    image = next((content for suffix, content in parts.items() if suffix in IMAGE_SUFFIXES), None)
    if image is None:
        return
    where = f"{shard.name}/{key}"
    try:
        about = _about(parts)
        label = class_name(str(about["label"])) if about.get("label") else None
        named = split_name(str(about["split"])) if about.get("split") else split
        yield Sample(
            where,
            image,
            named or ("train" if label else "unlabeled"),
            label,
            subject=printable(str(about["subject"])) if about.get("subject") else None,
            video=printable(str(about["video"])) if about.get("video") else None,
        )
    except ValueError as error:
        yield Damage(where, str(error))


def _about(parts: dict[str, bytes]) -> dict[str, Any]:
    suffix = next((suffix for suffix in LABELS if suffix in parts), None)
    if suffix is None:
        return {}
    text = parts[suffix].decode()
    if suffix != ".json":
        return {"label": text}
    try:
        about = json.loads(text)
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None
    if not isinstance(about, dict):
        raise ValueError("its JSON is no object")
    return about
