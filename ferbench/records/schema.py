"""The record of a cell: every field typed and explained. The published JSON Schema is generated from here."""

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
    """The best test evaluation during training: the size of the optimism of choosing on the test set, no more.

    It is computed like the metrics (from logits rounded to float16), so that it is never below the final accuracy.
    """

    step: int = Field(ge=0, description="step of that evaluation, the earliest where several are equal")
    evaluations: int = Field(
        ge=1, description=f"number of test evaluations it is the best of, at most {EPOCHS}, as the protocol says"
    )


class Fingerprints(WithoutNulls):
    """What data a cell ran on: SHA-256 of each part of it, as it is known without one image.

    The optional ones are there for cells that have the part; a record holds no nulls.
    """

    data: str = Field(description="of the packed dataset: ids, splits, labels and encoded images")
    labeled: str = Field(description="of the labeled images, with the labels that the method sees")
    unlabeled: str | None = Field(
        default=None, description="of the unlabeled images, without labels; those of a named pool too"
    )
    test: str = Field(description="of the test images, with their labels")
    split_rule: str | None = Field(default=None, description="name of the rule that ranks images for the split")
    folds: str | None = Field(default=None, description="of the subjects of every fold")
    pool: str | None = Field(default=None, description="of the dataset or stream that the named pool comes from")
    boxes: str | None = Field(default=None, description="of the face boxes that a detector has found")
    relabeled: str | None = Field(default=None, description="of the second draw of labeled images")
    validation: str | None = Field(default=None, description="of the labeled images that are held out of training")
    label_noise: str | None = Field(default=None, description="of the declared noise, and of the labels it has changed")
    test_data: str | None = Field(default=None, description="of the packed data of another set that is tested")

    def by_name(self) -> dict[str, str]:
        """Those that are there."""
        return self.model_dump()


class Result(Strict):
    """What the cell determines: equal on each run of it on one machine, bit for bit."""

    class_names: list[str] = Field(
        min_length=2,
        description="the classes, in the order of logits and confusion; those that both sets have where another set "
        "than the trained one is tested",
    )
    metrics: Metrics = Field(description="the scores of the selected model on the test set")
    confusion: list[list[int]] = Field(description="counts on the test set; rows are true classes, columns predicted")
    n_test: int = Field(ge=1, description="number of test images")
    n_labeled: int = Field(
        ge=1, description="number of labeled images that the budget gives, without those held out for validation"
    )
    n_validation: int | None = Field(
        default=None, ge=1, description="labeled images of the budget that the protocol holds out; null for none"
    )
    n_relabeled: int | None = Field(
        default=None, ge=0, description="further images whose label the method saw, beyond the budget; null for none"
    )
    n_unlabeled: int | None = Field(
        ge=0, description="unlabeled images that the method draws from; null where it uses none"
    )
    n_near_duplicates: int | None = Field(
        default=None, ge=0, description="images of a named pool left out since they look like test images; else null"
    )
    n_test_left_out: int | None = Field(
        default=None,
        ge=0,
        description="test images of another set left out since they look like training images; null where the "
        "dataset's own are tested",
    )
    labeled_counts: dict[str, int] = Field(
        description="number of labeled images of each class that was trained, by the labels that the method saw"
    )
    fingerprints: Fingerprints = Field(description="what data the cell ran on")
    predictions_digest: str = Field(pattern=HEX64, description="SHA-256 over test ids, labels and logits")
    history_digest: str = Field(pattern=HEX64, description="SHA-256 over the canonical JSON of the history")
    model_digest: str = Field(
        pattern=HEX64,
        description="SHA-256 of model.safetensors, the file of the selected model, by which it is found anywhere",
    )
    oracle: Oracle | None = Field(
        description="the best test evaluation during training, never the headline; null where another dataset is "
        "tested, which is evaluated once, after training",
    )
    steps: int = Field(ge=0, description="optimizer steps over all stages")
    image_passes: int = Field(ge=0, description="images sent forward through the backbone in training, over all stages")
    forward_images: int | None = Field(
        default=None,
        ge=0,
        description="images sent forward through any backbone by the method's code: net, teacher, further networks and "
        "copies, in steps and between them; null in records before 0.2",
    )
    optimizer_steps: int | None = Field(
        default=None,
        ge=0,
        description="steps of all optimizers, pre-training and the method's own included; null in records before 0.2",
    )
    parameters: int = Field(ge=0, description="number of parameters of the evaluated net")

    def outcome(self) -> Outcome | None:
        """What metrics are computed from; None if the confusion matrix is not one of the record's classes."""
        n, rows = len(self.class_names), self.confusion
        square = len(rows) == n and all(len(row) == n for row in rows)
        counts = [count for row in rows for count in row]
        if not square or min(counts) < 0 or not 0 < sum(counts) <= LARGEST_COUNT:
            return None
        return Outcome(np.array(rows, dtype=np.int64))

    def scores(self) -> dict[str, float | None]:
        """Each metric as recorded; one that is younger than the record from the confusion matrix, if that is enough."""
        return completed(self.metrics, self.outcome())

    @property
    def labels_seen(self) -> int:
        """Images whose label the method saw."""
        return self.n_labeled + (self.n_validation or 0) + (self.n_relabeled or 0)


