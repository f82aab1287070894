"""A Slurm of two nodes, both on this machine, from Debian's slurmctld and slurmd, for tests: begun, asked and ended."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from waiting import until

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "scancel")
CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
AuthInfo=cred_expire=5
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,bf_interval=2
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=600
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
{nodes}
PartitionName=tests Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=4 State=UNKNOWN"
NODES = ("n1", "n2")


def missing() -> list[str]:
    """The programs that this machine hasn't."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@dataclass
class Slurm:
    """One controller and its nodes, in a folder of their own."""

    folder: Path
    daemons: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        host = socket.gethostname().partition(".")[0]
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (self.folder / name).mkdir(parents=True)
        nodes = "\n".join(NODE.format(name=node, host=host, port=free_port()) for node in NODES)
        given = {"host": host, "controller": free_port(), "user": getpass.getuser(), "folder": self.folder}
        self.configuration.write_text(CONFIGURATION.format(nodes=nodes, **given))
        for command in (["slurmctld", "-D", "-i"], *(["slurmd", "-D", "-N", node] for node in NODES)):
            with (self.folder / f"{command[0]}-{command[-1]}.out").open("wb") as said:
                daemon = subprocess.Popen(command, env=self.environment, stdout=said, stderr=said)
            self.daemons.append(daemon)
        until(lambda: self.asked("sinfo", "--noheader", "--format=%T") == "idle")

    @property
    def configuration(self) -> Path:
        return self.folder / "slurm.conf"

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"SLURM_CONF": str(self.configuration)}

    def asked(self, *command: str) -> str:
        """What one of Slurm's programs says."""
        assert all(daemon.poll() is None for daemon in self.daemons), self.logs()
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    def logs(self) -> str:
        return "\n".join(file.read_text(errors="replace") for file in sorted(self.folder.glob("slurm*.out")))

    def jobs(self, number: str) -> list[dict[str, str]]:
        """What Slurm knows of a job, or of those of an array."""
        said = self.asked("scontrol", "show", "job", number, "--oneliner")
        return [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in said.splitlines()]

    def ended(self, number: str) -> set[str]:
        """The states in which a job, or those of an array, have ended."""
        under_way = {"PENDING", "RUNNING", "COMPLETING", "CONFIGURING"}

        def over() -> set[str]:
            states = {job["JobState"] for job in self.jobs(number)}
            return set() if states & under_way else states

        return until(over)

    def close(self) -> None:
        """End the daemons, and the jobs with all that they started."""
        for daemon in self.daemons:
            daemon.kill()
            daemon.wait()
        for process in self.living():
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        until(lambda: not self.living())

    def living(self) -> list[int]:
        """The processes of this Slurm that live: its own, and those of jobs."""
        mark = f"SLURM_CONF={self.configuration}".encode()
        found = []
        for process in Path("/proc").iterdir():
            with suppress(OSError):
                if process.name.isdecimal() and mark in (process / "environ").read_bytes().split(b"\0"):
                    found.append(int(process.name))
        return found
