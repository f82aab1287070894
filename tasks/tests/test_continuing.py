"""Texts that are written side by side, with stop texts, beams and settings of their own: each as if it were alone."""

from __future__ import annotations

import json
import math
from itertools import pairwise, product
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from labwright import Input, LabwrightError, Port, Tokens
from labwright_tasks.continuing import Beginnings, best_continuations
from labwright_tasks.language_model import LanguageModel, NextTokens
from labwright_tasks.next_token import Sampling, chances, penalized
from running_letters import LETTERS, Bigrams, Letters, alphabet
from torch import Tensor

SHORT = st.text("abcd", min_size=1, max_size=3)


def ids_of(text: str) -> list[int]:
    return [LETTERS.index(letter) for letter in text]


def random_bigrams(seed: int, spread: float = 1.0) -> Bigrams:
    return Bigrams(spread * torch.randn(6, 6, generator=torch.Generator().manual_seed(seed)))


def texts(task: LanguageModel, model: Bigrams, *prompts: str, hows: list[Sampling] | None = None) -> list[str]:
    return ["".join(text) for text in task.continuations(model, [ids_of(prompt) for prompt in prompts], hows)]


logits = st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=12).map(torch.tensor)


@given(logits, st.floats(0.01, 1), st.floats(0.1, 3))
def test_top_p_leaves_the_fewest_tokens_that_have_so_much_of_the_probability(
    logits_V: Tensor, top_p: float, temperature: float
) -> None:
    whole, order = chances(logits_V, (), Sampling(temperature=temperature))
    shares, tokens = chances(logits_V, (), Sampling(temperature=temperature, top_p=top_p))
    left = len(tokens)
    assert tokens.tolist() == order[:left].tolist() and left >= 1
    assert whole[:left].sum() >= top_p - 1e-6 and (left == 1 or whole[: left - 1].sum() < top_p + 1e-6)
    torch.testing.assert_close(shares, whole[:left] / whole[:left].sum())


@given(logits, st.floats(0.1, 3))
def test_a_setting_that_leaves_all_changes_no_bit(logits_V: Tensor, temperature: float) -> None:
    plain = chances(logits_V, (), Sampling(temperature=temperature))
    for how in (
        Sampling(temperature=temperature, top_p=1.0),
        Sampling(temperature=temperature, min_p=0.0),
        Sampling(temperature=temperature, top_k=len(logits_V)),
        Sampling(temperature=temperature, repetition_penalty=1.0),
    ):
        assert all(map(torch.equal, chances(logits_V, [0], how), plain))
    assert torch.equal(penalized(logits_V, [], 3.0), logits_V)


@given(logits, st.floats(0, 1))
def test_min_p_leaves_those_that_have_so_much_of_the_most_probable_ones_share(logits_V: Tensor, min_p: float) -> None:
    whole, _ = chances(logits_V, (), Sampling(temperature=1.0))
    shares, _ = chances(logits_V, (), Sampling(temperature=1.0, min_p=min_p))
    assert len(shares) == int((whole >= min_p * whole.max()).sum()) >= 1


@settings(deadline=None, max_examples=12)
@given(st.lists(SHORT, min_size=1, max_size=3), st.integers(0, 99))
def test_a_text_with_a_stop_text_is_the_one_without_it_up_to_there(stop: list[str], seed: int) -> None:
    model = random_bigrams(seed)
    (whole,) = texts(LanguageModel(Letters(), length=25, sample_seed=seed), model, "a")
    task = LanguageModel(Letters(), length=25, sample_seed=seed, stop=tuple(stop))
    (row,) = task.continuations(model, [ids_of("a")])
    assert "".join(row) == whole[: min((place for one in stop if (place := whole.find(one)) >= 0), default=None)]


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 999))
def test_what_is_written_for_a_prompt_does_not_depend_on_the_others(seed: int) -> None:
    model, task = random_bigrams(seed), LanguageModel(Letters(), length=9)
    prompts = ["a", "bcdab", "dab", "c"]
    hows = [
        Sampling(length=9),
        Sampling(length=3, stop=("b",)),
        Sampling(length=12, temperature=0.0, repetition_penalty=1.3),
        Sampling(length=7, top_p=0.7, min_p=0.1, sample_seed=3),
    ]
    together = texts(task, model, *prompts, hows=hows)
    assert together == [texts(task, model, prompt, hows=[how])[0] for prompt, how in zip(prompts, hows, strict=True)]


def test_pieces_come_as_they_are_asked_for_whichever_text_is_asked_first() -> None:
    task, model = LanguageModel(Letters(), length=6), random_bigrams(5)
    first, second = task.continuations(model, [ids_of("a"), ids_of("bc")])
    begun = next(second)
    assert ["".join(first), begun + "".join(second)] == texts(task, model, "a", "bc")


class Ended(Letters):
    """Letters of which a line end closes every text."""

    def ports(self) -> tuple[Port, Port]:
        return Tokens(len(LETTERS), 4), NextTokens(len(LETTERS), 4, end_id=LETTERS.index("\n"))


