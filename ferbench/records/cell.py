"""The identity of one run: the fields of a cell, its hash, and the folder of its record."""

import hashlib
import json
import re
from decimal import Decimal, InvalidOperation
from functools import cached_property
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from ferbench.contract.strict import Strict
from ferbench.errors import decimal_point
from ferbench.records.names import DESCRIBED, REST, PoolName, RowName

# Names become folder names and table rows. The pattern prevents a hand-made record from naming "../elsewhere", and
# reserves "@", "+" and "~" as separators between the parts of a folder name.
NAME_PATTERN = r"^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$"
# A registered backbone has no underscore, so the first "_" of its folder is the "/" of "timm/resnet18_x".
BACKBONE_PATTERN = r"^[a-z0-9](?:[a-z0-9.-]{0,62}[a-z0-9])?(?:/[a-z0-9](?:[a-z0-9._-]{0,126}[a-z0-9])?)?$"
POOL_PATTERN = rf"^(?:{re.escape(REST)})?{NAME_PATTERN.removeprefix('^')}"
INIT_PATTERN = r"^(?:scratch|sha256:[0-9a-f]{64})$"

OPTION_PATTERN = r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*"

Compile = Literal["off", "net", "step"]
"""The part of a training step that runs as one graph: none, forward and loss (torch.compile), or all (CUDA)."""

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Count = Annotated[int, Field(ge=1, le=10**9)]

MAX_DECIMALS = 12


