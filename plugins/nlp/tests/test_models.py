"""Every model: right shapes, gradients, seeds, no trace of padding, one batch learned by heart; and their formulas."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from labwright import Classes, LabwrightError, Tokens
from labwright_nlp.models.bag import Bag
from labwright_nlp.models.blocks import turned, turns
from labwright_nlp.models.gpt import GPT
from labwright_nlp.models.recurrent import GRU, LSTM
from labwright_nlp.models.text_cnn import TextCNN
from labwright_nlp.models.transformer_encoder import TransformerEncoder
from labwright_tasks.language_model import NextTokens
from torch import Tensor, nn
from torch.nn import functional

INPUTS, OUTPUTS, NEXT = Tokens(40, 12, pad_id=0), Classes(("a", "b", "c")), NextTokens(40, 12)
Build = Callable[[], nn.Module]
OTHER: dict[str, Any] = {
    "positions": "rotary", "norm": "rms", "activation": "swiglu", "norm_last": True, "pooling": "cls"
}  # fmt: skip
CLASSIFIERS: dict[str, Build] = {
    "bag": lambda: Bag(INPUTS, OUTPUTS, width=16, ngrams=3, buckets=500),
    "text-cnn": lambda: TextCNN(INPUTS, OUTPUTS, width=16, filters=8, kernels=(2, 5), dropout=0.1),
    "lstm": lambda: LSTM(INPUTS, OUTPUTS, embedding=16, width=12, dropout=0.1),
    "lstm-2": lambda: LSTM(INPUTS, OUTPUTS, embedding=16, width=12, depth=2, pooling="last", dropout=0.0),
    "gru": lambda: GRU(INPUTS, OUTPUTS, embedding=16, width=12, pooling="mean", bidirectional=False, dropout=0.0),
    "encoder": lambda: TransformerEncoder(INPUTS, OUTPUTS, width=16, depth=2, heads=2, dropout=0.1),
    "encoder-2": lambda: TransformerEncoder(INPUTS, OUTPUTS, width=16, depth=1, heads=2, dropout=0.0, **OTHER),
}
MODELS = CLASSIFIERS | {"gpt": lambda: GPT(INPUTS, NEXT, width=32, depth=2, heads=4)}
every_model = pytest.mark.parametrize("build", MODELS.values(), ids=MODELS)
every_classifier = pytest.mark.parametrize("build", CLASSIFIERS.values(), ids=CLASSIFIERS)


def made(build: Build, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build()


def sample(model: nn.Module, size: int) -> tuple[tuple[Tensor, ...], Tensor]:
    generator = torch.Generator().manual_seed(1)
    outputs = NEXT if isinstance(model, GPT) else OUTPUTS
    (targets,) = outputs.example(size, generator)
    return INPUTS.example(size, generator), targets


def loss(model: nn.Module, inputs: tuple[Tensor, ...], targets: Tensor) -> Tensor:
    return functional.cross_entropy(model(*inputs).flatten(0, -2), targets.flatten())


@every_model
@pytest.mark.parametrize("size", [1, 3])
def test_each_text_or_token_gets_its_logits(build: Build, size: int) -> None:
    model = made(build).eval()
    inputs, _ = sample(model, size)
    assert model(*inputs).shape == ((size, 12, 40) if isinstance(model, GPT) else (size, 3))


@every_model
def test_every_parameter_gets_a_gradient(build: Build) -> None:
    model = made(build)
    inputs, targets = sample(model, 16)
    loss(model, inputs, targets).backward()
    without = [name for name, one in model.named_parameters() if one.grad is None or not one.grad.abs().sum() > 0]
    assert without == []


@every_model
def test_the_same_seed_gives_the_same_weights(build: Build) -> None:
    one, same, other = (made(build, seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


@every_classifier
def test_a_text_is_answered_alone_as_in_a_batch_and_padding_changes_nothing(build: Build) -> None:
    model = made(build).eval()
    (ids_BT, lengths_B), _ = sample(model, 6)
    together = model(ids_BT, lengths_B)
    for row in range(6):
        length = int(lengths_B[row])
        alone = model(ids_BT[row : row + 1, :length], lengths_B[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-4, atol=1e-5)
    other = torch.where(torch.arange(12) < lengths_B[:, None], ids_BT, 7)  # what stands in the padding doesn't matter
    torch.testing.assert_close(model(other, lengths_B), together, rtol=1e-4, atol=1e-5)


@every_model
def test_one_batch_can_be_learned_by_heart(build: Build) -> None:
    model = made(build)
    inputs, targets = sample(model, 16)
    parameters = list(model.parameters())
    averages = [(torch.zeros_like(one), torch.zeros_like(one)) for one in parameters]
    for step in range(1, 201):  # Adam, written out: torch.optim takes seconds to import
        gradients = torch.autograd.grad(loss(model, inputs, targets), parameters)
        with torch.no_grad():
            for one, (first, second), gradient in zip(parameters, averages, gradients, strict=True):
                first.lerp_(gradient, 0.1)
                second.lerp_(gradient.square(), 0.001)
                one -= 0.01 * (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
    assert loss(model.eval(), inputs, targets) < (1.0 if isinstance(model, GPT) else 0.1)


def test_the_bag_is_the_mean_over_its_ngrams_of_their_vectors() -> None:
    model = Bag(INPUTS, OUTPUTS, width=5, ngrams=2, buckets=7).eval()
    ids = [0, 5, 9, 5, 1, 0]  # 0 is the boundary
    single, pairs = model.tables
    assert isinstance(single, nn.Embedding) and isinstance(pairs, nn.Embedding)
    vectors = [single.weight[one] for one in ids]
    vectors += [pairs.weight[(a * 1_000_003 + b) % 7] for a, b in pairwise(ids)]
    expected = model.head(torch.stack(vectors).mean(dim=0))
    padded = torch.tensor([[*ids[1:-1], 0, 0]])
    torch.testing.assert_close(model(padded, torch.tensor([4]))[0], expected)


def test_the_bag_leaves_out_whole_ngrams_in_training() -> None:
    model = Bag(INPUTS, OUTPUTS, width=4, ngrams=1, dropout=0.5)
    with torch.no_grad():
        model.tables[0].weight.copy_(torch.arange(160.0).view(40, 4))  # type: ignore[union-attr,operator]
        model.head.weight.copy_(torch.eye(4)[:3])
        model.head.bias.zero_()
    torch.manual_seed(0)
    ids = torch.ones(300, 1, dtype=torch.int64)
    seen = {round(one, 3) for one in model(ids, torch.ones(300, dtype=torch.int64))[:, 0].tolist()}
    assert seen == {0.0, 4.0, 2.0, 1.333}  # the word, 4, beside none, one or both of the boundaries, 0; or no word


def test_the_cnn_is_the_largest_value_of_each_filter_over_the_text() -> None:
    model = TextCNN(INPUTS, OUTPUTS, width=3, filters=2, kernels=(2,), dropout=0.0).eval()
    ids = [5, 9, 1]
    vectors = functional.pad(model.embedding.weight[ids], (0, 0, 1, 1))  # a zero on each side
    (convolution,) = model.convolutions
    assert isinstance(convolution, nn.Conv1d) and convolution.bias is not None
    values = torch.stack(
        [(convolution.weight * vectors[start : start + 2].T).sum((1, 2)) + convolution.bias for start in range(4)]
    )
    expected = model.head(values.relu().amax(dim=0))
    torch.testing.assert_close(model(torch.tensor([[*ids, 0, 0, 0]]), torch.tensor([3]))[0], expected)


@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_both_directions_are_those_of_pytorchs_packed_sequences(kind: type[LSTM] | type[GRU]) -> None:
    torch.manual_seed(0)
    model = kind(INPUTS, OUTPUTS, embedding=6, width=5, depth=2, pooling="last", dropout=0.0).eval()
    theirs = kind.unit(6, 5, num_layers=2, bidirectional=True, batch_first=True)
    state = {}
    for number, layer in enumerate(model.layers):
        for part, suffix in (("forth", ""), ("back", "_reverse")):
            for name, one in getattr(layer, part).named_parameters():
                state[name.replace("_l0", f"_l{number}{suffix}")] = one
    theirs.load_state_dict(state)
    (ids_BT, lengths_B), _ = sample(model, 7)
    packed = nn.utils.rnn.pack_padded_sequence(
        model.embedding(ids_BT), lengths_B, batch_first=True, enforce_sorted=False
    )
    _, last = theirs(packed)
    last = last[0] if isinstance(last, tuple) else last
    expected = model.head(torch.cat([last[2], last[3]], dim=1))
    torch.testing.assert_close(model(ids_BT, lengths_B), expected, rtol=1e-4, atol=1e-6)


def test_no_token_sees_one_that_comes_after_it() -> None:
    model = made(MODELS["gpt"]).eval()
    ids_BT, lengths_B = INPUTS.example(2, torch.Generator().manual_seed(0))
    changed = ids_BT.clone()
    changed[:, 7:] = (changed[:, 7:] + 1) % 40
    one, other = model(ids_BT, lengths_B), model(changed, lengths_B)
    assert torch.equal(one[:, :7], other[:, :7]) and not torch.equal(one[:, 7:], other[:, 7:])
    torch.testing.assert_close(model(ids_BT[:, :5], lengths_B), one[:, :5], rtol=1e-4, atol=1e-6)


def test_the_gpt_begins_as_nanogpt_does() -> None:
    model = GPT(Tokens(65, 64), NextTokens(65, 64), width=128, depth=4, heads=4)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count - model.positions.numel() == 795_904  # nanoGPT prints 0.80M for its CPU setting, positions left out
    assert model.head.weight is model.embedding.weight
    for name, one in model.named_parameters():
        if one.dim() == 2:
            expected = 0.02 / math.sqrt(8) if name.endswith("out.weight") else 0.02
            assert one.std().item() == pytest.approx(expected, rel=0.05), name
    ids_BT, lengths_B = Tokens(65, 64).example(8, torch.Generator().manual_seed(0))
    logits = model(ids_BT, lengths_B)
    uniform = functional.cross_entropy(logits.flatten(0, 1), torch.randint(0, 65, (512,)))
    assert uniform.item() == pytest.approx(math.log(65), abs=0.1)


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(LabwrightError, match=r"model\.heads: 5 heads don't divide model\.width, 128"):
        GPT(INPUTS, NEXT, heads=5)


def test_rotary_positions_turn_pairs_as_complex_numbers_and_leave_distances() -> None:
    x_BHTD = torch.randn(1, 1, 6, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    given = turned(x_BHTD, turns(6, 8).double())
    place_T, pair_P = torch.arange(6.0)[:, None], torch.arange(4.0)
    angles_TP = (place_T * 10_000 ** (-2 * pair_P / 8)).double()
    meant = torch.complex(x_BHTD[..., :4], x_BHTD[..., 4:]) * torch.polar(torch.ones_like(angles_TP), angles_TP)
    assert torch.allclose(given, torch.cat([meant.real, meant.imag], dim=-1), atol=1e-6)
    same = turned(x_BHTD[:, :, :1].expand(-1, -1, 6, -1), turns(6, 8).double())[0, 0]
    products = same @ same.T
    for distance in range(6):
        along = products.diagonal(distance)
        assert torch.allclose(along, along[0].expand_as(along), atol=1e-5)


@pytest.mark.parametrize(
    "changed",
    [{"positions": "rotary"}, {"activation": "relu2"}, {"ngrams": 3, "buckets": 97}, {"key_heads": 2, "norm": "rms"}],
)
def test_a_gpt_of_another_kind_sees_what_stands_before_a_token_and_nothing_after(changed: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = GPT(INPUTS, NEXT, width=32, depth=2, heads=4, **changed).eval()
    for table in model.tables:
        nn.init.normal_(table.weight)
    ids, lengths = torch.randint(1, 40, (1, 12)), torch.tensor([12])
    other = ids.clone()
    other[0, 6] = ids[0, 6] % 39 + 1
    before, after = model(ids, lengths)[0], model(other, lengths)[0]
    assert torch.equal(before[:6], after[:6])
    assert all(not torch.allclose(before[place], after[place]) for place in range(6, 12))


def test_n_grams_of_a_gpt_are_those_that_end_with_a_token() -> None:
    model = GPT(INPUTS, NEXT, width=32, depth=1, heads=4, positions="rotary", ngrams=2, buckets=10_007).eval()
    plain = GPT(INPUTS, NEXT, width=32, depth=1, heads=4, positions="rotary").eval()
    plain.load_state_dict({name: one for name, one in model.state_dict().items() if not name.startswith("tables")})
    ids, lengths = torch.tensor([[5, 9, 5, 9, 7]]), torch.tensor([5])
    assert torch.equal(model(ids, lengths), plain(ids, lengths))  # its vectors begin at 0
    model(ids, lengths).sum().backward()
    touched = model.tables[0].weight.grad.abs().sum(1).nonzero()  # type: ignore[union-attr, operator]
    assert len(touched) == 4  # the first token's, 5 9, 9 5 and 9 7


def test_heads_of_keys_that_cannot_be_shared_evenly_are_refused_with_those_that_can() -> None:
    with pytest.raises(LabwrightError, match=r"model\.key_heads: 3 .* model\.heads, 4; give one of 1, 2, 4\."):
        GPT(INPUTS, NEXT, heads=4, key_heads=3)


def test_a_gpt_with_rotary_positions_needs_an_even_share_of_the_width_for_each_head() -> None:
    with pytest.raises(LabwrightError, match=r"4 heads of model\.width 36 have 9 numbers each"):
        GPT(INPUTS, NEXT, width=36, depth=1, heads=4, positions="rotary")
