"""A real SLURM of one node on this machine, where its daemons are installed and this is root."""

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

DAEMONS = ("slurmctld", "slurmd", "munged", "sbatch", "unshare")
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
AuthType=auth/munge
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,requeue_delay=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmdParameters=config_overrides
SlurmdTimeout=10
KillWait=5
MaxArraySize={largest}
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str:
    """Why there can be no SLURM here; empty if there can."""
    if missing := [name for name in DAEMONS if shutil.which(name) is None]:
        return f"SLURM is not installed here: no {missing[0]}"
    return "" if os.geteuid() == 0 else "SLURM's daemons need root"


class LocalSlurm:
    """Its daemons; commands find it by SLURM_CONF."""

    def __init__(self, folder: Path, *, largest: int, cpus: int) -> None:
        """Arrays have at most `largest` tasks."""
        self.folder, self.conf = folder, folder / "slurm.conf"
        for name in ("state", "spool"):
            (folder / name).mkdir(parents=True)
        ports = {"controller_port": _free_port(), "node_port": _free_port()}
        values = {"host": socket.gethostname(), "folder": folder, "largest": largest, "cpus": cpus, **ports}
        self.conf.write_text(CONF.format(**values))

    def start_controller(self) -> None:
        """Start the daemon that has the queue."""
        subprocess.run(["slurmctld", "-f", str(self.conf)], check=True, env=self._env())

    def start_node(self, *prefix: str) -> None:
        """Start the daemon that runs jobs, behind the words of another command if there are any."""
        subprocess.run([*prefix, "slurmd", "-f", str(self.conf)], check=True, env=self._env())
        until = time.monotonic() + 60
        while not any(word in self.ask("sinfo", "--noheader", "--format=%T") for word in ("idle", "mix", "alloc")):
            assert time.monotonic() < until, self.ask("sinfo")
            time.sleep(0.2)

    def kill(self, name: str) -> None:
        """Kill a daemon by SIGKILL: `slurmd` or `slurmctld`."""
        pid = int((self.folder / f"{name}.pid").read_text())
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.05)

    @contextmanager
    def administrator(self) -> Iterator[None]:
        """Somebody who puts the node back into service while the block lasts.

        SLURM drains a node whose daemon was killed while it started a job: "Duplicate jobid on nodes".
        """
        over = threading.Event()

        def serve() -> None:
            while not over.wait(1):
                if "drain" in self.ask("sinfo", "--noheader", "--format=%T"):
                    self.ask("scontrol", "update", f"NodeName={socket.gethostname()}", "State=RESUME")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def ask(self, *command: str) -> str:
        """What a command of SLURM prints."""
        return subprocess.run(command, capture_output=True, text=True, env=self._env()).stdout

    def queue(self) -> Sequence[str]:
        """The states of the tasks that wait or run."""
        return self.ask("squeue", "--noheader", "--array", "--format=%T").split()

    def _env(self) -> dict[str, str]:
        return {**os.environ, "SLURM_CONF": str(self.conf)}


@contextmanager
def local_slurm(folder: Path, *, largest: int = 1001, cpus: int = 4) -> Iterator[LocalSlurm]:
    """SLURM while the block lasts."""
    if subprocess.run(["munge", "-n"], capture_output=True).returncode:
        Path("/run/munge").mkdir(exist_ok=True)
        shutil.chown("/run/munge", "munge", "munge")
        subprocess.run(["su", "-s", "/bin/sh", "munge", "-c", "/usr/sbin/munged"], check=True)
        time.sleep(1)
    slurm = LocalSlurm(folder, largest=largest, cpus=cpus)
    try:
        slurm.start_controller()
        slurm.start_node()
        yield slurm
    finally:
        slurm.ask("scancel", "--signal=KILL", "--full", f"--user={os.getuid()}")
        slurm.ask("scancel", f"--user={os.getuid()}")
        for name in ("slurmd", "slurmctld"):
            with suppress(FileNotFoundError):
                slurm.kill(name)


def _free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
