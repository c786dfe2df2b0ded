"""The clocks of a run. They outlive its processes, since the checkpoint holds the times."""

import time

from ferbench.data.load.batches import Batches
from ferbench.training.run import RunProgress

TICK_SECONDS = 0.5


class Stopwatch:
    """Counts the seconds of a run into its progress. `began` is the time when the process started."""

    def __init__(self, progress: RunProgress, began: float | None = None) -> None:
        self._progress = progress
        self._ticked = self._started = time.monotonic()
        self._counted_until = self._ticked if began is None else began

    def start(self) -> None:
        """Say that training steps begin."""
        self._started = time.monotonic()

    def stop(self, batches: Batches) -> None:
        """Say that training steps end for now. Part of their time was spent waiting for images."""
        self._progress.train_seconds += time.monotonic() - self._started
        self._progress.data_wait_seconds += batches.take_waited()
        self.start()

    def count_wall_time(self) -> None:
        """Add the time since the last count to the run's wall time."""
        now = time.monotonic()
        self._progress.wall_seconds += now - self._counted_until
        self._counted_until = now

    def ticks(self) -> bool:
        """Whether it is time to report a step again."""
        now = time.monotonic()
        if now - self._ticked < TICK_SECONDS:
            return False
        self._ticked = now
        return True
