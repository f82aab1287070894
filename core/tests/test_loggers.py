"""Progress, TensorBoard and the report, over real runs."""

from __future__ import annotations

import base64
import io
import math
import os
import pty
import re
import shutil
import subprocess
import sys
import threading
import wave
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import labwright as lw
import matplotlib.image
import pytest
import torch
from labwright.train.checkpoints import Checkpoints
from labwright.train.log import read_log
from matplotlib.figure import Figure as Canvas
from parts import Blobs, Duel, Hinge, Net, Pair, Sorting, duel, sorting
from torch import nn
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


# ------------------------------------------------------------------------------------------------------ tensorboard


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard itself reads from a folder: the points of every tag."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"tensors": 0, "scalars": 0})
    events.Reload()
    return {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def logged(folder: Path, event: str, key: str) -> list[tuple[int, float]]:
    return [
        (record["step"], record[key] if event == "train" else record["metrics"][key])
        for record in read_log(folder / "metrics.jsonl")
        if record["event"] == event and record.get("split", "valid") == "valid"
    ]


def close(points: list[tuple[int, float]]) -> Any:
    """Event files hold float32."""
    return [(step, pytest.approx(value, rel=1e-6)) for step, value in points]


def test_tensorboard_reads_the_numbers_of_the_log(tmp_path):
    run = sorting(train=TRAIN, log=["tensorboard"]).run(tmp_path / "run")
    seen = scalars(run.folder / "tensorboard")
    assert seen["train/loss"] == close(logged(run.folder, "train", "loss"))
    assert seen["train/lr"] == close(logged(run.folder, "train", "lr"))
    assert seen["valid/accuracy"] == close(logged(run.folder, "evaluation", "accuracy"))
    assert seen["test/cross_entropy"] == close([(12, run.metrics["test"]["cross_entropy"])])
    assert [step for step, _ in seen["train/steps_per_second"]] == [2, 4, 6, 8, 10, 12]


def test_steps_that_a_resumed_run_does_again_are_read_once(tmp_path):
    folder = tmp_path / "run"
    train = TRAIN | {"log_every": 1, "evaluate_every": "2 steps", "save_every": "1 step", "keep": 20}
    experiment = sorting(train=train, log=["tensorboard"])
    experiment.trainer(folder).fit(until=5)
    experiment.resumed(folder)[0].fit(until=9)
    for step in (8, 9):  # as if it had been killed after step 9, and saved last after step 7
        shutil.rmtree(Checkpoints(folder / "checkpoints").path(step))
    experiment.resumed(folder)[0].fit()
    assert len(list((folder / "tensorboard").iterdir())) == 3
    seen = scalars(folder / "tensorboard")
    assert seen["train/loss"] == close(logged(folder, "train", "loss"))
    assert [step for step, _ in seen["train/loss"]] == list(range(1, 13))
    assert [step for step, _ in seen["valid/accuracy"]] == [2, 4, 6, 8, 10, 12]


def test_without_tensorboard_the_logger_says_what_to_install(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # what import takes for "not there"
    with pytest.raises(
        lw.LabwrightError, match=r"^logger 'tensorboard' can't be used .*: pip install 'labwright\[tens"
    ):
        sorting(train=TRAIN, log=["tensorboard"]).run(tmp_path / "run")


# ----------------------------------------------------------------------------------------------------------- report


class Page(HTMLParser):
    """A page's text, and a check that every element that is opened is closed."""

    VOID = ("meta", "img", "link", "wbr", "input")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.links: list[str] = []
        self.ids: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        named = dict(attrs)
        self.links += [value for key in ("src", "href", "xlink:href") if (value := named.get(key))]
        self.ids += [value for key in ("id",) if (value := named.get(key))]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data + " "


def report_of(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


class Showing(Sorting):
    """Sorting with sections in its report: what the test gives it."""

    made: Any = staticmethod(list)

    def report(self, model: nn.Module, split: str, device: torch.device) -> Sequence[lw.Section]:
        self.seen = (model.training, torch.is_grad_enabled(), split)
        return self.made()


def showing(made: Any, **changed: Any) -> tuple[lw.Experiment, Showing]:
    task = Showing(Blobs())
    task.made = made
    settings = {"optimizer": {"name": "sgd", "lr": 0.01}, "device": "cpu", "train": TRAIN, "log": ["report"]} | changed
    return lw.Experiment(task=task, model=Net, loss=nn.CrossEntropyLoss(), **settings), task


def embedded(link: str, kind: str) -> bytes:
    """The file that an address in a page holds itself."""
    assert link.startswith(f"data:{kind};base64,")
    return base64.b64decode(link.partition(",")[2])


def drawn(points: int = 3, label: str = "x") -> Canvas:
    canvas = Canvas(figsize=(3, 2), layout="constrained")
    axes = canvas.subplots()
    axes.scatter(torch.rand(points).numpy(), torch.rand(points).numpy())
    axes.set_xlabel(label)
    return canvas


def test_a_report_holds_what_the_run_was_and_how_it_went_in_one_file(tmp_path):
    folder = tmp_path / "vision-digits-001"
    run = sorting(train=TRAIN, log=["report"]).run(folder)
    page = report_of(folder)
    for text in (
        "vision-digits-001",
        "finished",
        "12 of 12",
        f"{sum(parameter.numel() for parameter in run.model.parameters()):,}",  # 16*4+16 + 2*16 + 3*16+3
        f"{run.metrics['test']['accuracy']:.4g}",
        "on test (300 samples), higher is better",
        "Training loss",
        "Validation accuracy",
        "Learning rate",
        "All 3 evaluations",
        "batch_size",
        torch.__version__,
        f"labwright run {folder / 'recipe.toml'}",
        f"labwright evaluate {folder}",
    ):
        assert text in page.text, text
    assert page.text.index("Validation accuracy") < page.text.index("Validation cross_entropy")  # the goal comes first
    assert page.tags.count("svg") == 4
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert all(link.startswith("#") for link in page.links)  # nothing is loaded
    assert len(set(page.ids)) == len(page.ids)
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert "prefers-color-scheme: dark" in (folder / "report.html").read_text(encoding="utf-8")
    assert "#a1000" not in (folder / "report.html").read_text(encoding="utf-8")  # curves have the page's colours
    assert not list(folder.glob("*.tmp"))


def test_what_a_task_shows_is_in_the_report_escaped(tmp_path):
    def made() -> list[lw.Section]:
        table = lw.Table("Rows <&>", ("name", "share"), [("<b>bold</b>", 0.12345), ("x", 2)], "a <note>")
        return [lw.Figure("A picture <i>", drawn(label="<script>"), "seen & noted"), table]

    experiment, task = showing(made)
    experiment.run(tmp_path / "run")
    assert task.seen == (False, False, "test")
    page = report_of(tmp_path / "run")
    for text in (
        "A closer look at the test split",
        "A picture <i>",
        "seen & noted",
        "Rows <&>",
        "<b>bold</b>",
        "0.1235",
    ):
        assert text in page.text
    assert not {"script", "b>bold", "i"} & set(page.tags) - {"i"}
    assert page.tags.count("b") == 6  # the six facts of the heading


def test_a_figure_of_very_many_marks_becomes_pixels(tmp_path):
    experiment, _ = showing(lambda: [lw.Figure("Many", drawn(points=40_000))])
    experiment.run(tmp_path / "run")
    page = report_of(tmp_path / "run")
    assert page.tags.count("img") == 1
    assert [link[:22] for link in page.links if not link.startswith("#")] == ["data:image/png;base64,"]
    assert (tmp_path / "run" / "report.html").stat().st_size < 1_000_000


def test_a_long_table_is_cut_and_says_so(tmp_path):
    experiment, _ = showing(lambda: [lw.Table("Long", ("number",), [(number,) for number in range(2000)])])
    experiment.run(tmp_path / "run")
    page = report_of(tmp_path / "run")
    assert "The first 500 of 2,000 rows." in page.text
    cells = page.text.split()
    assert "499" in cells
    assert "501" not in cells


def test_pictures_are_put_into_the_page_with_their_captions(tmp_path):
    grey = torch.linspace(0, 1, 12).view(1, 3, 4)
    red = torch.tensor([2.0, -1.0, math.nan]).view(3, 1, 1).expand(3, 5, 5)  # outside 0..1, and no number
    large = torch.rand(3, 700, 1400)
    experiment, _ = showing(lambda: [lw.Pictures("Seen <b>", [grey, red, large], ["a <i>", "b", "c"], "noted")])
    experiment.run(tmp_path / "run")
    page = report_of(tmp_path / "run")
    for text in ("Seen <b>", "a <i>", "noted"):
        assert text in page.text
    shown = [embedded(link, "image/png") for link in page.links if link.startswith("data:")]
    first, second, third = (matplotlib.image.imread(io.BytesIO(file)) for file in shown)
    assert first.shape == (3, 4, 4)
    assert first[:, :, 0] == pytest.approx(grey[0].numpy(), abs=1 / 255)
    assert second[0, 0].tolist() == [1, 0, 0, 1]
    assert third.shape == (256, 512, 4)  # shrunk


def test_recordings_are_put_into_the_page_and_can_be_listened_to(tmp_path):
    def made() -> list[lw.Section]:
        tone = torch.sin(torch.arange(800) * 0.1)
        return [lw.Sounds("Heard", [tone, 2 * torch.ones(300_000)], 8000, ["a tone", "too loud and long"])]

    experiment, _ = showing(made)
    experiment.run(tmp_path / "run")
    page = report_of(tmp_path / "run")
    assert page.tags.count("audio") == 2
    for text in ("a tone", "0.1 s", "the first 30.0 of 37.5 s"):
        assert text in page.text
    tone, loud = (embedded(link, "audio/wav") for link in page.links if link.startswith("data:"))
    with wave.open(io.BytesIO(tone)) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getnframes()) == (8000, 1, 800)
        levels = torch.frombuffer(bytearray(sound.readframes(800)), dtype=torch.int16)
    torch.testing.assert_close(levels / 32767, torch.sin(torch.arange(800) * 0.1), atol=1 / 32767, rtol=0)
    assert loud[44:46] == (32767).to_bytes(2, "little")


@pytest.mark.parametrize(("preformatted", "tag"), [(True, "pre"), (False, "p")])
def test_passages_are_shown_as_they_are_and_nothing_in_them_is_markup(tmp_path, preformatted, tag):
    passages = ["two\n  <script>lines</script> & a bell \a", "x" * 7000]
    experiment, _ = showing(lambda: [lw.Text("Written", passages, ["first", "second"], preformatted)])
    experiment.run(tmp_path / "run")
    page = report_of(tmp_path / "run")
    assert "two\n  <script>lines</script> & a bell \\x07" in page.text
    assert "script" not in page.tags
    assert f'<{tag} class="passage">two' in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "the first 5,000 of 7,000 characters" in page.text
    assert "x" * 5000 in page.text
    assert "x" * 5001 not in page.text


@pytest.mark.parametrize(
    ("section", "tag", "shown", "said"),
    [
        (lw.Pictures("Many", [torch.zeros(1, 2, 2)] * 70), "img", 64, "The first 64 of 70 pictures."),
        (lw.Sounds("Many", [torch.zeros(9)] * 30, 8000), "audio", 20, "The first 20 of 30 recordings."),
        (lw.Text("Many", ["some words"] * 60), "figure", 50, "The first 50 of 60 passages."),
    ],
    ids=["pictures", "sounds", "text"],
)
def test_of_very_many_the_first_are_shown_and_the_page_says_so(tmp_path, section, tag, shown, said):
    experiment, _ = showing(lambda: [section])
    experiment.run(tmp_path / "run")
    page = report_of(tmp_path / "run")
    assert page.tags.count(tag) == shown
    assert said in page.text


def test_what_was_measured_once_has_no_curve(tmp_path):
    sorting(train={"steps": 4, "batch_size": 10, "log_every": 4}, log=["report"]).run(tmp_path / "run")
    page = report_of(tmp_path / "run")
    assert "Learning curves" not in page.text
    assert "svg" not in page.tags


@pytest.mark.parametrize(
    "made",
    [
        lambda: 1 / 0,
        lambda: [lw.Figure("Bad", drawn(label="$\\nonsense{$"))],
        lambda: [lw.Table("Short", ("a", "b"), [("only one",)])],
        lambda: [lw.Text("Captions", ["one", "two"], ["only one"])],
        lambda: ["no section"],
    ],
    ids=["error", "unknown formula", "short row", "a caption missing", "no section"],
)
def test_a_part_that_cannot_be_made_is_named_and_the_rest_is_there(tmp_path, caplog, made):
    experiment, _ = showing(made)
    run = experiment.run(tmp_path / "run")
    assert run.outcome is not None
    assert run.outcome.status == "finished"
    page = report_of(tmp_path / "run")
    assert "This part is missing" in page.text
    assert "Error" in page.text
    assert "labwright evaluate" in page.text
    assert "the report has no sections of the task" in caplog.text


def test_a_report_that_cannot_be_written_does_not_lose_the_run(tmp_path, caplog):
    class InTheWay:
        @lw.hookimpl
        def labwright_run_started(self, run: lw.Run) -> None:
            (run.folder / "report.html").mkdir()

    run = sorting(train=TRAIN, log=["report"]).run(tmp_path / "run", listeners=[InTheWay()])
    assert run.outcome is not None
    assert run.outcome.status == "finished"
    assert f"{run.folder}: report.html could not be written: " in caplog.text
    assert "Is a directory" in caplog.text


def test_a_failed_run_has_a_report_with_the_reason(tmp_path):
    with pytest.raises(lw.RunFailed):
        sorting(train=TRAIN, log=["report"], optimizer={"name": "sgd", "lr": 1e30}).run(tmp_path / "run")
    page = report_of(tmp_path / "run")
    assert "failed" in page.text
    assert re.search(r"the loss of phase 'train' became (nan|inf)", page.text)
    assert "labwright resume" in page.text


def test_an_interrupted_run_has_a_report_without_the_tasks_sections(tmp_path):
    experiment, task = showing(lambda: [lw.Table("Rows", ("a",), [(1,)])])
    experiment.trainer(tmp_path / "run").fit(until=7)
    page = report_of(tmp_path / "run")
    assert "interrupted after step 7 of 12" in page.text
    assert "labwright resume" in page.text
    assert not hasattr(task, "seen")


def test_every_phase_has_its_line_in_the_curves(tmp_path):
    duel(train={"steps": 24, "batch_size": 15, "log_every": 3}, log=["report"]).run(tmp_path / "run")
    page = report_of(tmp_path / "run")
    html = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert page.text.count("generator") >= 2
    assert "stroke: var(--series-2)" in html
    assert "lower is better" in page.text


def test_a_run_without_held_out_data_has_a_report(tmp_path):
    sorting(Blobs(held_out=0), train=TRAIN, log=["report"]).run(tmp_path / "run")
    page = report_of(tmp_path / "run")
    assert "No metrics" in page.text
    assert "Training loss" in page.text


class Wild(Sorting):
    """Its metric is no number in the first evaluation."""

    goal = lw.Goal("wild", "maximize")

    def metrics(self) -> dict[str, lw.Metric]:
        values = iter([math.nan])
        self.first = getattr(self, "first", values)
        return {"wild": Given(next(self.first, 0.5))}


class Given:
    def __init__(self, value: float) -> None:
        self.value = value

    def update(self, *results: Any) -> None: ...

    def compute(self) -> float:
        return self.value

    def reset(self) -> None: ...


def test_a_metric_that_was_no_number_leaves_a_gap_and_no_error(tmp_path, caplog):
    settings = {"optimizer": {"name": "sgd", "lr": 0.01}, "device": "cpu", "train": TRAIN, "log": ["report"]}
    lw.Experiment(task=Wild(Blobs()), model=Net, loss=nn.CrossEntropyLoss(), **settings).run(tmp_path / "run")
    page = report_of(tmp_path / "run")
    assert "best 0.5 at step 12" in page.text
    assert caplog.text == ""


IN_A_FRESH_PROCESS = """
import sys
from importlib.abc import MetaPathFinder

class Watching(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in ("tensorflow", "matplotlib.pyplot", "torch._dynamo", "torch.utils.tensorboard"):
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
experiment = sorting(train={"steps": 2, "batch_size": 15}, log=["report", "tensorboard"])
experiment.run(sys.argv[1], listeners=[InTheWay()])
print("settings of matplotlib as before:", str(matplotlib.rcParams.copy()) == before)
"""


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
        log=["progress", "report", "tensorboard"],
    )
    run = experiment.run(tmp_path / "run")
    assert run.outcome is not None
    assert run.outcome.status == "finished"
    assert (tmp_path / "run" / "report.html").is_file()
    assert "train/loss/critic" in scalars(tmp_path / "run" / "tensorboard")
    assert capsys.readouterr().err.count("\n") >= 4
