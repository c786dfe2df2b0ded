"""A lease has one owner, whatever the file system's locks do: nothing here calls flock."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ferbench.errors import UsageError, VerificationError
from ferbench.records import lease
from ferbench.records.lease import Lease, LeaseHeldError, LeaseLostError, Owner, is_held
from ferbench.records.store import RunStore
from tests.unit.records.factory import make_cell, make_history, make_predictions, make_record, write_record

OTHER = {"machine": "another", "host": "node7", "pid": 1}


def left_by(path: Path, age: float, number: int = 1, **fields: object) -> Path:
    """A lease that a process of another machine made, or showed a sign of life in, so many seconds ago."""
    file = path.with_name(f"{path.name}.{number}")
    file.write_text(Owner.this_process().model_copy(update={**OTHER, **fields}).model_dump_json())
    then = time.time() - age
    os.utime(file, (then, then))
    return file


def leases(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def no_links(*_: object) -> None:
    raise PermissionError(1, "Operation not permitted")


def test_one_owner_at_a_time_and_nothing_left(tmp_path):
    first, second = Lease(tmp_path / ".lease"), Lease(tmp_path / ".lease")
    with first:
        assert is_held(tmp_path / ".lease")
        with pytest.raises(LeaseHeldError, match=f"process {os.getpid()} on "):
            second.acquire()
        first.check()
    assert not is_held(tmp_path / ".lease")
    with second:
        second.check()
        with pytest.raises(LeaseLostError):
            first.check()
    assert leases(tmp_path) == []


def test_another_machine_is_waited_for_while_it_shows_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setenv("FERBENCH_LEASE_SECONDS", "100")
    left_by(tmp_path / ".lease", age=90)
    assert is_held(tmp_path / ".lease")
    with pytest.raises(LeaseHeldError, match="process 1 on node7"), Lease(tmp_path / ".lease"):
        pass
    left_by(tmp_path / ".lease", age=110)
    assert not is_held(tmp_path / ".lease")
    with Lease(tmp_path / ".lease") as mine:
        mine.check()
        assert leases(tmp_path) == [".lease.2"]


@pytest.mark.process
def test_a_process_of_this_machine_that_is_gone_is_not_waited_for(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left_by(tmp_path / ".lease", age=0, machine=Owner.this_process().machine, pid=gone.pid)
    assert not is_held(tmp_path / ".lease")
    with Lease(tmp_path / ".lease"):
        pass


def test_a_number_that_a_later_process_has_is_not_taken_for_the_owner(tmp_path):
    here = Owner.this_process()
    left_by(tmp_path / ".lease", age=0, machine=here.machine, pid=here.pid, started=here.started - 60)
    with Lease(tmp_path / ".lease"):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_owner_lives_on_when_the_clock_is_set(tmp_path, monkeypatch):
    owner = Owner.this_process()
    stat = re.sub(r"btime (\d+)", lambda found: f"btime {int(found[1]) + 3600}", Path("/proc/stat").read_text())
    (tmp_path / "stat").write_text(stat)
    (tmp_path / str(os.getpid())).symlink_to("/proc/self")
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    assert owner.is_alive


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("reason", "alive"), [(PermissionError(), None), (ProcessLookupError(), False)])
def test_a_process_that_proc_hides_may_live(tmp_path, monkeypatch, reason, alive):
    """Mounted with hidepid, /proc shows a user only their own processes."""

    def kill(pid: int, number: int) -> None:
        assert number == 0, "nobody is ended"
        raise reason

    (tmp_path / "stat").write_text(Path("/proc/stat").read_text())
    owner = Owner.this_process().model_copy(update={"pid": 1})
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    monkeypatch.setattr(os, "kill", kill)
    assert owner.is_alive is alive


@pytest.mark.parametrize("links", [True, False])
def test_a_full_disk_leaves_no_lease(tmp_path, monkeypatch, links):
    """A new file needs no space, but its content does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(*arguments: object) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        no_links(*arguments)

    try:
        if links:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        else:
            monkeypatch.setattr(lease.os, "link", fill)
        with pytest.raises(OSError, match="too large"):
            Lease(tmp_path / ".lease").acquire()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert leases(tmp_path) == []


