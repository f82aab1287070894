"""What a notebook shows: tables that say what they were given, and the run that was loaded, drawn."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from html.parser import HTMLParser
from importlib import metadata
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labwright.cli import main
from labwright_instruments.notebooks.tables import html_table


class Cells(HTMLParser):
    """The texts of a table's cells, as a browser reads them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.inside = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.inside = tag in ("td", "th")
        self.cells += [""] * self.inside

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.cells[-1] += data


words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")))


@given(st.lists(st.tuples(words, words), min_size=1))
def test_a_table_says_what_it_was_given_whatever_it_is(rows: list[tuple[str, str]]) -> None:
    html = html_table("<b>", ("a", "b&"), rows, ["<i>"])
    assert Cells(html).cells == ["a", "b&", *(cell for row in rows for cell in row)]
    assert "color" not in html  # the page's own, light or dark


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> lw.Run:
    changed = ["train.epochs=2", "train.log_every=7", "log=[]", "device={name='cpu',threads=1}"]
    experiment = lw.Experiment.from_recipe("vision/digits-mlp", changed)
    return experiment.run(str(tmp_path_factory.mktemp("runs") / "digits"))


def test_an_experiment_shows_each_component_with_its_settings(run: lw.Run) -> None:
    experiment = lw.Experiment.from_recipe("vision/digits-mlp", ["model.width=96"])
    assert repr(experiment) == (
        "Experiment('vision/digits-mlp': classification, vision/digits, vision/mlp, cross-entropy, adamw)"
    )
    cells = Cells(experiment._repr_html_()).cells
    assert cells[:3] == ["part", "name", "settings"]
    assert cells[cells.index("model") + 1] == "vision/mlp"
    assert "width = 96, depth = 2" in cells[cells.index("model") + 2]
    assert cells[cells.index("task.data") + 1] == "vision/digits"


def test_runs_and_evaluations_show_their_metrics(run: lw.Run) -> None:
    accuracy = run.metrics["test"]["accuracy"]
    assert "\n" not in repr(run) and f"test accuracy {accuracy:.4g}" in repr(run)
    cells = Cells(run._repr_html_()).cells
    assert cells[:3] == ["metric", "valid (144 samples)", "test (360 samples)"]
    told = f"{accuracy:.5g} ({lw.interval_of(run.metrics['test'], 'accuracy')})"
    assert cells[cells.index("accuracy") + 2] == told and " to " in told
    loaded = lw.load(run)
    assert "model" in Cells(loaded._repr_html_()).cells
    assert told in Cells(loaded.evaluate()._repr_html_()).cells


def test_each_figure_that_was_logged_is_drawn_with_its_values(run: lw.Run, tmp_path: Path) -> None:
    loaded = lw.load(run)
    figure: Any = loaded.plot()
    panels = {axes.get_title(): axes for axes in figure.axes}
    assert list(panels) == ["loss", "accuracy", "cross_entropy", "lr"]
    valid, test = panels["accuracy"].get_lines()
    measured = [row["accuracy"] for row in loaded.history() if row["split"] == "valid"]
    assert list(valid.get_ydata()) == measured and len(measured) == 2
    assert list(test.get_ydata()) == [run.metrics["test"]["accuracy"]]
    assert list(panels["loss"].get_lines()[0].get_xdata()) == [7, 14, 21, 28, 35, 42]
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_without_the_distribution_it_is_said_and_a_notebook_shows_the_line(
    run: lw.Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    every, loaded = metadata.entry_points, lw.load(run)

    def others(**which: Any) -> Iterable[metadata.EntryPoint]:
        return [point for point in every(**which) if point.name != "instruments"]

    monkeypatch.setattr(metadata, "entry_points", others)
    assert run._repr_html_() is None
    with pytest.raises(lw.LabwrightError, match="plot comes with labwright-instruments: pip install"):
        loaded.plot()
    monkeypatch.setattr(sys, "argv", ["labwright", "run", "vision/digits-mlp", "--dry-run"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "comes with labwright-instruments: pip install labwright[instruments]" in capsys.readouterr().err
