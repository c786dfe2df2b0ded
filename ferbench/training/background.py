"""Work that training does not wait for: checkpoint files are written while the next steps run."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType


class Background:
    """Calls functions one after another in a thread. If one raises, the next call here, or the end, raises its error.

    At the end of the block all functions are done. If the block itself fails, its own error is the one that is raised.
    """

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._next: Callable[[], None] | None = None
        self._pending: Future[None] | None = None

    def call(self, function: Callable[[], None]) -> None:
        """Have a function called in the thread. This waits for the function before it: at most one holds memory."""
        self.wait()
        if self._thread is None:  # created late, since a process must not be forked once it has threads
            self._thread = ThreadPoolExecutor(1, "ferbench-background")
        self._next = function
        self._pending = self._thread.submit(self._run)

    def _run(self) -> None:
        # Taken from here, since the thread keeps what it was given for a moment after `wait` returns, with its tensors.
        function, self._next = self._next, None
        assert function is not None
        function()

    def wait(self) -> None:
        """Return when nothing is left to do."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def __enter__(self) -> "Background":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown()
        if error is None:
            self.wait()
        self._pending = None
