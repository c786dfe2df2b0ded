"""The record of a cell: every field typed and explained. The published JSON Schema is generated from this module."""

import json
from itertools import chain
from typing import Any, Final, Literal

import numpy as np
from pydantic import Field, JsonValue, ValidationError, model_validator

from ferbench.contract.protocol import EPOCHS, Headline
from ferbench.contract.strict import Strict
from ferbench.errors import VerificationError
from ferbench.hookspecs import MAX_TITLE
from ferbench.records.cell import Cell, canonical_json
from ferbench.records.metrics import HeadlineScores, Metrics, Outcome, completed
from ferbench.records.without_nulls import WithoutNulls

SCHEMA_VERSION: Final = 1
SELECTION = "EMA model after the last step"
MAX_RECORD_BYTES = 5_000_000
MAX_DEPTH = 30
LARGEST_COUNT = 10**9
HEX64 = r"^[0-9a-f]{64}$"

Status = Literal["ok", "failed", "diverged", "timeout", "interrupted"]


class Oracle(HeadlineScores):
    """The best test evaluation during training. It only shows how optimistic choosing a model on the test set is.

    It is computed like the metrics (from logits rounded to float16), so it is never below the final accuracy.
    """

    step: int = Field(ge=0, description="step of that evaluation; the earliest one if several are equal")
    evaluations: int = Field(
        ge=1, description=f"number of test evaluations that it is the best of, at most {EPOCHS}, set by the protocol"
    )


class Fingerprints(WithoutNulls):
    """The data that a cell ran on: the SHA-256 of each part, computed without decoding images.

    An optional fingerprint is present if the cell has that part; a record contains no nulls for them.
    """

    data: str = Field(description="SHA-256 of the packed dataset: ids, splits, labels and encoded images")
    labeled: str = Field(description="SHA-256 of the labeled images, with the labels that the method sees")
    unlabeled: str | None = Field(
        default=None, description="SHA-256 of the unlabeled images, without labels, including those of a named pool"
    )
    test: str = Field(description="SHA-256 of the test images, with their labels")
    split_rule: str | None = Field(default=None, description="name of the rule that ranks images for the split")
    folds: str | None = Field(default=None, description="SHA-256 of the subjects of every fold")
    pool: str | None = Field(default=None, description="SHA-256 of the dataset or stream that the named pool is from")
    boxes: str | None = Field(default=None, description="SHA-256 of the face boxes found by a detector")
    relabeled: str | None = Field(default=None, description="SHA-256 of the second draw of labeled images")
    validation: str | None = Field(default=None, description="SHA-256 of the labeled images held out of training")
    label_noise: str | None = Field(
        default=None, description="SHA-256 of the declared label noise and of the labels that it changed"
    )
    test_data: str | None = Field(default=None, description="SHA-256 of the packed data of another tested dataset")

    def by_name(self) -> dict[str, str]:
        """Return the fingerprints that are present."""
        return self.model_dump()

    def differences(self, other: "Fingerprints") -> list[str]:
        """Return the sorted names of those that differ, or that only one of the two has."""
        return sorted({name for name, _ in self.by_name().items() ^ other.by_name().items()})


