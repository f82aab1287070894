"""Questions whose answers stand in a text: read as they are published, in windows, answered as SQuAD measures it."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import labwright as lw
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from labwright import Batch, LabwrightError
from labwright.cli import main
from labwright_nlp.answer_floor import nearest_sentences
from labwright_nlp.answer_scores import exact, overlap
from labwright_nlp.answering import Answering
from labwright_nlp.data.question_reading import Question
from labwright_nlp.data.questions import AskedBatch, Questions, Window
from labwright_nlp.ports import Spans
from labwright_tasks.losses import CrossEntropy
from labwright_testing.verify_resume import verify_resume
from scipy import stats
from torch import Tensor, nn

TOWNS = ("London", "New York", "Rotterdam", "Oslo", "Lima")


def rows(count: int) -> list[dict[str, Any]]:
    """Who was born where, some of it unsaid."""
    made = []
    for number in range(count):
        town = TOWNS[number % 5]
        context = f"Person {number} was a baker. He was born in {town} and liked it."
        answer = [] if number % 7 == 3 else [{"text": town, "answer_start": context.index(town)}]
        text = context if answer else context.replace(f" in {town}", "")
        made.append(
            {
                "id": str(number),
                "title": f"p{number}",
                "context": text,
                "question": "Where was he born?",
                "answers": answer,
            }
        )
    return made


def written(path: Path, some: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in some))
    return path


def prepared(path: Path, **settings: Any) -> Questions:
    data = Questions(path=path, **{"tokenizer": "word", "length": 32, "stride": 4, **settings})
    data.prepare()
    return data


def test_squads_files_and_rows_are_the_same_questions(tmp_path: Path) -> None:
    some = rows(30)
    articles = [
        {
            "title": row["title"],
            "paragraphs": [{"context": row["context"], "qas": [{**row, "is_impossible": not row["answers"]}]}],
        }
        for row in some
    ]
    nested = tmp_path / "train.json"
    nested.write_text(json.dumps({"version": "2.0", "data": articles}))
    packed = tmp_path / "rows.jsonl.gz"
    as_datasets = [
        {**row, "answers": {key: [one[key] for one in row["answers"]] for key in ("text", "answer_start")}}
        for row in some
    ]
    packed.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in as_datasets).encode()))
    ours, theirs = prepared(nested), prepared(packed)
    for part in ("train", "valid", "test"):
        one, other = ours.split(part), theirs.split(part)
        assert one is not None and other is not None and len(one) == len(other) > 0
        every = torch.arange(len(one))
        assert one.fetch(every, 0, 0).targets.equal(other.fetch(every, 0, 0).targets)
        assert [*ours.identity(part)] == [*theirs.identity(part)]


def test_a_window_has_the_tokens_of_the_answer_or_none(tmp_path: Path) -> None:
    filler = "and so on and so forth " * 6
    context = f"{filler}the answer is New York {filler}"
    row = {
        "context": context,
        "question": "what ?",
        "answers": [{"text": "New York", "start": context.index("New York")}],
    }
    data = prepared(written(tmp_path / "a.jsonl", [row]), valid=0, test=0, length=20, stride=6)
    split = data.split("train")
    assert split is not None
    batch = split.fetch(torch.tensor([0]), 0, 0)
    assert len(batch) == 1 and len(batch.targets) == len(batch.inputs[0]) > 3
    whole = [window for window, (first, _) in zip(split.asked[0].windows, batch.targets.tolist(), strict=True) if first]
    assert whole, "windows that share tokens have all of a short answer in one of them"
    for window, (first, last) in zip(split.asked[0].windows, batch.targets.tolist(), strict=True):
        low, high = window.letters[first][0], window.letters[last][1]
        assert context[low:high] == ("New York" if first else "")
    covered = {
        letter for window in split.asked[0].windows for low, high in window.letters for letter in range(low, high)
    }
    assert {place for place, letter in enumerate(context) if letter != " "} <= covered


class Knowing(nn.Module):
    """Gives logits that were set before."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        return self.logits


