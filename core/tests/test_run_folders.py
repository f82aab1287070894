"""A run folder is one process's, is written through no link, and says what in it isn't as it was left."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
from labwright.base.locks import Lock
from labwright.interfaces.run import Outcome
from labwright.runs.environment import without_secrets
from labwright.train.checkpoints import Checkpoints, Damaged
from labwright.train.interruption import interruptions
from labwright.train.log import read_log
from parts import Blobs, Net, sorting
from torch import Tensor

TRAIN = {"epochs": 4, "batch_size": 15, "log_every": 2, "save_every": "3 steps", "evaluate_every": "3 steps"}


def begun(folder: Path, until: int = 9, **changed: Any) -> lw.Experiment:
    """A run that was interrupted."""
    experiment = sorting(train=TRAIN, **changed)
    experiment.trainer(folder).fit(until=until)
    return experiment


# ------------------------------------------------------------------------------------------------------ one process


def test_a_folder_that_another_trainer_writes_in_is_refused_and_free_when_that_one_has_ended(tmp_path: Path) -> None:
    experiment = begun(tmp_path / "run")
    first, _ = experiment.resumed(tmp_path / "run")
    with pytest.raises(lw.LabwrightError, match=r"the run in .*run is under way: this process itself"):
        experiment.resumed(tmp_path / "run")
    first.fit(until=12)
    assert experiment.resumed(tmp_path / "run")[0].run.step == 12


def test_a_trainer_that_cannot_be_made_leaves_the_folder_free(tmp_path: Path) -> None:
    experiment = begun(tmp_path / "run")
    with pytest.raises(lw.LabwrightError, match="of another model"):
        sorting(model={"name": Net, "width": 8}, train=TRAIN).resumed(tmp_path / "run")
    experiment.resumed(tmp_path / "run")


def hold(folder: str, held: Any) -> None:
    lock = Lock(Path(folder))
    lock.acquire()
    held.set()
    signal.pause()


@pytest.mark.timing
def test_the_lock_of_a_process_is_named_and_gone_when_it_is_killed(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    held = context.Event()
    worker = context.Process(target=hold, args=(str(tmp_path), held))
    worker.start()
    held.wait()
    with pytest.raises(lw.LabwrightError, match=f"process {worker.pid} on "):
        Lock(tmp_path).acquire()
    worker.kill()
    worker.join()
    Lock(tmp_path).acquire()


@pytest.mark.timing
def test_a_process_forked_from_the_holder_does_not_give_the_lock_back(tmp_path: Path) -> None:
    lock = Lock(tmp_path)
    lock.acquire()
    child = os.fork()
    if child == 0:
        lock.release()
        os._exit(0)
    os.waitpid(child, 0)
    assert (tmp_path / ".lock").read_text().split()[0] == str(os.getpid())
    with pytest.raises(lw.LabwrightError, match="under way"):
        Lock(tmp_path).acquire()


# ---------------------------------------------------------------------------------------------------- links and files


@pytest.mark.parametrize("name", ["recipe.toml", "metrics.jsonl", "outcome.json", "environment.json", "checkpoints"])
def test_a_link_in_a_run_folder_is_refused_and_what_it_leads_to_stays(tmp_path: Path, name: str) -> None:
    experiment = begun(tmp_path / "run")
    there = tmp_path / "precious"
    (tmp_path / "run" / name).rename(there)
    (tmp_path / "run" / name).symlink_to(there)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(lw.LabwrightError, match=f"run/{name} is a link to '.*precious'"):
        experiment.resumed(tmp_path / "run")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_files_that_have_another_name_elsewhere_are_replaced_and_not_written_into(tmp_path: Path) -> None:
    experiment = begun(tmp_path / "run")
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file() and path.name != ".lock"]
    kept = {}
    for number, path in enumerate(files):  # as a backup by hard links has them
        (tmp_path / str(number)).hardlink_to(path)
        kept[number] = path.read_bytes()
    experiment.resumed(tmp_path / "run")[0].fit()
    assert {number: (tmp_path / str(number)).read_bytes() for number in kept} == kept


def test_what_a_killed_process_left_unfinished_is_cleared_away(tmp_path: Path) -> None:
    experiment = begun(tmp_path / "run")
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints")
    checkpoints.path(9).rename(checkpoints.folder / ".step-00000009.before")
    (checkpoints.folder / ".step-00000005.part").mkdir()
    experiment.resumed(tmp_path / "run")[0].fit(until=12)
    assert not list(checkpoints.folder.glob(".*"))
    assert checkpoints.steps()[-1] == 12


LIMITED = """
import resource, sys
from pathlib import Path
import labwright as lw
from parts import Net, sorting
experiment = sorting(model={"name": Net, "width": 64}, train={"steps": 9, "log_every": 1})
built = experiment.preflight()
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))  # when it was there a moment ago
try:
    experiment.trainer(Path(sys.argv[1]), built=built).fit()