class Result(Strict):
    """The outcome that the cell determines: on one machine, every run of the cell gives it bit for bit."""

    class_names: list[str] = Field(
        min_length=2,
        description="the classes, in the order of logits and confusion; if another dataset is tested, the classes that "
        "both datasets have",
    )
    metrics: Metrics = Field(description="the scores of the selected model on the test set")
    confusion: list[list[int]] = Field(
        description="counts on the test set; rows are true classes, columns are predicted classes"
    )
    n_test: int = Field(ge=1, description="number of test images")
    n_labeled: int = Field(
        ge=1, description="number of labeled images that the budget gives, without those held out for validation"
    )
    n_validation: int | None = Field(
        default=None, ge=1, description="labeled images of the budget that the protocol holds out; null if none"
    )
    n_relabeled: int | None = Field(
        default=None, ge=0, description="images beyond the budget whose label the method saw; null if none"
    )
    n_unlabeled: int | None = Field(
        ge=0, description="number of unlabeled images that the method draws from; null if it uses none"
    )
    n_near_duplicates: int | None = Field(
        default=None,
        ge=0,
        description="images of a named pool that are left out because they look like test images; null without a pool",
    )
    n_test_left_out: int | None = Field(
        default=None,
        ge=0,
        description="test images of another dataset that are left out because they look like training images; null if "
        "no other dataset is tested",
    )
    labeled_counts: dict[str, int] = Field(
        description="number of labeled images of each trained class, counted by the labels that the method saw"
    )
    fingerprints: Fingerprints = Field(description="what data the cell ran on")
    predictions_digest: str = Field(pattern=HEX64, description="SHA-256 over test ids, labels and logits")
    history_digest: str = Field(pattern=HEX64, description="SHA-256 over the canonical JSON of the history")
    model_digest: str = Field(
        pattern=HEX64,
        description="SHA-256 of model.safetensors, the file of the selected model; identifies the file anywhere",
    )
    oracle: Oracle | None = Field(
        description="the best test evaluation during training, never the headline result; null if another dataset is "
        "tested, which is evaluated only once, after training",
    )
    steps: int = Field(ge=0, description="optimizer steps over all stages")
    image_passes: int = Field(ge=0, description="images sent forward through the backbone in training, over all stages")
    forward_images: int | None = Field(
        default=None,
        ge=0,
        description="images that the method's code sent forward through any backbone: net, teacher, further networks "
        "and copies, in steps and between them; null in records before 0.2",
    )
    optimizer_steps: int | None = Field(
        default=None,
        ge=0,
        description="steps of all optimizers, including pre-training and the method's own ones; null in records before "
        "0.2",
    )
    parameters: int = Field(ge=0, description="number of parameters of the evaluated net")

    def outcome(self) -> Outcome | None:
        """Return the input of the metrics; None if the confusion matrix is not a valid one of the record's classes."""
        n, rows = len(self.class_names), self.confusion
        square = len(rows) == n and all(len(row) == n for row in rows)
        counts = [count for row in rows for count in row]
        if not square or min(counts) < 0 or not 0 < sum(counts) <= LARGEST_COUNT:
            return None
        return Outcome(np.array(rows, dtype=np.int64))

    def scores(self) -> dict[str, float | None]:
        """Return each metric as recorded; one that is newer than the record is computed from the confusion matrix.

        It is None if the confusion matrix is not enough.
        """
        return completed(self.metrics, self.outcome())

    @property
    def labels_seen(self) -> int:
        """Number of images whose label the method saw."""
        return self.n_labeled + (self.n_validation or 0) + (self.n_relabeled or 0)


class Measured(Strict):
    """Values observed while the cell ran; they differ from run to run and are never compared for equality."""

    started_at: str = Field(description="start of the run, ISO 8601 in UTC")
    finished_at: str | None = Field(default=None, description="end of the run, ISO 8601 in UTC")
    wall_seconds: float = Field(default=0.0, ge=0, description="wall time of the cell, over all its attempts")
    cpu_seconds: float = Field(default=0.0, ge=0, description="processor time of the process")
    train_seconds: float = Field(
        default=0.0, ge=0, description="time in training steps, without evaluation and file access"
    )
    data_wait_seconds: float = Field(
        default=0.0, ge=0, description="part of the training time in which steps waited for images of a stream"
    )
    images_per_second: float = Field(default=0.0, ge=0, description="image passes divided by the training time")
    peak_memory_bytes: int = Field(
        default=0, ge=0, description="peak memory in use; of the device, if it has its own memory"
    )
    threads: int = Field(default=0, ge=0, description="processor threads of the process; 0 if unknown")
    processes: int = Field(default=1, ge=1, description="number of processes that shared every batch")
    device: str = Field(default="", description="the device that trained: cpu, or the name of the GPU")
    executor: str = Field(
        default="", description="name of the executor; a run with 'inline' is never standard; empty in records of 0.1"
    )
    host: str = Field(default="", description="name of the machine; empty unless the user asked for it")
    resumed: int = Field(default=0, ge=0, description="how often the cell was continued from a checkpoint")