@given(st.integers(0, 10_000), st.integers(1, 6))
def test_the_best_stretch_is_that_of_all_pairs(seed: int, longest: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    letters = ((0, 0), (0, 0), (0, 3), (4, 6), (7, 8), (9, 12), (13, 15), (0, 0))
    logits = torch.randn(8, 2, generator=draws)
    task = object.__new__(Answering)
    task.longest = longest
    pairs = [(first, last) for first in range(2, 7) for last in range(first, min(first + longest, 7))]
    first, last = max(pairs, key=lambda pair: float(logits[pair[0], 0] + logits[pair[1], 1]))
    score, place = task._best(logits, Window(tuple(range(8)), letters))
    assert place == (letters[first][0], letters[last][1])
    assert score == pytest.approx(float(logits[first, 0] + logits[last, 1]))


def test_what_is_sure_of_the_answers_answers_all_and_says_so_where_there_is_none(tmp_path: Path) -> None:
    data = prepared(written(tmp_path / "a.jsonl", rows(21)), valid=0, test=0)
    task = Answering(data)
    task.prepare()
    assert task.none_meant
    split = data.split("train")
    assert split is not None
    batch = split.fetch(torch.arange(len(split)), 0, 0)
    logits = torch.zeros(*batch.inputs[0].shape, 2)
    for side in range(2):
        logits[torch.arange(len(logits)), batch.targets[:, side], side] = 9.0
    model = Knowing(logits)
    results = task.evaluate(model, batch)
    assert results["exact"].tolist() == results["f1"].tolist() == [1.0] * 21
    loss = task.loss(model, batch, CrossEntropy(), "train")
    counts = batch.inputs[1].float()  # softmax over the tokens there are
    torch.testing.assert_close(loss, torch.log(1 + (counts - 1) * torch.exp(torch.tensor(-9.0))).mean())
    with pytest.raises(LabwrightError, match=r"loss\.label_smoothing: an answer begins and ends in the text"):
        task.loss(model, batch, CrossEntropy(label_smoothing=0.1), "train")


def test_the_interval_of_answers_is_that_of_texts_drawn_anew(tmp_path: Path) -> None:
    metrics = Answering(prepared(written(tmp_path / "a.jsonl", rows(21)))).metrics()
    drawn = np.random.default_rng(3)
    counts = drawn.integers(1, 6, 40)  # questions of a text, which are answered alike
    scores = [np.full(count, drawn.random()) for count in counts]
    for text, some in enumerate(scores):
        metrics["f1_95"].update({"f1": torch.tensor(some), "texts": [f"text {text}"] * len(some)})
    totals = np.array([some.sum() for some in scores])
    low, high = stats.bootstrap(
        (totals, counts), lambda total, count, axis: total.sum(axis) / count.sum(axis), paired=True,
        method="percentile", n_resamples=4000, rng=0,
    ).confidence_interval  # fmt: skip
    reach = (high - low) / 2
    told = metrics["f1_95"].compute()
    assert told == {"low": pytest.approx(low, abs=reach / 8), "high": pytest.approx(high, abs=reach / 8)}
    metrics["exact_95"].update({"exact": torch.ones(9), "texts": [f"text {text}" for text in range(9)]})
    assert metrics["exact_95"].compute() == {}  # nine texts are too few


@pytest.mark.parametrize("tokenizer", ["bpe", "unigram", "wordpiece"])
def test_an_answer_that_is_given_is_the_one_meant_to_the_letter(tmp_path: Path, tokenizer: str) -> None:
    some = [row for row in rows(21) if row["answers"]]
    data = prepared(
        written(tmp_path / "a.jsonl", some), valid=0, test=0, tokenizer=tokenizer, vocabulary=400, length=256
    )
    split = data.split("train")
    assert split is not None
    batch = split.fetch(torch.arange(len(split)), 0, 0)
    logits = torch.zeros(*batch.inputs[0].shape, 2)
    for side in range(2):
        logits[torch.arange(len(logits)), batch.targets[:, side], side] = 9.0
    answers = Answering(data).predict(Knowing(logits), batch.inputs, batch.asked)
    meant = [(one.question.answers[0], one.question.starts[0]) for one in batch.asked]
    assert [(answer["answer"], answer["start"]) for answer in answers] == meant


def test_a_batch_is_cut_by_questions(tmp_path: Path) -> None:
    filler = "and so on " * 12
    some = rows(4)
    some[1]["context"] += filler
    data = prepared(written(tmp_path / "a.jsonl", some), valid=0, test=0, length=20)
    split = data.split("train")
    assert split is not None
    whole = split.fetch(torch.arange(4), 0, 0)
    parts = [whole.rows(slice(0, 2)), whole.rows(slice(2, 4))]
    assert [len(part) for part in parts] == [2, 2] and len(parts[0].targets) > len(parts[1].targets)
    assert torch.cat([part.targets for part in parts]).equal(whole.targets)
    assert torch.cat([part.inputs[0] for part in parts]).equal(whole.inputs[0])
    assert isinstance(whole, Batch) and isinstance(parts[0], AskedBatch)


@pytest.mark.parametrize(
    ("answer", "meant", "right", "f1"),
    [
        ("The Broncos!", ("broncos",), 1.0, 1.0),
        ("Denver Broncos", ("Broncos", "the Denver team"), 0.0, 2 / 3),
        ("", (), 1.0, 1.0),
        ("something", (), 0.0, 0.0),
        ("", ("something",), 0.0, 0.0),
        ("a b c b", ("b b d",), 0.0, 2 * 2 / (3 + 3)),  # the article goes
    ],
)
def test_scores_are_squads(answer: str, meant: tuple[str, ...], right: float, f1: float) -> None:
    assert exact(answer, meant) == right
    assert overlap(answer, meant) == pytest.approx(f1)


WORDS = st.lists(st.sampled_from(["the", "cat", "sat.", "on", "A", "mat", "Mat!", ""]), max_size=6).map(" ".join)


@given(WORDS, st.lists(WORDS, min_size=1, max_size=3))
def test_scores_are_those_of_torchmetrics(answer: str, meant: list[str]) -> None:
    squad = pytest.importorskip("torchmetrics.functional.text").squad
    answers = {"answer_start": [0] * len(meant), "text": meant}
    theirs = squad([{"prediction_text": answer, "id": "0"}], [{"answers": answers, "id": "0"}])
    assert float(theirs["exact_match"]) == 100 * exact(answer, meant)
    assert float(theirs["f1"]) == pytest.approx(100 * overlap(answer, meant), abs=1e-3)


def test_the_floor_is_the_sentence_with_the_rare_words() -> None:
    def asked(question: str) -> Question:
        return Question("It rained. Ada wrote the first program. It was long.", question, (), (), "", "")

    assert nearest_sentences([asked("Who wrote the program?"), asked("Did it rain or was it long?")]) == [
        "Ada wrote the first program.",
        "It was long.",
    ]


def test_answers_are_learned_resumed_exactly_and_given_to_what_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path / "a.jsonl", rows(60))
    recipe = {
        "task": {
            "name": "nlp/answers",
            "data": {"name": "nlp/questions", "path": str(file), "tokenizer": "word", "length": 32, "stride": 4},
        },
        "model": {
            "name": "nlp/encoder",
            "architecture": "bert",
            "dropout": 0.0,
            "options": {
                "hidden_size": 32,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "intermediate_size": 64,
                "hidden_dropout_prob": 0.0,
                "attention_probs_dropout_prob": 0.0,
            },
        },
        "loss": "cross-entropy",
        "optimizer": {"name": "adamw", "lr": 5e-3},
        "device": {"name": "cpu", "threads": 1},
        "train": {"epochs": 30, "batch_size": 8, "seed": 0},
        "log": [],
    }
    outcome = lw.Experiment(**recipe).run(tmp_path / "run")
    assert outcome.metrics["test"]["f1"] > 0.8
    asked = "Where was he born?\tPerson 3 was a baker. He was born in Oslo and liked it."
    monkeypatch.setattr(sys, "argv", ["labwright", "predict", str(tmp_path / "run"), "--question", asked, "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert ended.value.code == 0, printed.err
    assert json.loads(printed.out)["answer"] == "Oslo"
    short = {**recipe, "train": {**recipe["train"], "epochs": 2}}  # type: ignore[dict-item]
    assert verify_resume(lw.Experiment(**short), 5).exact


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"question": "q", "answers": []}\n', r"line 1: no context; it has answers, question"),
        ('{"context": "c", "answers": []}\n', r"line 1: no question"),
        ('{"context": "c d", "question": "q", "answers": [3]}\n', r"line 1: the answers are \[3\]; they are a list"),
        ('{"context": "c d", "question": "q", "answers": [{"text": "e", "start": 0}]}\n', r"no question whose answer"),
        ("[1, 2\n", r"line 1: no JSON"),
        ('{"context": "c d", "question": "q"}\n', r"line 1: no answers; it has context, question"),
        (
            '{"context": "c d", "question": "q", "answers": [{"text": "c", "start": null}]}\n',
            r"line 1: the answers are",
        ),
        ("3\n", r"line 1: given '3'; a question is an object"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises(LabwrightError, match=message):
        prepared(tmp_path / "a.jsonl", valid=0, test=0)


def test_answers_that_are_not_at_their_place_are_left_out_and_counted(tmp_path: Path) -> None:
    some = rows(12)
    some[0]["answers"] = [{"text": "London", "answer_start": 3}]
    some[1]["answers"] = [{"text": "Atlantis"}]
    some[2]["answers"] = [{"text": "Rotterdam"}]  # at its only place
    data = prepared(written(tmp_path / "a.jsonl", some), valid=0, test=0)
    assert len(data.split("train")) == 10  # type: ignore[arg-type]
    (left,) = data.left_out()
    assert left.count == 2 and "line 1" in left.why
    assert len([*(data.inputs(tmp_path / "a.jsonl") or ())]) == 12, "what is asked is answered, wherever it is meant"


def test_an_answer_that_no_window_holds_is_said(tmp_path: Path) -> None:
    words = [f"w{number}" for number in range(40)]
    context, answer = " ".join(words), " ".join(words[2:34])
    row = {"context": context, "question": "what ?", "answers": [{"text": answer, "start": context.index(answer)}]}
    data = prepared(written(tmp_path / "a.jsonl", [row]), valid=0, test=0, length=20, stride=4)
    assert any("1 answers are whole in no window" in remark for remark in data.remarks())


def test_answers_longer_than_any_that_is_given_are_counted(tmp_path: Path) -> None:
    words = [f"w{number}" for number in range(20)]
    some = [
        {"context": " ".join(words), "question": "what ?", "answers": [{"text": " ".join(words[2 : 2 + count])}]}
        for count in (3, 4, 5)
    ]
    data = prepared(written(tmp_path / "a.jsonl", some), valid=0, test=0)
    assert Answering(data, longest=5).remark("train", {}) is None
    assert "1 answers of train have more than task.longest=4 tokens" in str(
        Answering(data, longest=4).remark("train", {})
    )
    assert str(Answering(data, longest=3).remark("train", {})).startswith("2 answers")


def test_blanks_around_an_answer_are_none_of_it(tmp_path: Path) -> None:
    context = "He was born in New York once."
    some = [
        {"context": context, "question": "where ?", "answers": [{"text": text, "answer_start": context.index(text)}]}
        for text in (" New York ", "New York", " ")
    ]
    data = prepared(written(tmp_path / "a.jsonl", some), valid=0, test=0)
    asked = data.split("train").fetch(torch.arange(2), 0, 0)  # type: ignore[union-attr]
    assert asked.targets[0].tolist() == asked.targets[1].tolist() != [0, 0]
    assert data.remarks() == [] and [left.count for left in data.left_out()] == [1]


def test_half_a_surrogate_pair_is_replaced(tmp_path: Path) -> None:
    some = rows(30)
    some[4]["title"] = some[4]["question"] = "\ud83d?"
    some[5] |= {"title": "", "context": f"\ud83d {some[5]['context']}"}
    some[5]["answers"] = [{"text": some[5]["answers"][0]["text"]}]
    data = prepared(written(tmp_path / "a.jsonl", some))
    asked = [one.question for name in ("train", "valid", "test") for one in data.split(name).asked]  # type: ignore[union-attr]
    assert len(asked) == 30 and {"\ufffd?", "Where was he born?"} == {one.question for one in asked}


def test_a_part_whose_questions_leave_no_room_is_refused(tmp_path: Path) -> None:
    some = [{**row, "question": "why " * 40} for row in rows(12)]
    with pytest.raises(
        LabwrightError, match=r"length: none of the 12 questions of train has room for a text beside it"
    ):
        prepared(written(tmp_path / "a.jsonl", some), valid=0, test=0)


def test_a_fold_whose_tokenizer_leaves_other_questions_room_is_refused(tmp_path: Path) -> None:
    some = rows(20)
    for row in some[10:]:
        row["question"] = "zqxjkvzqxjkvzqxjkv"  # one token where it was learned, a byte each where it wasn't
    data = prepared(
        written(tmp_path / "a.jsonl", some), valid=0, test=0, tokenizer="bpe", vocabulary=400, length=20, stride=2
    )
    data.refit({"train": torch.arange(20)})
    with pytest.raises(
        LabwrightError, match="the tokenizer of a fold cuts questions otherwise, so that others of train"
    ):
        data.refit({"train": torch.arange(10)})


def test_a_tokenizer_that_knows_little_of_the_texts_is_told(tmp_path: Path) -> None:
    some = [
        {"context": f"w{n} x{n} y{n} z{n} here", "question": "what ?", "answers": [{"text": "here"}]} for n in range(40)
    ]
    told = " ".join(prepared(written(tmp_path / "a.jsonl", some)).remarks())
    assert "the tokenizer 'word' doesn't know" in told and "% of valid" in told and "% of train" not in told


def test_damaged_parquet_and_squad_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(LabwrightError, match="can't be read as Parquet"):
        prepared(tmp_path / "a.parquet")
    (tmp_path / "a.json").write_text(json.dumps({"data": [{"title": "t", "paragraphs": [{"context": "c"}]}]}))
    with pytest.raises(LabwrightError, match="article 1, paragraph 1: no list of questions under `qas`"):
        prepared(tmp_path / "a.json")


def test_settings_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LabwrightError, match=r"task\.data\.stride: windows of task\.data\.length=32 tokens"):
        Questions(path=tmp_path, length=32, stride=16)
    with pytest.raises(LabwrightError, match=r"ends in \.csv; questions are in"):
        prepared(written(tmp_path / "a.csv", rows(2)))
    data = prepared(written(tmp_path / "a.jsonl", rows(12)))
    with pytest.raises(LabwrightError, match="have a tab between them, or are JSON"):
        data.parse("Where was he born?")
    assert isinstance(data.ports()[1], Spans)


def test_xquad_is_read_as_it_is_published(xquad: Path) -> None:
    data = prepared(xquad, valid=0.1)
    assert not data.left_out() or all(left.what == "file" for left in data.left_out())
    titles = {
        part: {one.question.title for one in split.asked} for part in ("train", "valid") if (split := data.split(part))
    }
    assert titles["train"] and titles["valid"] and not titles["train"] & titles["valid"]
