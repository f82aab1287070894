"""`labwright submit` without Slurm: the script, and what is refused before anything is submitted."""

from __future__ import annotations

import importlib.util
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("submitit") is None, reason="needs submitit: pip install 'labwright-cluster[slurm]'"
)


def script(command: Any, *arguments: str, site: Path | None = None) -> str:
    answer = command("submit", *arguments, "--dry-run", site=site)
    assert answer.code == 0, answer.err
    return str(answer.out)


def test_the_script_asks_for_a_signal_and_to_be_queued_again_and_passes_options_on(command: Any) -> None:
    text = script(
        command, "worker", "my study", "--array", "4", "--time", "30", "--sbatch", "mem=2G", "--sbatch", "exclusive"
    )
    directives = {line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH")}
    assert directives >= {"--signal=B:USR1@90", "--requeue", "--time=30", "--mem=2G", "--exclusive", "--array=0-3%4"}
    line = next(line for line in text.splitlines() if line.startswith("set -- "))
    assert shlex.split(line)[-2:] == ["worker", "my study"]
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)


def played(text: str, folder: Path, **programs: str) -> subprocess.CompletedProcess[str]:
    """A script as bash runs it, with stand-ins for the programs of Slurm."""
    for name, source in programs.items():
        (folder / name).write_text(f"#!/bin/bash\n{source}\n")
        (folder / name).chmod(0o755)
    path = f"{folder}:/usr/bin:/bin"
    return subprocess.run(
        ["bash"], input=text, text=True, capture_output=True, cwd=folder, env={"PATH": path, "SLURM_JOB_ID": "7"}
    )


@pytest.mark.parametrize(("code", "queued"), [(130, True), (138, True), (0, False), (1, False)])
def test_a_job_is_queued_again_where_it_was_signalled_and_its_step_ended_of_it(
    command: Any, tmp_path: Path, code: int, queued: bool
) -> None:
    text = script(command, "worker", "s")
    step = f"trap 'exit {code}' USR1; while :; do kill -USR1 $PPID; sleep 0.2; done"
    done = played(text, tmp_path, srun=step, scontrol='echo "$@"')
    assert (done.returncode, done.stdout.split()) == (code, ["requeue", "7"] if queued else []), done.stderr


def test_a_job_that_nobody_signalled_ends_as_its_step_does(command: Any, tmp_path: Path) -> None:
    done = played(script(command, "worker", "s"), tmp_path, srun="exit 130", scontrol='echo "$@"')
    assert (done.returncode, done.stdout) == (130, "")  # as after scancel


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["worker", "s", "--storage", "sqlite:///s.db"], "SQLite's locks don't hold between them. Take PostgreSQL"),
        (["worker", "s", "--nodes", "2"], "--nodes is for `labwright submit run`"),
        (["worker", "s", "train.epochs=2"], "FIELD=VALUE is for `labwright submit run`"),
        (["run", "toy.toml", "--array", "2"], "--array is for `labwright submit worker`"),
        (["run", "nowhere/at-all"], "no recipe is called 'nowhere/at-all'"),
        (["walk", "s"], "'walk' is not one of 'run', 'worker'"),
    ],
)
def test_a_slip_is_answered_before_anything_is_submitted(command: Any, arguments: list[str], said: str) -> None:
    answer = command("submit", *arguments)
    assert answer.code == 2
    assert said in " ".join(answer.err.split()) and "Traceback" not in answer.err


def test_without_slurm_it_is_said_where_to_submit(
    command: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    answer = command("submit", "worker", "s", cwd=tmp_path)
    assert answer.code == 2
    assert "there is no `sbatch` on this machine" in answer.err and "Traceback" not in answer.err
    assert list(tmp_path.iterdir()) == []


LOGGED = """
import logging
kept = logging.FileHandler("log.txt", mode="w")
import labwright_cluster.slurm
kept.emit(logging.makeLogRecord({"msg": "a line"}))
"""


def test_a_program_s_log_is_written_on_when_a_job_is_made(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", LOGGED], cwd=tmp_path, check=True)
    assert (tmp_path / "log.txt").read_text() == "a line\n"