class PluginStamp(WithoutNulls):
    """The code that a registered name stood for."""

    distribution: str = Field(description="the installed distribution that registered the name")
    version: str = Field(description="its version")
    source_hash: str = Field(description="SHA-256 over the Python files of its package")
    title: str = Field(
        default="", max_length=MAX_TITLE, description="name for tables and reports; empty if the name itself is used"
    )
    variant_title: str | None = Field(
        default=None,
        max_length=MAX_TITLE,
        description="name of a method's variant for tables and reports, if it has its own",
    )


class TuningStamp(Strict):
    """Defaults of a method, head or backbone that were tuned under the protocol, as its distribution declares them."""

    distribution: str = Field(description="the installed distribution that registered the tuning and the tuned part")
    trials: int = Field(ge=1, description="number of settings tried before these were chosen, as declared")
    source: str = Field(description="where the trials are documented, as declared")
    options: dict[str, JsonValue] = Field(
        description="the tuned options, before variant and overrides; fields of the recipe for a backbone"
    )


class Git(Strict):
    """The state of the Git repository in which the run was started."""

    commit: str = Field(description="the commit that was checked out")
    dirty: bool = Field(description="whether tracked files differed from it")


class ErrorReport(Strict):
    """The reason why a cell has no result."""

    type: str = Field(description="class of the exception")
    message: str = Field(description="its text")
    traceback: str = Field(default="", description="the Python traceback")
    step: int | None = Field(default=None, ge=0, description="the step in which it happened")
    term: str | None = Field(default=None, description="the loss term that was no longer finite")

    @property
    def line(self) -> str:
        """The reason on one line."""
        text = self.message.strip().splitlines() or [""]
        place = "" if self.step is None else f" (step {self.step})"
        return f"{self.type}: {text[0]}{place}"


class ParameterGroupFacts(Strict):
    """A group of parameters with the same optimizer settings."""

    parameters: int = Field(ge=0, description="number of scalar parameters in the group")
    learning_rate: float = Field(description="peak learning rate, which the schedule multiplies")
    settings: dict[str, JsonValue] = Field(description="other settings of the optimizer: weight_decay, momentum, betas")


class OptimizerFacts(Strict):
    """An optimizer as it was really used in a stage."""

    optimizer: str = Field(description="class of the optimizer, with its module if it is not from torch")
    schedule: str = Field(description="schedule of the learning rate after the warm-up")
    warmup: float = Field(description="share of the steps with a linear warm-up")
    groups: list[ParameterGroupFacts] = Field(description="its parameter groups")
    departures: dict[str, JsonValue] = Field(
        description="settings that differ from the protocol's: fields, number of groups, name of a factory"
    )
    source: str = Field(description="source of these settings as the method states it; empty if it states none")


class RecordConfig(Strict):
    """Every field of the configuration with the value that was used."""

    protocol: dict[str, JsonValue] = Field(description="the protocol's fields, with overrides applied")
    method: dict[str, JsonValue] = Field(description="the method's options, with variant and overrides applied")
    head: dict[str, JsonValue] = Field(default={}, description="options of a head that is not the method's own")
    optimizers: dict[str, dict[str, OptimizerFacts]] = Field(
        default={},
        description="the optimizers, by stage and name (`main` is the stage's own); empty in records before 0.2",
    )


