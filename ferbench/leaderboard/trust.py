"""How far each cell of a board was checked, and how: `trust.json`, written by the machines that check.

An entry is evidence, not a level: the level is computed from the entry and from the files that it is bound to.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal, Self, get_args

import pandas as pd
from pydantic import Field, ValidationError

from ferbench.contract.strict import Strict
from ferbench.errors import DataError, VerificationError
from ferbench.records.cell import Cell
from ferbench.records.files import file_digest, read_bounded, write_atomic
from ferbench.records.history import HISTORY
from ferbench.records.publication import PUBLISHED, is_published
from ferbench.records.reproduction import result_differences
from ferbench.records.schema import HEX64, Record, Result, first_problem, parse_json, pretty_json
from ferbench.records.store import MODEL, PREDICTIONS, read_record
from ferbench.records.verification import Level as Consistency

Level = Literal["submitted", "consistent (data not held)", "consistent", "re-evaluated", "reproduced"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""From the lowest to the highest."""
TRUST: Final = "trust.json"
MAX_TRUST_BYTES = 100_000_000
CHECKER_VERSION = 2
"""Version of the requirements of re-evaluation and reproduction; findings of another version do not count."""
FIRST_EDITION = "1"
NEAR = 0.02
"""Largest difference of a headline that counts as reproduced on another machine, in shares: 2 points.

The range of a row's seeds alone is no bound, because its submitter chooses the records: one bad seed makes it wide.
"""

Digest = Annotated[str, Field(pattern=HEX64)]
Share = Annotated[float, Field(ge=0, le=1)]


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


class Files(Strict):
    """The SHA-256 of each file that an entry is bound to."""

    record: Digest = Field(description="of record.json")
    predictions: Digest = Field(description="of predictions.parquet, or of logits.parquet if only that is there")
    history: Digest = Field(description="of history.json")
    model: Digest = Field(description="of model.safetensors, as the record names it")

    @classmethod
    def beside(cls, path: Path, record: Record) -> Self:
        """The current files of a record with a result; raises DataError if one is missing.

        The model's file is optional: without it, the digest in the record is used.
        """
        assert record.result is not None
        folder, model = path.parent, path.parent / MODEL
        try:
            return cls(
                record=file_digest(path),
                predictions=file_digest(folder / (PUBLISHED if is_published(folder) else PREDICTIONS)),
                history=file_digest(folder / HISTORY),
                model=file_digest(model) if model.is_file() else record.result.model_digest,
            )
        except OSError as error:
            raise DataError(f"{error.filename}: {error.strerror}; put the file back, and check again") from None


class ReEvaluation(Strict):
    """The model's file was loaded into a net of known code, and it gives the predictions of the record."""

    checked_on: str = Field(default_factory=_today, description="day, in UTC")
    largest_difference: float = Field(ge=0, description="largest absolute difference of a logit on the test split")
    other_classes: int = Field(ge=0, description="number of test images with a different predicted class")


class Reproduction(Strict):
    """The cell was trained again, and its method passed the audit for leaks."""

    checked_on: str = Field(default_factory=_today, description="day, in UTC")
    equal: bool = Field(description="whether every field of the result is equal, bit for bit")
    headline: Share = Field(description="the headline of the new run")
    spread: float | None = Field(
        ge=0, description="range of the row's seeds, at most 0.02; the difference is not larger. null if equal"
    )

    @classmethod
    def of(cls, recorded: Record, now: Result, *, same_kind: bool, spread: float | None) -> Self:
        """The evidence of a new run; raises VerificationError if it does not reproduce the recorded result.

        On the `same_kind` of machine, with the same versions and code, the result must be equal bit for bit. Elsewhere
        its headline may differ by at most `spread`, the range of the seeds of the row, and never by more than `NEAR`.
        """
        assert recorded.result is not None
        before, after = (getattr(result.metrics, recorded.headline) for result in (recorded.result, now))
        if not (changed := result_differences(recorded.result, now)):
            return cls(equal=True, headline=after, spread=None)
        text = f"{recorded.headline} is {100 * after:.2f} %, the record says {100 * before:.2f} %"
        if same_kind:
            names = ", ".join(difference.name for difference in changed[:3])
            raise VerificationError(f"on the same kind of machine {names} differ; {text}")
        if spread is None:
            raise VerificationError(f"not equal, and a row with one seed has no range to compare with; {text}")
        if abs(after - before) > (allowed := min(spread, NEAR)):
            raise VerificationError(f"{text}; {_limit(spread)}")
        return cls(equal=False, headline=after, spread=allowed)