class Measured(Strict):
    """What was observed while the cell ran; it differs from run to run and is never compared for equality."""

    started_at: str = Field(description="start of the run, ISO 8601 in UTC")
    finished_at: str | None = Field(default=None, description="end of the run, ISO 8601 in UTC")
    wall_seconds: float = Field(default=0.0, ge=0, description="time that the cell took, over all its attempts")
    cpu_seconds: float = Field(default=0.0, ge=0, description="processor time of the process")
    train_seconds: float = Field(default=0.0, ge=0, description="time in training steps, without evaluation and files")
    data_wait_seconds: float = Field(
        default=0.0, ge=0, description="part of the training time that steps waited for images of a stream"
    )
    images_per_second: float = Field(default=0.0, ge=0, description="image passes divided by the training time")
    peak_memory_bytes: int = Field(
        default=0, ge=0, description="largest memory in use, of the device where it has its own"
    )
    threads: int = Field(default=0, ge=0, description="processor threads of the process; 0 if not known")
    processes: int = Field(default=1, ge=1, description="processes that shared every batch")
    device: str = Field(default="", description="the device that trained: cpu, or the name of the GPU")
    executor: str = Field(
        default="", description="name of the executor; 'inline' is never standard; empty in records of 0.1"
    )
    host: str = Field(default="", description="name of the machine; empty unless the person asked for it")
    resumed: int = Field(default=0, ge=0, description="how often the cell was continued from a checkpoint")


class PluginStamp(WithoutNulls):
    """Which code a name stood for."""

    distribution: str = Field(description="the installed distribution that registered the name")
    version: str = Field(description="its version")
    source_hash: str = Field(description="SHA-256 over its Python files")
    title: str = Field(
        default="", max_length=MAX_TITLE, description="the name for people, where it is not the name itself"
    )
    variant_title: str | None = Field(
        default=None,
        max_length=MAX_TITLE,
        description="the name for people of a method's variant, where it has one of its own",
    )


class TuningStamp(Strict):
    """Defaults of a method, head or backbone that were tuned under the protocol; what its distribution says of them."""

    distribution: str = Field(description="the installed distribution that registered it, which owns what is tuned")
    trials: int = Field(ge=1, description="how many settings were tried before these were chosen, as declared")
    source: str = Field(description="where the trials can be read, as declared")
    options: dict[str, JsonValue] = Field(
        description="the tuned options, before variant and overrides; fields of the recipe for a backbone"
    )


class Git(Strict):
    """The state of the repository that the run was started in."""

    commit: str = Field(description="the commit that was checked out")
    dirty: bool = Field(description="whether tracked files differed from it")


class ErrorReport(Strict):
    """Why a cell has no result."""

    type: str = Field(description="class of the exception")
    message: str = Field(description="its text")
    traceback: str = Field(default="", description="the Python traceback")
    step: int | None = Field(default=None, ge=0, description="the step that it happened in")
    term: str | None = Field(default=None, description="the loss term that stopped being finite")

    @property
    def line(self) -> str:
        """The reason on one line."""
        text = self.message.strip().splitlines() or [""]
        place = "" if self.step is None else f" (step {self.step})"
        return f"{self.type}: {text[0]}{place}"


class ParameterGroupFacts(Strict):
    """Parameters that an optimizer treats alike."""

    parameters: int = Field(ge=0, description="how many numbers they are")
    learning_rate: float = Field(description="peak rate, which the schedule multiplies")
    settings: dict[str, JsonValue] = Field(description="the optimizer's other numbers: weight_decay, momentum, betas")


