"""The plugin contract: every hook that a distribution can implement, on one page.

A plugin is a module named by an entry point of the group `ferbench`. It must not import anything heavy: it registers
strings, `"package.module:Class"`, which are imported only when they are used. Every `register` call has the form

    register(name, target, *, summary, paper="", title="", titles={}, example="", api=1)

`name` is in lower case with hyphens. `summary` is one line for `ferbench list`. `paper` is a citation or address.
`title` is the name in tables and reports, if `name` would mislead; `titles` has the same for variants of a method, by
variant. `example` is the full name of a backbone: for a family of backbones, one that can stand for it
(`timm/resnet18`); for weights, one that they fit. `api` is the version of the contract for which the target is written.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from ferbench.contract.events import EpochRow, Step
    from ferbench.records.cell import Cell
    from ferbench.records.schema import Record, RecordConfig

API_VERSION = 1
MAX_TITLE = 80
"""Longest title in characters, so that tables and records have room for it."""

hookspec = pluggy.HookspecMarker("ferbench")
hookimpl = pluggy.HookimplMarker("ferbench")

Register = Callable[..., None]


@hookspec
def ferbench_register_methods(register: Register) -> None:
    """Called once at start-up. Targets subclass `ferbench.contract.method.Method`.

    Example: `register("mine", "ferbench_mine.method:Mine", summary="My method", paper="arXiv 2600.00001")`
    """


@hookspec
def ferbench_register_heads(register: Register) -> None:
    """Called once at start-up. Targets subclass `ferbench.contract.head.Head`.

    Example: `register("linear", "ferbench.contract.head:LinearHead", summary="One linear layer")`
    """


@hookspec
def ferbench_register_datasets(register: Register) -> None:
    """Called once at start-up. Targets subclass `ferbench.contract.dataset.Dataset`.

    Example: `register("synthfaces", "ferbench_synthfaces.dataset:SynthFaces", summary="Rendered faces")`
    """


@hookspec
def ferbench_register_backbones(register: Register) -> None:
    """Called once at start-up. Targets are functions `(request: BackboneRequest) -> Backbone`.

    Example: `register("small-resnet", "ferbench.builtin.backbones.small_resnet:build", summary="Residual net")`
    """


@hookspec
def ferbench_register_weights(register: Register) -> None:
    """Called once at start-up. Targets are functions `(backbone: str) -> Path`: from a backbone's name to its file.

    `--init NAME` uses them as initial weights; the file's SHA-256 is in the cell. A target raises UsageError for a
    backbone for which it has no file. `example` names a backbone for which it has one.

    Example: `register("mine-faces", "ferbench_mine.weights:file", summary="...", example="small-resnet/16")`
    """


@hookspec
def ferbench_register_views(register: Register) -> None:
    """Called once at start-up. Targets are functions `(recipe, **options) -> View`; see `ferbench.contract.batch`.

    Example: `register("simclr-colour", "ferbench_mine.views:colour", summary="Colour jitter and grey, as SimCLR")`
    """


@hookspec
def ferbench_register_protocols(register: Register) -> None:
    """Called once at start-up. Targets are instances of `ferbench.contract.protocol.Protocol`.

    Example: `register("ratio-v1", "ferbench.builtin.protocols:RATIO_V1", summary="Label ratios 1 to 100 %")`
    """


@hookspec
def ferbench_register_tunings(register: Register) -> None:
    """Called once at start-up, with a different `register`: it takes tuned options of parts that the plugin registers.

    The options apply to one `method`, `head` or `backbone` under one protocol and family of datasets; with `variant`,
    only to that variant of the method. `trials` is the number of settings that were tried before these were chosen, and
    `source` says where the trials can be read.

    Example: `register("ratio-v1", "synthfaces", {"threshold": 0.8}, method="mine", trials=5, source="docs/tuning.md")`
    """


@hookspec
def ferbench_register_executors(register: Register) -> None:
    """Called once at start-up. Targets subclass `ferbench.contract.executor.Executor`.

    Example: `register("local", "ferbench.execution.local:LocalExecutor", summary="Processes of this machine")`
    """


@hookspec
def ferbench_register_commands(register: Register) -> None:
    """Called once at start-up. Targets are click commands, added to `ferbench` under the registered name.

    Example: `register("synthfaces", "ferbench_synthfaces.command:synthfaces", summary="Render face sets")`
    """


@hookspec
def ferbench_run_started(cell: "Cell", folder: Path, config: "RecordConfig") -> None:
    """Called in the training process, before the first step of a cell (also when it resumes); for loggers.

    `config` is the resolved configuration: every field of the protocol and every option with the value that is used.

    Example: `writer = SummaryWriter(folder / "tensorboard")`
    """


@hookspec
def ferbench_step_taken(cell: "Cell", step: "Step") -> None:
    """Called in the training process when a stage begins or continues, then after a step, at most twice a second.

    Example: `writer.add_scalar("done", step.step / step.steps, step.step)`
    """


@hookspec
def ferbench_epoch_finished(cell: "Cell", epoch: "EpochRow") -> None:
    """Called in the training process after each epoch, with its row of the history.

    The row contains nothing that depends on hidden labels: precision and test scores are known only after the run.

    Example: `writer.add_scalar("loss", epoch.loss, epoch.step)`
    """


@hookspec
def ferbench_run_interrupted(cell: "Cell", reason: str) -> None:
    """Called in the training process when a cell is stopped from outside, after it is saved; it may continue later.

    Reasons are Ctrl-C, a scheduler's signal, `ferbench cancel`, a timeout, or another process that took over the cell.

    Example: `writer.close()`
    """


@hookspec
def ferbench_run_finished(cell: "Cell", folder: Path, record: "Record") -> None:
    """Called in the main process of `ferbench run`, after the record of a cell has been written into `folder`.

    Example: `print(record.status, record.result and record.result.metrics.accuracy)`
    """
