"""How far each cell of a board was checked, and by what: `trust.json`, which the machines write that check.

An entry is evidence, not a level: what it is worth is computed, from the entry and from the files that it is bound to.
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
from ferbench.errors import VerificationError
from ferbench.records.cell import Cell
from ferbench.records.files import file_digest, read_bounded, write_atomic
from ferbench.records.history import HISTORY
from ferbench.records.reproduction import result_differences
from ferbench.records.schema import HEX64, Record, Result, first_problem, parse_json, pretty_json
from ferbench.records.store import MODEL, PREDICTIONS, read_record
from ferbench.records.verification import Level as Consistency

Level = Literal["submitted", "consistent (data not held)", "consistent", "re-evaluated", "reproduced"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""From the lowest to the highest."""
TRUST: Final = "trust.json"
MAX_TRUST_BYTES = 100_000_000
CHECKER_VERSION = 1
"""Of what re-evaluation and reproduction demand; what another version has found does not count."""
FIRST_EDITION = "1"

Digest = Annotated[str, Field(pattern=HEX64)]
Share = Annotated[float, Field(ge=0, le=1)]


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


class Files(Strict):
    """What an entry is bound to, each by its SHA-256."""

    record: Digest = Field(description="of record.json")
    predictions: Digest = Field(description="of predictions.parquet")
    history: Digest = Field(description="of history.json")
    model: Digest = Field(description="of model.safetensors, as the record names it")

    @classmethod
    def beside(cls, path: Path, record: Record) -> Self:
        """Those of a record with a result, as they are now; raises OSError where one is missing.

        A model need not lie there; one that does must be the record's.
        """
        assert record.result is not None
        model = path.parent / MODEL
        return cls(
            record=file_digest(path),
            predictions=file_digest(path.parent / PREDICTIONS),
            history=file_digest(path.parent / HISTORY),
            model=file_digest(model) if model.is_file() else record.result.model_digest,
        )


class ReEvaluation(Strict):
    """The model's file was loaded into a net of known code, and gives the predictions of the record."""

    checked_on: str = Field(default_factory=_today, description="day, in UTC")
    largest_difference: float = Field(ge=0, description="of a logit of the test split")
    other_classes: int = Field(ge=0, description="test images whose predicted class is another")


class Reproduction(Strict):
    """The cell was trained again, and its method has passed the audit for leaks."""

    checked_on: str = Field(default_factory=_today, description="day, in UTC")
    equal: bool = Field(description="whether every field of the result is equal, bit for bit")
    headline: Share = Field(description="the headline of the new run")
    spread: float | None = Field(
        ge=0, description="how far the seeds of the row lie apart, which the difference is within; null where equal"
    )

    @classmethod
    def of(cls, recorded: Record, now: Result, *, same_kind: bool, spread: float | None) -> Self:
        """What a new run says of a record; raises VerificationError where it is not the recorded result.

        On the `same_kind` of machine, with the same versions and code, that is one that is equal bit for bit; elsewhere
        one whose headline is no further away than the seeds of the row are from each other, the `spread`.
        """
        assert recorded.result is not None
        before, after = (getattr(result.metrics, recorded.headline) for result in (recorded.result, now))
        if not (changed := result_differences(recorded.result, now)):
            return cls(equal=True, headline=after, spread=None)
        text = f"{recorded.headline} is {100 * after:.2f} %, recorded are {100 * before:.2f} %"
        if same_kind:
            names = ", ".join(difference.name for difference in changed[:3])
            raise VerificationError(f"on the same kind of machine {names} differ; {text}")
        if spread is None:
            raise VerificationError(f"not equal, and one seed has no spread to compare with; {text}")
        if abs(after - before) > spread:
            raise VerificationError(f"{text}; the seeds of the row lie {100 * spread:.2f} points apart")
        return cls(equal=False, headline=after, spread=spread)


class Entry(Strict):
    """What was found of one cell; it counts while its files, the checker's version and the edition are these."""

    files: Files = Field(description="what was looked at")
    checker: int = Field(ge=1, description="version of the checker's demands")
    edition: str = Field(description="edition of the board")
    re_evaluation: ReEvaluation | None = Field(default=None, description="null if the model was not loaded")
    reproduction: Reproduction | None = Field(default=None, description="null if the cell was not run again")

    @property
    def level(self) -> Level:
        """What the evidence is worth.

        A result that is only near the recorded one vouches for a record whose model was looked at: without it nothing
        says that the numbers of the record, which may be near by intention, are those of a model at all.
        """
        if self.reproduction and (self.reproduction.equal or self.re_evaluation):
            return "reproduced"
        return "re-evaluated" if self.re_evaluation else "consistent"


class Scoring(Strict):
    """The one score of a cell in an edition on images that nobody else has."""

    edition: str = Field(description="edition of the board")
    cell_id: Digest = Field(description="of the cell")
    model: Digest = Field(description="SHA-256 of the model's file")
    score: Share = Field(description="the headline, rounded to 0.001, which is 0.1 points")


class Dispute(Strict):
    """Somebody has said in public why a row should not be believed; it is shown beside the row and settles nothing."""

    place: str = Field(min_length=1, description="folder of a cell below the records, or one above: a whole row's")
    reason: str = Field(min_length=1, max_length=300, description="what is disputed, in a sentence")
    link: str = Field(pattern=r"^https://[^\s]+$", max_length=300, description="where it is discussed")

    def about(self, folder: str) -> bool:
        """Whether it is about the cell of a folder."""
        return Path(folder).is_relative_to(self.place)


