"""Spans taken out of running text: the paper's example, and that source and target give the text back."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
from hypothesis import given
from hypothesis import strategies as some
from labwright import LEFT_OUT, LabwrightError
from labwright_nlp.data.corrupted_spans import CorruptedSpans, parted, sizes, spans
from labwright_nlp.data.plain_text import PlainText
from labwright_nlp.data.text_files import TextFiles
from labwright_nlp.ports import EncoderTokens
from labwright_tasks.fold_data import Fold
from labwright_tasks.sequence_to_sequence import SequenceToSequence

TEXT = "Thank you for inviting me to your party last week . "


def test_the_example_of_the_paper() -> None:
    words = TEXT.split()
    number = {word: place for place, word in enumerate(words)} | {"<X>": 90, "<Y>": 91, "<Z>": 92}
    name = {place: word for word, place in number.items()}
    source, target = parted([number[word] for word in words], [(2, 4), (8, 9)], [90, 91, 92])
    assert " ".join(name[token] for token in source) == "Thank you <X> me to your party <Y> week ."
    assert " ".join(name[token] for token in target) == "<X> for inviting <Y> last <Z>"  # Raffel et al. 2020, figure 2


def whole(source: Sequence[int], target: Sequence[int], sentinels: Sequence[int]) -> list[int]:
    """The text that they were made of."""
    places = [target.index(sentinel) for sentinel in sentinels if sentinel in target]
    taken = {target[start]: target[start + 1 : end] for start, end in pairwise(places)}
    return [one for token in source for one in taken.get(token, [token])]


@given(
    some.integers(1, 200), some.floats(0.01, 0.95), some.floats(1.0, 12.0), some.integers(0, 2**32),
)  # fmt: skip
def test_source_and_target_together_give_the_text_back(length: int, share: float, mean: float, seed: int) -> None:
    ids = list(range(length))
    taken, count = sizes(length, share, mean)
    sentinels = list(range(1000, 1001 + count))
    places = spans(length, share, mean, np.random.default_rng(seed))
    assert len(places) == count and sum(end - start for start, end in places) == taken
    assert all(before[1] < after[0] for before, after in pairwise(places))  # nowhere side by side
    source, target = parted(ids, places, sentinels)
    assert whole(source, target, sentinels) == ids
    assert [token for token in source if token >= 1000] == sentinels[:-1] and target[-1] == sentinels[-1]


def test_every_way_of_taking_spans_is_as_probable() -> None:
    chance, drawn = np.random.default_rng(0), 3000
    counts: dict[tuple[tuple[int, int], ...], int] = {}
    for _ in range(drawn):
        places = tuple(spans(5, 0.4, 1.0, chance))  # two tokens of five that aren't side by side: six ways
        counts[places] = counts.get(places, 0) + 1
    assert len(counts) == 6
    assert all(abs(count - drawn / 6) < 5 * (drawn * 5 / 36) ** 0.5 for count in counts.values())


def data(folder: Path, **settings: Any) -> CorruptedSpans:
    (folder / "text.txt").write_text(TEXT * 60)
    inner: dict[str, Any] = {"tokenizer": "word", "context": 20} | settings
    made = CorruptedSpans(PlainText(path=folder / "text.txt", **inner))
    made.prepare()
    return made


def test_windows_are_pairs_that_a_model_of_sequences_takes_whatever_the_batch(tmp_path: Path) -> None:
    made = data(tmp_path)
    SequenceToSequence(made).prepare()  # which looks at every token of every target
    inputs, outputs = made.ports()
    for name in ("train", "valid"):
        part, plain = made.split(name), made.data.split(name)
        assert part is not None and plain is not None
        batch = part.fetch(torch.arange(len(part)), 0, 3)
        ids_BT, lengths_B = plain.fetch(torch.arange(len(plain)), 0, 3).inputs
        for row in range(len(part)):
            source = batch.inputs[0][row, : batch.inputs[1][row]].tolist()
            target = batch.targets[row][batch.targets[row] != LEFT_OUT].tolist()
            assert target[-1] == outputs.end_id and max(target) < outputs.vocab_size and len(target) <= outputs.length  # type: ignore[attr-defined]
            assert max(source) < inputs.vocab_size and len(source) <= inputs.length  # type: ignore[attr-defined]
            assert whole(source, target, made.sentinels()) == ids_BT[row, : lengths_B[row]].tolist()
            alone = part.fetch(torch.tensor([row]), 0, 3)
            assert alone.inputs[0][0].tolist() == source
    train, valid = made.split("train"), made.split("valid")
    assert train is not None and valid is not None
    some_rows = torch.arange(4)
    assert not torch.equal(train.fetch(some_rows, 0, 0).targets, train.fetch(some_rows, 1, 0).targets)
    assert torch.equal(valid.fetch(some_rows, 0, 0).targets, valid.fetch(some_rows, 1, 5).targets)


def test_text_with_sentinels_is_read_and_shown(tmp_path: Path) -> None:
    made = data(tmp_path)
    inputs = made.parse("Thank you <extra_id_0> me to your party <extra_id_1> week .")
    assert made.show(inputs) == ["Thank you <extra_id_0> me to your party <extra_id_1> week ."]
    sentinels = made.sentinels()
    assert made.written([sentinels[0], *made.data.parse("for inviting")[0][0].tolist(), sentinels[1]]) == (
        "<extra_id_0> for inviting <extra_id_1>"
    )
    assert "up to 2 sentinels of spans stand behind its last token: " in made.remarks()[-1]
    (tmp_path / "other.txt").write_text(TEXT * 5)
    assert len(made.on(tmp_path / "other.txt").split("test")) == 3  # type: ignore[arg-type]


def test_a_tokenizer_of_t5_has_sentinels_and_an_end_of_its_own(tmp_path: Path) -> None:
    words = ["<pad>", "</s>", "<unk>", *dict.fromkeys(TEXT.split()), *(f"<extra_id_{n}>" for n in range(9, -1, -1))]
    inner = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>")
    )
    inner.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    inner.save(str(tmp_path / "tokenizer.json"))
    made = data(tmp_path, tokenizer="pretrained", pretrained=tmp_path)
    inputs, outputs = made.ports()
    assert made.sentinels() == [len(words) - 1, len(words) - 2]
    assert inputs.vocab_size == outputs.vocab_size == len(words)  # type: ignore[attr-defined]
    assert (outputs.begin_id, outputs.end_id) == (0, 1)  # type: ignore[attr-defined]  # as its decoder is taught
    assert "sentinels of spans are the tokenizer's own" in made.remarks()[-1]
    # of what a run starts from, the model is told the folder, as of any other data
    (tmp_path / "config.json").write_text("{}")
    text = PlainText(path=tmp_path / "text.txt", tokenizer="pretrained", context=8)
    started = CorruptedSpans(text)
    started.starts_from(tmp_path)
    started.prepare()
    assert started.ports()[0] == EncoderTokens(len(words), 8, 0, tmp_path)


def test_what_has_no_spans_to_take_out_is_answered(tmp_path: Path, fruits: Path) -> None:
    made = data(tmp_path)
    for line, said in (
        ("Thank you", "no sentinel: write <extra_id_0>"),
        ("<extra_id_7> .", "has sentinel 7: write"),
        (f"<extra_id_0> {TEXT * 2}", "the text has 23 tokens, and the model reads 20"),
    ):
        with pytest.raises(LabwrightError, match=said):
            made.parse(line)
    with pytest.raises(LabwrightError, match="TextFiles has targets Classes, not NextTokens"):
        CorruptedSpans(TextFiles(path=fruits))
    with pytest.raises(LabwrightError, match="folds of them would leak"):
        Fold(made, number=1)
