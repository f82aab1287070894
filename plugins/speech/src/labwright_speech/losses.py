"""Connectionist temporal classification. B batch, T frames, C blank and symbols, L symbols of a transcript."""

from __future__ import annotations

from typing import final

import torch
from labwright import Loss
from torch import Tensor
from torch.nn import functional

from labwright_speech.ports import BLANK


@final
class CTC(Loss):
    """Negative log-likelihood of a transcript, summed over its alignments with the frames, in nats.

    Each utterance's is divided by its number of symbols, 1 at least; the loss is the mean over utterances, as torch's
    `reduction="mean"`, and so of micro-batches that of the whole. Source: Graves et al. 2006. An utterance that doesn't
    fit into its frames has an infinite one.
    """

    def forward(self, log_probs: Tensor, targets: Tensor, lengths: Tensor) -> Tensor:
        """Log-probabilities (B, T, C), the ids of symbols (B, L) and how many they are (B,) to a scalar."""
        frames_B = lengths.new_full((len(log_probs),), log_probs.shape[1])
        log_probs_TBC = log_probs.transpose(0, 1)
        if log_probs.dtype in (torch.float16, torch.bfloat16):
            log_probs_TBC = log_probs_TBC.float()
        return functional.ctc_loss(log_probs_TBC, targets, frames_B, lengths, blank=BLANK)
