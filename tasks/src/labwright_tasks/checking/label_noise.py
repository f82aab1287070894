"""Confident learning: labels that a classifier has good reason to doubt. N samples, C classes.

Source: Northcutt, Jiang & Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70. The
names are the paper's: the confident joint counts pairs of a given and a likely true label, equations 1 and 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LabelNoise:
    """What confident learning says of labels.

    `suspects` are indices, the most doubtful first; `likely_N` the class each sample is counted for, -1 for none;
    `joint_CC` the estimated joint distribution of given (rows) and true labels.
    """

    suspects: Tensor
    likely_N: Tensor
    joint_CC: Tensor

    @property
    def share(self) -> float:
        """The estimated share of labels that are wrong."""
        return 1 - float(self.joint_CC.diag().sum())


def label_noise(probabilities_NC: Tensor, labels_N: Tensor) -> LabelNoise:
    """Which labels are probably wrong, given probabilities that come from models which haven't seen the sample.

    A sample counts for a class if its probability there is at least the mean one of those labelled so (the threshold
    t_j, equation 2), for the most probable of several. Those that count for another class than their label's, and whose
    most probable class is another as well, are the suspects: the method "C~y,y*" of section 3.2, with the rule of
    cleanlab that a label which is the most probable one isn't doubted. They are ranked by how much more probable the
    other class is.

    A class that no sample is labelled as is never a likely one.
    """
    classes = probabilities_NC.shape[1]
    rows = torch.arange(len(labels_N))
    given_N = probabilities_NC[rows, labels_N]
    counts_C = labels_N.bincount(minlength=classes)
    thresholds_C = torch.zeros(classes).index_add_(0, labels_N, given_N) / counts_C  # of no samples: nan, never reached
    above_NC = probabilities_NC >= thresholds_C - 1e-6  # of rounding: a class of one sample reaches its own mean
    likely_N = torch.where(above_NC, probabilities_NC, -1.0).argmax(1).masked_fill(~above_NC.any(1), -1)
    doubted_N = (likely_N >= 0) & (likely_N != labels_N) & (probabilities_NC.argmax(1) != labels_N)
    suspects = doubted_N.nonzero()[:, 0]
    margins = probabilities_NC[suspects, likely_N[suspects]] - given_N[suspects]
    return LabelNoise(
        suspects[margins.argsort(descending=True, stable=True)], likely_N, _joint(likely_N, labels_N, counts_C)
    )


def _joint(likely_N: Tensor, labels_N: Tensor, counts_C: Tensor) -> Tensor:
    """The confident joint with rows that sum to the labels' counts, over their number: equation 3."""
    classes, counted = len(counts_C), likely_N >= 0
    pairs = labels_N[counted] * classes + likely_N[counted]
    confident_CC = pairs.bincount(minlength=classes**2).reshape(classes, classes).double()
    of_label_C = confident_CC.sum(1)
    # a label none of whose samples counts for anything is taken as right
    confident_CC[of_label_C == 0] = torch.eye(classes, dtype=torch.float64)[of_label_C == 0]
    joint_CC = confident_CC / confident_CC.sum(1, keepdim=True) * counts_C[:, None]
    return joint_CC / joint_CC.sum()
