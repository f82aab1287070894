"""What is held out: the right number, each class in proportion, and the samples with the smallest keys."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as some
from labwright_vision.data.pictures import held_out


@given(labels=some.lists(some.integers(0, 4), min_size=1, max_size=80), share=some.floats(0, 0.9), data=some.data())
def test_each_class_is_at_most_one_sample_off_its_share(labels: list[int], share: float, data: some.DataObject) -> None:
    keys = data.draw(some.permutations(range(len(labels))))
    mask = held_out(labels, share, keys)
    assert mask.sum() == round(share * len(labels))
    for label in set(labels):
        of_class = np.array(labels) == label
        assert abs(mask[of_class].sum() - share * of_class.sum()) < 1
        taken, left = np.array(keys)[of_class & mask], np.array(keys)[of_class & ~mask]
        assert not len(taken) or not len(left) or taken.max() < left.min()
