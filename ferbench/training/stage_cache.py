"""Stages that many cells share, such as pre-training: computed once per content key, locked across processes."""

from collections.abc import Callable, Mapping
from pathlib import Path

import filelock

from ferbench.contract.method import Stage
from ferbench.errors import FerbenchError
from ferbench.records.cell import digest
from ferbench.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint

PATIENCE_SECONDS = 1.0


class StageCache:
    """Keeps what finished stages that declare `cache=True` or `pretraining=True` have left.

    `content` is everything that determines a stage beside its own declaration: the code of the method and its
    options, the images that it sees, initial weights, recipe, precision, device, seed and engine version. `shared`
    gives the same of a pre-training stage, which depends on neither labels nor seed nor on most options.
    """

    def __init__(
        self,
        folder: Path,
        content: Mapping[str, object],
        shared: Callable[[Stage], Mapping[str, object]] | None = None,
    ) -> None:
        self.folder, self.content, self.shared = folder, content, shared
        self._lock: filelock.BaseFileLock | None = None

    def restore(self, stage: Stage, stop: Callable[[], FerbenchError | None], *, begun: bool) -> Checkpoint | None:
        """What another cell has left of the stage; else None, and the stage is locked until `keep`.

        While another process trains the stage this waits, and raises what `stop` returns.
        """
        path = self._path(stage)
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path.with_suffix(".lock"))
        while True:
            try:
                lock.acquire(timeout=PATIENCE_SECONDS)
                break
            except filelock.Timeout:
                if (reason := stop()) is not None:
                    raise reason from None
        if path.is_file() and not begun:
            lock.release()
            return read_checkpoint(path)
        self._lock = lock
        return None

    def read(self, stage: Stage) -> Checkpoint:
        """What is left of a stage that another process has found."""
        return read_checkpoint(self._path(stage))

    def keep(self, stage: Stage, checkpoint: Checkpoint) -> None:
        """Leave the stage's result for other cells."""
        write_checkpoint(self._path(stage), checkpoint)
        self.release()

    def release(self) -> None:
        """Let others train the stage that this one has locked, if any."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _path(self, stage: Stage) -> Path:
        views = {
            role: {name: spec.kind for name, spec in (declared or {}).items()}
            for role, declared in (("labeled", stage.views.labeled), ("unlabeled", stage.views.unlabeled))
        }
        declaration = [stage.name, stage.data, stage.sampler, stage.share, dict(stage.optimizer or {}), views]
        content = self.shared(stage) if stage.pretraining and self.shared else self.content
        return self.folder / f"{stage.name}-{digest([declaration, dict(content)])[:16]}.safetensors"
