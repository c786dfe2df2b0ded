"""The data card of a prepared dataset: counts next to the official ones, faces, damages and duplicates."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import pandas as pd

from ferbench.contract.dataset import EIGHT_CLASSES, Damage, Dataset
from ferbench.data.load.image_store import ImageStore
from ferbench.data.select.duplicate_report import Duplicate, Duplicates
from ferbench.render.escape import csv_path
from ferbench.render.html import render
from ferbench.reporting.face_sheets import Sheet, face_row

SPLITS = ("train", "validation", "test", "unlabeled")
ALL = "all"
UNKNOWN = "unknown"
ORDER = (*EIGHT_CLASSES, "other", UNKNOWN)
FACES = 8
"""Faces of each class on the sheet."""
LISTED = 100
"""Most entries of a list on the page; the CSV file has all."""


@dataclass(frozen=True)
class Count:
    """Number of images of a class in a split, and the official number, if any."""

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
        """Number of counts that differ from official ones; a split's sum counts only if no class of it differs."""
        columns = zip(*(counts for _, counts in self.rows), strict=True)
        return sum(sum(count.differs for count in classes) or total.differs for *classes, total in columns)


def count_table(counts: Mapping[str, int], official: Mapping[str, Mapping[str, int]]) -> CountTable:
    """Make the table from counts by `split/class`, the keys of packed datasets."""
    found = Counter({tuple(key.split("/", 1)): n for key, n in counts.items()})
    if ALL in official:
        for (_, name), n in list(found.items()):
            found[ALL, name] += n
    seen = {*found, *((split, name) for split, names in official.items() for name in names.keys() - {ALL})}
    splits = [split for split in (*SPLITS, ALL) if split in official or split in {key[0] for key in seen}]
    names = [name for name in ORDER if name in {key[1] for key in seen}]

    def count(split: str, name: str) -> Count:
        known = official.get(split, {})
        compared = known and ALL not in known and name != UNKNOWN
        return Count(found[split, name], known.get(name, 0) if compared else None)

    def total(split: str) -> Count:
        known = official.get(split, {})
        return Count(sum(found[split, name] for name in names), known.get(ALL) or sum(known.values()) or None)

    rows = [(name, tuple(count(split, name) for split in splits)) for name in names]
    return CountTable(tuple(splits), (*rows, (ALL, tuple(map(total, splits)))))


@dataclass(frozen=True)
class Findings:
    """The findings of a preparation."""

    counts: CountTable
    damages: Sequence[Damage]
    duplicates: Duplicates
    converted: Mapping[str, int]
    damaged_left_out: bool


def card_page(dataset: Dataset, packed: ImageStore, findings: Findings) -> bytes:
    """The card as one HTML file. It shows faces, so the card of a gated dataset must not be published."""
    info = dataset.info
    fields = {
        "Rule": info.rule,
        "Native labels": ", ".join(f"{code} {name}" for code, name in info.native.items()),
        "Licence": info.licence,
        "Citation": info.citation,
        "Folder": str(dataset.root),
        "Images": f"{len(packed.ids):,} of {packed.image_size} x {packed.image_size} pixels",
        "Cut to the face box": "" if dataset.crop is None else f"yes, with a margin of {dataset.crop:g} of its sides",
        "Subjects": f"{packed.known_groups('subject'):,}",
        "Videos": f"{packed.known_groups('video'):,}",
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
        fields={name: value for name, value in fields.items() if value not in ("", "0")},
        findings=findings,
        listed=LISTED,
        sheet=class_sheet(packed),
    )


def class_sheet(packed: ImageStore) -> Sheet:
    """One row of faces for each class, training images first; images without labels have their own row."""
    faces: dict[str, list[int]] = {name: [] for name in ORDER}
    for row in sorted(range(len(packed.ids)), key=lambda row: SPLITS.index(packed.splits[row])):
        of_class = faces.setdefault(packed.labels[row] or UNKNOWN, [])
        if len(of_class) < FACES:
            of_class.append(row)
    return Sheet([face_row(name, (packed.images[row] for row in rows)) for name, rows in faces.items() if rows])


def damages_csv(damages: Sequence[Damage]) -> bytes:
    """All entries without a usable image."""
    return _csv(damages, ("record", "reason"))


def duplicates_csv(duplicates: Duplicates) -> bytes:
    """All images that are in two splits."""
    return _csv(duplicates.found, ("split", "id", "other_split", "other_id", "bits"))


def _csv(lines: Sequence[Damage | Duplicate], columns: Sequence[str]) -> bytes:
    frame = pd.DataFrame([asdict(line) for line in lines], columns=list(columns), dtype=object)
    safe = frame.map(lambda value: csv_path(str(value)), na_action="ignore")
    return safe.to_csv(index=False, lineterminator="\n").encode("utf-8", "replace")