except lw.LabwrightError as error:
    print("told:", error)
"""


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        pytest.param(200, "can't write .*task", marks=pytest.mark.long),
        pytest.param(800, r"can't write .*environment\.json: File too large", marks=pytest.mark.long),
        (3000, "can't write the checkpoint .*step-00000002: .*There is none before it"),
    ],
)
def test_a_disk_that_takes_no_more_is_one_message(tmp_path: Path, limit: int, said: str) -> None:
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "run"), str(limit)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": paths})
    assert "Traceback" not in ended.stderr
    assert re.match(f"told: {said}", ended.stdout), ended.stdout + ended.stderr


def test_a_run_folder_reached_by_a_link_is_resumed(tmp_path: Path) -> None:
    experiment = begun(tmp_path / "run")
    (tmp_path / "alias").symlink_to(tmp_path / "run")
    assert experiment.resumed(tmp_path / "alias")[0].fit().status == "finished"


def test_what_is_called_like_a_checkpoint_and_is_none_is_passed_over(tmp_path: Path) -> None:
    experiment = begun(tmp_path / "run")
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints")
    for name in ("step-7", "step-²²²²²²²²", "step-00000007x", "step--0000001"):
        (checkpoints.folder / name).mkdir()
    assert checkpoints.steps() == [3, 6, 9][-len(checkpoints.steps()) :]
    (checkpoints.folder / "step-00000010").write_text("a file")
    for step in range(1000, 3000):
        (checkpoints.folder / f"step-{step:08d}").mkdir()
    trainer, notes = experiment.resumed(tmp_path / "run")
    assert trainer.run.step == 9
    assert len(notes) == 4
    assert notes[-1] == "1998 more checkpoints are damaged. The checkpoint of step 9 is used instead."


def test_a_checkpoint_under_the_name_of_another_step_is_damaged(tmp_path: Path) -> None:
    begun(tmp_path / "run")
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints")
    checkpoints.path(9).rename(checkpoints.path(10))
    with pytest.raises(Damaged, match="step-00000010 holds the checkpoint of step 9"):
        checkpoints.read(10)


# ------------------------------------------------------------------------------------------------------------ the log


def changed_lines(file: Path, change: Callable[[list[str]], object]) -> None:
    lines = file.read_text().splitlines()
    change(lines)
    file.write_text("".join(line + "\n" for line in lines))


def test_a_line_torn_in_the_middle_of_the_log_is_named_and_the_rest_kept(tmp_path: Path) -> None:
    experiment = begun(tmp_path / "run")
    log = tmp_path / "run" / "metrics.jsonl"
    count = len(list(read_log(log)))

    def tear(lines: list[str]) -> None:
        lines[1] = lines[1][:20]

    changed_lines(log, tear)
    torn: list[int] = []
    assert len(list(read_log(log, torn))) == count - 1
    assert torn == [2]
    _, notes = experiment.resumed(tmp_path / "run")
    assert len(notes) == 1
    assert notes[0].startswith(f"line 2 of {log} is torn and left out.")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: lines.pop(), "has 6 of the 7 lines it had at this checkpoint"),
        (lambda lines: lines.insert(0, lines.pop().replace("valid", "test")), "holds other values than it did"),
        (lambda lines: lines.clear(), "has 0 of the 7 lines"),
    ],
)
def test_a_log_that_lost_or_changed_lines_is_named(
    tmp_path: Path, change: Callable[[list[str]], object], said: str
) -> None:
    experiment = begun(tmp_path / "run")
    changed_lines(tmp_path / "run" / "metrics.jsonl", change)
    _, notes = experiment.resumed(tmp_path / "run")
    assert len(notes) == 1
    assert said in notes[0]


class Odd(Net):
    """Its answers are nan in evaluation."""

    def forward(self, x_BD: Tensor) -> Tensor:
        return super().forward(x_BD) * (1.0 if self.training else math.nan)


def refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def test_metrics_that_are_no_numbers_are_written_as_words_and_taken_up_as_numbers(tmp_path: Path) -> None:
    experiment = begun(tmp_path / "run", model=Odd)
    for file in (tmp_path / "run").rglob("*.json*"):
        for text in file.read_text().splitlines() if file.suffix == ".jsonl" else [file.read_text()]:
            json.loads(text, parse_constant=refuse)
    outcome = Outcome.read(tmp_path / "run")
    assert math.isnan(outcome.metrics["valid"]["cross_entropy"])
    trainer, notes = experiment.resumed(tmp_path / "run")
    assert notes == []
    assert math.isnan(trainer.run.metrics["valid"]["cross_entropy"])


def test_settings_that_differ_from_those_of_the_checkpoint_are_named_with_both_values(tmp_path: Path) -> None:
    begun(tmp_path / "run")
    changed = sorting(train=TRAIN, optimizer={"name": "adamw", "lr": 0.25})
    _, notes = changed.resumed(tmp_path / "run")
    assert notes == ["changed: optimizer.lr 0.01 -> 0.25. The run is no longer the one its first steps were."]


# ------------------------------------------------------------------------------------------------ signals and displays


class At:
    """Does something at the third step."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.action = action
        self.steps: list[int] = []

    @lw.hookimpl
    def labwright_step_ended(self, step: int) -> None:
        self.steps.append(step)
        if step == 3:
            self.action()