def _limit(spread: float) -> str:
    if spread > NEAR:
        return f"a difference of more than {100 * NEAR:.0f} points never counts as reproduced"
    return f"the seeds of the row are only {100 * spread:.2f} points apart"


class Entry(Strict):
    """The evidence for one cell; it counts as long as its files, the checker's version and the edition are the same."""

    files: Files = Field(description="the checked files")
    checker: int = Field(ge=1, description="version of the checker's requirements")
    edition: str = Field(description="edition of the board")
    re_evaluation: ReEvaluation | None = Field(default=None, description="null if the model was not loaded")
    reproduction: Reproduction | None = Field(default=None, description="null if the cell was not run again")

    @property
    def level(self) -> Level:
        """The level that the evidence supports.

        A new result that is only near the recorded one counts only if the record's model was re-evaluated too.
        Otherwise somebody could write near numbers into a record without a model.
        """
        if self.reproduction and (self.reproduction.equal or self.re_evaluation):
            return "reproduced"
        return "re-evaluated" if self.re_evaluation else "consistent"


class Scoring(Strict):
    """The one score of a cell in an edition, on images that only the maintainers have."""

    edition: str = Field(description="edition of the board")
    cell_id: Digest = Field(description="identifier of the cell")
    model: Digest = Field(description="SHA-256 of the model's file")
    score: Share = Field(description="the headline, rounded to 0.001 (0.1 points)")


class Dispute(Strict):
    """A public objection to a row; it is shown with the row and does not change its level."""

    place: str = Field(
        min_length=1, description="folder of a cell relative to the records, or a parent folder for a whole row"
    )
    reason: str = Field(min_length=1, max_length=300, description="what is disputed, in a sentence")
    link: str = Field(pattern=r"^https://[^\s]+$", max_length=300, description="where it is discussed")

    def about(self, folder: str) -> bool:
        """Whether the objection is about the cell in this folder."""
        return Path(folder).is_relative_to(self.place)


class Trust(Strict):
    """The content of `trust.json`."""

    edition: str = Field(default=FIRST_EDITION, min_length=1, description="edition of the board")
    entries: dict[str, Entry] = Field(default={}, description="by the folder of the cell relative to the records")
    scorings: list[Scoring] = Field(default=[], description="on private renders, of all editions")
    disputes: list[Dispute] = Field(default=[], description="written by hand")

    def standing(self, path: Path, record: Record) -> Entry | None:
        """The entry of a record, or None if it does not count: no result, another version, or a changed file."""
        entry = self.entries.get(str(record.cell.folder()))
        if entry is None or record.result is None:
            return None
        if (entry.checker, entry.edition) != (CHECKER_VERSION, self.edition):
            return None
        try:
            return entry if entry.files == Files.beside(path, record) else None
        except DataError:
            return None

    def noting(self, path: Path, record: Record, evidence: ReEvaluation | Reproduction) -> "Trust":
        """A copy with this evidence added; evidence for other files or of another checker version is dropped."""
        entry = self.standing(path, record) or Entry(
            files=Files.beside(path, record), checker=CHECKER_VERSION, edition=self.edition
        )
        name = "re_evaluation" if isinstance(evidence, ReEvaluation) else "reproduction"
        noted = entry.model_copy(update={name: evidence})
        return self.model_copy(update={"entries": {**self.entries, str(record.cell.folder()): noted}})

    def scoring_of(self, cell: Cell) -> Scoring | None:
        """The scoring of a cell in this edition, of any model."""
        same = (one for one in self.scorings if (one.edition, one.cell_id) == (self.edition, cell.cell_id))
        return next(same, None)

    def scored(self, record: Record, score: float) -> "Trust":
        """A copy with the score of a record's model; raises VerificationError if the cell has one in this edition."""
        assert record.result is not None
        if self.scoring_of(record.cell) is not None:
            raise VerificationError(
                f"{record.cell.folder()} already has a score on the private render of edition {self.edition}; score it "
                "again in the next edition"
            )
        model, rounded = record.result.model_digest, round(score, 3)
        scoring = Scoring(edition=self.edition, cell_id=record.cell.cell_id, model=model, score=rounded)
        return self.model_copy(update={"scorings": [*self.scorings, scoring]})


