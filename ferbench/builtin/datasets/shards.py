"""Reader for labeled WebDataset shards: tar files with members that share a key, `000001.jpg` and `000001.cls`."""

import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ferbench.builtin.datasets.named import NAMES, NamedDataset
from ferbench.contract.dataset import Damage, Sample, SplitName
from ferbench.errors import DataError
from ferbench.readers.columns import UnreadColumns
from ferbench.readers.damage import damage_of
from ferbench.readers.images import LOOKED_AT, unread_image
from ferbench.readers.paths import IMAGE_SUFFIXES, MAX_FILE, files, is_hidden, real
from ferbench.readers.tars import BAD_TAR, members
from ferbench.readers.text import printable

LABELS = (".cls", ".txt", ".json")
KEYS = ("label", "split", "subject", "video")
WORDS = re.compile("[^-_.0-9]+")
"""The words of a shard's name."""
MAX_LABEL = 2**16
"""Size limit of a label member in bytes."""


@dataclass
class Group:
    """The members of one key: their contents by suffix, and a problem, if any."""

    key: str = ""
    parts: dict[str, bytes] = field(default_factory=dict)
    problem: str = ""


class Shards(NamedDataset):
    """Reads `train-00000.tar`, `test-00000.tar`, ...: the name of a shard begins with its split.

    The label is the class *name* in `KEY.cls`, in `KEY.txt`, or in `KEY.json` as `label`; the JSON may also have
    `split`, `subject` and `video`. A number is refused, because nobody knows its class. An image without a label is
    unlabeled.
    """

    takes = NAMES | {"label_column", "split_column"}
    data_suffixes = (".tar",)
    rule = "tar shards whose names begin with the split; the class name stands beside each image as .cls, .txt or .json"

    def samples(self) -> Iterator[Sample | Damage]:
        shards = files(self.folder, ".tar")
        if not shards:
            raise DataError(f"{self.folder}: contains no shard *.tar, such as train-00000.tar; name another --root")
        said = {"label": self.options.label_column, "split": self.options.split_column}
        self._keys = {role: said.get(role) or role for role in KEYS}
        self._unread, self._without_label = (UnreadColumns(self._keys.values()) for _ in range(2))
        self._seen: dict[str, str | None] = {"label": None, "split": None}
        names_tell = any(self.is_split(word) for shard in shards for word in WORDS.findall(shard.name.lower()))
        for shard in shards:
            start = self._start(shard)
            if names_tell and not self.is_split(start):
                text = "its name does not begin with a split, as test-00000.tar does; rename it"
                yield Damage(shard.name, f"{text}, or if '{start}' is one, add --split {start}=test")
            else:
                self.account.use(shard, "shard")
                yield from self._shard(shard, self.split_of(start) if self.is_split(start) else "train")
        kinds = self._without_label.kinds(self.known_class, self.split_of)
        missed = [name for name, kind in kinds.items() if kind == "label"]
        self.account_for_columns(self._unread, "the .json members", self._seen, missed=missed)

    def _shard(self, shard: Path, split: SplitName) -> Iterator[Sample | Damage]:
        group = Group()
        try:
            with real(self.folder, shard).open("rb") as file:
                for archive, member in members(file):
                    name = member.name.rpartition("/")[2]
                    if any(map(is_hidden, filter(None, member.name.split("/")))) or member.isdir():
                        if not member.isdir():
                            self.account.ignore("member", f"{shard.name}/{member.name}", "hidden, or left by a system")
                        continue
                    own = member.name[: len(member.name) - len(name)] + name.partition(".")[0]
                    if own != group.key:
                        yield from self._sample(shard, group, split)
                        group = Group(own)
                    self._take(shard, archive, member, group)
                yield from self._sample(shard, group, split)
        except BAD_TAR as error:
            # The last key may have lost members, and without its label an image would count as unlabeled.
            where = f"{shard.name} from {group.key or 'its beginning'} on"
            yield Damage(where, f"{error}; the rest of the shard cannot be read")

    def _start(self, shard: Path) -> str:
        """Return the beginning of a shard's name, which should be its split, as in train-0.tar or train_0.tar."""
        name = shard.name.lower().removesuffix(".tar")
        starts = (name, name.partition("-")[0], (WORDS.match(name) or [name])[0])
        return next(filter(self.is_split, starts), starts[1])

    def _take(self, shard: Path, archive: tarfile.TarFile, member: tarfile.TarInfo, group: Group) -> None:
        """Add a member to its group, or account for why it is not read."""
        where, suffix = f"{shard.name}/{member.name}", _suffix(member.name)
        if not member.isfile():
            unread = unread_image(member.name)
            (self.account.leave if unread else self.account.ignore)("member", where, "a link, which is not followed")
            return
        content = archive.extractfile(member)
        assert content is not None
        is_image = suffix in IMAGE_SUFFIXES
        if not is_image and suffix not in LABELS:
            self._unread_member(where, suffix, content.read(MAX_LABEL))
        elif member.size > (MAX_FILE if is_image else MAX_LABEL):
            group.problem = f"{suffix} has {member.size} bytes, too many for {'an image' if is_image else 'a label'}"
        elif suffix in group.parts:
            group.problem = f"{suffix} occurs twice"
        elif is_image and (other := next((one for one in group.parts if one in IMAGE_SUFFIXES), "")):
            self.account.leave("member", where, f"a second image of its key, besides {other}")
        else:
            group.parts[suffix] = content.read()

    def _unread_member(self, where: str, suffix: str, content: bytes) -> None:
        if unread_image(where, content[:LOOKED_AT]):
            self.account.leave("member", where, f"an image, but *{suffix} is not read; give each image its own key")
        elif self._is_label(content):
            self.account.leave("member", where, f"looks like a label, but *{suffix} is not read; rename it to .cls")
        else:
            self.account.ignore("member", where, f"neither an image nor a label: *{suffix}")

    def _is_label(self, content: bytes) -> bool:
        """Whether a text is a class, or a JSON object that contains one."""
        with suppress(ValueError):
            return bool(self.known_class(content.decode("utf-8-sig")))
        with suppress(ValueError):
            keys = UnreadColumns(())
            keys.look(_json(content))
            return "label" in keys.kinds(self.known_class, self.split_of).values()
        return False

    def _sample(self, shard: Path, group: Group, split: SplitName) -> Iterator[Sample | Damage]:
        image = next((content for suffix, content in group.parts.items() if suffix in IMAGE_SUFFIXES), None)
        where = f"{shard.name}/{group.key}"
        try:
            if group.problem:
                raise ValueError(group.problem)
            about = self._about(group.parts)
            if image is None:
                self._alone(where, group.parts, about)
                return
            label = self.class_of(about["label"]) if "label" in about else None
            named = self.split_of(about["split"]) if "split" in about else split
            subject, video = (printable(about[role]) if role in about else None for role in ("subject", "video"))
            yield Sample(where, image, self.split_with(label, named), label, subject=subject, video=video)
        except ValueError as error:
            yield damage_of(where, error)

    def _alone(self, where: str, parts: Mapping[str, bytes], about: Mapping[str, str]) -> None:
        """Account for labels whose key has no image."""
        for suffix in parts:
            if "label" in about and (suffix != ".txt" or self._is_label(parts[suffix])):
                reason = "a label without an image; the members of one key must follow each other"
                self.account.leave("member", f"{where}{suffix}", reason)
            else:
                self.account.ignore("member", f"{where}{suffix}", f"neither an image nor a label: *{suffix}")

    def _about(self, parts: Mapping[str, bytes]) -> dict[str, str]:
        """Return the facts about an image by role, from its label file or its JSON. 0 is one, an empty text is not."""
        found = _json(parts[".json"]) if ".json" in parts else {}
        self._unread.look(found)
        about = {role: str(found[key]) for role, key in self._keys.items() if found.get(key) not in (None, "")}
        text = next((suffix for suffix in (".cls", ".txt") if suffix in parts), "")
        if text and not (self.options.label_column and "label" in about):
            about["label"] = parts[text].decode("utf-8-sig")
            self._seen["label"] = f"*{text}"
        if not about.get("label"):
            about.pop("label", None)
            self._without_label.look(found)
        for role in about.keys() & {"label", "split"}:
            self._seen[role] = self._seen[role] or self._keys[role]
        return about


def _suffix(name: str) -> str:
    """Return the part of a member's name after its key."""
    _, dot, suffix = name.rpartition("/")[2].partition(".")
    return f"{dot}{suffix}".lower()


def _json(content: bytes) -> dict[str, Any]:
    try:
        about = json.loads(content.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None
    if not isinstance(about, dict):
        raise ValueError("its JSON is not an object")
    return about
