"""The most probable sequences of a model that tells the next token. R rows, K beams, N = R * K, T tokens, V vocabulary.

A search goes on with the K most probable beginnings of each row at once. With K = 1 it is greedy; with K as large as
the number of sequences it tries all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from labwright_tasks.next_token import no_numbers

_NONE = -math.inf


def beam_search(
    next_logits: Callable[[Tensor, Tensor], Tensor],
    rows: int,
    *,
    beams: int,
    begin_id: int,
    end_id: int,
    longest: int,
    penalty: float,
    device: torch.device,
) -> list[list[int]]:
    """For each row the best sequence found, without its begin and end.

    A sequence that ended has the score log P / ((5 + length) / 6) ** penalty, its end counted (Wu et al. 2016, section
    7); one that reached `longest` counts as ended. A row is done when no beginning can become better than that.

    Args:
        next_logits: of sequences (N, T), each row's beams one after another: logits (N, V). It is told of each which
            sequence of the call before it goes on from, (N,).
        rows: how many searches go on side by side.
        beams: K.
        begin_id: the token that sequences begin with.
        end_id: the token that ends them.
        longest: most tokens, the end among them.
        penalty: 0 compares by log P alone, which favours short ones.
        device: of the sequences.

    Raises LabwrightError for logits that are no numbers.
    """
    ids_NT = torch.full((rows * beams, 1), begin_id, device=device)
    scores_RK = torch.full((rows, beams), _NONE, device=device)
    scores_RK[:, 0] = 0.0  # the beams of a row are the same at first: one of them is enough
    best_R = torch.full((rows,), _NONE, device=device)
    best: list[list[int]] = [[] for _ in range(rows)]
    first_R1 = torch.arange(rows, device=device)[:, None] * beams
    grown_N = torch.arange(rows * beams, device=device)
    for length in range(1, longest + 1):
        log_probs_NV = next_logits(ids_NT, grown_N).float().log_softmax(-1)
        vocabulary = log_probs_NV.shape[1]
        sums_RC = (scores_RK[:, :, None] + log_probs_NV.view(rows, beams, vocabulary)).flatten(1)
        scores_RK, chosen_RK = sums_RC.topk(beams)
        if bool(scores_RK.isnan().any()):
            raise no_numbers()
        tokens_RK = chosen_RK % vocabulary
        grown_N = (first_R1 + chosen_RK // vocabulary).flatten()
        ids_NT = torch.cat([ids_NT[grown_N], tokens_RK.view(-1, 1)], dim=1)
        ended_RK = (tokens_RK == end_id) | (length == longest)
        ended_R, beam_R = (scores_RK.masked_fill(~ended_RK, _NONE) / _norm(length, penalty)).max(dim=1)
        for row in (ended_R > best_R).nonzero()[:, 0].tolist():
            tokens = ids_NT[row * beams + int(beam_R[row]), 1:].tolist()
            best[row] = tokens[:-1] if tokens[-1] == end_id else tokens
        best_R = torch.maximum(best_R, ended_R)
        # what ended leaves the search; log P falls with each token, so that this is the most a beginning may come to
        scores_RK = scores_RK.masked_fill(ended_RK, _NONE)
        if bool((best_R >= scores_RK.amax(dim=1) / _norm(longest, penalty)).all()):
            break
    return best


def _norm(length: int, penalty: float) -> float:
    return float(((5 + length) / 6) ** penalty)
