"""The events of a running cell: executors pass them on, displays show them, and plugins' hooks receive them."""

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
    """One epoch of a run, a row of its history. Its JSON omits values that were not measured."""

    epoch: int = Field(ge=1, description="number of the epoch over all stages, from 1")
    stage: str = Field(description="name of the stage that it belongs to")
    step: int = Field(ge=0, description="number of optimizer steps of all stages at its end")
    learning_rate: float = Field(description="learning rate of its last step")
    loss: float = Field(description="mean of the total loss over its steps")
    terms: dict[str, float] = Field(description="means of the method's loss terms, by name")
    head: dict[str, JsonValue] | None = Field(default=None, description="means of the head's `extras`, by name")
    mask_rate: float | None = Field(default=None, description="share of unlabeled images whose pseudo-label was used")
    mask_rate_per_class: list[float | None] | None = Field(
        default=None, description="mask rate by pseudo-label; null if no image had this pseudo-label"
    )
    pseudo_label_precision: float | None = Field(
        default=None, description="share of used pseudo-labels that are correct; null if no true labels are known"
    )
    pseudo_label_precision_per_class: list[float | None] | None = Field(
        default=None, description="the same share for each pseudo-label"
    )
    pseudo_label_accuracy: float | None = Field(
        default=None, description="share of all pseudo-labels that are correct, used or not"
    )
    method: dict[str, JsonValue] = Field(default={}, description="values returned by the method's `end_epoch`, by name")
    evaluation: dict[str, float] | None = Field(
        default=None, description="metrics on the test set if the epoch ends with an evaluation; for the oracle only"
    )

    @model_serializer(mode="wrap")
    def _what_was_set(self, serialize: SerializerFunctionWrapHandler) -> dict[str, JsonValue]:
        # A run without unlabeled images omits the mask rate; a run with unknown true labels has a null precision.
        return {name: value for name, value in serialize(self).items() if name in self.model_fields_set}

    def to_json(self) -> dict[str, JsonValue]:
        """Return the row as JSON values."""
        return self.model_dump(mode="json")


class Started(Strict):
    """A process has started to work on a cell; the log of the cell adds the configuration of the run."""

    kind: Literal["started"] = Field("started", description="which event it is")
    config: dict[str, JsonValue] | None = Field(None, description="configuration of the run; only in the cell's log")

    @model_serializer(mode="wrap")
    def _without_null(self, serialize: SerializerFunctionWrapHandler) -> dict[str, JsonValue]:
        return {name: value for name, value in serialize(self).items() if value is not None}


class Step(Strict):
    """Progress in optimizer steps; not sent for every step."""

    kind: Literal["step"] = Field("step", description="which event it is")
    step: int = Field(description="number of steps taken")
    steps: int = Field(description="number of steps of the whole run")


class Epoch(Strict):
    """An epoch has ended."""

    kind: Literal["epoch"] = Field("epoch", description="which event it is")
    row: EpochRow = Field(description="its row of the history")


class Notice(Strict):
    """A message for the user."""

    kind: Literal["notice"] = Field("notice", description="which event it is")
    text: str = Field(description="what it is, in one line")


class Finished(Strict):
    """A cell has ended, with or without a record."""

    kind: Literal["finished"] = Field("finished", description="which event it is")
    status: str = Field(
        description="`ok`, or the status of the record or error: `failed`, `diverged`, `timeout`, `interrupted`"
    )
    message: str = Field("", description="why there is no result")
    metrics: dict[str, float] | None = Field(None, description="scores of the record, by name; None without a result")
    wall_seconds: float = Field(0.0, description="time that the cell took, in seconds")


Event = Started | Step | Epoch | Notice | Finished

_EVENTS: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Discriminator("kind")])


def event_line(event: Event) -> bytes:
    """Return an event as one line of JSON, without the line break."""
    return _EVENTS.dump_json(event)


def read_event(line: bytes) -> Event:
    """Parse the output of `event_line`; raises ValueError for anything else."""
    return _EVENTS.validate_json(line)


def read_events(file: IO[bytes]) -> Iterator[Event]:
    """Yield the events of a pipe until it ends, or those now in a growing file; call it again for later ones.

    `file` is open for reading in binary mode. An incomplete last line is left to the next call; lines that are not
    events are skipped.
    """
    while line := file.readline():
        if not line.endswith(b"\n") and file.seekable():
            file.seek(-len(line), os.SEEK_CUR)
            return
        with suppress(ValueError):
            yield read_event(line)
