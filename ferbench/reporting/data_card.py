"""The data card of a prepared set: what was found, beside what its publishers say, and what is wrong with it."""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from ferbench.contract.dataset import EIGHT_CLASSES, Damage, Dataset
from ferbench.data.load.image_store import ImageStore
from ferbench.data.select.duplicate_report import Duplicates
from ferbench.render.escape import csv_path
from ferbench.render.html import render
from ferbench.reporting.face_sheets import Sheet
from ferbench.reporting.tiles import contact_sheet

SPLITS = ("train", "validation", "test", "unlabeled")
ALL = "all"
UNKNOWN = "unknown"
ORDER = (*EIGHT_CLASSES, "other", UNKNOWN)
FACES = 8
"""Faces of each class on the sheet."""
LISTED = 100
"""Entries of a list that the page shows; the CSV file has all."""


@dataclass(frozen=True)
class Count:
    """Images of a class in a split, and how many its publishers name, where they do."""

    found: int
    official: int | None

    @property
    def differs(self) -> bool:
        return self.official is not None and self.found != self.official

    @property
    def words(self) -> str:
        """`4,772`, or `4,770 (official 4,772)`."""
        return f"{self.found:,} (official {self.official:,})" if self.differs else f"{self.found:,}"


@dataclass(frozen=True)
class CountTable:
    """Counts by class and split; the last row holds the sums."""

    splits: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Count, ...]], ...]

    @property
    def compared(self) -> bool:
        """Whether there are official counts."""
        return any(count.official is not None for _, counts in self.rows for count in counts)

    @property
    def differences(self) -> int:
        """In how many classes and splits the counts are others; a sum counts where it is all that is known."""
        columns = zip(*(counts for _, counts in self.rows), strict=True)
        return sum(sum(count.differs for count in classes) or total.differs for *classes, total in columns)


def count_table(counts: Mapping[str, int], official: Mapping[str, Mapping[str, int]]) -> CountTable:
    """From counts by `split/class`, as packed sets have them."""
    found = Counter({tuple(key.split("/", 1)): n for key, n in counts.items()})
    wanted = {(split, name) for split, names in official.items() for name in names.keys() - {ALL}}
    splits = tuple(split for split in SPLITS if any(split == key[0] for key in {*found, *wanted}) or split in official)
    if ALL in official:
        splits = (*splits, ALL)
        for (_, name), n in list(found.items()):
            found[ALL, name] += n
    names = [name for name in ORDER if any(name == key[1] for key in {*found, *wanted})]
    rows = [
        (name, tuple(Count(found[split, name], _official(official, split, name)) for split in splits)) for name in names
    ]
    sums = tuple(
        Count(sum(n for key, n in found.items() if key[0] == split), _official_sum(official.get(split, {})))
        for split in splits
    )
    return CountTable(splits, (*rows, (ALL, sums)))


def _official(official: Mapping[str, Mapping[str, int]], split: str, name: str) -> int | None:
    known = official.get(split, {})
    return known.get(name, 0) if known and ALL not in known and name != UNKNOWN else None


def _official_sum(known: Mapping[str, int]) -> int | None:
    return known.get(ALL) or sum(known.values()) or None


@dataclass(frozen=True)
class Findings:
    """What a preparation has found out."""

    counts: CountTable
    damages: Sequence[Damage]
    duplicates: Duplicates
    converted: Mapping[str, int]
    damaged_left_out: bool


def card_page(dataset: Dataset, packed: ImageStore, findings: Findings) -> bytes:
    """The card as one HTML file. It shows faces: of a gated set it stays on this machine."""
    info = dataset.info
    fields = {
        "Rule": info.rule,
        "Native labels": ", ".join(f"{code} {name}" for code, name in info.native.items()),
        "Licence": info.licence,
        "Citation": info.citation,
        "Folder": str(dataset.root),
        "Images": f"{len(packed.ids):,} of {packed.image_size} x {packed.image_size} pixels",
        "Cut to the face box": "" if dataset.crop is None else f"yes, with a margin of {dataset.crop:g} of its sides",
        "Subjects": _groups(packed, "subject"),
        "Videos": _groups(packed, "video"),
        "Converted to RGB": ", ".join(f"{n:,} {kind}" for kind, n in findings.converted.items()),
        "Fingerprint": packed.fingerprint,
        "Prepared": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return render(
        "ferbench.reporting",
        "data_card.html.j2",
        title=info.title,
        subtitle="data card",
        name=info.name,
        gated=info.gated,
        fields={name: value for name, value in fields.items() if value},
        findings=findings,
        listed=LISTED,
        sheet=class_sheet(packed),
    )


def class_sheet(packed: ImageStore) -> Sheet:
    """A row of faces for each class, training images first; images without labels in rows of their own."""
    rows: dict[str, list[int]] = {}
    for row in sorted(range(len(packed.ids)), key=lambda row: SPLITS.index(packed.splits[row])):
        of_class = rows.setdefault(packed.labels[row] or UNKNOWN, [])
        if len(of_class) < FACES:
            of_class.append(row)
    names = [name for name in ORDER if name in rows]
    blank = np.full_like(packed.images[0], 255)
    grid = [[packed.images[row] for row in rows[name]] + [blank] * (FACES - len(rows[name])) for name in names]
    return Sheet(contact_sheet(np.array(grid)), tuple(names), ())


def _groups(packed: ImageStore, kind: str) -> str:
    known = packed.known_groups(kind)
    return f"{known:,}" if known else ""


def damages_csv(damages: Sequence[Damage]) -> bytes:
    """All that gives no image."""
    return _csv(("record", "reason"), [(damage.record, damage.reason) for damage in damages])


def duplicates_csv(duplicates: Duplicates) -> bytes:
    """All images that stand in two splits."""
    return _csv(
        ("split", "id", "other_split", "other_id", "bits"),
        [(d.split, d.id, d.other_split, d.other_id, "" if d.bits is None else str(d.bits)) for d in duplicates.found],
    )


def _csv(header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([csv_path(value) for value in row] for row in rows)
    return buffer.getvalue().encode("utf-8", "replace")
