"""Texts that are drawn: all words are there, as they are, within the lines, and what is wrong is framed."""

from __future__ import annotations

import io
from itertools import pairwise

import pytest
from labwright_tasks.coloured_texts import Word, drawn, tinted
from matplotlib.patches import Rectangle

RED = (1.0, 0.0, 0.0)


def test_words_stand_in_their_order_each_with_its_label() -> None:
    canvas = drawn([[Word("Ada", RED, "B-PER"), Word("costs"), Word("$5 or $6", label="O, not B-SUM", wrong=True)]])
    (axes,) = canvas.axes
    assert [text.get_text() for text in axes.texts] == ["Ada", "B-PER", "costs", "$5 or $6", "O, not B-SUM"]
    assert not any(text.get_parse_math() for text in axes.texts)  # or $ would begin a formula
    frames = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert [frame.get_edgecolor()[3] for frame in frames] == [0, 1]  # framed is the one that is wrong


@pytest.mark.filterwarnings("error")
def test_no_word_reaches_out_of_its_line_or_into_another_and_letters_without_a_glyph_are_boxes() -> None:
    passages = [[Word("word" * (number % 5 + 1), label="I-X" * (number % 2)) for number in range(60)], [Word("日本")]]
    canvas = drawn(passages)
    canvas.savefig(io.BytesIO(), format="png")
    (axes,) = canvas.axes
    assert axes.texts[-1].get_text() == "\u25a1\u25a1"
    boxes = [text.get_window_extent() for text in axes.texts]
    width = canvas.bbox.width
    assert all(-1 < box.x0 < box.x1 < width + 1 for box in boxes)
    for box, after in pairwise(boxes):
        assert box.x1 < after.x0 or box.y0 > after.y0


def test_a_tint_is_nearer_to_white() -> None:
    assert tinted(RED, 0.0) == (1, 1, 1) and tinted(RED, 1.0) == RED and tinted((0, 0, 0), 0.25) == (0.75, 0.75, 0.75)
