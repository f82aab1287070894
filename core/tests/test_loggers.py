"""Progress, and every logger of the core at once, over real runs; those of plugins have tests of their own."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path

import labwright as lw
import pytest
from parts import Blobs, Duel, Hinge, Pair, duel, sorting
from waiting import until

TRAIN = {"epochs": 2, "batch_size": 15, "log_every": 2}  # 12 steps


# --------------------------------------------------------------------------------------------------------- progress


def test_off_a_terminal_progress_is_a_line_for_each_evaluation_on_stderr(tmp_path, capsys):
    run = sorting(train=TRAIN, log=["progress"]).run(tmp_path / "run")
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert lines[0] == f"{tmp_path / 'run'}: 12 steps on cpu"
    assert lines.pop(1).startswith("data: train 90, valid 300, test 300")
    assert re.fullmatch(
        r"step 6/12  [\d.,]+ steps/s  (?:\d+ (?:h|min) )?\S+ (?:s|min) left  loss \S+  lr 0.01  "
        r"valid accuracy \S+, cross_entropy \S+ \(best so far\)",
        lines[1],
    )
    assert lines[2].startswith("step 12/12  ")
    assert "left" not in lines[2]
    assert re.match(r"step 12/12 .* test accuracy \S+, cross_entropy \S+$", lines[3])
    accuracy = run.metrics["test"]["accuracy"]
    assert lines[4].startswith("finished after 12 steps in ")
    assert f": test accuracy {accuracy:.4g}, cross_entropy " in lines[4]
    assert lines[4].endswith(f"Everything is in {run.folder}. Next: labwright evaluate {run.folder}")
    assert len(lines) == 5


@pytest.mark.timing
def test_between_evaluations_there_is_a_line_every_so_many_seconds(tmp_path, capsys):
    train = TRAIN | {"evaluate_every": "10 epochs"}
    sorting(train=train, log=[{"name": "progress", "every": 1e-9}]).run(tmp_path / "often")
    often = capsys.readouterr().err.splitlines()
    steps = [line.split()[1] for line in often if line.startswith("step ")]
    assert steps[:6] == ["2/12", "4/12", "6/12", "8/12", "10/12", "12/12"]
    sorting(train=train, log=[{"name": "progress", "every": 1000.0}]).run(tmp_path / "seldom")
    assert len(capsys.readouterr().err.splitlines()) == len(often) - 6


def test_every_phase_shows_its_loss(tmp_path, capsys):
    duel(train={"steps": 6, "batch_size": 15, "log_every": 3}, log=["progress"]).run(tmp_path / "run")
    assert re.search(r"loss/critic \S+  loss/generator \S+  lr/critic 0.01  ", capsys.readouterr().err)


def test_an_interrupted_run_says_how_to_go_on_and_a_resumed_one_where_it_begins(tmp_path, capsys):
    folder = tmp_path / "a run"
    experiment = sorting(train=TRAIN, log=["progress"])
    experiment.trainer(folder).fit(until=7)
    assert capsys.readouterr().err.splitlines()[-1].endswith(f". Next: labwright resume '{folder}'")
    experiment.resumed(folder)[0].fit()
    assert capsys.readouterr().err.splitlines()[0] == f"{folder}: from step 7 of 12 on cpu"


def test_a_stopped_run_says_why_and_a_failed_one_leaves_the_next_step_to_its_error(tmp_path, capsys):
    train = TRAIN | {"evaluate_every": "1 step"}
    rule = {"name": "early", "patience": 1, "min_delta": 10.0}
    sorting(train=train, log=["progress"], stop=[rule]).run(tmp_path / "stopped")
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("stopped after 2 steps in ")
    assert "(accuracy has not improved on " in last
    broken = sorting(train=TRAIN, log=["progress"], optimizer={"name": "sgd", "lr": 1e30})
    with pytest.raises(lw.RunFailed):
        broken.run(tmp_path / "failed")
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("failed after ")
    assert last.endswith(f"Everything is in {tmp_path / 'failed'}")


class Terminal:
    """A terminal in place of stderr; `seen` is what it was sent once it is closed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, columns: int = 100, kind: str = "xterm-256color") -> None:
        self.ours, theirs = pty.openpty()
        self.stream = os.fdopen(theirs, "w")
        self.reader = threading.Thread(target=self._read)
        self.bytes = b""
        self.reader.start()
        monkeypatch.setenv("TERM", kind)
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr(sys, "stderr", self.stream)

    def _read(self) -> None:
        while True:
            try:
                self.bytes += os.read(self.ours, 65536)
            except OSError:  # its other end is closed
                return

    @property
    def seen(self) -> str:
        self.stream.close()
        self.reader.join()
        os.close(self.ours)
        return self.bytes.decode()