def canonical_json(value: Any) -> bytes:
    """The canonical bytes of a JSON value: sorted keys, no spaces, UTF-8, no NaN."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def normal_ratio(value: Any) -> str:
    """Return `0.05` for 0.05, "5e-2" or "0.050": one spelling per ratio, so that equal budgets have equal cells."""
    try:
        ratio = Decimal(str(value))
    except InvalidOperation:
        point = decimal_point(str(value))
        raise ValueError(f"ratio must be a decimal number such as 0.05, not {value!r}{point}") from None
    if not ratio.is_finite() or not 0 < ratio <= 1:
        raise ValueError(f"ratio must be above 0 and at most 1 (1 = all labels), not {value!r}")
    exponent = ratio.normalize().as_tuple().exponent
    if isinstance(exponent, int) and -exponent > MAX_DECIMALS:
        raise ValueError(f"ratio has more than {MAX_DECIMALS} decimals: {value!r}")
    return format(ratio.normalize(), "f")


class Budget(Strict):
    """How many labels a cell may use: exactly one of `ratio`, `count` and `per_class`."""

    ratio: str | None = Field(default=None, description="share of the training labels, a decimal string: '0.05' is 5 %")
    count: Count | None = Field(default=None, description="total number of labels")
    per_class: Count | None = Field(default=None, description="number of labels of each class")
    allocation: Name = Field(
        default="proportional",
        description="how the labels are spread over the classes: proportional, adacm, balanced, file; "
        "always 'per-class' for a budget per class",
    )

    @field_validator("ratio", mode="before")
    @classmethod
    def _one_spelling(cls, value: Any) -> str | None:
        return None if value is None else normal_ratio(value)

    @model_validator(mode="before")
    @classmethod
    def _name_the_per_class_allocation(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("per_class") is not None:
            if data.get("allocation", "proportional") not in ("proportional", "per-class"):
                raise ValueError(
                    "labels per class cannot be combined with --allocation; omit it, or use a separate run for --labels"
                )
            return {**data, "allocation": "per-class"}
        return data

    @model_validator(mode="after")
    def _exactly_one(self) -> "Budget":
        given = [name for name in ("ratio", "count", "per_class") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of ratio, count and per_class, not {' and '.join(given) or 'none'}")
        if self.allocation == "per-class" and self.per_class is None:
            raise ValueError("allocation 'per-class' needs a number per class (--per-class)")
        return self

    def label(self) -> str:
        """The folder name: `ratio-0.05`, `count-400-adacm`, `per-class-10`."""
        if self.per_class is not None:
            return f"per-class-{self.per_class}"
        amount = f"ratio-{self.ratio}" if self.ratio is not None else f"count-{self.count}"
        return amount if self.allocation == "proportional" else f"{amount}-{self.allocation}"

    def title(self) -> str:
        """The words for people: `5 % of the labels`, `400 labels (adacm)`, `10 labels per class`."""
        if self.per_class is not None:
            return f"{self.per_class} labels per class"
        if self.ratio is not None:
            percent = format((Decimal(self.ratio) * 100).normalize(), "f")
            amount = f"{percent} % of the labels"
        else:
            amount = f"{self.count} labels"
        return amount if self.allocation == "proportional" else f"{amount} ({self.allocation})"

    def order(self) -> tuple[int, Decimal, str]:
        """Sort key: ratios, counts, counts per class, each from small to large."""
        if self.ratio is not None:
            return 0, Decimal(self.ratio), self.allocation
        if self.count is not None:
            return 1, Decimal(self.count), self.allocation
        return 2, Decimal(self.per_class or 0), self.allocation


FULL = Budget(ratio="1")
"""All labels of the training set."""


class Overrides(Strict):
    """Values that differ from the defaults of the protocol and of the method, by the dotted names of the fields."""

    protocol: dict[str, JsonValue] = Field(default={}, description="fields of the protocol's recipe")
    method: dict[str, JsonValue] = Field(default={}, description="options of the method")

    @field_validator("protocol", "method")
    @classmethod
    def _is_json(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        canonical_json(value)  # NaN, infinity and lone surrogates have no canonical form
        for name in value:
            if not re.fullmatch(OPTION_PATTERN, name):
                raise ValueError(f"{name!r} is not a valid option name; write it like threshold or margin.decay")
        return value

    @model_serializer(mode="wrap")
    def _only_non_empty(self, serialize: SerializerFunctionWrapHandler) -> dict[str, JsonValue]:
        # Two spellings of "no override" would make two different cells.
        return {kind: fields for kind, fields in serialize(self).items() if fields}

    def __bool__(self) -> bool:
        return bool(self.protocol or self.method)


class Cell(Strict):
    """One point of the benchmark's grid. Two runs of equal cells must end in equal results."""

    protocol: Name = Field(description="name of the protocol, with its version: ratio-v1")
    dataset: Name = Field(description="name of the labeled dataset")
    classes: Name = Field(default="7", description="class set: '7' basic expressions, or another the dataset offers")
    pool: str | None = Field(
        default=None,
        pattern=POOL_PATTERN,
        description="other dataset whose images serve as unlabeled data, instead of the rest of the training set; "
        "with the prefix 'rest+', in addition to it",
    )
    budget: Budget = Field(description="how many labels the method sees")
    method: Name = Field(description="name of the method")
    variant: Name = Field(default=DESCRIBED, description="preset of the method's configuration")
    head: Name | None = Field(default=None, description="name of the classification head; null for the method's own")
    backbone: str = Field(pattern=BACKBONE_PATTERN, description="name of the backbone, or 'family/model'")
    init: str = Field(
        default="scratch", pattern=INIT_PATTERN, description="'scratch', or the SHA-256 of the weights file"
    )
    seed: int = Field(ge=0, lt=2**32, description="seed of the split, the initial weights and all sampling")
    overrides: Overrides = Field(
        default=Overrides(), description="fields that differ from the protocol's or method's defaults; none if standard"
    )
    precision: Name = Field(default="fp32", description="arithmetic of the forward pass: fp32 or bf16")
    compile: Compile = Field(
        default="off",
        description="which part of a step is one graph: net (forward and loss, by torch.compile), step (all, by CUDA) "
        "or off; omitted if off",
    )
    test_on: Name | None = Field(
        default=None,
        description="another dataset whose test images the trained model is evaluated on, for the classes that both "
        "have; omitted if it is evaluated on its own dataset",
    )

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # They would change the id of every cell that is older than these fields.
        defaults = {"test_on": None, "compile": "off"}
        fields: dict[str, Any] = serialize(self)
        return {name: value for name, value in fields.items() if name not in defaults or value != defaults[name]}

    @field_validator("backbone")
    @classmethod
    def _does_not_look_like_init(cls, value: str) -> str:
        # "resnet-0a1b2c3d" trained from scratch would share the folder of "resnet" with weights 0a1b2c3d...
        if re.search(r"-[0-9a-f]{8}$", value):
            raise ValueError(f"a backbone's name must not end like a hash: {value!r}; choose another name")
        return value

    def __hash__(self) -> int:
        return hash(self.cell_id)

    @cached_property
    def cell_id(self) -> str:
        """SHA-256 of the canonical JSON of all fields."""
        return digest(self.model_dump(mode="json"))

    @property
    def base(self) -> "Cell":
        """The cell that trains the model: this one, or the same without `test_on`."""
        return Cell.model_validate({**self.model_dump(mode="json"), "test_on": None})

    @property
    def pool_name(self) -> str | None:
        """The name of the dataset that the pool comes from."""
        return None if self.pool is None else PoolName.parse(self.pool).dataset

    @property
    def keeps_rest(self) -> bool:
        """Whether the rest of the training set is unlabeled data, with or without a pool."""
        return self.pool is None or PoolName.parse(self.pool).keeps_rest

    @property
    def ratio(self) -> float | None:
        """The label ratio as a number; None if the budget is a number of labels."""
        return None if self.budget.ratio is None else float(self.budget.ratio)

    @property
    def row(self) -> str:
        """The name of the cell's row in a table: `method[@variant][+head]`."""
        return str(RowName(self.method, None if self.variant == DESCRIBED else self.variant, self.head))

    @property
    def changes(self) -> str:
        """What differs from a standard cell: `method.threshold=0.9, protocol.steps=60, compile=net`; else empty."""
        overrides = [
            f"{kind}.{name}={canonical_json(value).decode()}"
            for kind, fields in (("method", self.overrides.method), ("protocol", self.overrides.protocol))
            for name, value in sorted(fields.items())
        ]
        return ", ".join([*overrides, *(f"{name}={value}" for name, value in self.compiled.items())])

    @property
    def compiled(self) -> dict[str, str]:
        """The field `compile` unless it is off. Such cells are not standard, since their rounding may differ."""
        return {} if self.compile == "off" else {"compile": self.compile}

    @property
    def dataset_label(self) -> str:
        """The dataset part of the folder name: with class set, pool and other test dataset, if any."""
        # Two "@" mark another test dataset, because a class set and a dataset may have the same name.
        test_on = "" if self.test_on is None else f"@{self.test_on}"
        classes = "" if self.classes == "7" and not test_on else f"@{self.classes}"
        pool = "" if self.pool is None else f"+{self.pool}"
        return f"{self.dataset}{classes}{pool}{test_on}"

    @property
    def row_label(self) -> str:
        """The row part of the folder name: with a digest of overrides and precision if they are not standard."""
        precision = {} if self.precision == "fp32" else {"precision": self.precision}
        departures: dict[str, Any] = {**precision, **self.compiled, **self.model_dump(mode="json")["overrides"]}
        return f"{self.row}~{digest(departures)[:8]}" if departures else self.row

    def folder(self) -> PurePosixPath:
        """The folder of the record, relative to the runs folder; different cells never share it."""
        init = "" if self.init == "scratch" else f"-{self.init.removeprefix('sha256:')[:8]}"
        return PurePosixPath(
            self.protocol,
            self.dataset_label,
            self.budget.label(),
            self.row_label,
            f"{self.backbone.replace('/', '_')}{init}",
            f"seed{self.seed}",
        )