def test_a_text_ends_where_its_end_is_drawn() -> None:
    model = alphabet()
    model.table.data[LETTERS.index("c"), LETTERS.index("\n")] = 90.0
    assert texts(LanguageModel(Ended(), length=20), model, "a", "d") == ["bc", "abc"]


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_wide_search_finds_what_trying_all_finds(penalty: float) -> None:
    model, end, longest = random_bigrams(7, 2.0), LETTERS.index("\n"), 3
    log_probs = model.table.detach().log_softmax(-1)

    def scored(tokens: tuple[int, ...], before: int) -> float:
        ids = [before, *tokens]
        return float(sum(log_probs[a, b] for a, b in pairwise(ids))) / ((5 + len(tokens)) / 6) ** penalty

    def tried(before: int) -> list[int]:
        ended = [tokens for size in range(1, longest + 1) for tokens in product(range(6), repeat=size)]
        whole = [one for one in ended if end not in one[:-1] and (one[-1] == end or len(one) == longest)]
        best = max(whole, key=lambda tokens: scored(tokens, before))
        return [token for token in best if token != end]

    rows = [ids_of("ab"), ids_of("d")]
    beginnings = Beginnings(model, rows, window=4, device=torch.device("cpu"))
    found = best_continuations(beginnings, beams=216, penalty=penalty, longest=longest, end_id=end)
    assert found == [tried(row[-1]) for row in rows]


def test_a_search_is_what_the_task_writes_with_beams_and_its_stop_texts_cut_it() -> None:
    model = random_bigrams(3)
    (greedy,) = texts(LanguageModel(Letters(), length=9, temperature=0.0), model, "a")
    assert texts(LanguageModel(Letters(), length=9, beams=1, temperature=0.0), model, "a", "a") == [greedy, greedy]
    beamed = texts(LanguageModel(Letters(), length=9, beams=8), model, "a", "bc")
    stop = beamed[1][4]
    cut = texts(LanguageModel(Letters(), length=9, beams=8, stop=(stop,)), model, "a", "bc")
    assert cut == [text.partition(stop)[0] for text in beamed]

    def log_prob(text: str) -> float:
        ids = ids_of("a" + text)
        table = model.table.detach().log_softmax(-1)
        return float(sum(table[a, b] for a, b in pairwise(ids)))

    assert log_prob(beamed[0]) >= log_prob(greedy) - 1e-5


def rows_at(path: Path, task: LanguageModel) -> list[Input | str]:
    found = []
    for _, read in task.inputs(path) or ():
        try:
            found.append(read())
        except LabwrightError as error:
            found.append(str(error))
    return found  # type: ignore[return-value]


class Typed(Letters):
    line = "prompt"

    def parse(self, line: str) -> tuple[Tensor, ...]:
        return torch.tensor([ids_of(line)]), torch.tensor([len(line)])


def test_prompts_of_json_lines_have_settings_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    rows = [{"prompt": "ab"}, {"prompt": "c", "temperature": 0, "length": 3, "stop": ["d"]}, {"prompt": "abcda"}]
    path.write_text("\n\n".join(map(json.dumps, rows)))
    task, model = LanguageModel(Typed(), length=8, top_k=2), random_bigrams(1)
    read = rows_at(path, task)
    assert [one[0].shape[1] for one in read] == [4, 4, 5]  # short ones go through the model together
    for some in (read[:2], read[2:]):
        ids_BT, lengths_B = (torch.cat(column) for column in zip(*some, strict=True))
        for answer, one in zip(
            task.predict(model, (ids_BT, lengths_B), [one.origin for one in some]), some, strict=True
        ):  # type: ignore[union-attr]
            how = one.origin  # type: ignore[union-attr]
            prompt = "".join(LETTERS[token] for token in one[0][0, : int(one[1])])
            assert "".join(answer["continuation"]) == texts(task, model, prompt, hows=[how])[0]
    assert read[0].origin == task.how and read[1].origin == Sampling(temperature=0, length=3, stop=("d",), top_k=2)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"prompt": "a", "temprature": 1}', "'temprature' is nothing that a prompt has; did you mean 'temperature'"),
        ('{"prompt": "a", "top_p": 0}', "top_p: given 0: Input should be greater than 0."),
        ('{"prompt": "a", "stop": [""]}', "stop: given ['']: "),
        ('{"prompt": "a", "length": true}', "length: given True: "),
        ('{"length": 3}', "there is no text under 'prompt', which has the prompt; there is length."),
        ('{"prompt": ["a"]}', "there is no text under 'prompt'"),
        ('["a"]', "a prompt is an object such as"),
        ("{", "no JSON: "),
        ("[" * 100_000, "no JSON: "),
    ],
)
def test_a_line_that_is_no_prompt_is_told_and_the_others_are_answered(line: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(f'{line}\n{{"prompt": "ab"}}\n')
    fault, good = rows_at(path, LanguageModel(Typed()))
    assert isinstance(fault, str) and said in fault
    assert isinstance(good, Input)


def test_settings_that_do_not_go_with_a_search_are_refused(tmp_path: Path) -> None:
    for given_too in ({"top_k": 3}, {"top_p": 0.9}, {"repetition_penalty": 1.2}):
        with pytest.raises(LabwrightError, match=next(iter(given_too))):
            LanguageModel(Letters(), beams=2, **given_too)  # type: ignore[arg-type]
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "ab", "temperature": 1}\n')
    (fault,) = rows_at(path, LanguageModel(Typed(), beams=2))
    assert isinstance(fault, str) and "It may have length, prompt, stop" in fault


@pytest.mark.parametrize("beams", [1, 2])
@pytest.mark.parametrize("logit", [math.nan, math.inf])
def test_logits_that_are_no_numbers_are_told(beams: int, logit: float) -> None:
    table = torch.zeros(6, 6)
    table[:, 2] = logit
    with pytest.raises(LabwrightError, match="no numbers"):
        texts(LanguageModel(Letters(), beams=beams), Bigrams(table), "a")
