"""A Slurm cluster of several nodes on this machine, from Debian's packages: `apt-get install slurm-wlm munge`, as root.

    python -m tests.helpers.slurm_cluster FOLDER

starts one, and stops it when its standard input ends; `export SLURM_CONF=FOLDER/slurm.conf` makes Slurm's commands
use it.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")
PATIENCE_S = 120.0

_CONFIGURATION = """\
ClusterName=xeval
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=10
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=20
SlurmctldTimeout=20
KillWait=30
MessageTimeout=60
SchedulerParameters=sched_interval=5
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str | None:
    """Why a cluster can't be started here; None if it can."""
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"{missing[0]} is not installed: apt-get install slurm-wlm munge"
    return "Slurm's daemons want to be started by root" if os.getuid() else None


class SlurmCluster:
    """The daemons of a cluster whose nodes are called n1, n2, … and have one processor each. A context manager."""

    def __init__(self, folder: Path, n_nodes: int = 2) -> None:
        self.folder = folder
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}
        self.nodes = [f"n{number}" for number in range(1, n_nodes + 1)]
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "SlurmCluster":
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "state").mkdir(exist_ok=True)
        try:
            self._start_munge()
            self._configure()
            self._start("slurmctld", ["slurmctld", "-D"])
            for node in self.nodes:
                self.start_node(node)
            self._wait_until_idle()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *raised: object) -> None:
        for daemon in reversed(self._daemons.values()):
            daemon.terminate()
        for daemon in self._daemons.values():
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def start_node(self, node: str) -> None:
        self._start(node, ["slurmd", "-D", "-N", node])

    def kill_node(self, node: str) -> None:
        """Kill the node with SIGKILL, and everything that runs on it."""
        self._daemons[node].kill()
        self._daemons[node].wait()
        on_it = {pid for pid in _processes() if self._is_on(pid, node)}
        managers = {_parent(pid) for pid in on_it} - on_it  # first, since they would report the end of the others
        for pid in [*(pid for pid in managers if "slurmstepd" in _read(pid, "comm")), *on_it]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def ask(self, *words: str) -> str:
        process = subprocess.run(words, env=os.environ | self.environment, capture_output=True, text=True, check=False)
        return process.stdout

    def _start(self, name: str, words: list[str]) -> None:
        with (self.folder / f"{name}.out").open("a") as out:
            options: dict[str, Any] = {
                "env": os.environ | self.environment,
                "stdout": out,
                "stderr": out,
                "stdin": subprocess.DEVNULL,
            }
            self._daemons[name] = subprocess.Popen(words, **options)

    def _start_munge(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        files = {"key-file": key, "socket": self.folder / "munge.socket", "pid-file": self.folder / "munge.pid"}
        files |= {"log-file": self.folder / "munge.log", "seed-file": self.folder / "munge.seed"}
        words = [f"--{name}={path}" for name, path in files.items()]
        self._start("munged", ["munged", "--foreground", "--force", *words])
        self._wait_for(lambda: (self.folder / "munge.socket").exists(), "munged")

    def _configure(self) -> None:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        host = socket.gethostname()
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port + number} CPUs=1 State=UNKNOWN"
            for number, node in enumerate(self.nodes, start=1)
        )
        text = _CONFIGURATION.format(host=host, port=port, folder=self.folder, nodes=nodes)
        (self.folder / "slurm.conf").write_text(text)

    def _is_on(self, pid: int, node: str) -> bool:
        words = _read(pid, "environ").split("\0")
        return f"SLURM_CONF={self.environment['SLURM_CONF']}" in words and f"SLURMD_NODENAME={node}" in words

    def _wait_until_idle(self) -> None:
        self._wait_for(lambda: self.ask("sinfo", "-h", "-N", "-o", "%T").split() == ["idle"] * len(self.nodes), "nodes")

    def _wait_for(self, is_so: Callable[[], bool], what: str) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while not is_so():
            dead = [name for name, daemon in self._daemons.items() if daemon.poll() is not None]
            if dead or time.monotonic() > until_s:
                logs = "".join(path.read_text()[-2000:] for path in sorted(self.folder.glob("*.out")))
                raise RuntimeError(f"Slurm did not start: {dead or what}\n{logs}")
            time.sleep(0.2)


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _parent(pid: int) -> int:
    lines = [line for line in _read(pid, "status").splitlines() if line.startswith("PPid:")]
    return int(lines[0].split()[1]) if lines else 0


def _read(pid: int, name: str) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    return ""


if __name__ == "__main__":
    with SlurmCluster(Path(sys.argv[1]).resolve()) as cluster:
        print(f"export SLURM_CONF={cluster.environment['SLURM_CONF']}", flush=True)
        sys.stdin.read()
