"""The confusion matrix of a report: what it shows is what was counted, and few errors can be seen beside much right."""

from __future__ import annotations

import re

import numpy as np
import pytest
from labwright import Table
from labwright.report.sections import card
from labwright_tasks.classification_report import confused, matrix

CELL = re.compile(r'<g>\s*<title>([^<]*)</title>\s*<(?:path|use)[^>]*style="fill: (#\w+); fill-opacity: ([0-9.]+)')


def drawn(counts: np.ndarray) -> tuple[dict[tuple[str, str], tuple[str, float]], str]:
    """The colour and the strength of each cell that is drawn, by its true and its given class; and the card."""
    page = str(card(matrix(counts, names(len(counts)))))
    cells = {}
    for said, colour, strength in CELL.findall(page):
        found = re.fullmatch(r"true (\w+), given (\w+): ([\d,]+) of ([\d,]+)", said)
        assert found
        true, given, count, of = found.groups()
        row, column = int(true[1:]), int(given[1:])
        assert int(count.replace(",", "")) == counts[row, column]
        assert int(of.replace(",", "")) == counts[row].sum()
        cells[true, given] = (colour, float(strength))
    return cells, page


def names(classes: int) -> tuple[str, ...]:
    return tuple(f"c{number}" for number in range(classes))


@pytest.mark.parametrize("classes", [2, 20])
def test_one_error_in_thousands_is_as_strong_as_what_is_right(classes: int) -> None:
    counts = np.diag([5_000] * classes)
    counts[0, 1], counts[1, 0] = 4, 2
    cells, page = drawn(counts)
    assert len(cells) == classes + 2  # nothing where nothing was counted
    right, most, fewer = (cells[pair] for pair in (("c0", "c0"), ("c0", "c1"), ("c1", "c0")))
    assert most[0] == fewer[0] != right[0]
    assert most[1] == pytest.approx(0.7)
    assert fewer[1] == pytest.approx(0.1 + 0.6 * (2 / 5002) / (4 / 5004), abs=1e-3)
    assert right[1] == pytest.approx(0.7, abs=1e-3)
    assert "orange is wrong, up to 0.1% of one" in page
    assert "too many" not in page


def test_letters_and_lines_follow_the_page() -> None:
    _, page = drawn(np.array([[5, 1], [0, 4]]))
    svg = page[page.index("<svg") :]
    assert 'fill="currentColor"' in svg
    assert not re.search("#000000|#ffffff", svg)
    assert "paper" not in page


def test_more_classes_than_can_be_named_are_said_and_listed() -> None:
    counts = np.diag([50] * 21)
    counts[3, 7], counts[20, 0] = 9, 2
    cells, page = drawn(counts)
    assert len(cells) == 23
    assert "21 classes are too many for names" in page
    (table,) = confused(counts, names(21))
    assert isinstance(table, Table)
    assert table.rows == [("c3", "c7", 9, "0.1525"), ("c20", "c0", 2, "0.0385")]  # 9 of 59, 2 of 52
    assert confused(np.diag([50] * 20), names(20)) == confused(np.diag([50] * 21), names(21)) == []


def test_where_all_is_right_nothing_is_wrong() -> None:
    cells, page = drawn(np.diag([3, 4]))
    assert set(cells) == {("c0", "c0"), ("c1", "c1")}
    assert "up to 0.0% of one" in page