def read_trust(path: Path) -> Trust:
    """Read a file; an empty Trust if it does not exist. Raises VerificationError that names file and defect."""
    if not path.exists():
        return Trust()
    try:
        return Trust.model_validate(parse_json(read_bounded(path, MAX_TRUST_BYTES), MAX_TRUST_BYTES))
    except (VerificationError, ValidationError) as error:
        problem = first_problem(error) if isinstance(error, ValidationError) else error
        raise VerificationError(f"{path}: {problem}; repair it, or take it from the main branch") from None


class TrustFile:
    """A `trust.json` to add to: every finding is on disk before the next check begins."""

    def __init__(self, path: Path) -> None:
        """Raises VerificationError if the file is broken, DataError if it cannot be written."""
        self.path, self.trust = path, read_trust(path)
        self._write(self.trust)

    def note(self, path: Path, record: Record, evidence: ReEvaluation | Reproduction) -> None:
        """Add a piece of evidence."""
        self._write(self.trust.noting(path, record, evidence))

    def score(self, record: Record, score: float) -> None:
        """Add a score; raises VerificationError if the cell has one in this edition."""
        self._write(self.trust.scored(record, score))

    def _write(self, trust: Trust) -> None:
        write_atomic(self.path, pretty_json(trust.model_dump(mode="json")))
        self.trust = trust


def level_of(path: Path, record: Record, consistency: Consistency, trust: Trust) -> Level:
    """The level of a record, given the level `consistency` of its verification."""
    if consistency == "inconsistent":
        return "submitted"
    entry = trust.standing(path, record)
    proven = entry is not None and entry.level in ("re-evaluated", "reproduced") and consistency != "submitted"
    return entry.level if entry and proven else consistency


@dataclass(frozen=True)
class RowTrust:
    """The trust in a row: the number of its cells by level, and the mean private score if every cell has one."""

    levels: Mapping[Level, int] = field(default_factory=dict)
    private_score: float | None = None
    disputes: tuple[Dispute, ...] = ()

    @property
    def level(self) -> Level:
        """The lowest level of its cells."""
        return min(self.levels, key=LEVELS.index, default="submitted")


def with_trust(cells: pd.DataFrame, trust: Trust) -> pd.DataFrame:
    """A frame of verified cells with the columns `trust`, `private_score` and `disputes`, which `row_trust` reads."""
    levels = cells["consistency"] if "consistency" in cells else [None] * len(cells)
    places = zip(cells["path"], cells["folder"], levels, strict=True)
    known = [_of_cell(*place, trust) for place in places]
    return cells.assign(
        trust=pd.array([one.level for one in known], dtype="string"),
        private_score=pd.array([one.private_score for one in known], dtype="Float64"),
        disputes=pd.Series([one.disputes for one in known], cells.index, dtype=object),
    )


@dataclass(frozen=True)
class _CellTrust:
    level: Level
    private_score: float | None
    disputes: tuple[Dispute, ...]


def _of_cell(path: str, folder: str, consistency: Consistency | None, trust: Trust) -> _CellTrust:
    disputes = tuple(dispute for dispute in trust.disputes if dispute.about(folder))
    if consistency is None:  # a record in memory, without files
        return _CellTrust("submitted", None, disputes)
    record, score = read_record(Path(path)), None
    level = level_of(Path(path), record, consistency, trust)
    if record.result is not None and level in ("re-evaluated", "reproduced"):
        scoring = trust.scoring_of(record.cell)
        score = scoring.score if scoring and scoring.model == record.result.model_digest else None
    return _CellTrust(level, score, disputes)


def row_trust(cells: pd.DataFrame) -> RowTrust:
    """The trust in a row of a frame; all its cells count as submitted if `with_trust` did not add the columns."""
    if "trust" not in cells:
        return RowTrust({"submitted": len(cells)})
    counts: Counter[Level] = Counter(cells["trust"])
    scores, disputes = cells["private_score"], dict.fromkeys(one for some in cells["disputes"] for one in some)
    mean = float(scores.mean()) if scores.notna().all() else None
    return RowTrust({level: counts[level] for level in LEVELS if counts[level]}, mean, tuple(disputes))
