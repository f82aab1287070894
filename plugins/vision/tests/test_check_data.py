"""Five in a hundred digits are labelled wrong on purpose: check-data finds most of them, and little else."""

from __future__ import annotations

import pytest
import torch
from labwright_tasks.checking.look import look
from labwright_vision.data.digits import Digits


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_flipped_labels_of_digits_are_found(seed):
    data = Digits()
    data.prepare()
    generator = torch.Generator().manual_seed(seed)
    flipped = set()
    for name in ("train", "valid", "test"):
        labels = data.split(name).labels
        some = torch.randperm(len(labels), generator=generator)[: round(0.05 * len(labels))]
        labels[some] = (labels[some] + torch.randint(1, 10, (len(some),), generator=generator)) % 10
        flipped |= {(name, index) for index in some.tolist()}
    (finding,) = [one for one in look(data, most=10_000, seed=0, say=str).findings if one.check == "labels"]
    right = len(flipped & set(finding.samples))
    assert right / len(finding.samples) >= 0.8, "precision"
    assert right / len(flipped) >= 0.8, "recall"
    assert finding.wrong
