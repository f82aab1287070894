"""Sequence to sequence: forced as the textbook says, written by search, measured token by token and text by text."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from labwright import Batch, LabwrightError, Tokens
from labwright_tasks.intervals import bootstrapped, wilson
from labwright_tasks.sequence_to_sequence import PairedData, PairedTokens, SequenceToSequence, TargetTokens
from labwright_testing.verify_resume import verify_resume
from torch import Tensor, nn
from torch.nn import functional

CPU = torch.device("cpu")
LETTERS = "_<>abcd"  # padding, begin, end
Experiments = Callable[..., lw.Experiment]
Command = Callable[..., tuple[int, str, str]]


def ids_of(text: str) -> list[int]:
    return [LETTERS.index(letter) for letter in text]


class Letters(PairedData):
    """Pairs of strings given by a test."""

    source, licence = "made up", "CC0"

    def __init__(self, *pairs: tuple[str, str], ended: bool = True, length: int = 6) -> None:
        self.pairs, self.end, self.length = pairs, ">" if ended else "", length

    def prepare(self) -> None: ...

    def ports(self) -> tuple[lw.Port, lw.Port]:
        return Tokens(7, 6), TargetTokens(7, self.length)

    def split(self, name: str) -> PairedTokens:
        sources, targets = zip(*self.pairs, strict=True)
        return PairedTokens([*map(ids_of, sources)], [ids_of(text + self.end) for text in targets], pad_id=0)

    def written(self, ids: Sequence[int]) -> str:
        return "".join(LETTERS[token] for token in ids)

    def show(self, inputs: tuple[Tensor, ...]) -> list[str]:
        rows = zip(inputs[0].tolist(), inputs[1].tolist(), strict=True)
        return [self.written(ids[:length]) for ids, length in rows]


class Copying(nn.Module):
    """The token that follows is that of the source in the same place, then the end; `sure` of it, or not at all."""

    def __init__(self, sure: float = 20.0) -> None:
        super().__init__()
        self.sure = nn.Parameter(torch.tensor(sure))

    def encode(self, ids: Tensor, lengths: Tensor) -> Tensor:
        ended = functional.pad(ids, (0, 6))
        return ended.scatter(1, lengths[:, None], 2)

    def decode(self, memory: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
        assert bool((target[:, 0] == 1).all())
        return self.sure * functional.one_hot(memory[:, : target.shape[1]], 7).float()


def prepared(*pairs: tuple[str, str], **settings: Any) -> SequenceToSequence:
    task = SequenceToSequence(Letters(*pairs), **settings)
    task.prepare()
    return task


def batch_of(task: SequenceToSequence) -> Batch:
    (batch,) = task.batches("valid", size=100, seed=0, epoch=0) or ()
    return batch


def measured(task: SequenceToSequence, model: nn.Module, size: int = 2) -> dict[str, Any]:
    metrics = task.metrics()
    with torch.no_grad():
        for batch in task.batches("valid", size=size, seed=0, epoch=0) or ():
            for metric in metrics.values():
                metric.update(task.evaluate(model, batch))
    return {name: metric.compute() for name, metric in metrics.items()}


PAIRS = (("abcd", "abcd"), ("ab", "ab"), ("c", "cd"), ("dcb", "dab"))


# ------------------------------------------------------------------------------------------- forced, and measured


def test_a_model_is_forced_along_the_target_and_measured_at_each_of_its_tokens() -> None:
    task = prepared(("ab", "cad"), ("a", "b"))
    seen: list[Tensor] = []

    class Watching(Copying):
        def decode(self, memory: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
            seen.append(target)
            return torch.randn(*target.shape, 7, generator=torch.Generator().manual_seed(0))

    batch = batch_of(task)
    loss = task.loss(Watching(), batch, functional.cross_entropy, "train")
    assert seen[0].tolist() == [ids_of("<cad"), ids_of("<b>_")]
    assert task.weight(batch) == 6
    logits = torch.randn(2, 4, 7, generator=torch.Generator().manual_seed(0))
    rows = zip(logits, ("cad>", "b>"), strict=True)
    each = [-row.log_softmax(-1)[place, token] for row, text in rows for place, token in enumerate(ids_of(text))]
    torch.testing.assert_close(loss, torch.stack(each).mean())


def test_smoothing_is_the_losss_own_and_measures_are_without_it() -> None:
    task, model = prepared(*PAIRS), Copying(1.5)
    smoothed = smoothed_cross_entropy(0.1)
    batch = batch_of(task)
    logits = model.decode(model.encode(*batch.inputs), batch.inputs[1], torch.ones_like(batch.targets))
    expected = functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), label_smoothing=0.1)
    torch.testing.assert_close(task.loss(model, batch, smoothed, "train"), expected)
    plain = functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten())
    assert measured(task, model)["cross_entropy"] == pytest.approx(plain.item(), rel=1e-6)


def smoothed_cross_entropy(share: float) -> Any:
    return lw.Plugins.discover().load("loss", "cross-entropy")(label_smoothing=share)


@pytest.mark.parametrize("size", [1, 3, 4])
def test_a_model_that_knows_nothing_needs_the_logarithm_of_the_vocabulary(size: int) -> None:
    values = measured(prepared(*PAIRS), Copying(0.0), size)
    assert values["cross_entropy"] == pytest.approx(math.log(7))
    assert values["perplexity"] == pytest.approx(7)


@pytest.mark.parametrize("size", [1, 3, 4])
def test_tokens_and_texts_that_are_right_are_counted_whatever_the_batches(size: int) -> None:
    values = measured(prepared(*PAIRS), Copying(), size)
    # "abcd>", "ab>" whole; of "cd>" the c, as "c>" is copied; of "dab>" the d, the b and the end
    assert values["token_accuracy"] == pytest.approx((5 + 3 + 1 + 3) / 15)
    assert values["exact_match"] == 2 / 4


def test_a_text_is_written_as_it_is_forced_where_every_forced_token_is_right(made: Experiments, tmp_path: Path) -> None:
    run = made("digits", "task.data.longest=3", "train.epochs=12").run(tmp_path / "run")
    task, model = run.task, run.model.eval()
    assert isinstance(task, SequenceToSequence)
    batch = task.data.split("train").fetch(torch.arange(64), 0, 0)  # type: ignore[union-attr]
    with torch.no_grad():
        logits_BTV, memory = task._forced(model, batch)
        texts = task.texts(model, memory, batch.inputs[1])
    right_B = ((logits_BTV.argmax(-1) == batch.targets) | (batch.targets == -100)).all(1)
    assert [text == meant for text, meant in zip(texts, task.references(batch), strict=True)] == right_B.tolist()
    assert 0 < right_B.sum() < 64


def test_texts_are_not_written_in_evaluations_where_the_task_says_so() -> None:
    task = prepared(*PAIRS, write=False)
    names = {"cross_entropy", "perplexity", "token_accuracy"}
    assert set(measured(task, Copying())) == names | {"cross_entropy_95", "perplexity_95"}
    sums = {"nats_sum", "right", "tokens", "nats_of_each", "tokens_of_each"}
    assert set(task.evaluate(Copying(), batch_of(task))) == sums


def test_nothing_measured_is_no_number() -> None:
    values = {name: metric.compute() for name, metric in prepared(*PAIRS).metrics().items()}
    intervals = {name: values.pop(name) for name in [*values] if name.endswith("_95")}
    assert all(map(math.isnan, values.values()))
    assert intervals.pop("exact_match_95") == {"low": 0.0, "high": 1.0}
    assert all(math.isnan(end) for ends in intervals.values() for end in ends.values())


# ------------------------------------------------------------------------------------------------------- searching


class Garden(nn.Module):
    """After `a` the most probable token leads to nothing probable, after `b` to the end."""

    def encode(self, ids: Tensor, lengths: Tensor) -> Tensor:
        return torch.zeros(len(ids), 1)

    def decode(self, memory: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
        shares_77 = torch.full((7, 7), 0.01)
        shares_77[1, 3:5] = torch.tensor([0.5, 0.4])
        shares_77[3, 2:7] = 0.19
        shares_77[4, 2] = 0.9
        return shares_77.log()[target]


def test_more_beams_find_a_text_that_begins_less_probably() -> None:
    answers = []
    for beams in (1, 3):
        task = prepared(*PAIRS, beams=beams, length_penalty=0.0)
        answers += task.predict(Garden(), (torch.tensor([[3, 4]]), torch.tensor([2])), [None])
    # 0.5 * 0.19 to end at once; 0.4 * 0.9
    assert answers[1] == {"text": "b"} and answers[0]["text"].startswith("a")


def test_a_text_has_as_many_tokens_as_the_task_allows() -> None:
    inputs = torch.tensor([ids_of("abcda")]), torch.tensor([5])
    texts = [
        prepared(*PAIRS, length=length).predict(Copying(), inputs, [None])[0]["text"] for length in (2, 5, 6, None)
    ]
    assert texts == ["ab", "abcda", "abcda", "abcda"]


def test_rows_are_answered_together_as_alone() -> None:
    task = prepared(*PAIRS, beams=2)
    ids_BS, lengths_B = batch_of(task).inputs
    together = task.predict(Copying(), (ids_BS, lengths_B), [None] * 4)
    alone = [
        task.predict(Copying(), (ids_BS[n : n + 1, :length], lengths_B[n : n + 1]), [None])[0]
        for n, length in enumerate(lengths_B.tolist())
    ]
    assert together == alone == [{"text": source} for source, _ in PAIRS]


# --------------------------------------------------------------------------------------------------------- batches


def test_batches_of_training_are_of_like_sources_and_then_of_like_targets() -> None:
    random = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 7, (400, 2), generator=random).tolist()
    task = SequenceToSequence(Letters(*[("a" * source, "b" * target) for source, target in lengths], length=7))
    part = task.data.split("train")
    assert part is not None
    batches = task.order("train", part, size=20, seed=3, epoch=1)
    assert sorted(torch.cat([*batches]).tolist()) == list(range(400)) and {len(batch) for batch in batches} == {20}
    again, other = (task.order("train", part, size=20, seed=3, epoch=epoch) for epoch in (1, 2))
    assert all(map(torch.equal, batches, again)) and not all(map(torch.equal, batches, other))

    def padded(indices: Sequence[Tensor]) -> int:
        """Places of batches, filled or not."""
        shapes = ((part.lengths[batch], part.target_lengths[batch]) for batch in indices)  # type: ignore[attr-defined]
        return sum(20 * int(source.max() + target.max()) for source, target in shapes)

    by_source = lw.bucketed(torch.split(lw.epoch_order(400, seed=3, epoch=1), 20), part.lengths, seed=3, epoch=1)  # type: ignore[attr-defined]
    assert padded(batches) < padded(by_source) < padded(torch.arange(400).split(20))
    assert torch.equal(torch.cat([*task.order("valid", part, size=30, seed=0, epoch=0)]), torch.arange(400))


def test_a_batch_is_padded_to_its_longest_source_and_target() -> None:
    batch = batch_of(prepared(("abc", "a"), ("b", "cd")))
    assert batch.inputs[0].tolist() == [ids_of("abc"), ids_of("b__")] and batch.inputs[1].tolist() == [3, 1]
    assert batch.targets.tolist() == [[3, 2, -100], [5, 6, 2]]


def test_the_ports_example_is_a_target() -> None:
    (ids_BT,) = TargetTokens(9, 5).example(50, torch.Generator().manual_seed(0))
    for row in ids_BT.tolist():
        ids = [token for token in row if token != -100]
        assert ids[-1] == 2 and row[len(ids) :] == [-100] * (5 - len(ids)) and all(0 <= token < 9 for token in ids)


# ------------------------------------------------------------------------------------------------------ whole runs


def test_a_resumed_run_is_the_uninterrupted_one(made: Experiments) -> None:
    assert verify_resume(
        made("digits", "task.beams=2", 'loss.name="cross-entropy"', "loss.label_smoothing=0.1"), 8
    ).exact


@pytest.fixture
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_accumulation_changes_nothing(made: Experiments, float64: None, tmp_path: Path) -> None:
    def weights(accumulate: int) -> list[Tensor]:
        overrides = [f"device.accumulate={accumulate}", 'optimizer="sgd"', "optimizer.lr=0.1", "train.epochs=2"]
        return [*made("digits", *overrides).run(tmp_path / str(accumulate)).model.parameters()]

    for ours, whole in zip(weights(4), weights(1), strict=True):
        assert ours.dtype == torch.float64
        torch.testing.assert_close(ours, whole, rtol=1e-12, atol=1e-13)


def test_a_study_searches_it(made: Experiments, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"search": {"only": ["model.width", "optimizer.lr"]}, "quiet": True}
    findings = lw.Study(made("digits", "train.epochs=1"), 3, folder=tmp_path / "study", **settings).run()
    assert (findings.trials, findings.failed) == (3, 0)


@pytest.mark.long
def test_it_writes_from_the_command_line_and_is_measured_there(
    made: Experiments, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = made("digits", "task.data.longest=3", "train.epochs=60", 'log=["report"]').run("run")
    part = run.task.data.split("train")
    assert part is not None
    texts = list(run.task.data.show(part.fetch(torch.arange(6), 0, 0).inputs))
    assert run.metrics["valid"]["token_accuracy"] > 0.6
    code, out, err = command("predict", "run", *[word for text in texts for word in ("--digits", str(text))], "--json")
    assert code == 0, err
    answers = [json.loads(line) for line in out.splitlines()]
    assert [answer["input"] for answer in answers] == texts
    assert sum(answer["text"] == str(text)[::-1] for answer, text in zip(answers, texts, strict=True)) >= 5
    code, out, err = command("predict", "run", "--digits", str(texts[0]), "--set", "task.beams=4")
    assert code == 0 and out == f"{texts[0]}\t{answers[0]['text']}\n", err
    code, out, err = command("evaluate", "run", "--split", "test", "--json")
    assert code == 0 and json.loads(out)["metrics"]["exact_match"] == run.metrics["test"]["exact_match"], err
    (table,) = run.task.report(run.model, "test", CPU)
    assert isinstance(table, lw.Table) and table.columns == ("source", "meant", "written") and len(table.rows) == 20
    assert all(meant == str(source)[::-1] for source, meant, _ in table.rows)
    same = sum(meant == written for _, meant, written in table.rows)
    assert f"{same} of 20 are the same; the most probable token each time." == table.note
    assert "Examples" in Path("run/report.html").read_text()
    assert list(run.task.report(run.model, "elsewhere", CPU)) == []


# ------------------------------------------------------------------------------------------------------ bad inputs


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (Letters(("a", "b"), ended=False), "a target ends with token 4, not with end_id, 2"),
        (Letters(("a", "abcdab")), "a target has 7 tokens, its port says 6 at most"),
        (Letters(("a", "b"), ("", "c")), "pair 1, counted from 0, has a source without any token"),
        (Letters(("a", ""), ended=False), "pair 0, counted from 0, has a target without any token"),
    ],
)
def test_pairs_that_cannot_be_learned_are_refused(data: Letters, words: str) -> None:
    with pytest.raises(LabwrightError, match=words):
        SequenceToSequence(data).prepare()


def test_a_target_with_a_token_that_is_not_there_is_refused() -> None:
    class Large(Letters):
        def split(self, name: str) -> PairedTokens:
            return PairedTokens([[3]], [[9, 2]], pad_id=0)

    with pytest.raises(LabwrightError, match=r"Large: a target has token 9; there are 0 to 6"):
        SequenceToSequence(Large(("a", "b"))).prepare()


def test_a_model_that_returns_something_else_is_told_what_to_return() -> None:
    class Last(Copying):
        def decode(self, memory: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
            return super().decode(memory, lengths, target)[:, -1]

    task = prepared(*PAIRS)
    for call in (task.evaluate, lambda *given: task.loss(*given, functional.cross_entropy, "train")):
        with pytest.raises(LabwrightError, match=r"decode returned shape \(4, 7\); .*\(4, 5, 7\), 7 logits for each"):
            call(Last(), batch_of(task))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["model=made/unpaired"], "it has no method decode(memory, lengths, target)"),
        (["model=made/tagger"], "model 'made/tagger' returns PositionClasses; data 'made/digits' has targets Target"),
        (["loss=mse"], "loss 'mse' doesn't fit task 'sequence-to-sequence'"),
        (["task.data=made/tagged"], "Tagged has targets PositionClasses and is no PairedData"),
        (["task.beams=0"], "task.beams: given 0"),
        (["task.length_penalty=-1"], "task.length_penalty: given -1"),
        (["task.beam=3"], "did you mean 'beams'?"),
    ],
)
def test_an_experiment_that_does_not_fit_ends_with_one_message(
    overrides: list[str], words: str, command: Command, tmp_path: Path
) -> None:
    recipe = str(Path(__file__).parent / "made" / "digits.toml")
    code, _, err = command("run", recipe, *overrides, "--folder", str(tmp_path / "run"))
    assert code == 2 and words in err and "Traceback" not in err and err.count("error:") == 1


def test_a_line_that_is_no_source_is_told_beside_those_that_are(
    made: Experiments, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made("digits", "train.epochs=1").run("run")
    code, out, err = command("predict", "run", "--digits", "12a", "--digits", "123")
    assert code == 2 and out.startswith("123\t")
    assert "error: 12a: '12a' is no string of up to 5 digits." in err and "Traceback" not in err


# ------------------------------------------------------------------------------------------------ floors, intervals


class Published(Letters):
    """Pairs of their own for each part."""

    def __init__(self, **parts: Sequence[tuple[str, str]]) -> None:
        super().__init__(*parts["train"])
        self.parts = parts

    def split(self, name: str) -> PairedTokens:
        self.pairs = tuple(self.parts[name])
        return super().split(name)


def test_floors_are_how_frequent_tokens_are_the_source_and_what_the_most_similar_source_had() -> None:
    train = [("abcd", "dcba"), ("aabb", "bb"), ("cd", "a")]
    test = [("abcc", "dcba"), ("bb", "bb"), ("dc", "d"), ("aab", "aab")]
    task = SequenceToSequence(Published(train=train, valid=test, test=test))
    task.prepare()
    floors = task.floors("test")
    frequent, source, like = floors.values()
    # of "dcba>", "bb>", "a>", each counted once more: a 3, b 4, c 2, d 2, > 4, and two that never come 1; 17 in all
    shares = {"a": 3 / 17, "b": 4 / 17, "c": 2 / 17, "d": 2 / 17, ">": 4 / 17}
    tokens = "".join(f"{text}>" for _, text in test)
    assert frequent["cross_entropy"] == pytest.approx(-sum(math.log(shares[token]) for token in tokens) / len(tokens))
    assert frequent["token_accuracy"] == pytest.approx(max(tokens.count(sign) for sign in ">b") / len(tokens))
    assert source == {"exact_match": 1 / 2}  # "bb" and "aab"
    # "abcc" is like "abcd", "bb" and "aab" like "aabb", "dc" like "cd"
    assert like == {"exact_match": 1 / 2}
    assert [*floors][2] == "what the source most like it had, by TF-IDF of 1 to 4 tokens"
    task = SequenceToSequence(Published(train=train, valid=test, test=test), write=False)
    task.prepare()
    assert [*task.floors("test")] == ["how frequent each token is"]


def test_intervals_are_over_pairs_and_those_of_shares_wilsons() -> None:
    task = prepared(*PAIRS)
    told = measured(task, Copying(2.0))
    nats, tokens = [], []
    for pair in PAIRS:
        alone = prepared(pair)
        (batch,) = alone.batches("valid", size=1, seed=0, epoch=0) or ()
        results = alone.evaluate(Copying(2.0), batch)
        nats.append(float(results["nats_sum"].detach()))
        tokens.append(results["tokens"])
    low, high = bootstrapped(torch.tensor(nats), torch.tensor(tokens))
    assert told["cross_entropy_95"] == {"low": pytest.approx(low, rel=1e-5), "high": pytest.approx(high, rel=1e-5)}
    assert told["perplexity_95"]["high"] == pytest.approx(math.exp(high), rel=1e-5)
    assert told["exact_match"] == 2 / 4
    assert told["exact_match_95"] == dict(zip(("low", "high"), wilson(2, 4), strict=True))