@pytest.mark.timing
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"])
def test_a_signal_that_asks_for_an_end_is_answered_with_a_checkpoint(tmp_path: Path, name: str) -> None:
    number = getattr(signal, name)
    before = signal.getsignal(number)
    listener = At(lambda: signal.raise_signal(number))
    outcome = sorting(train=TRAIN).run(tmp_path / "run", listeners=[listener]).outcome
    assert outcome is not None
    assert (outcome.status, outcome.step) == ("interrupted", 3)
    assert Checkpoints(tmp_path / "run" / "checkpoints").steps() == [3]
    assert signal.getsignal(number) == before


@pytest.mark.timing
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_a_second_hang_up_does_not_end_a_run_before_it_is_saved(tmp_path: Path, number: signal.Signals) -> None:
    def twice() -> None:
        signal.raise_signal(number)
        signal.raise_signal(number)

    outcome = sorting(train=TRAIN).run(tmp_path / "run", listeners=[At(twice)]).outcome
    assert outcome is not None
    assert outcome.status == "interrupted"


@pytest.mark.timing
def test_a_run_that_ignores_hang_ups_goes_on() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptions(True) as asked:
            signal.raise_signal(signal.SIGHUP)
        assert asked == []
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def full() -> Any:
    return Path("/dev/full").open("w")


def broken() -> Any:
    ours, theirs = os.pipe()
    os.close(ours)
    return os.fdopen(theirs, "w")


def closed() -> Any:
    with Path(os.devnull).open("w") as stream:
        return stream


@pytest.mark.parametrize("stream", [full, broken, closed, lambda: None])
def test_a_run_goes_on_where_progress_cannot_be_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: Callable[[], Any]
) -> None:
    place = stream()
    monkeypatch.setattr(sys, "stderr", place)
    outcome = sorting(train=TRAIN, log=["progress"]).run(tmp_path / "run").outcome
    assert outcome is not None
    assert outcome.status == "finished"
    if place is not None:
        place.close()


def test_a_listener_whose_pipe_breaks_is_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise BrokenPipeError("nobody reads")

    listener = At(fail)
    outcome = sorting(train=TRAIN).run(tmp_path / "run", listeners=[listener]).outcome
    assert outcome is not None
    assert outcome.status == "finished"
    assert listener.steps == [1, 2, 3]
    assert "labwright_step_ended of At isn't called any more" in caplog.text


def test_a_listener_that_cannot_begin_ends_the_run_before_anything_is_lost(tmp_path: Path) -> None:
    class Late:
        @lw.hookimpl
        def labwright_run_started(self) -> None:
            raise FileNotFoundError("no such place")

    with pytest.raises(FileNotFoundError):
        sorting(train=TRAIN).run(tmp_path / "run", listeners=[Late()])


# ------------------------------------------------------------------------------------------------------------ secrets


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--storage", "postgresql+psycopg://me:s3c@ret@host/db"],
            ["--storage", "postgresql+psycopg://me:***@host/db"],
        ),
        (["--storage=mysql://:s3cret@host"], ["--storage=mysql://:***@host"]),
        (["task.data.token=abc", "PASSWORD=p=q"], ["task.data.token=***", "PASSWORD=***"]),
        (["--api-key", "xyz", "more"], ["--api-key", "***", "more"]),
        (['task.data={name="x", token="y"}'], ['task.data={name="x", token=***']),
        (["task.data.tokens=512", "task.data.tokenizer=word"], ["task.data.tokens=512", "task.data.tokenizer=word"]),
        (["https://host/a?b=c@d"], ["https://host/a?b=c@d"]),
    ],
)
def test_passwords_and_tokens_of_a_command_are_not_kept(words: list[str], said: list[str]) -> None:
    assert without_secrets(words) == said


def test_the_command_is_kept_without_its_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["labwright", "--storage", "mysql://me:s3cret@host/db"])
    sorting(Blobs(), train={"steps": 2}, log=["report"]).run(tmp_path / "run")
    for file in (tmp_path / "run").rglob("*"):
        assert file.is_dir() or b"s3cret" not in file.read_bytes(), file
    assert "mysql://me:***@host/db" in (tmp_path / "run" / "environment.json").read_text()
