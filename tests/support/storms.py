"""Storms: whatever belongs to a sweep is killed at random while it runs, and afterwards nothing is lost or left.

How large one is two variables of the environment say: FERBENCH_STORM_CELLS and FERBENCH_STORM_KILLS. A third,
FERBENCH_STORM_CALM, names a folder for what is not disturbed, so that several storms share it.
"""

import itertools
import json
import os
import random
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from tests.support.pattern_set import write_pattern_set
from tests.support.sweeps import until

CELLS = int(os.environ.get("FERBENCH_STORM_CELLS", "6"))
KILLS = int(os.environ.get("FERBENCH_STORM_KILLS", "7"))
CALM = os.environ.get("FERBENCH_STORM_CALM")
MARK = "FERBENCH_STORM"
"""In the environment of the command, and so of all that it starts."""
TINY = (
    "run", "--method", "fixmatch", "--ratio", "0.5", "--device", "cpu", "--backbone", "small-resnet/4",
    "--set", "steps=8", "--set", "evaluations=1", "--set", "image_size=16", "--set", "labeled_batch=4",
    "--set", "unlabeled_batch=4", "--seed", f"0-{CELLS - 1}",
)  # fmt: skip
LEFT_BEHIND = (".lease*", "running.json", "in-progress*", "checkpoint*", "*.tmp")
MOST_STARTS = 10 + KILLS

Kill = Callable[[], bool]
"""Kills one victim; False where there is none now."""


class Storm:
    """A sweep of tiny cells of one executor, in a folder of its own."""

    def __init__(self, folder: Path, *more: str) -> None:
        """`more` are the words of the command beside those that say what the cells are."""
        dataset = write_pattern_set(folder / "patterns", counts=dict.fromkeys(("neutral", "happiness", "sadness"), 6))
        self.runs, self.moments = folder / "runs", random.Random(0)
        self.command = (*TINY, "--dataset", str(dataset), "--runs", str(self.runs), *more)
        self.mark = secrets.token_hex(8)
        self.printed = folder / "printed"
        self.process = self.start()
        self.starts = 1
        self.kept: dict[Path, bytes] = {}
        """Records with a result as they were first seen."""

    def start(self) -> "subprocess.Popen[bytes]":
        """Start the command, for the first time or again."""
        with self.printed.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "ferbench", *self.command],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, MARK: self.mark},
            )  # fmt: skip

    def rage(self, kills: Mapping[str, Kill], pattern: Sequence[str]) -> Counter[str]:
        """Kill as the pattern says, again and again, over the whole sweep; returns how many of each were killed."""
        killed: Counter[str] = Counter()
        victims = itertools.cycle(pattern)
        for number in range(KILLS):
            victim = next(victims)
            # Until nine tenths of the cells are done, so that there is somebody left to be killed.
            self._until_done(0.9 * CELLS * number / KILLS)
            time.sleep(self.moments.uniform(0, 1))
            while not (self.kill_command if victim == "command" else kills[victim])():
                self._start_again()
                time.sleep(0.05)
            killed[victim] += 1
        self._until_done(CELLS)
        return killed

    def kill_command(self) -> bool:
        """Kill the command itself, which is begun again."""
        if self.process.poll() is not None:
            return False
        self.process.kill()
        self.process.wait()
        self._start_again()
        return True

    def kill_one(self, found: Sequence[psutil.Process]) -> bool:
        """Kill one of these processes."""
        if not found:
            return False
        try:
            self.moments.choice(found).kill()
        except psutil.NoSuchProcess:
            return False
        return True

    def processes(self) -> list[psutil.Process]:
        """All that belong to the sweep, as far as the system tells."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def servers(self) -> list[psutil.Process]:
        """The fork servers."""
        return [each for each in self.processes() if _is_of_server(each) and not _is_of_server(parent_of(each))]

    def forks(self) -> list[psutil.Process]:
        """Workers and trainers."""
        return [each for each in self.processes() if _is_of_server(each) and _is_of_server(parent_of(each))]

    def end(self) -> None:
        """Wait for the command, and look for what a storm must not leave behind."""
        while self.process.wait(900) != 0:
            self._begin_again()
        found = self.results()
        assert len(found) == CELLS, "a cell is lost, or has two records"
        assert {path: path.read_bytes() for path in self.kept} == self.kept, "a record was replaced"
        left = [path for pattern in LEFT_BEHIND for path in self.runs.rglob(pattern)]
        assert not left, left
        until(lambda: not self.processes())

    def results(self) -> dict[str, str]:
        """The `result` of each record, by its place."""
        records = {path: json.loads(path.read_bytes()) for path in self.runs.rglob("record.json")}
        return {str(path.relative_to(self.runs)): json.dumps(each["result"]) for path, each in records.items()}

    def _start_again(self) -> None:
        if self.process.poll() is not None and len(self._done()) < CELLS:
            self._begin_again()

    def _begin_again(self) -> None:
        assert self.starts < MOST_STARTS, self.printed.read_text()[-4000:]
        self.process, self.starts = self.start(), self.starts + 1

    def _until_done(self, cells: float) -> None:
        """Wait until so many cells have a result; the command is begun again where it ends before."""
        progress, told = -1, time.monotonic()
        while (done := len(self._done())) < cells:
            if done > progress:
                progress, told = done, time.monotonic()
            assert time.monotonic() - told < 900, f"no cell has ended for long: {self.printed.read_text()[-4000:]}"
            self._start_again()
            time.sleep(0.2)

    def _done(self) -> dict[Path, bytes]:
        for path in set(self.runs.rglob("record.json")) - self.kept.keys():
            content = path.read_bytes()
            if json.loads(content)["status"] == "ok":
                self.kept[path] = content
        return self.kept


def calm(folder: Path) -> dict[str, str]:
    """The results of the same cells that this machine's own executor runs undisturbed."""
    storm = Storm(Path(CALM) if CALM else folder, "--jobs", "3")
    assert storm.process.wait() == 0, storm.printed.read_text()
    return storm.results()


def weather(storm: Storm, kills: Mapping[str, Kill], pattern: Sequence[str], undisturbed: Mapping[str, str]) -> None:
    """A storm from its beginning to what must hold in the end."""
    began = time.monotonic()
    killed = storm.rage(kills, pattern)
    storm.end()
    found = storm.results()
    assert found == {place: undisturbed[place] for place in found}
    figures = ", ".join(f"{count} {name}" for name, count in killed.items())
    print(
        f"\n{CELLS} cells, {killed.total()} kills ({figures}), the command begun {storm.starts} times, "
        f"{time.monotonic() - began:.0f} s: none lost, none twice, all results equal, nothing left"
    )


def _is_of_server(process: psutil.Process | None) -> bool:
    try:
        return process is not None and "ferbench.execution.fork_server" in process.cmdline()
    except psutil.Error:
        return False


def parent_of(process: psutil.Process) -> psutil.Process | None:
    """The process that has started it, or has taken it over; None for one that is gone."""
    try:
        return process.parent()
    except psutil.Error:
        return None
