"""Transcripts from frames: the loss and the search against sums over every alignment, and the n-gram model."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch
from labwright_speech.decoding import beam_search, collapsed, greedy
from labwright_speech.language_model import NGrams
from labwright_speech.losses import CTC
from labwright_speech.ports import Transcript, ended
from labwright_speech.recognition import Utterances
from torch import Tensor

ALPHABET = ("A", "B", "C")


def log_probs(frames: int, seed: int, classes: int = 4, sharp: float = 1.5) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return (sharp * torch.randn(frames, classes, generator=random, dtype=torch.float64)).log_softmax(1)


def all_texts(log_probs_TC: Tensor) -> dict[str, float]:
    """The log-probability of every text: the sum over all alignments that collapse to it."""
    sums: dict[str, float] = {}
    frames, classes = log_probs_TC.shape
    for alignment in itertools.product(range(classes), repeat=frames):
        text = collapsed(alignment, ALPHABET)
        sums[text] = sums.get(text, 0.0) + math.exp(sum(float(log_probs_TC[t, c]) for t, c in enumerate(alignment)))
    return {text: math.log(value) for text, value in sums.items()}


@pytest.mark.parametrize(
    ("classes", "text"),
    [
        ([], ""),
        ([0, 0, 0], ""),
        ([1, 1, 1], "A"),
        ([1, 0, 1], "AA"),
        ([0, 1, 1, 2, 0, 2, 3], "ABBC"),
        ([3, 3, 0, 0, 3, 1, 0], "CCA"),
    ],
)
def test_repeats_are_made_one_and_blanks_left_out(classes: list[int], text: str) -> None:
    assert collapsed(classes, ALPHABET) == text
    one_hot = torch.eye(4)[classes].reshape(1, len(classes), 4)
    if classes:
        assert greedy(one_hot, ALPHABET) == [text]


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_is_the_sum_over_all_alignments(seed: int) -> None:
    one = log_probs(5, seed)
    sums = all_texts(one)
    for text in ("A", "AB", "AA", "CBA"):
        ids = torch.tensor([[ALPHABET.index(letter) + 1 for letter in text]])
        loss = CTC()(one[None], ids, torch.tensor([len(text)]))
        assert float(loss) == pytest.approx(-sums[text] / len(text), rel=1e-4)


def test_the_loss_is_the_mean_over_utterances_of_nats_per_symbol() -> None:
    first, second = log_probs(5, 0), log_probs(5, 1)
    sums = all_texts(first)["AB"] / 2, all_texts(second)["C"]
    loss = CTC()(torch.stack([first, second]), torch.tensor([[1, 2], [3, 0]]), torch.tensor([2, 1]))
    assert float(loss) == pytest.approx(-sum(sums) / 2, rel=1e-4)


def test_frames_after_the_end_change_neither_loss_nor_gradient_nor_text() -> None:
    short = log_probs(5, 0).float()
    longer = torch.cat([short, log_probs(4, 9).float()])[None].requires_grad_()
    alone = short[None].clone().requires_grad_()
    ids, lengths = torch.tensor([[1, 2]]), torch.tensor([2])
    whole = ended(longer, torch.tensor([5]))
    loss, expected = CTC()(whole, ids, lengths), CTC()(alone, ids, lengths)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    loss.backward()
    expected.backward()
    assert longer.grad is not None and alone.grad is not None
    torch.testing.assert_close(longer.grad[:, :5], alone.grad, rtol=1e-5, atol=1e-6)
    assert longer.grad[:, 5:].abs().max() == 0
    assert greedy(whole, ALPHABET) == greedy(short[None], ALPHABET)
    found, alike = beam_search(whole[0].tolist(), ALPHABET, 20), beam_search(short.tolist(), ALPHABET, 20)
    assert found[0][0] == alike[0][0] and found[0][1] == pytest.approx(alike[0][1], abs=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_a_beam_wide_enough_finds_every_text_with_its_probability(seed: int) -> None:
    one = log_probs(5, seed)
    sums = all_texts(one)
    found = beam_search(one.tolist(), ALPHABET, beam=10_000, least=0.0)
    assert dict(found) == pytest.approx(sums, abs=1e-9)
    assert [text for text, _ in found[:3]] == sorted(sums, key=lambda text: -sums[text])[:3]


def test_a_narrow_beam_finds_what_the_most_probable_alignment_misses() -> None:
    frames = torch.tensor([[0.6, 0.4], [0.6, 0.4]]).log()  # Graves et al. 2006, figure 2: blank 0.36, A 0.64
    assert greedy(frames[None], ("A",)) == [""]
    assert beam_search(frames.tolist(), ("A",), beam=2)[0] == ("A", pytest.approx(math.log(0.64)))


@pytest.mark.parametrize("seed", range(4))
def test_a_language_model_and_a_bonus_are_added_to_every_text(seed: int) -> None:
    one = log_probs(4, seed)
    model = NGrams.learned(["AB", "ABC", "CAB"], 3)

    def scorer(text: str, letter: str) -> float:
        return 0.7 * model.log_prob(text, letter) + (0.4 if letter else 0.0)

    def score(text: str) -> float:
        letters = [*text, ""]
        return sum(scorer(text[:place], letter) for place, letter in enumerate(letters))

    expected = {text: value + score(text) for text, value in all_texts(one).items()}
    found = beam_search(one.tolist(), ALPHABET, 10_000, scorer, least=0.0)
    assert dict(found) == pytest.approx(expected, abs=1e-9)
    assert found[0][0] == max(expected, key=lambda text: expected[text])


def test_a_long_search_forgets_texts_that_are_no_longer_tried() -> None:
    one = log_probs(200, 3)
    narrow = beam_search(one.tolist(), ALPHABET, 4)
    assert len(narrow) == 4 and all(math.isfinite(value) for _, value in narrow)


def test_after_every_context_the_probabilities_sum_to_one() -> None:
    texts = ["ONE TWO", "TWO TWO", "THREE"]
    for order in (1, 2, 4):
        model = NGrams.learned(texts, order)
        for context in ("", "T", "TW", "TWO ", "XYZ"):
            total = sum(math.exp(model.log_prob(context, letter)) for letter in [*model.letters, ""])
            assert total == pytest.approx(1)


def test_probabilities_are_those_counted_by_hand() -> None:
    model = NGrams.learned(["AB", "AA"], 2)
    # letters A, B and the end: A 3 times, B once, the end twice; after A: B, A and the end, once each
    unigram = (3 + 3 * (1 / 3)) / (6 + 3)
    assert math.exp(NGrams.learned(["AB", "AA"], 1).log_prob("", "A")) == pytest.approx(unigram)
    assert math.exp(model.log_prob("A", "A")) == pytest.approx((1 + 3 * unigram) / (3 + 3))
    assert math.exp(model.log_prob("", "A")) == pytest.approx((2 + 1 * unigram) / (2 + 1))  # both begin with A


def test_a_saved_model_is_the_same(tmp_path: Path) -> None:
    model = NGrams.learned(["ÄB Ö", "B"], 3)
    model.save(tmp_path / "model.json")
    again = NGrams.load(tmp_path / "model.json")
    for text, letter in (("", "Ä"), ("Ä", "B"), ("ÄB Ö", ""), ("B", "Ö")):
        assert again.log_prob(text, letter) == model.log_prob(text, letter)


def test_the_example_of_a_port_is_a_batch_of_targets() -> None:
    ids_BL, lengths_B = Transcript(ALPHABET, 5).example(8, torch.Generator().manual_seed(0))
    for ids, length in zip(ids_BL, lengths_B.tolist(), strict=True):
        assert (ids[:length] > 0).all() and (ids[:length] <= 3).all() and not ids[length:].any()


def test_an_update_cut_into_micro_batches_has_the_loss_and_the_gradients_of_the_whole() -> None:
    random = torch.Generator().manual_seed(0)
    samples_B, lengths_B = torch.tensor([900, 400, 700, 900, 300]), torch.tensor([3, 1, 2, 4, 1])
    ids_BL = torch.randint(1, 4, (5, 4), generator=random) * (torch.arange(4) < lengths_B[:, None])
    x_BT = torch.randn(5, 900, generator=random, dtype=torch.float64) * (torch.arange(900) < samples_B[:, None])
    batch = Utterances((x_BT, samples_B), ids_BL, lengths_B)
    weights = torch.randn(100, 4, generator=random, dtype=torch.float64, requires_grad=True)

    def loss(some: Utterances) -> Tensor:
        x_BT, samples_B = some.inputs
        frames_BTC = (x_BT.reshape(len(some), -1, 100) @ weights).log_softmax(2)
        return CTC()(ended(frames_BTC, samples_B // 100), some.targets, some.target_lengths)

    whole = loss(batch)
    (expected,) = torch.autograd.grad(whole, weights)
    parts = [batch.rows(slice(start, start + 2)) for start in range(0, 5, 2)]
    assert [len(part) for part in parts] == [2, 2, 1]
    assert CTC.separable and CTC().normalizer(ids_BL) is None  # None: by the number of utterances
    combined = sum((loss(part) * len(part) for part in parts), torch.zeros(())) / len(batch)
    (found,) = torch.autograd.grad(combined, weights)
    assert whole.dtype == torch.float64
    torch.testing.assert_close(combined, whole, rtol=1e-12, atol=0)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
