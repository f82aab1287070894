"""`--processes N` of a verb: this very command on N processes of this machine, through torch.distributed.run."""

from __future__ import annotations

import logging
import os
import re
import sys
from typing import Annotated, NoReturn

import typer

from labwright.base import ranks
from labwright.base.errors import LabwrightError

Processes = Annotated[
    int | None,
    typer.Option("--processes", min=1, help="Train on so many processes of this machine, as torchrun would."),
]
OPTION = "--processes"


def join_or_start(processes: int | None) -> None:
    """Join the processes that torchrun or srun started, or start that many; then this process ends with their code.

    Raises LabwrightError for a number where there are several processes already.
    """
    ranks.join()
    if processes is None:
        return
    if ranks.count() > 1:
        raise LabwrightError(f"{OPTION} {processes}: torchrun or srun has started {ranks.count()} processes already.")
    if processes > 1:
        _start(processes)


def _start(processes: int) -> NoReturn:
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import get_args_parser, run

    # each has its share of the cores, unless the person says otherwise
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // processes)))
    command = re.sub(rf"\0{OPTION}(=|\0)\d+", "", "\0" + "\0".join(sys.argv[1:])).split("\0")[1:]
    options = ["--nproc-per-node", str(processes), "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    options += ["--signals-to-handle", "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1", "--module", "labwright"]
    for name in ("torch.distributed.elastic", "torch.distributed.elastic.agent.server.api", "torch.distributed.run"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # a process that fails says why itself
    try:
        run(get_args_parser().parse_args([*options, *command]))  # type: ignore[no-untyped-call]
    except SignalException:  # passed on to them, who have said what became of it
        sys.exit(130)
    except ChildFailedError as error:
        code = error.get_first_failure()[1].exitcode
        sys.exit(code if code > 0 else 128 - code)
    sys.exit(0)
