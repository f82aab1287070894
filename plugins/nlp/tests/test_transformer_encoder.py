"""Our own encoder: what hidden tokens taught it is where another run begins; padding and a shift change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from labwright import Classes, LabwrightError, Tokens
from labwright.config.resolve import Where
from labwright.runs.start import Start, begin
from labwright_nlp.models.transformer_encoder import TransformerEncoder
from labwright_nlp.ports import HiddenTokens, MaskedTokens, Spans
from labwright_tasks.dense_labels import PositionClasses
from safetensors.torch import save_file
from torch import nn

INPUTS, MASKED = Tokens(40, 12, pad_id=0), MaskedTokens(40, 12, pad_id=0, hidden=3)
SMALL: dict[str, Any] = {"width": 16, "depth": 2, "heads": 2}


def test_a_classifier_begins_with_what_hidden_tokens_taught(tmp_path: Path) -> None:
    torch.manual_seed(0)
    masked = TransformerEncoder(MASKED, HiddenTokens(40, 3), **SMALL).eval()
    save_file({f"network.{name}": one for name, one in masked.network.state_dict().items()}, tmp_path / "a.safetensors")
    model = TransformerEncoder(INPUTS, Classes(("a", "b")), **SMALL).eval()
    start = Start(tmp_path, take={"network.*": "network.*"})
    started = begin(model, start, Where(("start",)))
    assert started.kept == ["head.weight", "head.bias"]
    ids_BT, lengths_B = INPUTS.example(4, torch.Generator().manual_seed(0))
    there_BT = torch.arange(12) < lengths_B[:, None]
    assert torch.equal(model.network(ids_BT, there_BT), masked.network(ids_BT, there_BT))


def test_what_is_told_of_a_hidden_token_is_the_same_whatever_else_is_asked() -> None:
    torch.manual_seed(0)
    model = TransformerEncoder(MASKED, HiddenTokens(40, 3), **SMALL, positions="rotary").eval()
    ids_BT, lengths_B = INPUTS.example(4, torch.Generator().manual_seed(0))
    all_BTV = model(ids_BT, lengths_B, torch.arange(12).expand(4, 12))
    places_BM = torch.tensor([[0, 2, 1], [1, 0, 0], [0, 0, 0], [2, 1, 0]])
    expected = all_BTV[torch.arange(4)[:, None], places_BM]
    torch.testing.assert_close(model(ids_BT, lengths_B, places_BM), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("outputs", [PositionClasses(("a", "b", "c"), (12,)), Spans(12)])
def test_something_is_said_of_each_token_and_padding_changes_nothing(outputs: Any) -> None:
    torch.manual_seed(0)
    model = TransformerEncoder(INPUTS, outputs, **SMALL).eval()
    ids_BT, lengths_B = INPUTS.example(4, torch.Generator().manual_seed(0))
    logits = model(ids_BT, lengths_B)
    assert logits.shape == (4, 12, 2 if isinstance(outputs, Spans) else 3)
    for row, length in enumerate(lengths_B.tolist()):
        alone = model(ids_BT[row : row + 1, :length], lengths_B[row : row + 1])
        torch.testing.assert_close(logits[row, :length], alone[0], rtol=1e-4, atol=1e-5)


def test_rotary_positions_see_distances_alone() -> None:
    torch.manual_seed(0)
    model = TransformerEncoder(INPUTS, Classes(("a", "b")), **SMALL, positions="rotary").double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    ids_BT, there_BT = torch.tensor([[5, 9, 7, 0, 0, 0]]), torch.tensor([[True] * 3 + [False] * 3])
    later_BT, later_there_BT = ids_BT.roll(3, 1), there_BT.roll(3, 1)
    here, there = model.network(ids_BT, there_BT)[:, :3], model.network(later_BT, later_there_BT)[:, 3:]
    torch.testing.assert_close(here, there, rtol=0, atol=1e-6)  # angles are in float32
    turned_round = model.network(ids_BT[:, :3].flip(1), there_BT[:, :3]).flip(1)
    assert not torch.allclose(here, turned_round, atol=1e-3)  # it isn't a bag of tokens


def test_heads_that_do_not_divide_the_width_of_an_encoder_are_refused() -> None:
    with pytest.raises(LabwrightError, match=r"model\.heads: 3 heads don't divide model\.width, 16"):
        TransformerEncoder(INPUTS, Classes(("a", "b")), width=16, heads=3)
