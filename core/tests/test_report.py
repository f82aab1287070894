"""report.html of a run: what stands in it, escaped and within bounds, and what it lacks where something fails."""

from __future__ import annotations

import base64
import html
import io
import json
import math
import re
import wave
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import labwright as lw
import matplotlib.image
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from labwright.report.charts import thinned, zoomed
from labwright.report.curves import curves
from labwright.report.run_report import write
from labwright.report.sections import card
from matplotlib.figure import Figure as Canvas
from parts import Blobs, Net, Sorting, duel, sorting
from torch import nn

TRAIN = {"epochs": 2, "batch_size": 15, "log_every": 2}  # 12 steps


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
        "first 0.01, highest logged 0.01 at step 2, last 0.01",
        "batch_size",
        torch.__version__,
        f"labwright run {folder / 'recipe.toml'}",
        f"labwright evaluate {folder}",
    ):
        assert text in page.text, text
    processor = json.loads((folder / "environment.json").read_text())["processor"]
    assert f"cpu {processor}" in page.text
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


class Elements(HTMLParser):
    """Every element of a page: its tag, what it is given, and whether it stands in something that scrolls by itself."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str], bool]] = []
        self.around: list[bool] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.all.append((tag, given, any(self.around)))
        if tag not in Page.VOID:
            self.around.append(bool({"scroll", "sideways"} & set(given.get("class", "").split())))

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.all.append((tag, {name: value or "" for name, value in attrs}, any(self.around)))

    def handle_endtag(self, tag: str) -> None:
        self.around.pop()

    def of(self, *tags: str) -> list[dict[str, str]]:
        return [given for tag, given, _ in self.all if tag in tags]


def test_a_page_can_be_read_on_a_phone_and_aloud_and_has_links_to_its_sections(tmp_path):
    def made() -> list[lw.Section]:
        picture = lw.Pictures("Seen", [torch.zeros(1, 2, 2)])
        return [lw.Figure("Wide", drawn()), picture, lw.Sounds("Heard", [torch.zeros(9)], 8000), lw.Film("Moving", b"")]

    experiment, _ = showing(made)
    experiment.run(tmp_path / "run")
    html = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    page = Elements(html)
    heads = page.of("th")
    assert {head.get("scope") for head in heads} == {"col", "row"}
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in page.of("svg") if "viewbox" in svg)
    assert all(picture["alt"] for picture in page.of("img"))
    (audio,) = page.of("audio")
    assert "controls" in audio
    assert audio["aria-label"] == "Heard"
    links = [link["href"].removeprefix("#") for link in page.of("a")]
    assert links == [section["id"] for section in page.of("section")]
    assert links[:3] == ["results", "learning-curves", "a-closer-look-at-the-test-split"]
    for tag, attributes, scrolls in page.all:
        if tag in ("table", "pre") or (tag == "svg" and "viewbox" in attributes):
            assert scrolls or tag == "pre", (tag, attributes)  # the style makes a pre scroll
        widths = re.findall(r"(?<!max-)width:\s*([0-9.]+)(px|in|rem)", attributes.get("style", ""))
        assert scrolls or not widths, (tag, attributes)
    style = html[html.index("<style>") : html.index("</style>")]
    for number, unit in re.findall(r"(?<![-(])(?:min-)?width: ([0-9.]+)(px|in|rem)", style):
        assert float(number) * {"px": 1, "in": 96, "rem": 16}[unit] <= 320


def lettered(*, image: bool = False) -> Canvas:
    canvas = Canvas(figsize=(3, 2))
    axes = canvas.subplots()
    if image:
        axes.imshow([[0, 1]])
    axes.text(0, 0, "letters", color="white")
    return canvas


@pytest.mark.parametrize(
    ("section", "paper"),
    [
        (lw.Figure("Follows", lettered()), False),
        (lw.Figure("Kept", lettered(), paper=True), True),
        (lw.Figure("Letters on a picture", lettered(image=True)), True),
    ],
    ids=lambda value: value.title if isinstance(value, lw.Figure) else "",
)
def test_figures_follow_the_page_unless_they_stand_on_paper(section, paper):
    shown = card(section)
    svg = shown[shown.index("<svg") :]
    assert ("paper" in shown[: shown.index("<svg")]) == paper
    assert ("#ffffff" in svg) == paper
    assert ("stroke: #000000" in svg) == paper  # the axes
    assert ("stroke: currentColor" in svg) == ("fill: var(--card)" in svg) == (not paper)


def test_a_mark_says_what_its_url_tells():
    canvas = drawn()
    told = ['title:a <b> & "c"', "title:it's", "https://elsewhere"]
    canvas.axes[0].scatter([0, 1, 2], [0, 1, 2], urls=told)
    shown = card(lw.Figure("Told", canvas))
    titles = [html.unescape(text) for text in re.findall("<title>(.*?)</title>", shown)]
    assert titles == ['a <b> & "c"', "it's"]
    assert "<b>" not in shown
    Page(shown)


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


def record(step: int, epoch: float, **values: Any) -> dict[str, Any]:
    return {"event": "evaluation" if "split" in values else "train", "step": step, "epoch": epoch, **values}


def a_log(steps: int, per_epoch: int, every: int) -> list[dict[str, Any]]:
    """Of a run whose rate rises to 1 at a tenth of it and then falls, that is evaluated after each epoch."""
    log = []
    for step in range(1, steps + 1):
        if step % every == 0 or step == 1:
            rate = min(step / (steps // 10), (steps - step) / (steps - steps // 10))
            log.append(record(step, step / per_epoch, loss=1 + 10 / step, lr=rate))
        if step % per_epoch == 0:
            metrics = {"accuracy": 1 - 1 / (1 + step), "hinge": 1 + 20 / step}
            log.append(record(step, step / per_epoch, split="valid", metrics=metrics))
    return log


CARD = re.compile(r'<h3>([^<]*).*?</h3><span class="small">(.*?)</span>.*?(<svg .*?</svg>)', re.DOTALL)


def charts_of(log: Sequence[dict[str, Any]], per_epoch: int, **settings: Any) -> dict[str, tuple[str, str]]:
    """Of each chart by its title the note and the drawing."""
    cards = "".join(curves(log, lw.Goal("accuracy", "maximize"), per_epoch, **settings))
    return {title: (note, svg) for title, note, svg in CARD.findall(cards)}


@pytest.mark.parametrize(("steps", "per_epoch", "every", "epochs"), [(60, 20, 1, 3), (200_000, 1_000, 50, 200)])
def test_curves_have_about_a_hundred_points_and_an_axis_of_epochs(steps, per_epoch, every, epochs):
    charts = charts_of(a_log(steps, per_epoch, every), per_epoch, loss="hinge")
    assert list(charts) == ["Training loss and hinge", "Validation accuracy", "Learning rate"]
    note, svg = charts["Training loss and hinge"]
    told = re.findall("<title>(loss|valid), step ([0-9,]+), epoch ([0-9.]+): ([0-9.]+)</title>", svg)
    count = sum(1 for name, *_ in told if name == "loss")
    assert count == min(steps, 98)  # 4,001 lines in stretches of 41
    assert 0 < sum(1 for name, *_ in told if name == "valid") <= 100
    assert f">{epochs}</text>" in svg
    assert ">epoch</text>" in svg
    assert ">step</text>" in svg
    assert ("each point of loss is the mean of 2,050 steps" in note) == (steps == 200_000)
    assert ("each point of valid is the mean of 2 evaluations" in note) == (steps == 200_000)
    note, svg = charts["Learning rate"]
    first = min(1 / (steps // 10), 1)
    assert note == f"first {first:.4g}, highest logged 1 at step {steps // 10:,}, last 0"
    assert f"lr, step 1, epoch {1 / per_epoch:.4g}: {first:.4g}<" in svg
    assert f"step {steps // 10:,}, epoch {epochs / 10:.4g}: 1<" in svg
    assert svg.count("<title>") <= 103  # a hundred, the first, the peak and the last


def test_the_report_of_a_long_run_is_small_and_soon_laid_out(tmp_path):
    run = sorting(train=TRAIN).run(tmp_path / "run")
    lines = [json.dumps({**one, "seconds": 0.0}) for one in a_log(200_000, 1_000, 50)]
    (run.folder / "metrics.jsonl").write_text("\n".join([*lines, ""]))
    assert run.outcome is not None
    write(run, run.outcome)
    html = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "each point of loss is the mean of 2,050 steps" in html
    assert len(html) < 500_000  # 2 MB would still be sent by mail
    assert len(Elements(html).all) < 5_000  # which a browser lays out in a part of a second


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=1000))
def test_thinning_keeps_the_last_step_and_the_mean(values: list[float]) -> None:
    points = list(enumerate(values, 1))
    few = thinned(points)
    assert len(few) <= 100
    assert few[-1][0] == len(values)
    ends = [0, *(step for step, _ in few)]
    total = sum((end - start) * value for start, end, (_, value) in zip(ends, ends[1:], few, strict=False))
    assert total == pytest.approx(sum(values), abs=1e-3)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200))
def test_an_axis_shows_at_least_the_middle_half(values: list[float]) -> None:
    low, high = zoomed(values)
    ordered = sorted(values)
    assert ordered[0] <= low <= ordered[(len(values) - 1) // 4 + (len(values) > 1)]
    assert ordered[-1] >= high >= ordered[3 * (len(values) - 1) // 4]


def test_a_point_is_the_mean_of_its_stretch():
    log = [record(step, step / 10, loss=float(step % 2)) for step in range(1, 401)]
    note, svg = charts_of(log, 10)["Training loss"]
    values = re.findall(r"<title>loss, step (\d+), epoch [0-9.]+: ([0-9.]+)</title>", svg)
    assert values == [(str(4 * place), "0.5") for place in range(1, 101)]
    assert "each point of loss is the mean of 4 steps" in note


def test_an_axis_goes_to_where_most_values_are_and_says_how_many_are_not():
    near = [0.95 + 0.001 * (step % 5) for step in range(30)]
    log = [
        record(step, step, split="valid", metrics={"accuracy": value})
        for step, value in enumerate([0.1, 0.3, *near], 1)
    ]
    note, svg = charts_of(log, 1)["Validation accuracy"]
    assert note == "best 0.954 at step 7; 2 far points lie outside"
    ticks = [float(text) for text in re.findall(r">(0\.\d+)</text>", svg)]
    assert len(ticks) >= 2
    assert min(ticks) > 0.9


def test_a_curve_says_of_what_it_is():
    def measured(*splits):
        log = [record(step, step, split=split, metrics={"accuracy": step / 9}) for step in (1, 2) for split in splits]
        return [title for title in charts_of(log, 1) if "accuracy" in title]

    assert measured("valid") == ["Validation accuracy"]
    assert measured("train", "valid") == ["accuracy of train, valid"]
    assert measured("train") == ["accuracy of train"]  # where nothing is held out


@pytest.mark.parametrize(("steps", "lines"), [(3, [1, 2, 3]), (250, [1, *range(3, 250, 3), 250])])
def test_a_log_has_a_hundred_lines_of_a_run_and_its_first_step(tmp_path, steps, lines):
    sorting(train={"steps": steps, "batch_size": 15, "evaluate_every": "1000 steps"}).run(tmp_path / "run")
    log = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    assert [one["step"] for one in log if one["event"] == "train"] == lines


def test_settings_that_differ_from_their_defaults_are_marked(tmp_path):
    duel(train={"steps": 2, "batch_size": 15, "clip": 1.0}, log=["report"]).run(tmp_path / "run")
    html = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    rows = re.findall(r'<tr><th scope="row"[^>]*>(.*?)</th><td>(.*?)</td></tr>', html)
    marked = {name: re.sub("<.*?>", "", text) for name, text in rows if 'class="changed"' in text}
    assert marked["batch_size"] == "15 default 64"
    assert marked["clip"] == "1.0 default none"
    assert marked["generator.lr"] == "0.005 default 0.001"
    assert "generator.eps" not in marked
    plain = dict(rows)
    assert plain["keep"] == "2"
    assert "steps" not in marked  # it has no default: a run has a length


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
    """Its metric is no number in the first evaluation after those of the preflight, of valid and test."""

    goal = lw.Goal("wild", "maximize")

    def metrics(self) -> dict[str, lw.Metric]:
        values = iter([0.5, 0.5, math.nan])
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