def test_a_lease_of_a_folder_that_is_gone(tmp_path):
    with pytest.raises(FileNotFoundError):
        Lease(tmp_path / "gone" / ".lease").acquire()


def test_a_lease_that_is_not_whole_counts_by_its_age(tmp_path, monkeypatch):
    monkeypatch.setenv("FERBENCH_LEASE_SECONDS", "100")
    file = tmp_path / ".lease.1"
    file.write_bytes(b"")
    with pytest.raises(LeaseHeldError, match="another process"), Lease(tmp_path / ".lease"):
        pass
    os.utime(file, (0, 0))
    with Lease(tmp_path / ".lease"):
        pass


def test_signs_of_life_keep_a_lease(tmp_path, monkeypatch):
    monkeypatch.setenv("FERBENCH_LEASE_SECONDS", "0.6")
    with Lease(tmp_path / ".lease"):
        file = tmp_path / ".lease.1"
        made = file.stat().st_mtime_ns
        until = time.monotonic() + 10
        while file.stat().st_mtime_ns == made:
            assert time.monotonic() < until
            time.sleep(0.02)


def test_the_lease_of_a_process_that_is_gone_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setenv("FERBENCH_LEASE_SECONDS", "0.6")
    left_by(tmp_path / ".lease", age=0)
    began = time.monotonic()
    with Lease(tmp_path / ".lease").outlast() as mine:
        mine.check()
        assert 0.4 < time.monotonic() - began < 10


class Showing:
    """A process of another machine that shows a sign of life each time that somebody looks whether to stop."""

    def __init__(self, file: Path, looks: int) -> None:
        self.file, self.left = file, looks

    def __call__(self) -> None:
        self.left -= 1
        if self.left > 0:
            os.utime(self.file, None)
        elif self.left == 0:
            self.file.unlink()


def test_a_process_that_lives_is_waited_for_by_its_own_cell_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("FERBENCH_LEASE_SECONDS", "60")
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.02)
    file = left_by(tmp_path / ".lease", age=30)
    with pytest.raises(LeaseHeldError, match="process 1 on node7"):
        Lease(tmp_path / ".lease").outlast(Showing(file, 10**6))
    with Lease(tmp_path / ".lease").outlast(Showing(file, 5), signs_count=False) as mine:
        mine.check()


def test_waiting_has_an_end(tmp_path, monkeypatch):
    monkeypatch.setenv("FERBENCH_LEASE_SECONDS", "0.3")
    file = left_by(tmp_path / ".lease", age=0)
    began = time.monotonic()
    with pytest.raises(LeaseHeldError):
        Lease(tmp_path / ".lease").outlast(Showing(file, 10**6), signs_count=False)
    assert 0.3 < time.monotonic() - began < 10
    with pytest.raises(UsageError, match="stopped"):
        Lease(tmp_path / ".lease").outlast(lambda: UsageError("stopped"))


def test_what_must_be_whole_is_closed_to_others_by_the_next_number(tmp_path):
    with Lease(tmp_path / ".lease") as mine:
        mine.renew()
        assert leases(tmp_path) == [".lease.2"]
        mine.check()
        left_by(tmp_path / ".lease", age=0, number=3)
        with pytest.raises(LeaseLostError, match="process 1 on node7"):
            mine.renew()
    assert leases(tmp_path) == [".lease.3"]


def test_a_server_that_does_not_answer_at_once_has_taken_nothing_over(tmp_path, monkeypatch):
    with Lease(tmp_path / ".lease") as mine:
        read, failures = lease.read_bounded, ["first", "second"]

        def read_later(path, limit):
            if failures:
                raise VerificationError(f"cannot read {path.name}: {failures.pop()}")
            return read(path, limit)

        monkeypatch.setattr(lease, "read_bounded", read_later)
        mine.check()
        assert not failures


