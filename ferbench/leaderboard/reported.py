"""Published values: TOML files with the values that papers print, their source, protocol and selection."""

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError, model_validator

from ferbench.contract.protocol import Headline
from ferbench.contract.strict import Strict
from ferbench.errors import VerificationError, suggestion
from ferbench.records.cell import NAME_PATTERN, Budget, Name
from ferbench.render.escape import plain

GUIDE = "leaderboard/reported/README.md"

_NAME = NAME_PATTERN.removeprefix("^").removesuffix("$")
ROW_PATTERN = rf"^{_NAME}(?:@{_NAME})?(?:\+{_NAME})?$"

Text = Annotated[str, Field(min_length=1, max_length=400)]
# Not strict, so that a number printed without decimals may be written without them.
Percent = Annotated[Decimal, Field(strict=False, ge=0, le=100, max_digits=7, decimal_places=4)]


@dataclass(frozen=True)
class Origin:
    """The source of values, and how they were obtained."""

    citation: str
    source: str
    address: str
    metric: Headline
    selected_on: str
    protocol: str
    backbone: str | None
    reproduced_by: str | None
    init: str | None


@dataclass(frozen=True)
class ReportedBlock:
    """The numbers of one origin on one dataset."""

    origin: Origin
    dataset: str
    classes: str
    test_images: int | None
    note: str | None


@dataclass(frozen=True)
class Published:
    """One number that a paper prints, in percent."""

    block: ReportedBlock
    title: str
    method: str | None
    budget: Budget
    percent: Decimal


class PaperRow(Strict):
    """One method of a paper."""

    title: Text = Field(description="the method's name in the paper")
    method: str | None = Field(
        default=None,
        pattern=ROW_PATTERN,
        description="ferbench's row of the same method: `method[@variant][+head]`; none if ferbench has no such row",
    )
    percent: list[Percent] = Field(description="the values in percent, as printed: one for each budget")


class Results(Strict):
    """One dataset in a paper's table: methods by label budgets."""

    dataset: Name = Field(description="ferbench's name of the labeled dataset")
    classes: Name = Field(description="class set: '7' basic expressions, or another the dataset offers")
    budgets: list[Budget] = Field(
        min_length=1,
        description='labels of each column: `{ ratio = 0.05 }`, `{ count = 400, allocation = "adacm" }` or '
        "`{ per_class = 10 }`",
    )
    test_images: int | None = Field(
        default=None,
        ge=1,
        description="size of the test set; tables with another number of test images do not show the values",
    )
    note: Text | None = Field(default=None, description="what else a reader must know")
    rows: list[PaperRow] = Field(min_length=1, description="the methods")

    @model_validator(mode="after")
    def _one_value_per_place(self) -> "Results":
        _refuse_twice("budget", [budget.label() for budget in self.budgets])
        _refuse_twice("title", [row.title for row in self.rows])
        _refuse_twice("method", [row.method for row in self.rows if row.method])
        for row in self.rows:
            if len(row.percent) != len(self.budgets):
                raise ValueError(f"'{row.title}' has {len(row.percent)} values for {len(self.budgets)} budgets")
        return self


class PaperTable(Strict):
    """A table, figure or sentence of a paper, and how its values were obtained."""

    source: Text = Field(description="place of the values in the paper: `Table I`")
    address: str = Field(pattern=r"^https://[^\s<>]{1,300}$", description="web address of the paper or its code")
    metric: Headline = Field(description=f"one of {', '.join(get_args(Headline))}, on the test set")
    selected_on: Text = Field(description="how the evaluated model was selected: `best test epoch`, `not stated`")
    protocol: Text = Field(description="protocol as the text describes it: steps, batch sizes, split, repetitions")
    backbone: Text | None = Field(default=None, description="backbone and its initial weights, as the paper names them")
    reproduced_by: Name | None = Field(default=None, description="ferbench's protocol that trains the same way, if any")
    init: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$",
        description="usual name of the file with the initial weights, for `--init`",
    )
    results: list[Results] = Field(min_length=1, description="a block of values for each dataset")


class Paper(Strict):
    """The file of one paper."""

    format: Literal[1] = Field(description="version of this format")
    citation: Text = Field(description="authors, venue, year, arXiv number")
    tables: list[PaperTable] = Field(min_length=1, description="the tables, figures or sentences with the values")

    def values(self) -> Iterator[Published]:
        """Every value, in the order of the file."""
        for table in self.tables:
            origin = Origin(self.citation, **table.model_dump(exclude={"results"}))
            for results in table.results:
                block = ReportedBlock(origin, **results.model_dump(exclude={"budgets", "rows"}))
                for row in results.rows:
                    for budget, percent in zip(results.budgets, row.percent, strict=True):
                        yield Published(block, row.title, row.method, budget, percent)


FIELDS = [*Paper.model_fields, *PaperTable.model_fields, *Results.model_fields, *PaperRow.model_fields]


def shipped() -> Path:
    """The folder of the values that ferbench ships: in the installed package, or in the clone."""
    package = Path(__file__).parents[1]
    installed = package / "reported"
    return installed if installed.is_dir() else package.parent / "leaderboard" / "reported"


def read_reported(folder: Path) -> tuple[Published, ...]:
    """The values of all papers in a folder, ordered by file name; empty if the folder does not exist."""
    return tuple(value for path in sorted(folder.glob("*.toml")) for value in read_paper(path).values())


def read_paper(path: Path) -> Paper:
    """Read one file; raises VerificationError that names the entry, its value and a remedy for every defect."""
    try:
        fields = tomllib.loads(path.read_text("utf-8-sig"), parse_float=Decimal)
    except OSError as error:
        raise VerificationError(f"{path}: {error.strerror}; make it readable or remove it") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise VerificationError(f"{path}: not TOML ({error}); {GUIDE} shows an example") from None
    try:
        return Paper.model_validate(fields)
    except ValidationError as error:
        defect = plain(_first_defect(error, fields), 1000)
        raise VerificationError(f"{path}: {defect}; {GUIDE} describes each field") from None


def _refuse_twice(what: str, names: Sequence[str]) -> None:
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ValueError(f"{what} '{twice[0]}' appears twice in one block; remove one of them")


def _first_defect(error: ValidationError, fields: dict[str, Any]) -> str:
    first = error.errors(include_url=False)[0]
    place = _place(first["loc"], fields)
    if first["type"] == "extra_forbidden":
        return f"{place}: unknown field{suggestion(str(first['loc'][-1]), [*FIELDS, *Budget.model_fields])}"
    message = first["msg"].removeprefix("Value error, ")
    given = first["input"]
    if isinstance(given, (dict, list, Strict)):  # the whole block: a field is missing, or several are inconsistent
        return f"{place}: {message}"
    return f"{place} = {given if isinstance(given, Decimal) else repr(given)}: {message}"


def _place(location: Sequence[str | int], fields: dict[str, Any]) -> str:
    """`tables[0].results[1].rows[2].percent[3] ('VAT')`: a path in the file, and the nearest title on it."""
    path, name = "", ""
    node: Any = fields
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
        inside = isinstance(node, list) or (isinstance(node, dict) and part in node)
        node = node[part] if inside else None
        if isinstance(node, dict):
            name = next((str(node[key]) for key in ("title", "dataset", "source") if key in node), name)
    return path.removeprefix(".") + (f" ({name!r})" if name else "")
