"""Commands as Slurm jobs: the script that sbatch takes, and how it gets there.

submitit writes the script's header, hands it in and keeps it beside the logs. What it would run itself is a pickled
function, and it requeues a job the moment its time is nearly up. Here the script runs a command line, which holds no
code of ours and can be read; and it requeues the job once that command has saved and ended.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from labwright import LabwrightError

# or it would set up logging as it is imported, which closes the handlers that a program has
os.environ.setdefault("SUBMITIT_LOG_LEVEL", "NOCONFIG")
try:
    from submitit import SlurmExecutor
    from submitit.core.utils import FailedJobError
except ImportError as error:
    raise LabwrightError("submitit isn't installed: pip install 'labwright-cluster[slurm]'") from error

NOTICE = 90  # seconds between the signal and the end of a job's time

# The job is asked for an end by SIGUSR1 to the script, which tells the step and waits for what comes of it: a command
# that saved, or that hadn't begun to listen, ends with more than 128. `wait` also ends when a signal comes.
STEP = """\
trap 'asked=yes; kill -USR1 "$step"' USR1
srun --unbuffered "$@" & step=$!
wait "$step"; code=$?
if [ -n "$asked" ]; then
    wait "$step"; code=$?
    [ "$code" -le 128 ] || scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""


def run_command(options: Sequence[str], recipe: str, overrides: Sequence[str], folder: str) -> str:
    """Shell that sets the arguments to the command that begins a run or goes on with it; `folder` is shell too."""
    return f"set -- {_labwright(*options, 'run', recipe, *overrides)} --folder {folder} --or-resume"


def worker_command(options: Sequence[str], study: str, storage: str) -> str:
    """Shell that sets the arguments to the command that joins a study."""
    return f"set -- {_labwright(*options, 'worker', study, *(['--storage', storage] if storage else []))}"


def _labwright(*words: str) -> str:
    return shlex.join([sys.executable, "-m", "labwright", *words])


class Job(SlurmExecutor):
    """A job to be submitted.

    Args:
        logs: The folder of its log and its script, which its nodes see too.
        name: As `squeue` shows it.
        command: Shell that sets the arguments to the command.
        array: So many jobs, if it isn't None.
        time: Minutes.
        sbatch: Further options of sbatch.
    """

    def __init__(
        self,
        logs: Path,
        name: str,
        command: str,
        *,
        nodes: int,
        tasks: int,
        time: int,
        partition: str | None,
        array: int | None,
        sbatch: Mapping[str, Any],
    ) -> None:
        super().__init__(folder=logs)
        self.command = f"{command}\n{STEP}"
        self.update_parameters(
            job_name=name,
            nodes=nodes,
            ntasks_per_node=tasks,
            time=time,
            partition=partition,
            wckey=None,
            stderr_to_stdout=True,
            use_srun=False,  # the script calls it
            setup=['export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"  # srun doesn\'t take it from sbatch'],
            additional_parameters={"signal": f"B:USR1@{NOTICE}", "requeue": True, **sbatch},
        )
        if array is not None:
            self.parameters["map_count"] = array

    @classmethod
    def affinity(cls) -> int:
        """That Slurm is there is asked when a job is submitted: a script can be looked at anywhere."""
        return 1

    def script(self) -> str:
        """What sbatch is given."""
        return self._make_submission_file_text(self.command, "")

    def submitted(self) -> str:
        """Hand it in. Returns its number. Raises LabwrightError without Slurm, and for what Slurm refuses."""
        if shutil.which("sbatch") is None:
            raise LabwrightError(
                "there is no `sbatch` on this machine, so that nothing can be given to Slurm. Submit from a login node "
                "of the cluster; --dry-run shows the script."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            return str(self._submit_command(self.command).job_id)
        except FailedJobError as error:
            raise LabwrightError(f"Slurm refused the job: {str(error).strip()}") from error