class Record(Strict):
    """The record of one cell: its configuration, its result, and the code and data that it ran on."""

    schema_version: Literal[1] = Field(default=SCHEMA_VERSION, description="version of this schema")
    status: Status = Field(description="how the run ended; only 'ok' has a result")
    cell: Cell = Field(description="the cell that was run")
    cell_id: str = Field(pattern=HEX64, description="SHA-256 of the canonical JSON of the cell")
    standard: bool = Field(description="whether the cell may be in standard tables: no overrides, no draft protocol")
    config: RecordConfig = Field(description="the resolved configuration")
    result: Result | None = Field(default=None, description="the outcome of the cell; null unless the status is 'ok'")
    measured: Measured = Field(description="values observed while it ran")
    plugin: PluginStamp = Field(description="the code of the method")
    plugins: dict[str, PluginStamp] = Field(
        default_factory=dict, description="the code of dataset, head, backbone and other parts, by role"
    )
    tunings: dict[str, TuningStamp] = Field(
        default_factory=dict, description="declared tunings of 'method', 'head' and 'backbone'"
    )
    engine_version: int = Field(ge=0, description="version of the training engine; results of two versions may differ")
    environment: dict[str, str] = Field(description="versions and hardware: python, torch, numpy, platform, device ...")
    git: Git | None = Field(default=None, description="state of the Git repository; null outside of one")
    selection: str = Field(default=SELECTION, description="which model is evaluated; never chosen on the test set")
    headline: Headline = Field(default="accuracy", description="the protocol's metric by which tables are ordered")
    error: ErrorReport | None = Field(default=None, description="why there is no result; null if the status is 'ok'")

    @model_validator(mode="after")
    def _result_or_error(self) -> "Record":
        if (self.status == "ok") != (self.result is not None):
            raise ValueError(f"status '{self.status}' {'without a' if self.result is None else 'with a'} result")
        if self.status == "ok" and self.error is not None:
            raise ValueError("status 'ok' with an error")
        return self

    def to_json(self) -> bytes:
        """The bytes of record.json."""
        return pretty_json(self.model_dump(mode="json"))

    @classmethod
    def from_json(cls, data: bytes) -> "Record":
        """Read the bytes of an untrusted record; raises VerificationError for every defect."""
        value = parse_json(data)
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise VerificationError(f"not a record: {first_problem(error)}") from None


def pretty_json(value: Any, errors: str = "strict") -> bytes:
    """Return JSON for files that people also read: sorted keys, one space of indent, full precision, no NaN.

    `errors` says what to do with text that UTF-8 does not have, as in `str.encode`.
    """
    text = json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode("utf-8", errors)


def parse_json(data: bytes, limit: int = MAX_RECORD_BYTES) -> Any:
    """Parse JSON from an untrusted file; raises VerificationError if it is not valid, or not safe to use.

    Size and depth are limited. A repeated key, NaN, an infinite number or a lone surrogate is an error: these have no
    canonical form.
    """
    if len(data) > limit:
        raise VerificationError(f"larger than {limit:,} bytes")
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique_keys, parse_constant=_no_constant, parse_int=_whole_number
        )
    except UnicodeDecodeError as error:
        raise VerificationError(f"not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise VerificationError("nested too deeply") from None
    except ValueError as error:
        raise VerificationError(f"not JSON: {error}") from None
    _check_depth(value)
    try:
        canonical_json(value)
    except UnicodeEncodeError:
        raise VerificationError("a text contains a lone surrogate, which is not a character") from None
    except ValueError as error:
        raise VerificationError(f"a number is out of range: {error}") from None
    return value


def record_schema() -> bytes:
    """Return the JSON Schema of a record; `ferbench verify --print-schema` prints it, a copy is next to this file."""
    schema = Record.model_json_schema()
    return pretty_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


def first_problem(error: ValidationError) -> str:
    """Return the first error of pydantic as `result.metrics.accuracy: Input should be ...`, and how many follow."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    where = ".".join(str(part) for part in problems[0]["loc"])
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{where + ': ' if where else ''}{problems[0]['msg'].removeprefix('Value error, ')}{more}"


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) != len(pairs):
        raise ValueError("a key is given twice in one object")
    return keys


def _whole_number(text: str) -> int:
    value = int(text)
    if abs(value) > 2**53:  # the limit of RFC 7493: larger numbers are not read alike by all programs
        raise ValueError(f"{text[:30]} is beyond 2^53")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number in JSON")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        inner = [node.values() if isinstance(node, dict) else node for node in level if isinstance(node, (dict, list))]
        level = list(chain.from_iterable(inner))
        if not level:
            return
    raise VerificationError(f"nested more than {MAX_DEPTH} deep")
