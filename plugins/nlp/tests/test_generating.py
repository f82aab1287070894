"""How texts are written: filters as transformers has them, and the same texts with keys and values kept as without."""

from __future__ import annotations

import pytest
import torch
from labwright import Tokens
from labwright_nlp.models.gpt import GPT
from labwright_tasks.continuing import Beginnings, Continuations
from labwright_tasks.language_model import NextTokens
from labwright_tasks.next_token import Sampling, chances
from torch import Tensor, nn

VOCABULARY, WINDOW = 40, 16


@pytest.mark.parametrize(
    "how",
    [
        Sampling(temperature=1.0, top_k=7),
        Sampling(temperature=1.0, top_p=0.6),
        Sampling(temperature=1.0, min_p=0.2),
        Sampling(temperature=1.0, repetition_penalty=1.7),
        Sampling(temperature=0.6, top_k=20, top_p=0.9, min_p=0.05, repetition_penalty=0.8),
    ],
    ids=["top-k", "top-p", "min-p", "repetition-penalty", "all"],
)
def test_what_is_left_is_what_transformers_leaves(how: Sampling) -> None:
    from transformers.generation import logits_process as library

    steps = [
        library.RepetitionPenaltyLogitsProcessor(how.repetition_penalty),
        library.TemperatureLogitsWarper(how.temperature),
        *([library.TopKLogitsWarper(how.top_k)] if how.top_k else []),
        *([library.TopPLogitsWarper(how.top_p)] if how.top_p else []),
        *([library.MinPLogitsWarper(how.min_p)] if how.min_p else []),
    ]
    draws = torch.Generator().manual_seed(0)
    for _ in range(50):
        logits_V = 3 * torch.randn(VOCABULARY, generator=draws)
        before = torch.randint(VOCABULARY, (9,), generator=draws)
        expected = logits_V[None].clone()
        for step in steps:
            expected = step(before[None], expected)
        shares, tokens = chances(logits_V, before.tolist(), how)
        found_V = torch.zeros(VOCABULARY).index_put((tokens,), shares)
        torch.testing.assert_close(found_V, expected[0].softmax(0))
        assert set(tokens.tolist()) == set(expected[0].isfinite().nonzero()[:, 0].tolist())


class Recomputed(nn.Module):
    """A model without anything beside its forward; counts how many tokens it has read."""

    def __init__(self, model: GPT) -> None:
        super().__init__()
        self.model, self.read = model, 0

    def forward(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        self.read += ids_BT.numel()
        logits: Tensor = self.model(ids_BT, lengths_B)
        return logits


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_texts_with_keys_and_values_kept_are_those_of_full_recomputation(positions: str) -> None:
    torch.manual_seed(0)
    model = GPT(
        Tokens(VOCABULARY, WINDOW), NextTokens(VOCABULARY, WINDOW), width=16, depth=2, heads=2, positions=positions
    )  # type: ignore[arg-type]
    model.double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    rows = [[1], [5, 4, 3, 2, 9], [*range(WINDOW - 1)], [*range(WINDOW)], [*range(WINDOW + 9)]]
    hows = [
        Sampling(length=24, temperature=0.0),
        Sampling(length=24, sample_seed=4),
        Sampling(length=2, top_p=0.8),
        Sampling(length=7, repetition_penalty=1.5),
        Sampling(length=24, sample_seed=4),
    ]

    def written(some: list[int], of: nn.Module) -> list[str]:
        chosen = [hows[row] for row in some]
        beginnings = Beginnings(of, [rows[row] for row in some], window=WINDOW, device=torch.device("cpu"))
        draws = [torch.Generator().manual_seed(how.sample_seed) for how in chosen]
        texts = Continuations(beginnings, chosen, draws, lambda ids: "".join(chr(65 + token) for token in ids))
        return ["".join(texts.pieces(row)) for row in range(len(some))]

    together = written([*range(5)], model)
    assert [len(text) for text in together] == [24, 24, 2, 7, 24]
    assert together == written([*range(5)], Recomputed(model))
    assert together == [written([row], model)[0] for row in range(5)]
    assert together == [written([row], Recomputed(model))[0] for row in range(5)]