class OptimizerFacts(Strict):
    """What really trained in a stage."""

    optimizer: str = Field(description="class of the optimizer, with its module where it is not torch's")
    schedule: str = Field(description="of the learning rate, after the warm-up")
    warmup: float = Field(description="part of the steps with a linear warm-up")
    groups: list[ParameterGroupFacts] = Field(description="its parameter groups")
    departures: dict[str, JsonValue] = Field(
        description="settings that are not the protocol's: fields, number of groups, name of a factory"
    )
    source: str = Field(description="where the method says these settings are from; empty if it does not")


class RecordConfig(Strict):
    """Every field of the configuration with the value that was used."""

    protocol: dict[str, JsonValue] = Field(description="the protocol's fields, overrides applied")
    method: dict[str, JsonValue] = Field(description="the method's fields, variant and overrides applied")
    head: dict[str, JsonValue] = Field(default={}, description="options of a head that is not the method's own")
    optimizers: dict[str, dict[str, OptimizerFacts]] = Field(
        default={},
        description="what trained, by stage and name of the optimizer (`main` is the stage's own); empty in records "
        "before 0.2",
    )


class Record(Strict):
    """One cell: what was asked, what came out, and what it ran on."""

    schema_version: Literal[1] = Field(default=SCHEMA_VERSION, description="version of this schema")
    status: Status = Field(description="how the run ended; only 'ok' has a result")
    cell: Cell = Field(description="what was run")
    cell_id: str = Field(pattern=HEX64, description="SHA-256 of the canonical JSON of the cell")
    standard: bool = Field(description="whether the protocol, which is no draft, and the method ran without overrides")
    config: RecordConfig = Field(description="the resolved configuration")
    result: Result | None = Field(default=None, description="what the cell determines; null unless the status is 'ok'")
    measured: Measured = Field(description="what was observed while it ran")
    plugin: PluginStamp = Field(description="the code of the method")
    plugins: dict[str, PluginStamp] = Field(
        default_factory=dict, description="the code of the dataset, head, backbone and others, by kind"
    )
    tunings: dict[str, TuningStamp] = Field(
        default_factory=dict, description="declared tunings of 'method', 'head' and 'backbone'"
    )
    engine_version: int = Field(ge=0, description="version of the training engine; results of two versions may differ")
    environment: dict[str, str] = Field(description="versions and hardware: python, torch, numpy, platform, device ...")
    git: Git | None = Field(default=None, description="the repository's state; null outside a repository")
    selection: str = Field(default=SELECTION, description="which model is evaluated; never chosen on the test set")
    headline: Headline = Field(default="accuracy", description="the metric that tables are ordered by, the protocol's")
    error: ErrorReport | None = Field(default=None, description="why there is no result; null when the status is 'ok'")

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
        """Read the bytes of a record that nobody vouches for; every defect is a VerificationError."""
        value = parse_json(data)
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise VerificationError(f"not a record: {first_problem(error)}") from None


def pretty_json(value: Any) -> bytes:
    """JSON for files that people also read: sorted keys, one space of indent, full precision, no NaN."""
    return (json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")


def parse_json(data: bytes, limit: int = MAX_RECORD_BYTES) -> Any:
    """JSON from an untrusted file: bounded in size and depth, no key given twice, and of a canonical form.

    NaN, infinite numbers and halves of characters, alone, have none.
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
        raise VerificationError("half a character in a text") from None
    except ValueError as error:
        raise VerificationError(f"a number is out of range: {error}") from None
    return value


def record_schema() -> bytes:
    """The JSON Schema of a record, as committed beside this file and printed by `ferbench verify --print-schema`."""
    schema = Record.model_json_schema()
    return pretty_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


def first_problem(error: ValidationError) -> str:
    """The first complaint of pydantic as `result.metrics.accuracy: Input should be ...`, and how many follow."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    where = ".".join(str(part) for part in problems[0]["loc"])
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{where + ': ' if where else ''}{problems[0]['msg']}{more}"


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) != len(pairs):
        raise ValueError("a key is given twice in one object")
    return keys


def _whole_number(text: str) -> int:
    value = int(text)
    if abs(value) > 2**53:  # the limit of RFC 7493: beyond it programs read different numbers, or none
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