class Trust(Strict):
    """The content of `trust.json`."""

    edition: str = Field(default=FIRST_EDITION, min_length=1, description="edition of the board")
    entries: dict[str, Entry] = Field(default={}, description="by the folder of the cell below the records")
    scorings: list[Scoring] = Field(default=[], description="on private renders, of all editions")
    disputes: list[Dispute] = Field(default=[], description="written by hand")

    def standing(self, path: Path, record: Record) -> Entry | None:
        """The entry of a record with a result if it counts; an edit of any of its files ends that."""
        entry = self.entries.get(str(record.cell.folder()))
        if entry is None or record.result is None:
            return None
        if (entry.checker, entry.edition) != (CHECKER_VERSION, self.edition):
            return None
        try:
            return entry if entry.files == Files.beside(path, record) else None
        except OSError:
            return None

    def noting(self, path: Path, record: Record, evidence: ReEvaluation | Reproduction) -> "Trust":
        """The same with a piece of evidence; what was found of other files, or by another checker, is dropped."""
        entry = self.standing(path, record) or Entry(
            files=Files.beside(path, record), checker=CHECKER_VERSION, edition=self.edition
        )
        name = "re_evaluation" if isinstance(evidence, ReEvaluation) else "reproduction"
        noted = entry.model_copy(update={name: evidence})
        return self.model_copy(update={"entries": {**self.entries, str(record.cell.folder()): noted}})

    def scoring_of(self, cell: Cell) -> Scoring | None:
        """The scoring of a cell in this edition, whichever model it was of."""
        same = (one for one in self.scorings if (one.edition, one.cell_id) == (self.edition, cell.cell_id))
        return next(same, None)

    def scored(self, record: Record, score: float) -> "Trust":
        """The same with the score of a record's model; raises VerificationError for a second one in an edition."""
        assert record.result is not None
        if self.scoring_of(record.cell) is not None:
            raise VerificationError(
                f"{record.cell.folder()} has its score on the private render of edition {self.edition}; it is scored "
                "again in the next one"
            )
        model, rounded = record.result.model_digest, round(score, 3)
        scoring = Scoring(edition=self.edition, cell_id=record.cell.cell_id, model=model, score=rounded)
        return self.model_copy(update={"scorings": [*self.scorings, scoring]})


def read_trust(path: Path) -> Trust:
    """What a file says; nothing where there is none. Raises VerificationError naming file and defect."""
    if not path.exists():
        return Trust()
    try:
        return Trust.model_validate(parse_json(read_bounded(path, MAX_TRUST_BYTES), MAX_TRUST_BYTES))
    except (VerificationError, ValidationError) as error:
        problem = first_problem(error) if isinstance(error, ValidationError) else error
        raise VerificationError(f"{path}: {problem}; repair it, or take it from the main branch") from None


class TrustFile:
    """A `trust.json` that is added to: each finding is on disk before the next is sought."""

    def __init__(self, path: Path) -> None:
        """Raises VerificationError for a broken file, DataError for one that cannot be written."""
        self.path, self.trust = path, read_trust(path)
        self._write(self.trust)

    def note(self, path: Path, record: Record, evidence: ReEvaluation | Reproduction) -> None:
        """Add a piece of evidence."""
        self._write(self.trust.noting(path, record, evidence))

    def score(self, record: Record, score: float) -> None:
        """Add a score; raises VerificationError for a second one of a cell in an edition."""
        self._write(self.trust.scored(record, score))

    def _write(self, trust: Trust) -> None:
        write_atomic(self.path, pretty_json(trust.model_dump(mode="json")))
        self.trust = trust


def level_of(path: Path, record: Record, consistency: Consistency, trust: Trust) -> Level:
    """How far a record was checked, given what its verification came to."""
    if consistency == "inconsistent":
        return "submitted"
    entry = trust.standing(path, record)
    proven = entry is not None and entry.level in ("re-evaluated", "reproduced") and consistency != "submitted"
    return entry.level if entry and proven else consistency


@dataclass(frozen=True)
class RowTrust:
    """What is known of a row: how many of its cells have which level; a score where each cell has one."""

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
    if consistency is None:  # a record in memory, with no file to look at
        return _CellTrust("submitted", None, disputes)
    record, score = read_record(Path(path)), None
    level = level_of(Path(path), record, consistency, trust)
    if record.result is not None and level in ("re-evaluated", "reproduced"):
        scoring = trust.scoring_of(record.cell)
        score = scoring.score if scoring and scoring.model == record.result.model_digest else None
    return _CellTrust(level, score, disputes)


def row_trust(cells: pd.DataFrame) -> RowTrust:
    """What is known of a row of a frame; nothing where `with_trust` has not looked at it."""
    if "trust" not in cells:
        return RowTrust({"submitted": len(cells)})
    counts: Counter[Level] = Counter(cells["trust"])
    scores, disputes = cells["private_score"], dict.fromkeys(one for some in cells["disputes"] for one in some)
    mean = float(scores.mean()) if scores.notna().all() else None
    return RowTrust({level: counts[level] for level in LEVELS if counts[level]}, mean, tuple(disputes))
