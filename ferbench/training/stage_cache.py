"""Stages that many cells share, such as pre-training: computed once per content key, locked across processes."""

from collections.abc import Mapping
from pathlib import Path

import filelock
from torch import nn

from ferbench.contract.method import Stage
from ferbench.records.cell import digest
from ferbench.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint


class StageCache:
    """Keeps the nets of finished stages that declare `cache=True`.

    `content` is everything that determines a stage beside its own declaration: data and split fingerprints that it
    sees, initial weights, recipe, method options, seed and engine version.
    """

    def __init__(self, folder: Path, content: Mapping[str, object]) -> None:
        self.folder, self.content = folder, content
        self._lock: filelock.BaseFileLock | None = None

    def restore(self, stage: Stage, step: int, modules: Mapping[str, nn.Module]) -> bool:
        """Load the stage's result if another cell has left it; else hold the lock until `keep`."""
        if not stage.cache:
            return False
        path = self._path(stage)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = filelock.FileLock(path.with_suffix(".lock"))
        self._lock.acquire()
        if step > 0 or not path.is_file():
            return False
        saved = read_checkpoint(path)
        for name, module in modules.items():
            module.load_state_dict(saved.get(name))
        self._release()
        return True

    def keep(self, stage: Stage, modules: Mapping[str, nn.Module]) -> None:
        """Leave the stage's result for other cells."""
        if not stage.cache:
            return
        checkpoint = Checkpoint(state={"stage": stage.name, "content": dict(self.content)})
        for name, module in modules.items():
            checkpoint.put(name, module.state_dict())
        write_checkpoint(self._path(stage), checkpoint)
        self._release()

    def _path(self, stage: Stage) -> Path:
        return (
            self.folder
            / f"{stage.name}-{digest([stage.name, stage.data, stage.sampler, dict(self.content)])[:16]}.safetensors"
        )

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None
