"""The encoder-decoder transformer: no token sees what follows, padding changes nothing, and it learns to translate."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from labwright import LabwrightError, Tokens
from labwright_nlp.data.text_pairs import TextPairs
from labwright_nlp.models.transformer import Transformer, sinusoids
from labwright_tasks.sequence_to_sequence import Incremental, SequenceToSequence, TargetTokens
from torch import Tensor, nn
from torch.nn import functional

SOURCE, TARGET = Tokens(30, 9, pad_id=0), TargetTokens(25, 8)
MADE = Path(__file__).parents[3] / "tasks" / "tests" / "made"


def made(seed: int = 0, **settings: Any) -> Transformer:
    torch.manual_seed(seed)
    return Transformer(SOURCE, TARGET, **({"width": 16, "depth": 2, "heads": 2, "dropout": 0.0} | settings))


def sample(size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sources and their lengths, what the decoder is given, what it is to say."""
    random = torch.Generator().manual_seed(3)
    (targets_BT,) = TARGET.example(size, random)
    ended_BT = targets_BT.masked_fill(targets_BT == -100, 0)
    before_BT = torch.cat([torch.ones_like(ended_BT[:, :1]), ended_BT[:, :-1]], dim=1)
    ids_BS, lengths_B = SOURCE.example(size, random)
    return ids_BS, lengths_B, before_BT, targets_BT


def logits_of(model: Transformer, ids_BS: Tensor, lengths_B: Tensor, before_BT: Tensor) -> Tensor:
    return model.decode(model.encode(ids_BS, lengths_B), lengths_B, before_BT)


def test_it_computes_what_pytorchs_layers_do() -> None:
    model = made().eval()
    ids_BS, lengths_B, before_BT, _ = sample(5)
    settings: dict[str, Any] = {"dropout": 0.0, "batch_first": True, "norm_first": True}
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 64, **settings), 2, enable_nested_tensor=False)
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(16, 2, 64, **settings), 2)

    def attention(ours: nn.Module, theirs: nn.Module) -> None:
        for name in ("weight", "bias"):
            parts = [getattr(getattr(ours, part), name) for part in ("query", "key", "value")]
            getattr(theirs, f"in_proj_{name}").copy_(torch.cat(parts))
            getattr(theirs.out_proj, name).copy_(getattr(ours.out, name))  # type: ignore[union-attr,arg-type]

    with torch.no_grad():
        for blocks, layers in ((model.encoder, encoder.layers), (model.decoder, decoder.layers)):
            for ours, theirs in zip(blocks, layers, strict=True):
                attention(ours.own, theirs.self_attn)  # type: ignore[arg-type]
                pairs = [("own_norm", "norm1"), ("hidden_in", "linear1"), ("hidden_out", "linear2")]
                if ours.crossing is None:
                    pairs += [("hidden_norm", "norm2")]
                else:
                    attention(ours.crossing, theirs.multihead_attn)  # type: ignore[arg-type]
                    pairs += [("crossing_norm", "norm2"), ("hidden_norm", "norm3")]
                for mine, others in pairs:
                    getattr(theirs, others).load_state_dict(getattr(ours, mine).state_dict())
        padded_BS = torch.arange(9) >= lengths_B[:, None]
        future_TT = nn.Transformer.generate_square_subsequent_mask(8)
        source_BSD = 4 * model.source(ids_BS) + sinusoids(9, 16)
        target_BTD = 4 * model.target(before_BT) + sinusoids(8, 16)
        memory_BSD = model.encoder_norm(encoder.eval()(source_BSD, src_key_padding_mask=padded_BS))
        x_BTD = decoder.eval()(target_BTD, memory_BSD, future_TT, memory_key_padding_mask=padded_BS, tgt_is_causal=True)
        expected = model.decoder_norm(x_BTD) @ model.target.weight.T
        torch.testing.assert_close(logits_of(model, ids_BS, lengths_B, before_BT), expected, rtol=1e-4, atol=1e-5)


def test_a_place_has_no_gradient_from_what_is_written_after_it() -> None:
    model = made()
    ids_BS, lengths_B, before_BT, _ = sample(3)
    vectors: list[Tensor] = []

    def kept(module: nn.Module, given: Any, x: Tensor) -> None:
        x.retain_grad()
        vectors.append(x)

    model.target.register_forward_hook(kept)
    logits_BTV = logits_of(model, ids_BS, lengths_B, before_BT)
    for place in range(8):
        (gradient_BTD,) = torch.autograd.grad(logits_BTV[:, place].square().sum(), vectors[0], retain_graph=True)
        reached_T = gradient_BTD.abs().sum((0, 2)) > 0
        assert reached_T.tolist() == [True] * (place + 1) + [False] * (7 - place)


def test_a_source_is_read_alone_as_in_a_batch_and_padding_changes_nothing() -> None:
    model = made().eval()
    ids_BS, lengths_B, before_BT, _ = sample(6)
    together = logits_of(model, ids_BS, lengths_B, before_BT)
    for row in range(6):
        one = slice(row, row + 1)
        alone = logits_of(model, ids_BS[one, : int(lengths_B[row])], lengths_B[one], before_BT[one])
        torch.testing.assert_close(together[one], alone, rtol=1e-4, atol=1e-5)
    others_BS = torch.where(torch.arange(9) < lengths_B[:, None], ids_BS, 7)  # whatever stands in the padding
    torch.testing.assert_close(logits_of(model, others_BS, lengths_B, before_BT), together, rtol=1e-5, atol=1e-6)