def test_a_lease_that_is_gone_is_not_said_to_be_taken_over_by_a_paused_process(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.0)
    with Lease(tmp_path / ".lease") as mine:
        (tmp_path / ".lease.1").unlink()
        with pytest.raises(LeaseLostError, match="moved or removed"):
            mine.check()


def test_without_links_a_lease_is_made_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(lease.os, "link", no_links)
    with Lease(tmp_path / ".lease") as mine:
        mine.check()
        with pytest.raises(LeaseHeldError), Lease(tmp_path / ".lease"):
            pass
    assert leases(tmp_path) == []


@pytest.mark.parametrize("value", ["soon", "0", "-1", "inf", "nan"])
def test_a_time_that_is_no_time_is_refused(tmp_path, monkeypatch, value):
    monkeypatch.setenv("FERBENCH_LEASE_SECONDS", value)
    with pytest.raises(UsageError, match="FERBENCH_LEASE_SECONDS"):
        lease.seconds()


def test_whoever_has_lost_a_cell_writes_nothing_there(tmp_path):
    cell, store = make_cell(), RunStore(tmp_path)
    with store.lock(cell) as mine:
        left_by(mine.folder / ".lease", age=0, number=5)
        winner = write_record(tmp_path, cell, skill=3.0)  # by the other, which has the lease
        before = {file: file.read_bytes() for file in mine.folder.iterdir()}
        predictions, history = make_predictions(1.0, cell.seed), make_history()
        record = make_record(cell, predictions, history)
        with pytest.raises(LeaseLostError):
            store.write_result(cell, record, predictions, history)
        assert {file: file.read_bytes() for file in mine.folder.iterdir()} == before
    assert winner.is_file() and (mine.folder / ".lease.5").is_file()


RACE = """
import sys, time
from pathlib import Path
from ferbench.records.lease import Lease, LeaseHeldError
time.sleep(max(0.0, float(sys.argv[2]) - time.time()))
try:
    Lease(Path(sys.argv[1])).acquire()
except LeaseHeldError:
    print("held")
else:
    print("mine", flush=True)
    time.sleep(5)
"""


@pytest.mark.process
def test_of_many_that_want_a_lease_whose_owner_is_gone_one_gets_it(tmp_path):
    left_by(tmp_path / ".lease", age=10_000)
    start = str(time.time() + 4)
    command = [sys.executable, "-c", RACE, str(tmp_path / ".lease"), start]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(12)]
    said = [racer.communicate()[0].strip() for racer in racers]
    assert sorted(said) == ["held"] * 11 + ["mine"]


PAUSED = """
import sys
from pathlib import Path
from ferbench.records.lease import Lease, LeaseLostError
lease = Lease(Path(sys.argv[1]))
lease.acquire()
print("mine", flush=True)
sys.stdin.readline()
try:
    lease.renew()
    print("still mine")
except LeaseLostError:
    print("lost")
"""


@pytest.mark.process
@pytest.mark.skipif(
    shutil.which("unshare") is None or os.geteuid() != 0, reason="needs root and unshare for processes apart"
)
def test_an_owner_that_wakes_after_a_takeover_loses(tmp_path, monkeypatch):
    monkeypatch.setenv("FERBENCH_LEASE_SECONDS", "1.5")
    # In a space of numbers of its own a process looks like one of another machine.
    apart = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "-c", PAUSED]
    holder = subprocess.Popen([*apart, str(tmp_path / ".lease")], stdin=-1, stdout=-1, text=True)
    try:
        assert holder.stdout.readline() == "mine\n"
        time.sleep(2)
        with pytest.raises(LeaseHeldError), Lease(tmp_path / ".lease"):
            pass  # it shows signs of life
        child = int(Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text())
        os.kill(child, signal.SIGSTOP)
        time.sleep(2)
        with Lease(tmp_path / ".lease") as mine:
            os.kill(child, signal.SIGCONT)
            said, _ = holder.communicate("go on\n", timeout=30)
            assert said == "lost\n"
            mine.check()
    finally:
        holder.kill()
        holder.wait()