class Talking:
    """Says something on stderr in the middle of a run, and in a forked process as a loader worker may.

    Then it waits for the bar: it is a thread that draws it, in its own time.
    """

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal

    @lw.hookimpl
    def labwright_step_ended(self, step: int) -> None:
        if step == 3:
            print("a warning", file=sys.stderr)
        if step == 4:
            if os.fork() == 0:
                print("from a fork", file=sys.stderr, flush=True)
                os._exit(0)
            os.wait()
        if step == 6:
            until(lambda: b"steps/s" in self.terminal.bytes)


@pytest.mark.timing
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # the fork, from Python 3.12 on
@pytest.mark.parametrize("columns", [100, 40])
def test_on_a_terminal_a_bar_is_drawn_in_place_and_goes_when_the_run_ends(tmp_path, capsys, monkeypatch, columns):
    terminal = Terminal(monkeypatch, columns=columns)
    train = {"epochs": 8, "batch_size": 15, "log_every": 2}
    sorting(train=train, log=["progress"]).run(tmp_path / "run", listeners=[Talking(terminal)])
    assert sys.stderr is terminal.stream  # as it was before
    assert capsys.readouterr().out == ""  # results in a pipe are not touched
    seen = terminal.seen
    plain = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", seen)
    assert "━" in seen
    assert "/48  " in plain
    assert "steps/s" in plain
    assert re.search(r"a warning\r\n", plain)
    assert re.search(r"from a fork\r\n", plain)
    assert "\x1b[2Kfrom a fork" not in seen  # a fork writes and draws no bar: its thread isn't there to end it
    assert seen.index("\x1b[?25l") < seen.index("\x1b[?25h")  # the cursor is hidden, then shown again
    assert "━" not in seen[seen.index("\x1b[?25h") :]
    assert plain.rstrip().endswith(f"Next: labwright evaluate {tmp_path / 'run'}")


@pytest.mark.timing
def test_a_dumb_terminal_gets_plain_lines(tmp_path, monkeypatch):
    terminal = Terminal(monkeypatch, kind="dumb")
    sorting(train=TRAIN, log=["progress"]).run(tmp_path / "run")
    seen = terminal.seen
    assert "\x1b" not in seen
    assert "step 12/12" in seen


# -------------------------------------------------------------------------------------------------------- all of them


IN_A_FRESH_PROCESS = """
import sys
from importlib.abc import MetaPathFinder

class Watching(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in ("matplotlib.pyplot", "torch._dynamo", "torch.utils.tensorboard"):
            print("asked for", name)

sys.meta_path.insert(0, Watching())
import labwright as lw
import matplotlib
from parts import sorting

class InTheWay:
    @lw.hookimpl
    def labwright_run_started(self, run):
        (run.folder / "report.html").mkdir()

before = str(matplotlib.rcParams.copy())
experiment = sorting(train={"steps": 2, "batch_size": 15}, log=["progress", "report"])
experiment.run(sys.argv[1], listeners=[InTheWay()])
print("settings of matplotlib as before:", str(matplotlib.rcParams.copy()) == before)
"""


@pytest.mark.long
def test_loggers_import_nothing_heavy_change_no_global_setting_and_warn_on_stderr(tmp_path):
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    words = [sys.executable, "-c", IN_A_FRESH_PROCESS, str(tmp_path / "run")]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout == "settings of matplotlib as before: True\n", done.stderr
    assert f"{tmp_path / 'run'}: report.html could not be written: RunFailed: can't write" in done.stderr


def test_the_adversarial_task_runs_with_every_logger_at_once(tmp_path, capsys):
    experiment = lw.Experiment(
        task=Duel(Blobs(noise=0.2)),
        model=Pair,
        loss=Hinge(),
        optimizer={"name": "adam", "lr": 0.01},
        device="cpu",
        train={"steps": 12, "batch_size": 15, "log_every": 3},
        log=["progress", "report"],
    )
    run = experiment.run(tmp_path / "run")
    assert run.outcome is not None
    assert run.outcome.status == "finished"
    assert (tmp_path / "run" / "report.html").is_file()
    assert "loss/critic" in (tmp_path / "run" / "metrics.jsonl").read_text()
    assert capsys.readouterr().err.count("\n") >= 4
