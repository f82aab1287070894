"""A decoder that writes one token at a time gives the logits that it gives to the whole text, to the last digits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from labwright import Tokens
from labwright_nlp.models.gpt import GPT
from labwright_tasks.continuing import Continuing
from labwright_tasks.language_model import NextTokens
from torch import Tensor, nn

INPUTS, NEXT, SHORTEST, ADDED = Tokens(40, 16, pad_id=0), NextTokens(40, 16), [3, 9, 1, 6], 7
KINDS: dict[str, dict[str, Any]] = {
    "learned": {},
    "rotary": {"positions": "rotary", "activation": "relu2"},
    "n-grams": {"ngrams": 3, "buckets": 97},
    "rotary-n-grams": {"positions": "rotary", "ngrams": 4, "buckets": 97},
    "llama": {"positions": "rotary", "norm": "rms", "activation": "swiglu", "key_heads": 1, "tied": False},
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def made(kind: dict[str, Any]) -> GPT:
    torch.manual_seed(0)
    model = GPT(INPUTS, NEXT, width=16, depth=2, heads=2, **kind).double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)  # far from where they begin, so that all of a text matters
    return model


def texts() -> tuple[Tensor, Tensor]:
    """Texts of which the first `SHORTEST` tokens are given and `ADDED` more are written."""
    return torch.randint(1, 40, (4, 16), generator=torch.Generator().manual_seed(1)), torch.tensor(SHORTEST)


@torch.no_grad()
def expected(model: GPT, ids_BT: Tensor) -> list[Tensor]:
    """Of each text alone the logits of the token after each, (T, V)."""
    return [model(ids_T[None], torch.tensor([16]))[0] for ids_T in ids_BT]


@every_kind
@torch.no_grad()
def test_texts_of_unequal_length_go_on_together_as_each_does_alone(kind: dict[str, Any]) -> None:
    model = made(kind)
    assert isinstance(model, Continuing)
    ids_BT, lengths_B = texts()
    whole, rows = expected(model, ids_BT), torch.arange(4)
    padded_BT = ids_BT[:, :9].masked_fill(torch.arange(9) >= lengths_B[:, None], 7)  # any token may stand there
    logits_BV, state = model.begin(padded_BT, lengths_B)
    for step in range(ADDED + 1):
        wanted_BV = torch.stack([whole[row][length - 1 + step] for row, length in enumerate(SHORTEST)])
        torch.testing.assert_close(logits_BV, wanted_BV, rtol=0, atol=1e-10)
        if step < ADDED:
            logits_BV, state = model.extend(state, ids_BT[rows, lengths_B + step])
    assert all(len(each) == 4 for each in state)


@every_kind
@torch.no_grad()
def test_rows_of_the_state_can_be_chosen_repeated_and_gone_on_with_twice(kind: dict[str, Any]) -> None:
    model = made(kind)
    ids_BT, lengths_B = texts()
    whole, chosen = expected(model, ids_BT), torch.tensor([2, 0, 2])
    _, state = model.begin(ids_BT[:, :9], lengths_B)
    state = tuple(each[chosen] for each in state)
    for _ in range(2):  # the state is as it was
        logits_BV, _ = model.extend(state, ids_BT[chosen, lengths_B[chosen]])
        for row, text in enumerate(chosen.tolist()):
            torch.testing.assert_close(logits_BV[row], whole[text][SHORTEST[text]], rtol=0, atol=1e-10)


@torch.no_grad()
def test_a_text_of_all_positions_can_be_written_and_its_state_grows_by_one_token_a_step() -> None:
    model = made({})
    ids_BT, _ = texts()
    logits_BV, state = model.begin(ids_BT[:, :1], torch.ones(4, dtype=torch.int64))
    for place in range(1, 16):
        logits_BV, state = model.extend(state, ids_BT[:, place])
        assert {each.shape[2] for each in state if each.dim() == 4} == {place + 1}
    torch.testing.assert_close(logits_BV, model(ids_BT, torch.full((4,), 16))[:, -1], rtol=0, atol=1e-10)
