"""Hidden tokens: which are hidden and what stands there, what tells them, and a run that a classifier starts from."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import labwright as lw
import numpy as np
import pytest
import tokenizers
import torch
from labwright import LEFT_OUT, Classes, LabwrightError
from labwright.config.resolve import Where
from labwright.runs.start import Start, begin
from labwright_nlp.data.plain_text import PlainText
from labwright_nlp.data.text_files import TextFiles
from labwright_nlp.data.token_files import TokenFiles
from labwright_nlp.hiding import Hidden, Hiding, MaskedBatch
from labwright_nlp.masked_language import MaskedLanguageModel
from labwright_nlp.models.encoder import Encoder
from labwright_nlp.neighbours import Neighbours
from labwright_nlp.ports import HiddenTokens, MaskedTokens
from labwright_nlp.tokenizing import Pieces, kept, learned
from labwright_nlp.words_of_pieces import seams
from labwright_testing.verify_resume import verify_resume
from torch.nn import functional

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
WORDS = "the cat (black) and 12 dogs sat on unbelievably old mats, jumping over 3 antidisestablishments!\n"


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("text") / "text.txt"
    file.write_text("".join(f"{number} {WORDS}" for number in range(300)))
    return file


def masked(text: Path, tokenizer: Any = "bpe", **settings: Any) -> MaskedLanguageModel:
    data = PlainText(path=text, tokenizer=tokenizer, vocabulary=320, context=32)
    task = MaskedLanguageModel(data, **settings)
    task.prepare()
    return task


def whole(task: MaskedLanguageModel, split: str = "train", epoch: int = 0, seed: int = 0) -> MaskedBatch:
    part = task.part(split)
    assert isinstance(part, Hidden)
    return part.fetch(torch.arange(len(part)), epoch, seed)


def uncovered(task: MaskedLanguageModel, split: str = "train") -> torch.Tensor:
    part = task.data.split(split)
    assert part is not None
    ids_BT: torch.Tensor = part.fetch(torch.arange(len(part)), 0, 0).inputs[0]
    return ids_BT


def test_of_each_text_the_share_is_hidden_four_fifths_of_it_masked_and_a_tenth_replaced(text: Path) -> None:
    task = masked(text)
    batch, before_BT = whole(task), uncovered(task)
    ids_BT, _, places_BM = batch.inputs
    hidden = batch.targets != LEFT_OUT
    assert (hidden.sum(1) == 5).all() and batch.tokens == int(hidden.sum()) > 500  # round(0.15 * 32)
    assert torch.equal(batch.targets, before_BT.gather(1, places_BM)) and (places_BM.diff(dim=1) > 0).all()
    changed_BT = torch.zeros_like(ids_BT, dtype=torch.bool).scatter(1, places_BM, True)
    assert torch.equal(ids_BT[~changed_BT], before_BT[~changed_BT])
    there = ids_BT.gather(1, places_BM)
    mask_id = task.data.hides().mask_id  # type: ignore[attr-defined]
    count, ordinary = batch.tokens, int(task.hiding.ordinary_V.sum())
    others = 0.1 * (1 - 1 / ordinary)  # a token drawn at random may be the one that stood there
    for share, expected in (
        (float((there == mask_id).sum()) / count, 0.8),
        (float(((there != mask_id) & (there != batch.targets)).sum()) / count, others),
    ):
        assert abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / count)
    assert task.hiding.ordinary_V[batch.targets.numpy()].all() and task.hiding.ordinary_V[there[there != mask_id]].all()


def test_what_is_hidden_depends_on_the_text_alone_and_stays_where_a_model_is_measured(text: Path) -> None:
    task = masked(text)
    for split in ("train", "valid"):
        together, part = whole(task, split, 3, 5), task.part(split)
        assert part is not None
        for row in (0, len(part) // 2, len(part) - 1):
            one = part.fetch(torch.tensor([row]), 3, 5)
            for alone, beside in zip((*one.inputs, one.targets), (*together.inputs, together.targets), strict=True):
                assert torch.equal(alone[0], beside[row][: len(alone[0])] if alone.dim() > 1 else beside[row])
    train = [whole(task, "train", *draw).inputs[2] for draw in ((0, 0), (0, 1), (1, 0))]
    assert not torch.equal(train[0], train[1]) and not torch.equal(train[0], train[2])
    assert torch.equal(whole(task, "valid", 0, 0).inputs[0], whole(task, "valid", 4, 7).inputs[0])


def test_labelled_texts_hide_neither_special_tokens_nor_padding_nor_unknown_words(fruits: Path) -> None:
    task = MaskedLanguageModel(TextFiles(path=fruits, vocabulary=12, length=16), share=0.9)
    task.prepare()
    tokens = task.data.hides()  # type: ignore[attr-defined]
    assert tokens.size == 13 and "has one token more, [MASK]" in task.data.remarks()[-1]
    batch = whole(task)
    hidden = batch.targets[batch.targets != LEFT_OUT]
    assert len(hidden) == batch.tokens > 100
    assert not set(hidden.tolist()) & {tokens.pad_id, tokens.unknown, tokens.mask_id}
    assert (batch.inputs[2] < batch.inputs[1][:, None]).all()


def trained(kind: str) -> tokenizers.Tokenizer:
    """A small tokenizer of a kind that pretrained encoders have."""
    models, cuts = tokenizers.models, tokenizers.pre_tokenizers
    if kind == "WordPiece":
        inner = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
        inner.pre_tokenizer = cuts.BertPreTokenizer()
        trainer: Any = tokenizers.trainers.WordPieceTrainer(vocab_size=60, special_tokens=["[UNK]", "[MASK]"])
    elif kind == "Unigram":
        inner = tokenizers.Tokenizer(models.Unigram())
        inner.pre_tokenizer = cuts.Metaspace()
        trainer = tokenizers.trainers.UnigramTrainer(
            vocab_size=60, special_tokens=["<unk>", "<mask>"], unk_token="<unk>"
        )
    else:
        inner = tokenizers.Tokenizer(models.BPE())
        inner.pre_tokenizer = cuts.ByteLevel(add_prefix_space=False)
        trainer = tokenizers.trainers.BpeTrainer(vocab_size=290, initial_alphabet=cuts.ByteLevel.alphabet())
    inner.train_from_iterator([WORDS] * 3, trainer)
    return inner


@pytest.mark.parametrize("kind", ["WordPiece", "Unigram", "ByteLevel"])
def test_words_are_those_of_the_tokenizers_own_library(kind: str) -> None:
    inner = trained(kind)
    encoding = inner.encode(f"{WORDS.strip()} {WORDS.strip()}")
    same_T = np.array([now == before for before, now in zip(encoding.word_ids, encoding.word_ids[1:], strict=False)])
    go_on_BT = seams(inner, inner.get_vocab_size()).go_on(np.array([encoding.ids]))
    assert same_T.sum() > 20 and not go_on_BT[0, 0]
    np.testing.assert_array_equal(go_on_BT[0, 1:], same_T)


def test_whole_words_are_hidden_or_none_of_their_pieces(text: Path) -> None:
    task = masked(text, whole_words=True, share=0.3)
    before, places = uncovered(task).numpy(), whole(task).inputs[2]
    assert task.hiding.seams is not None
    go_on_BT = task.hiding.seams.go_on(before)
    hidden_BT = torch.zeros(before.shape, dtype=torch.bool).scatter(1, places, whole(task).targets != LEFT_OUT).numpy()
    inside = go_on_BT[:, 1:] & task.hiding.ordinary_V[before[:, 1:]]
    np.testing.assert_array_equal(hidden_BT[:, 1:][inside], hidden_BT[:, :-1][inside])
    assert inside.sum() > 500 and 0.2 < hidden_BT.mean() <= 0.32


def test_the_counts_of_neighbours_are_those_counted_by_hand() -> None:
    texts = [np.array([1, 2, 3, 1, 2, 1]), np.array([2, 3])]
    floor = Neighbours(4)
    assert floor.fit(texts) == 8
    size, edge = 4, 4

    def mixed(counts: Counter[int], lower: list[Fraction]) -> list[Fraction]:
        kinds, total = max(len(counts), 1), sum(counts.values())
        return [(counts[token] + kinds * lower[token]) / (total + kinds) for token in range(size)]

    alone = mixed(Counter({1: 3, 2: 3, 3: 2}), [Fraction(1, 4)] * 4)
    assert alone[0] == Fraction(3, 44)  # nothing of 8, and a quarter of what 3 kinds leave: (0 + 3 / 4) / 11
    # between 1 and 3 there is 2, once; behind 1 there is 2, twice, before 3 there is 2, twice
    by_left = mixed(Counter({2: 2}), alone)
    by_right = mixed(Counter({2: 2}), alone)
    independent = [left * right / share for left, right, share in zip(by_left, by_right, alone, strict=True)]
    both = mixed(Counter({2: 1}), [one / sum(independent) for one in independent])
    np.testing.assert_allclose(floor.probabilities(np.array([1]), np.array([3]))[0], [float(one) for one in both])
    # what begins a text is counted behind its edge; a neighbour that was never seen says nothing
    behind_edge = mixed(Counter({1: 1, 2: 1}), alone)
    np.testing.assert_allclose(
        floor.probabilities(np.array([edge]), np.array([0]))[0], [float(one) for one in behind_edge], rtol=1e-12
    )
    ids_BT, places_BM = torch.tensor([[1, 0, 3, 0]]), torch.tensor([[1]])
    logits = floor(ids_BT, torch.tensor([3]), places_BM)
    np.testing.assert_allclose(logits[0, 0].exp().tolist(), [float(one) for one in both], rtol=1e-6)
    np.testing.assert_allclose(floor.alone()(ids_BT, None, places_BM)[0, 0].exp(), [float(x) for x in alone], rtol=1e-6)


def test_the_head_tells_what_that_of_transformers_bert_tells(tmp_path: Path) -> None:
    import transformers

    torch.manual_seed(0)
    theirs = transformers.BertForMaskedLM(transformers.BertConfig(vocab_size=40, max_position_embeddings=16, **SMALL))
    torch.nn.init.normal_(theirs.cls.predictions.bias)
    theirs.eval().save_pretrained(tmp_path / "bert")
    inputs, outputs = MaskedTokens(40, 12, 0, 3, tmp_path / "bert"), HiddenTokens(40, 3)
    model = Encoder(inputs, outputs).eval()
    head = "cls.predictions"
    take = {
        "bert.*": "network.*",
        f"{head}.transform.dense.*": "head.transform.*",
        f"{head}.transform.LayerNorm.*": "head.norm.*",
        f"{head}.bias": "head.bias",
    }
    started = begin(model, Start(tmp_path / "bert", take=take, strict=False), Where(("start",)))
    assert started.kept == []
    ids_BT, lengths_B, places_BM = inputs.example(4, torch.Generator().manual_seed(0))
    logits_BMV = model(ids_BT, lengths_B, places_BM)
    outputs.check(logits_BMV, places_BM)
    there_BT = (torch.arange(12) < lengths_B[:, None]).long()
    expected_BTV = theirs(input_ids=ids_BT, attention_mask=there_BT).logits
    for row in range(4):
        torch.testing.assert_close(logits_BMV[row], expected_BTV[row, places_BM[row]], rtol=1e-4, atol=1e-5)


def test_an_encoder_learns_one_batch_by_heart(text: Path) -> None:
    task = masked(text, "word")
    part = task.part("train")
    assert part is not None
    batch = part.fetch(torch.arange(8), 0, 0)
    torch.manual_seed(0)
    options = SMALL | {"hidden_size": 32, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = Encoder(*task.ports(), architecture="bert", options=options)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    losses = []
    for _ in range(80):
        loss = task.loss(model, batch, functional.cross_entropy, "train")  # type: ignore[arg-type]
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[0] > 2.5 and losses[-1] < 0.1
    results = task.evaluate(model.eval(), batch)
    assert float(results["right"]) == results["tokens"] == batch.tokens


def recipe(text: Path, **settings: Any) -> lw.Experiment:
    table: dict[str, Any] = {
        "task": {
            "name": "nlp/masked-language-model",
            "data": {"name": "nlp/plain-text", "path": str(text), "tokenizer": "bpe", "vocabulary": 300, "context": 16},
        },
        "model": {"name": "nlp/encoder", "architecture": "bert", "options": SMALL},
        "loss": "cross-entropy",
        "optimizer": {"name": "adamw", "lr": 5e-3},
        "device": {"name": "cpu", "threads": 1},
        "train": {"steps": 8, "batch_size": 8},
        "log": [],
    }
    return lw.Experiment(**(table | settings))


@pytest.fixture(scope="module")
def run(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("masked") / "run"
    done = recipe(text, log=["report"]).run(folder)
    assert set(done.metrics["valid"]) == {"cross_entropy", "masked_accuracy", "perplexity"}
    assert done.metrics["valid"]["perplexity"] == pytest.approx(math.exp(done.metrics["valid"]["cross_entropy"]))
    return folder


def test_a_resumed_run_hides_what_it_would_have_hidden(text: Path) -> None:
    verdict = verify_resume(recipe(text), 5)
    assert verdict.exact and verdict.tensors_compared > 10


def test_each_mask_of_a_text_is_filled_in_and_the_report_shows_hidden_tokens(run: Path) -> None:
    loaded = lw.load(run)
    (answer,) = loaded.task.predict(loaded.model, loaded.task.parse("the cat [MASK] and 12 [MASK] sat"), [None])
    assert [len(mask) for mask in answer["masks"]] == [5, 5] and "[MASK]" not in answer["text"]
    for mask in answer["masks"]:
        shares = [one["probability"] for one in mask]
        assert shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 1
    assert answer["text"].startswith("the cat") and answer["text"].endswith(" sat")
    best = [mask[0]["token"] for mask in answer["masks"]]
    assert answer["text"] == f"the cat{best[0]} and 12{best[1]} sat"
    # asked together, with another number of masks, a text is answered as alone
    ids_BT, lengths_B, _ = loaded.task.parse("[MASK] cat and 12 [MASK]")
    told_BT = torch.cat([ids_BT[:, :-1], torch.tensor([[5]])], dim=1)
    answers = loaded.task.predict(loaded.model, (torch.cat([ids_BT, told_BT]), lengths_B.repeat(2)), [None, None])
    assert [len(one["masks"]) for one in answers] == [2, 1]
    (alone,) = loaded.task.predict(loaded.model, (told_BT, lengths_B), [None])
    assert [one["token"] for one in alone["masks"][0]] == [one["token"] for one in answers[1]["masks"][0]]
    page = (run / "report.html").read_text()
    assert "Hidden tokens" in page and ", not " in page


def test_a_classifier_starts_from_a_masked_run_with_its_tokenizer_and_its_weights(
    run: Path, fruits: Path, tmp_path: Path
) -> None:
    table: dict[str, Any] = {
        "task": {
            "name": "classification",
            "data": {"name": "nlp/text-files", "path": str(fruits), "tokenizer": "pretrained", "length": 16},
        },
        "start": {"run": str(run), "take": {"network.*": "network.*"}},
    }
    trainer = recipe(run, **table).trainer(tmp_path / "fine")
    first, second = lw.load(run), trainer.run
    weights, taken = first.model.network.state_dict(), second.model.network.state_dict()
    assert weights.keys() == taken.keys() and all(torch.equal(weights[name], taken[name]) for name in weights)
    line = "the cat (black) jumping"
    assert torch.equal(first.task.parse(f"{line}[MASK]")[0][:, :-1], second.task.parse(line)[0])
    trainer.fit()
    assert "accuracy" in trainer.run.metrics["test"]


@pytest.mark.parametrize("case", ["lower", "mark"])
def test_a_mask_is_read_whatever_becomes_of_capitals(fruits: Path, case: Any) -> None:
    task = MaskedLanguageModel(TextFiles(path=fruits, length=16, case=case))
    task.prepare()
    ids_BT, _, places_BM = task.parse("number 3 is a [MASK] pear")
    assert int(ids_BT[0, int(places_BM)]) == task.data.hides().mask_id  # type: ignore[attr-defined]


def test_token_files_get_a_mask_by_the_tokenizer_beside_them(tmp_path: Path) -> None:
    learned("bpe", [WORDS], vocabulary=290, pretrained=None).save(tmp_path)
    size = kept("bpe", tmp_path).size
    (tmp_path / "tokens.json").write_text(f'{{"vocab_size": {size}}}')
    np.arange(2000, dtype=np.uint16).__mod__(size).tofile(tmp_path / "train.bin")
    task = MaskedLanguageModel(TokenFiles(path=tmp_path, context=16))
    task.prepare()
    assert task.ports()[0].vocab_size == size + 1 and f"{size + 1:,} in all" in task.data.remarks()[0]
    assert whole(task).tokens == 2 * len(task.part("train"))  # type: ignore[arg-type]
    # the run has a token more than the files, and is measured on them all the same, also when it is loaded
    (tmp_path / "kept").mkdir()
    task.save(tmp_path / "kept")
    loaded = MaskedLanguageModel(TokenFiles(path=tmp_path, context=16))
    loaded.load(tmp_path / "kept")
    for one in (task, loaded):
        assert len(one.on(tmp_path).part("test")) == 2000 // 16  # type: ignore[arg-type]
    (tmp_path / "tokens.json").write_text(f'{{"vocab_size": {size - 1}}}')
    assert f"says vocab_size={size - 1:,}, the run has {size + 1:,}" in fault(make=loaded.on, path=tmp_path)
    (tmp_path / "tokens.json").write_text(f'{{"vocab_size": {size + 20}}}')
    beyond = MaskedLanguageModel(TokenFiles(path=tmp_path, context=16))
    assert f"tokenizer.json has {size} tokens, tokens.json says {size + 20}: of ids beyond" in fault(
        make=beyond.prepare
    )


def fault(**settings: Any) -> str:
    with pytest.raises(LabwrightError) as caught:
        settings.pop("make")(**settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_hidden_or_told_is_answered(text: Path, tmp_path: Path, run: Path) -> None:
    from labwright_nlp.data.alike_texts import AlikeTexts
    from labwright_nlp.data.text_pairs import TextPairs

    (tmp_path / "alike.csv").write_text("text,other\n" + "".join(f"a {n} b,c {n} d\n" for n in range(60)))
    pairs = MaskedLanguageModel(AlikeTexts(path=tmp_path / "alike.csv"))
    assert "'nlp/alike-texts' has two texts in a row" in fault(make=pairs.prepare)
    assert "'char' nothing is hidden" in fault(make=masked, text=text, tokenizer="char")
    assert "TextPairs has none that could be" in fault(make=MaskedLanguageModel, data=TextPairs(path=text))
    (tmp_path / "sure.csv").write_text("text,label,sure\n" + "".join(f"a {n} b,c,{n % 2}\n" for n in range(60)))
    weighed = MaskedLanguageModel(TextFiles(path=tmp_path / "sure.csv", weight="sure"))
    weighed.prepare()
    assert "task.data.weight: hidden tokens count alike" in fault(make=weighed.part, split="train")
    data = PlainText(path=text)
    assert "0.9 of the hidden tokens are masked and 0.2 are others" in fault(
        make=MaskedLanguageModel, data=data, masked=0.9, random=0.2
    )
    assert "goal is 'accuracy', which none of the metrics gives" in fault(
        make=MaskedLanguageModel, data=data, goal="accuracy"
    )
    trained("ByteLevel").save(str(tmp_path / "tokenizer.json"))
    bare = MaskedLanguageModel(PlainText(path=text, tokenizer="pretrained", pretrained=tmp_path))
    assert "has no token for what is hidden, such as [MASK]" in fault(make=bare.prepare)
    (tmp_path / "tokens.json").write_text('{"vocab_size": 300}')
    np.zeros(500, dtype=np.uint16).tofile(tmp_path / "train.bin")
    (tmp_path / "tokenizer.json").unlink()
    files = MaskedLanguageModel(TokenFiles(path=tmp_path))
    assert "has no tokenizer.json, which says what the ids stand for" in fault(make=files.prepare)
    assert "the text has no [MASK]" in fault(make=lw.load(run).task.parse, line="the cat")
    assert "tokens, and the run learned from 16 at most" in fault(make=lw.load(run).task.parse, line=f"[MASK] {WORDS}")
    decoder = {"make": Encoder, "inputs": MaskedTokens(40, 12, 0, 2), "outputs": HiddenTokens(40, 2)}
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2}
    assert "a token sees only those before it" in fault(**decoder, architecture="gpt2", options=sizes)
    few = SMALL | {"max_position_embeddings": 8}
    assert "set task.data.context or task.data.length=8 or less" in fault(**decoder, architecture="bert", options=few)
    with pytest.raises(LabwrightError, match="HiddenTokens stands for"):
        HiddenTokens(40, 2).check(torch.zeros(3, 12, 40), torch.zeros(3, 2))
    inner = tokenizers.Tokenizer(tokenizers.models.BPE())
    inner.train_from_iterator([WORDS], tokenizers.trainers.BpeTrainer(vocab_size=60))
    pieces = Pieces(inner, exact=False, special=True).hiding()
    settings = {"length": 8, "share": 0.5, "masked": 0.8, "random": 0.1, "whole_words": True}
    assert "doesn't say where words begin" in fault(make=Hiding, tokens=pieces, **settings)


def test_a_text_of_unknown_words_alone_adds_nothing_to_the_loss(fruits: Path) -> None:
    task = MaskedLanguageModel(TextFiles(path=fruits, vocabulary=12, length=16))
    task.prepare()
    model = Encoder(*task.ports(), architecture="bert", options=SMALL)
    unknown = task.data.hides().unknown  # type: ignore[attr-defined]
    ids_BT, lengths_B = torch.full((2, 4), unknown), torch.tensor([4, 4])

    class Part:
        def __len__(self) -> int:
            return 2

        def fetch(self, indices: torch.Tensor, epoch: int, seed: int) -> lw.Batch:
            return lw.Batch((ids_BT, lengths_B), torch.zeros(2))

    batch = Hidden(Part(), task.hiding, fixed=False).fetch(torch.arange(2), 0, 0)
    assert batch.tokens == task.weight(batch) == 0
    assert task.loss(model, batch, functional.cross_entropy, "train").item() == 0.0  # type: ignore[arg-type]


def test_classes_of_a_classifier_are_not_what_is_hidden() -> None:
    assert HiddenTokens(3, 1).classes == Classes(("0", "1", "2"))


@pytest.mark.release
def test_the_recipe_tells_more_than_counts_of_both_neighbours(tmp_path: Path) -> None:
    done = lw.Experiment.from_recipe("nlp/pydoc-masked", ["log=[]"]).run(tmp_path / "run")
    for split in ("valid", "test"):
        floors = done.task.floors(split)
        counts, reached = floors["counts of left and right neighbours"], done.metrics[split]
        print(split, reached, counts)
        assert reached["masked_accuracy"] > counts["masked_accuracy"] and reached["perplexity"] < counts["perplexity"]
    assert done.metrics["valid"]["masked_accuracy"] > 0.32
