"""Language modelling: its numbers are those of the textbook, its texts are drawn as the settings say."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import labwright as lw
import pytest
import torch
from labwright import IndexedBatches, LabwrightError, generator
from labwright_tasks.kneser_ney import KneserNey, running_text
from labwright_tasks.language_model import LanguageModel
from labwright_tasks.next_token import Sampling, drawn
from running_letters import LETTERS, Bigrams, Letters, Windows, alphabet
from torch import Tensor, nn
from torch.nn import functional

CPU = torch.device("cpu")


def measured(task: LanguageModel, model: nn.Module, size: int = 2) -> dict[str, Any]:
    split = task.data.split("test")
    assert split is not None
    metrics = task.metrics()
    for batch in IndexedBatches.in_order(split, size):
        for metric in metrics.values():
            metric.update(task.evaluate(model, batch))  # type: ignore[arg-type]
    return {name: metric.compute() for name, metric in metrics.items()}


def test_a_model_that_knows_nothing_needs_the_logarithm_of_the_vocabulary() -> None:
    values = measured(LanguageModel(Letters()), Bigrams(torch.zeros(6, 6)))
    assert values["cross_entropy"] == pytest.approx(math.log(6))
    assert values["perplexity"] == pytest.approx(6)
    assert values["bits_per_char"] == pytest.approx(math.log2(6) / 2)  # two characters a token


def test_metrics_are_means_over_all_tokens_whatever_the_batches() -> None:
    model = Bigrams(torch.randn(6, 6, generator=torch.Generator().manual_seed(0)))
    text = "abcdabbacdabd"
    ids = torch.tensor([LETTERS.index(letter) for letter in text])
    nats = functional.cross_entropy(model.table[ids[:-1]], ids[1:]).item()  # PyTorch's own, all at once
    for size in (1, 2, 5):
        assert measured(LanguageModel(Letters(text)), model, size)["cross_entropy"] == pytest.approx(nats, rel=1e-6)


def test_bits_per_character_are_left_out_where_characters_are_not_counted() -> None:
    assert set(LanguageModel(Letters(counted=False)).metrics()) == {"cross_entropy", "perplexity"}


def test_nothing_measured_is_no_number() -> None:
    assert all(math.isnan(metric.compute()) for metric in LanguageModel(Letters()).metrics().values())


def test_the_loss_is_the_mean_over_the_targets_that_are_there() -> None:
    task, model = LanguageModel(Letters("abcdba")), Bigrams(torch.randn(6, 6))
    batch = task.data.split("test").fetch(torch.arange(2), 0, 0)  # type: ignore[union-attr]
    assert task.weight(batch) == 5  # type: ignore[arg-type]
    ids = torch.tensor([1, 2, 3, 4, 2, 1])
    expected = functional.cross_entropy(model.table[ids[:-1]], ids[1:])
    torch.testing.assert_close(task.loss(model, batch, functional.cross_entropy, "train"), expected)  # type: ignore[arg-type]


def pieces(task: LanguageModel, model: nn.Module, prompt: str) -> list[str]:
    ids = torch.tensor([[LETTERS.index(letter) for letter in prompt]])
    with torch.no_grad():
        (answer,) = task.predict(model, (ids, torch.tensor([len(prompt)])), [None])
        assert isinstance(answer["continuation"], Iterator)
        return list(answer["continuation"])


def test_a_prompt_is_continued_piece_by_piece_beyond_the_window() -> None:
    told = pieces(LanguageModel(Letters(), length=9), alphabet(), "dabcd")
    assert "".join(told) == "abcdabcda" and len(told) >= 9


def test_temperature_0_takes_the_most_probable_and_so_does_a_choice_of_1() -> None:
    model = Bigrams(torch.randn(6, 6, generator=torch.Generator().manual_seed(3)))
    greedy = pieces(LanguageModel(Letters(), temperature=0.0, length=12), model, "a")
    assert greedy == pieces(LanguageModel(Letters(), temperature=2.0, top_k=1, length=12), model, "a")


def test_a_text_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    model = Bigrams(torch.zeros(6, 6))
    texts = ["".join(pieces(LanguageModel(Letters(), sample_seed=seed, length=40), model, "a")) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_tokens_are_drawn_as_often_as_their_logits_say() -> None:
    logits, draws = torch.tensor([0.0, 1.0, 2.0, -9.0]), generator(0)
    counts = torch.zeros(4)
    for _ in range(4000):
        counts[drawn(logits, [], Sampling(temperature=0.5, top_k=2), draws)] += 1
    share = 1 / (1 + math.exp(-1.0 / 0.5))  # the softmax of 1 and 2 at temperature 0.5
    assert counts[0] == counts[3] == 0
    assert counts[2].item() / 4000 == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / 4000))


class Halves(Letters):
    """Two letters in a row make one character; one alone is unfinished."""

    def show(self, inputs: tuple[Tensor, ...]) -> list[str]:
        texts = super().show(inputs)
        return ["Ω" * (len(text) // 2) + "\ufffd" * (len(text) % 2) for text in texts]


def test_a_character_is_told_when_it_is_whole() -> None:
    told = pieces(LanguageModel(Halves(), length=7), alphabet(), "ab")
    assert all("\ufffd" not in piece for piece in told[:-1])


def test_data_without_running_text_is_refused(values: Any) -> None:
    with pytest.raises(LabwrightError, match=r"needs running text; Made has targets Values"):
        LanguageModel(values)


def test_the_report_shows_texts_and_the_loss_by_place() -> None:
    task, model = (
        LanguageModel(
            Letters(
                "abcd" * 5 + "\n",
            ),
            length=6,
        ),
        alphabet().train(),
    )
    texts, figure = task.report(model, "test", CPU)
    assert isinstance(texts, lw.Text) and isinstance(figure, lw.Figure)
    assert (texts.captions[0], texts.passages[0]) == ("after: abcd", "abcdab")
    (line,) = figure.figure.axes[0].lines
    assert len(line.get_ydata()) == 4 and model.training
    assert list(task.report(model, "valid", CPU)) == []


def test_the_floor_of_a_text_is_counted_as_of_one_text_whatever_its_windows() -> None:
    letters = "abcdabdcabcdabcadbcabcdabdcab"
    part, ids = Windows(letters), torch.tensor([LETTERS.index(letter) for letter in letters])
    ids_BT, lengths_B = part.fetch(torch.arange(len(part)), 0, 0).inputs
    assert running_text(part, 1000).tolist() == ids.tolist()
    assert running_text(part, 8).tolist() == ids[4 * (len(part) - 2) :].tolist()
    counted = [KneserNey(len(LETTERS)), KneserNey(len(LETTERS))]
    for model in counted:
        model.fit(ids.numpy())
    whole = torch.from_numpy(counted[0].probabilities(ids.numpy())[:-1]).float()
    two_by_two = [counted[1](ids_BT[row : row + 2], lengths_B[row : row + 2]) for row in range(0, len(part), 2)]
    there_BT = torch.arange(4) < lengths_B[:, None]
    assert torch.allclose(torch.cat(two_by_two)[there_BT].exp(), whole)

    task = LanguageModel(Letters(letters))
    assert task.floors("valid") == {}
    ((name, floor),) = task.floors("test").items()
    assert name == f"Kneser-Ney counts of up to {counted[0].order} tokens"
    nats = -whole[torch.arange(len(ids) - 1), ids[1:]].log().mean()
    assert floor["cross_entropy"] == pytest.approx(float(nats), rel=1e-5)
    assert floor["bits_per_char"] == pytest.approx(float(nats) / math.log(2) / 2, rel=1e-5)
