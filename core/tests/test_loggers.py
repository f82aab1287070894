"""Progress, and every logger of the core at once, over real runs; those of plugins have tests of their own."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path
from statistics import mean

import labwright as lw
import pyte
import pytest
from parts import Blobs, Duel, Hinge, Pair, Sorting, duel, sorting
from torch import Tensor, tensor
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
        r"epoch 1/2  loss \S+  valid accuracy \S+ best  cross_entropy \S+  "
        r"[\d.,]+ steps/s  (?:\d+ (?:h|min) )?\S+ (?:s|min) left",
        lines[1],
    )
    assert lines[2].startswith("epoch 2/2  loss ")
    assert "left" not in lines[2]
    assert re.fullmatch(r"epoch 2/2  test accuracy \S+  cross_entropy \S+", lines[3])  # it has no training loss
    accuracy = run.metrics["test"]["accuracy"]
    assert lines[4].startswith("finished after 12 steps in ")
    assert f": test accuracy {accuracy:.4g}, cross_entropy " in lines[4]
    assert lines[4].endswith(f"Everything is in {run.folder}")
    assert lines[5:] == [f"Next: labwright evaluate {run.folder}"]  # it has no report, and its task predicts nothing


def test_next_after_a_run_are_its_report_and_what_its_task_can_predict(tmp_path, capsys):
    class Spoken(Blobs):
        line = "point"

        def parse(self, line: str) -> tuple[Tensor, ...]:
            return (tensor([[float(number) for number in line.split()]]),)

    class Answering(Sorting):
        def predict(self, model, inputs, origins):
            return [{"class": int(row)} for row in model(*inputs).argmax(1)]

    folder = tmp_path / "a run"
    sorting(task=Answering(Spoken()), train=TRAIN, log=["progress", "report"]).run(folder)
    assert capsys.readouterr().err.splitlines()[-2:] == [
        f"Next: open '{folder / 'report.html'}'",
        f"      labwright predict '{folder}' --point TEXT",
    ]


class Losses:
    """The mean loss of the steps between two evaluations of `valid`, as the run says and as a listener adds them up."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        self.seen: list[tuple[float, float]] = []

    @lw.hookimpl
    def labwright_step_ended(self, losses):
        self.steps.append(float(losses["train"]))

    @lw.hookimpl
    def labwright_evaluated(self, run, split):
        if split == "valid":
            self.seen.append((run.losses["loss"], mean(self.steps)))
            self.steps = []


@pytest.mark.parametrize("log_every", [1, 4, 50])
def test_the_loss_beside_an_evaluation_is_the_mean_since_the_one_before(tmp_path, log_every):
    losses = Losses()
    experiment = sorting(train=TRAIN | {"epochs": 3, "evaluate_every": "5 steps", "log_every": log_every}, log=[])
    experiment.trainer(tmp_path / "run", listeners=[losses]).fit(until=8)
    experiment.resumed(tmp_path / "run", listeners=[losses])[0].fit()
    assert len(losses.seen) == 4  # at 5, 10, 15 and 18 steps: each batch has as many samples as the others
    for told, added in losses.seen:
        assert told == pytest.approx(added, rel=1e-6)


@pytest.mark.timing
def test_between_evaluations_there_is_a_line_every_so_many_seconds(tmp_path, capsys):
    train = TRAIN | {"evaluate_every": "10 epochs"}
    sorting(train=train, log=[{"name": "progress", "every": 1e-9}]).run(tmp_path / "often")
    often = capsys.readouterr().err.splitlines()
    steps = [line.split()[1] for line in often if line.startswith("step ")]
    assert steps == ["2/12", "4/12", "6/12", "8/12", "10/12", "12/12"]
    sorting(train=train, log=[{"name": "progress", "every": 1000.0}]).run(tmp_path / "seldom")
    assert len(capsys.readouterr().err.splitlines()) == len(often) - 6


def test_every_phase_shows_its_loss(tmp_path, capsys):
    duel(train={"steps": 6, "batch_size": 15, "log_every": 3}, log=["progress"]).run(tmp_path / "run")
    assert re.search(r"epoch 1/1  loss/critic \S+  loss/generator \S+  valid ", capsys.readouterr().err)


def test_an_interrupted_run_says_how_to_go_on_and_a_resumed_one_where_it_begins(tmp_path, capsys):
    folder = tmp_path / "a run"
    experiment = sorting(train=TRAIN, log=["progress"])
    experiment.trainer(folder).fit(until=7)
    assert capsys.readouterr().err.splitlines()[-1] == f"Next: labwright resume '{folder}'"
    experiment.resumed(folder)[0].fit()
    assert capsys.readouterr().err.splitlines()[0] == f"{folder}: from step 7 of 12 on cpu"


def test_a_stopped_run_says_why_and_a_failed_one_leaves_the_next_step_to_its_error(tmp_path, capsys):
    train = TRAIN | {"evaluate_every": "1 step"}
    rule = {"name": "early", "patience": 1, "min_delta": 10.0}
    sorting(train=train, log=["progress"], stop=[rule]).run(tmp_path / "stopped")
    *_, last, _ = capsys.readouterr().err.splitlines()
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
    assert plain.rstrip().endswith(f"Next: labwright evaluate {tmp_path / 'run'}")  # in one piece, to be copied


@pytest.mark.timing
def test_a_dumb_terminal_gets_plain_lines(tmp_path, monkeypatch):
    terminal = Terminal(monkeypatch, kind="dumb")
    sorting(train=TRAIN, log=["progress"]).run(tmp_path / "run")
    seen = terminal.seen
    assert "\x1b" not in seen
    assert "epoch 2/2" in seen


@pytest.mark.timing
@pytest.mark.parametrize("colours", ["", "1"])
@pytest.mark.parametrize("columns", [44, 120])
def test_what_a_run_leaves_on_a_terminal_fits_and_says_nothing_old(tmp_path, monkeypatch, columns, colours):
    monkeypatch.setenv("NO_COLOR", colours)
    terminal = Terminal(monkeypatch, columns=columns)
    monkeypatch.chdir(tmp_path)
    sorting(train=TRAIN | {"epochs": 10}, log=["progress"]).run("run")
    lines = drawn(terminal.seen, columns)
    said = " ".join(" ".join(lines).split())
    for epoch in range(1, 11):
        assert re.search(rf"epoch +{epoch}/10 loss \S+ valid accuracy \S+ (best )?cross_entropy \S+ ", said)
    starts = [line.index("loss") for line in lines if line.startswith("epoch") and "loss" in line]
    assert len(set(starts)) == 1  # one below the other
    # words stay whole at the edge
    assert re.search(r"finished after 60 steps in .*: test accuracy \S+, cross_entropy \S+ \(300 samples\)", said)
    assert "Everything is in run Next: " in said
    assert "/60" not in said  # of the bar, which was drawn below
    assert lines[-1] == "Next: labwright evaluate run"
    # of a bar at least, whose hint of what is left may never be drawn
    assert bool(re.search(r"\x1b\[3\d[;m]", terminal.bytes.decode())) == (not colours)


def drawn(sent: str, columns: int) -> list[str]:
    """The lines that a terminal shows, those that have scrolled away before the others."""
    screen = pyte.HistoryScreen(columns, 20, history=1000, ratio=0.5)
    pyte.Stream(screen).feed(sent)
    above = ["".join(line[place].data for place in range(columns)) for line in screen.history.top]
    lines = [line.rstrip() for line in (*above, *screen.display)]
    return lines[: max(place for place, line in enumerate(lines, 1) if line)]


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