def test_one_token_at_a_time_is_the_same_as_all_again() -> None:
    model = made().eval()
    assert isinstance(model, Incremental)
    ids_BS, lengths_B, before_BT, _ = sample(4)
    whole_BTV = logits_of(model, ids_BS, lengths_B, before_BT)
    state = model.begin(model.encode(ids_BS, lengths_B), lengths_B)
    for place in range(8):
        logits_BV, state = model.extend(state, before_BT[:, place])
        torch.testing.assert_close(logits_BV, whole_BTV[:, place], rtol=1e-4, atol=1e-5)


class Whole(nn.Module):
    """A model without what it takes to write one token at a time."""

    def __init__(self, inner: Transformer) -> None:
        super().__init__()
        self.inner = inner

    def encode(self, ids: Tensor, lengths: Tensor) -> Tensor:
        return self.inner.encode(ids, lengths)

    def decode(self, memory: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
        return self.inner.decode(memory, lengths, target)


@pytest.mark.parametrize("beams", [1, 3])
def test_texts_are_the_same_however_they_are_written(beams: int) -> None:
    model = made(seed=5).eval()
    task = SequenceToSequence(TextPairs(path=Path("none")), beams=beams, length_penalty=1.0)
    task.data.ports = lambda: (SOURCE, TARGET)  # type: ignore[method-assign]
    task.data.written = lambda ids: str(ids)  # type: ignore[method-assign]
    ids_BS, lengths_B, *_ = sample(6)
    answers = [task.predict(each, (ids_BS, lengths_B), [None] * 6) for each in (model, Whole(model))]
    assert answers[0] == answers[1] and len({answer["text"] for answer in answers[0]}) > 1


def test_one_batch_can_be_learned_by_heart() -> None:
    model = made(width=32)
    *inputs, targets_BT = sample(8)
    optimizer = lw.Plugins.discover().load("optimizer", "adamw")(dict(model.named_parameters()), lr=0.003)
    for _ in range(250):
        loss = functional.cross_entropy(logits_of(model, *inputs).flatten(0, 1), targets_BT.flatten())
        for parameter, gradient in zip(
            model.parameters(), torch.autograd.grad(loss, list(model.parameters())), strict=True
        ):
            parameter.grad = gradient
        optimizer.step(0.003)
    assert float(loss.detach()) < 0.05


def test_positions_are_sines_and_cosines_of_their_angles() -> None:
    codes = sinusoids(50, 8)
    assert codes[7, 2].item() == pytest.approx(math.sin(7 * 10000 ** (-4 / 8)))
    assert codes[7, 6].item() == pytest.approx(math.cos(7 * 10000 ** (-4 / 8)))
    torch.testing.assert_close(codes.square().sum(1), torch.full((50,), 4.0))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"width": 16, "heads": 3}, r"model\.heads: 3 heads don't divide model\.width, 16"),
        ({"width": 15, "heads": 3}, r"model\.width: .*even; given 15"),
    ],
)
def test_a_width_that_does_not_fit_is_refused(settings: dict[str, int], words: str) -> None:
    with pytest.raises(LabwrightError, match=words):
        made(**settings)


# ------------------------------------------------------------------------------------------------------- it learns


@pytest.mark.long
@pytest.mark.slow
def test_strings_of_digits_are_written_from_their_end(tmp_path: Path) -> None:
    overrides = [
        "model=nlp/transformer", "model.width=64", "model.dropout=0.0", "task.data.longest=6", "task.data.train=3000",
        "task.data.held_out=200", "train.batch_size=64", "train.epochs=16", "optimizer.lr=0.002",
        "optimizer.schedule=cosine", "train.evaluate_every=16 epochs",
    ]  # fmt: skip
    plugins = lw.Plugins.discover(local=[MADE / "labels.py"])
    run = lw.Experiment.from_recipe(str(MADE / "digits.toml"), overrides, plugins=plugins).run(tmp_path / "run")
    assert run.metrics["test"]["exact_match"] >= 0.9  # of strings that aren't in train


@pytest.mark.release
def test_captions_are_translated_better_than_their_words_can_be_guessed(multi30k: Path, tmp_path: Path) -> None:
    overrides = [
        f"task.data.path={multi30k}", "task.data.text=en", "task.data.translation=de", "task.data.vocabulary=4000",
        "task.write=false", "model.depth=1", "model.dropout=0.0", "train.epochs=1", "log=[]",
    ]  # fmt: skip
    run = lw.Experiment.from_recipe("nlp/translation", overrides).run(tmp_path / "run")
    data = run.task.data
    assert isinstance(data, TextPairs)
    rows = {part: split.targets for part in ("train", "valid") if (split := data.split(part)) is not None}
    counts = Counter(token for ids in rows["train"] for token in ids)
    size, total = data.ports()[1].vocab_size, sum(counts.values())  # type: ignore[attr-defined]
    valid = [token for ids in rows["valid"] for token in ids]
    unigrams = math.exp(-sum(math.log((counts[token] + 1) / (total + size)) for token in valid) / len(valid))
    assert run.metrics["valid"]["perplexity"] < unigrams / 5
