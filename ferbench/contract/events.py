"""What happens while a cell runs: what executors pass on, displays show and plugins' hooks hear of."""

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Annotated, Literal

from pydantic import (
    Discriminator,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    model_serializer,
)

from ferbench.contract.strict import Strict


class EpochRow(Strict):
    """One epoch of a run, a row of its history. What was not measured is not in its JSON."""

    epoch: int = Field(ge=1, description="number of the epoch over all stages, from 1")
    stage: str = Field(description="name of the stage that it belongs to")
    step: int = Field(ge=0, description="optimizer steps of all stages at its end")
    learning_rate: float = Field(description="of its last step")
    loss: float = Field(description="mean of the total over its steps")
    terms: dict[str, float] = Field(description="means of the method's loss terms by name")
    head: dict[str, JsonValue] | None = Field(default=None, description="means of what the head shows, by name")
    mask_rate: float | None = Field(default=None, description="share of unlabeled images whose pseudo-label was used")
    mask_rate_per_class: list[float | None] | None = Field(
        default=None, description="the same by pseudo-label; null where a class was never one"
    )
    pseudo_label_precision: float | None = Field(
        default=None, description="share of used pseudo-labels that are right; null where no truth is known"
    )
    pseudo_label_precision_per_class: list[float | None] | None = Field(default=None, description="by pseudo-label")
    pseudo_label_accuracy: float | None = Field(
        default=None, description="share of all pseudo-labels that are right, used or not"
    )
    method: dict[str, JsonValue] = Field(default={}, description="what the method's `end_epoch` returned, by name")
    evaluation: dict[str, float] | None = Field(
        default=None, description="metrics on the test set where the epoch ends with an evaluation; for the oracle only"
    )

    @model_serializer(mode="wrap")
    def _what_was_set(self, serialize: SerializerFunctionWrapHandler) -> dict[str, JsonValue]:
        # A run without unlabeled images has no mask rate, while one whose truth is unknown has a precision of null.
        return {name: value for name, value in serialize(self).items() if name in self.model_fields_set}

    def to_json(self) -> dict[str, JsonValue]:
        """The row as JSON values."""
        return self.model_dump(mode="json")


class Started(Strict):
    """A cell has a process."""

    kind: Literal["started"] = "started"


class Step(Strict):
    """Steps were taken; not told of each one."""

    kind: Literal["step"] = "step"
    step: int
    steps: int
    """Of the whole run."""


class Epoch(Strict):
    """An epoch has ended."""

    kind: Literal["epoch"] = "epoch"
    row: EpochRow


class Notice(Strict):
    """Something that a person should know."""

    kind: Literal["notice"] = "notice"
    text: str


class Finished(Strict):
    """The end of a cell, with a record or without."""

    kind: Literal["finished"] = "finished"
    status: str
    """`ok`, or what the record or the error says: `failed`, `diverged`, `timeout`, `interrupted`."""
    message: str = ""
    metrics: dict[str, float] | None = None
    """The scores of the record, by name; None without a result."""
    wall_seconds: float = 0.0


Event = Started | Step | Epoch | Notice | Finished

_EVENTS: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Discriminator("kind")])


def event_line(event: Event) -> bytes:
    """An event as one line of JSON, without the line break."""
    return _EVENTS.dump_json(event)


def read_event(line: bytes) -> Event:
    """The inverse of `event_line`; raises ValueError for anything else."""
    return _EVENTS.validate_json(line)


def read_events(file: IO[bytes]) -> Iterator[Event]:
    """The events of a pipe until it ends, or those that a growing file has now; call it again for those that follow.

    `file` is open for reading, in binary mode. A line that is not whole yet is left to the next call, and lines that
    are no events are passed over.
    """
    while line := file.readline():
        if not line.endswith(b"\n") and file.seekable():
            file.seek(-len(line), os.SEEK_CUR)
            return
        with suppress(ValueError):
            yield read_event(line)
