"""What holds for every test here and in the plugins: settings of its own, its lane, and how much it may cost."""

import os

# Before torch is imported anywhere: small tensors on several threads spin more than they compute.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import builtins
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

LANES = ("process", "slow", "storm", "fuzz", "gpu")
CPU_SECONDS = 3.0
"""That a test without a mark may use in this process, without imports, where only such tests run: in `make check`."""


@pytest.fixture(autouse=True, scope="session")
def own_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No FERBENCH_ variable from outside, and a cache that is shared by the tests of this session only."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith("FERBENCH_"):
                patch.delenv(name)
        cache = tmp_path_factory.mktemp("cache")
        patch.setenv("FERBENCH_CACHE", str(cache))
        yield cache


@pytest.fixture(autouse=True)
def cells_run_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ferbench run` runs its cells in this process, unless the test is about processes."""
    if not any(request.node.get_closest_marker(name) for name in ("process", "storm")):
        monkeypatch.setenv("FERBENCH_RUN_EXECUTOR", "inline")


@pytest.fixture(autouse=True, scope="session")
def heeds_ctrl_c() -> None:
    """A shell's background job inherits that SIGINT is ignored, and would pass that on to the commands under test."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


class _ImportClock:
    """The CPU time of imports: who imports torch first would pay for all."""

    def __init__(self) -> None:
        self.seconds, self._depth, self._import = 0.0, 0, builtins.__import__

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self._depth += 1
        began = time.process_time()
        try:
            return self._import(*arguments, **options)
        finally:
            self._depth -= 1
            if not self._depth:
                self.seconds += time.process_time() - began


class _ProcessWatch:
    """Whether Python processes were started: by subprocess, or forked by a pool."""

    def __init__(self) -> None:
        self.started = False
        sys.addaudithook(self._hear)  # for good: there is no way to remove one

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.fork" or (event == "subprocess.Popen" and "python" in str(arguments[0])):
            self.started = True


_processes = _ProcessWatch()


def _has_lane(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) for name in LANES)


def _only_quick_tests(config: pytest.Config) -> bool:
    """Whether slow tests are left out. With them a limit on the rest gains nothing, and a busy machine breaks it."""
    return "not slow" in str(config.getoption("markexpr"))


def _fail_if_processes_started() -> None:
    if _processes.started:
        pytest.fail("starts processes: use the inline executor, or mark it process", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Fail a quick test whose fixtures start processes; their time is not counted, since several tests share it."""
    _processes.started = False
    result = yield
    if not _has_lane(item):
        _fail_if_processes_started()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail a test that is too dear for the lane that it stands in."""
    if _has_lane(item):
        return (yield)
    with pytest.MonkeyPatch.context() as patch:
        imports, _processes.started = _ImportClock(), False
        patch.setattr(builtins, "__import__", imports)
        began = time.process_time()
        result = yield
        used = time.process_time() - began - imports.seconds
    _fail_if_processes_started()
    if used > CPU_SECONDS and _only_quick_tests(item.config):
        pytest.fail(f"{used:.1f} s of CPU: make it cheaper, or mark it {' or '.join(LANES[:3])}", pytrace=False)
    return result
