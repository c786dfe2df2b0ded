"""The plugin contract: every hook that a distribution can implement, on one page.

A plugin is a module named by an entry point of group `ferbench`. It imports nothing heavy: what it registers are
strings, `"package.module:Class"`, which are imported when they are used. Every `register` call takes

    register(name, target, *, summary, paper="", title="", titles={}, example="", api=1)

`name` in lower case with hyphens; `summary` one line for `ferbench list`; `paper` a citation or address; `title` what
people read in tables and reports, where the name would mislead; `titles` the same for variants of a method, by variant;
`example` the full name of a backbone that stands for a family which has none of its own (`timm/resnet18`), or that
weights are for; `api` the version of the contract the target is written for.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from ferbench.contract.events import EpochRow
    from ferbench.records.cell import Cell
    from ferbench.records.schema import Record

API_VERSION = 1
MAX_TITLE = 80
"""Characters of a title: tables and records have room for no more."""

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
    """Called once at start-up. Targets are functions `(backbone: str) -> Path`: the file for a backbone, by its name.

    `--init NAME` begins with them; the file's SHA-256 is in the cell. A target raises UsageError for a backbone that it
    has no file for. `example` names one that it has.

    Example: `register("mine-faces", "ferbench_mine.weights:file", summary="...", example="small-resnet/16")`
    """


@hookspec
def ferbench_register_views(register: Register) -> None:
    """Called once at start-up. Targets are functions `(recipe, **options) -> View` of `ferbench.contract.batch`.

    Example: `register("simclr-colour", "ferbench_mine.views:colour", summary="Colour jitter and grey, as SimCLR")`
    """


@hookspec
def ferbench_register_protocols(register: Register) -> None:
    """Called once at start-up. Targets are instances of `ferbench.contract.protocol.Protocol`.

    Example: `register("ratio-v1", "ferbench.builtin.protocols:RATIO_V1", summary="Label ratios 1 to 100 %")`
    """


@hookspec
def ferbench_register_tunings(register: Register) -> None:
    """Called once at start-up, with another `register` than the rest: it takes options of what is registered here.

    Options go to one `method`, `head` or `backbone` under one protocol and family of datasets; with `variant` to that
    variant of the method alone. `trials` is how many settings were tried before these were chosen, and `source` says
    where the trials can be read.

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
def ferbench_run_started(cell: "Cell", folder: Path) -> None:
    """Called in the process that trains before the first step of a cell (also when it resumes); for loggers.

    Example: `writer = SummaryWriter(folder / "tensorboard")`
    """


@hookspec
def ferbench_epoch_finished(cell: "Cell", epoch: "EpochRow") -> None:
    """Called in the process that trains after each epoch with its row of the history.

    The row has nothing that is made from hidden labels: precision and test scores are known once the run is over.

    Example: `writer.add_scalar("loss", epoch.loss, epoch.step)`
    """


@hookspec
def ferbench_run_finished(cell: "Cell", record: "Record") -> None:
    """Called in the process that `ferbench run` started in, once the record of a cell is on disk.

    Example: `print(record.status, record.result and record.result.metrics.accuracy)`
    """
