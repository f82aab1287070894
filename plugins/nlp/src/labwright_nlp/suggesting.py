"""Recipes for tables of texts with labels or in pairs, for words with tags, and for running text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labwright_tasks.delimited import Written
from labwright_tasks.entities import tag_entities
from labwright_tasks.opening import opened
from labwright_tasks.suggesting.columns import Column, Glimpse, glimpse
from labwright_tasks.suggesting.sizes import sized
from labwright_tasks.suggesting.suggestion import Suggestion
from labwright_tasks.tables import suffix_of

from labwright_nlp.data.tagged_reading import COLUMNS, in_columns, listing, published_sentences

_LABELS = ("label", "class", "category", "target", "sentiment", "stars", "rating", "topic", "tag", "y")
_TEXTS = ("text", "sentence", "name", "title", "word", "phrase", "smiles", "sequence")
_LETTERS = 15  # of a text, in the mean, whose column isn't called like one
_WORDS = 3  # of a text, in the mean: fewer are names or codes, of which the letters say more
_MOST_CLASSES = 200
_FEW_COLUMNS = 3  # of a table of texts; one of more is probably about something else
_OFTEN = 5  # rows of a class, in the mean
_CONTEXTS = (32, 64, 128, 256)
_LIKE = 2  # times as many words that one text of a pair may have
_HIGH_SHARE = 95  # in a hundred texts that aren't cut


def labelled_texts(path: Path) -> Suggestion | None:
    """A table with a column of texts and one of labels.

    Args:
        path: a table, or a folder with one.
    """
    seen = glimpse(path)
    if seen is None or _words_and_tags(seen):
        return None
    text = max(_texts(seen), key=lambda column: (column.called(*_TEXTS), column.letters), default=None)
    if text is None:
        return None
    label = _label_of(seen, text)
    if label is None:
        return _several_labels(seen, text)
    sizes = sized(seen.rows)
    letters = text.words < _WORDS
    nearly, length = _length_of([text], letters=letters)
    read = {"tokenizer": "char", "case": "mark"} if letters else {"tokenizer": "word", "case": "lower"}
    unit = "characters" if letters else "words"
    data = {"name": "nlp/text-files", "path": str(seen.path), "text": text.name, "label": label.name, **seen.written}
    named = label.called(*_LABELS)
    return Suggestion(
        f"{seen.rows:,} texts ({text.name!r}) of {label.distinct} classes ({label.name!r})",
        {
            "task": {"name": "classification", "data": {**data, **read, "length": length}},
            "model": {"name": "nlp/bag", "width": 64, "ngrams": 4 if letters else 2, "dropout": sizes.dropout},
            "loss": "cross-entropy",
            "optimizer": {"name": "adamw", "lr": 2e-3, "weight_decay": 0.1, "schedule": "linear"},
            "device": "cpu",
            "train": sizes.train(),
            "stop": sizes.stop(),
        },
        {
            "task": (
                f"{text.name!r} has {text.words:.0f} words in the mean, hardly any twice; "
                f"{label.name!r} {'is called like a label and ' if named else ''}has {label.distinct} values.",
                *(("So few words are names or codes: they are read letter by letter.",) if letters else ()),
                f"{_HIGH_SHARE} of 100 texts have {nearly:,} {unit} or fewer: "
                + (f"{length} cuts few." if nearly <= length else f"{length} cuts longer ones; more takes longer."),
            ),
            "model": (
                f"A bag of {unit} and what stands side by side: on small data hard to beat, and trained in seconds. "
                "nlp/text-cnn and nlp/lstm read all in its order; nlp/encoder begins from a pretrained model.",
                f"Dropout is {sizes.dropout} of {seen.rows:,} samples: 0.5 below 2,000, 0.1 from 50,000 on, else 0.3.",
            ),
            "device": ("Small models are trained faster without a GPU.",),
            "train": sizes.reasons,
        },
        seen.notes,
        fit=0.8 if named else 0.6 if len(seen.columns) <= _FEW_COLUMNS else 0.3,
    )


def text_pairs(path: Path) -> Suggestion | None:
    """A table with two columns of texts of like length, and no label: one is written out of the other.

    Args:
        path: a table, or a folder with one.
    """
    seen = glimpse(path)
    texts = [] if seen is None else [column for column in _texts(seen) if column.letters >= _LETTERS]
    if seen is None or len(texts) != 2 or _label_of(seen, texts[0]) is not None or seen.nested:
        return None
    shorter, longer = sorted(column.words for column in texts)
    if longer > _LIKE * shorter:
        return None
    first, second = texts
    length = _length_of(texts)[1]
    data = {"name": "nlp/text-pairs", "path": str(seen.path), "text": first.name, "translation": second.name}
    sizes = sized(seen.rows)
    return Suggestion(
        f"{seen.rows:,} pairs of texts, {second.name!r} out of {first.name!r}",
        {
            "task": {
                "name": "sequence-to-sequence",
                "data": {**data, **seen.written, "tokenizer": "word", "case": "lower", "length": length},
            },
            "model": {"name": "nlp/transformer", "width": 128, "depth": 2, "heads": 4, "dropout": 0.1},
            "loss": {"name": "cross-entropy", "label_smoothing": 0.1},
            "optimizer": {"name": "adamw", "lr": 2e-3, "weight_decay": 0.01, "schedule": "cosine"},
            "train": {**sizes.train(), "batch_size": 64},
            "stop": sizes.stop(),
        },
        {
            "task": (
                f"Both columns have texts of like length, hardly any twice. {second.name!r} is written out of "
                f"{first.name!r}; the other way round exchange text and translation.",
            ),
            "model": ("A small encoder-decoder, as in the recipe nlp/translation; wider ones want a GPU.",),
        },
        seen.notes,
        fit=0.6,
    )


def tagged_words(path: Path) -> Suggestion | None:
    """Sentences whose words have a tag each: lists in a table, or a word in each line.

    Args:
        path: a table, a file with a word in each line, or a folder with one of these for each part.
    """
    found = _tagged(path)
    if found is None:
        return None
    data, kinds, rows, notes = found
    begun = tag_entities([*kinds])
    if all(kind.isdecimal() for kind in kinds):
        notes = (*notes, "Tags are numbers: task.data.names = [...] says what they stand for, such as B-place.")
    task = {"name": "dense-labels", "data": {**data, "letters": 20}}
    task |= (
        {"metrics": ["strict-entity-f1", "entity-f1", "accuracy"], "goal": "strict-entity-f1:maximize"} if begun else {}
    )
    sizes = sized(rows)
    return Suggestion(
        f"{rows:,} sentences whose words have one of {len(kinds)} tags each",
        {
            "task": task,
            "model": "nlp/tagger",
            "loss": "cross-entropy",
            "optimizer": {"name": "adamw", "lr": 2e-3, "weight_decay": 1e-4, "schedule": "cosine"},
            "device": "cpu",
            "train": {**sizes.train(), "clip": 5.0},
            "stop": sizes.stop(),
        },
        {
            "task": (
                "Tags B-TYPE begin an entity: whole ones are counted, by seqeval's strict rule."
                if begun
                else "Tags aren't O, and B- and I- of types: each is a class, and the share of words that are right is "
                "measured.",
            ),
            "model": (
                "Letters, a BiLSTM and a conditional random field, from scratch; the recipe nlp/tags-minilm has "
                "a pretrained encoder.",
            ),
            "train": sizes.reasons,
        },
        notes,
        fit=0.9,
    )


def _tagged(path: Path) -> tuple[dict[str, Any], set[str], int, tuple[str, ...]] | None:
    """Settings of the data, the tags there are, how many sentences, and what to know."""
    data: dict[str, Any] = {"name": "nlp/tagged-texts", "path": str(path)}
    files = [path] if path.is_file() else [*path.iterdir()]
    if in_columns(path) and any(suffix_of(file) in COLUMNS and suffix_of(file) != ".txt" for file in files):
        published = published_sentences(path, "tokens", "tags", written=Written(), parts=None)
        train = published.tables["train"]
        return data, {tag for tags in train["tags"] for tag in listing(tags)}, len(train), tuple(published.remarks)
    seen = glimpse(path)
    columns = _words_and_tags(seen) if seen else None
    if seen is None or columns is None:
        return None
    words, tags = columns
    kinds = {tag for column in seen.columns if column.name == tags for cell in column.cells for tag in listing(cell)}
    return data | {"path": str(seen.path), "words": words, "tags": tags, **seen.written}, kinds, seen.rows, seen.notes


def _several_labels(seen: Glimpse, text: Column) -> Suggestion | None:
    """A column of lists of labels beside that of texts."""
    label = next(iter(_lists(seen)), None)
    if label is None:
        return None
    sizes = sized(seen.rows)
    data = {"name": "nlp/text-files", "path": str(seen.path), "text": text.name, "label": label.name, **seen.written}
    data |= {"targets": "several", "unlabelled": "negative", "tokenizer": "word", "case": "lower"}
    trunk = {"name": "nlp/bag", "width": 64, "ngrams": 2, "dropout": sizes.dropout}
    return Suggestion(
        f"{seen.rows:,} texts ({text.name!r}) with lists of labels ({label.name!r})",
        {
            "task": {"name": "multi", "data": {**data, "length": _length_of([text])[1]}},
            "model": {"name": "heads", "trunk": trunk},
            "loss": "weighted",
            "optimizer": {"name": "adamw", "lr": 2e-3, "weight_decay": 0.1, "schedule": "linear"},
            "device": "cpu",
            "train": sizes.train(),
            "stop": sizes.stop(),
        },
        {"task": ("Each label is a head, yes or no; a text without any has none of them.",), "train": sizes.reasons},
        seen.notes,
        fit=0.7,
    )


def running_text(path: Path) -> Suggestion | None:
    """One text file, or the only one of a folder, for a small GPT that reads it letter by letter.

    Args:
        path: a text file, .txt or .md, or a folder with one .txt file.
    """
    if path.is_dir():
        files = [file for file in path.iterdir() if file.is_file() and suffix_of(file) == ".txt"]
        return running_text(files[0]) if len(files) == 1 else None
    if suffix_of(path) not in (".txt", ".md") or not path.is_file():
        return None
    text = opened(path).read()
    if len(text) < 2000:
        return None
    letters = len(set(text))
    return Suggestion(
        f"running text of {len(text):,} characters, {letters} different ones",
        {
            "task": {"name": "language-model", "data": {"name": "nlp/plain-text", "path": str(path), "context": 64}},
            "model": {"name": "nlp/gpt", "width": 128, "depth": 4, "heads": 4},
            "loss": "cross-entropy",
            "optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.1, "schedule": "cosine", "warmup": 0.05},
            "train": {
                "steps": 2000,
                "batch_size": 12,
                "clip": 1.0,
                "seed": 0,
                "final": "best",
                "evaluate_every": "250 steps",
            },
            "stop": [{"name": "early", "patience": 3}],
        },
        {
            "task": ("Character by character, 64 at a time: no vocabulary to choose.",),
            "model": ("nanoGPT's small setting; wider and deeper ones want more text, and a GPU.",),
            "train": ("2,000 steps, fewer if valid doesn't improve for 750 of them; the best weights are kept.",),
        },
        fit=0.7,
    )


def _texts(seen: Glimpse) -> list[Column]:
    """The columns of texts: called so or longer than names, and hardly any of them twice."""
    return [
        column
        for column in seen.columns
        if not column.nested
        and (column.letters >= _LETTERS or column.called(*_TEXTS))
        and column.distinct >= len(column.cells) / 2
        and not column.numeric
    ]


def _length_of(texts: Sequence[Column], *, letters: bool = False) -> tuple[int, int]:
    """How many words, or letters, nearly all of some texts have, and the first usual length that cuts few of them.

    The largest usual one where all cut more.
    """
    lengths = sorted(len(cell) if letters else len(cell.split()) for column in texts for cell in column.cells)
    nearly = lengths[len(lengths) * _HIGH_SHARE // 100]
    return nearly, next((context for context in _CONTEXTS if context >= nearly), _CONTEXTS[-1])


def _lists(seen: Glimpse) -> list[Column]:
    """The columns of lists."""
    return [column for column in seen.nested if all(cell.startswith("[") for cell in column.cells)]


def _words_and_tags(seen: Glimpse) -> tuple[str, str] | None:
    """The names of a column of words and of one with a tag for each."""
    lists = {column.name: [json.loads(cell) for cell in column.cells] for column in _lists(seen)}
    different = {name: len({str(word) for row in rows for word in row}) for name, rows in lists.items()}
    for tags, of_tags in sorted(lists.items(), key=lambda column: different[column[0]]):
        few = different[tags] <= _MOST_CLASSES
        lengths = [*map(len, of_tags)]
        like = [name for name in lists if name != tags and [*map(len, lists[name])] == lengths]
        texts = [name for name in like if all(isinstance(word, str) for row in lists[name] for word in row)]
        words = max(texts, key=lambda name: different[name], default=None)
        if few and words is not None and any(length > 1 for length in lengths):
            return words, tags
    return None


def _label_of(seen: Glimpse, text: Column) -> Column | None:
    """The column of classes: of few values that come often; one that is called like a label goes before others."""
    possible = [
        column
        for column in seen.columns
        if column is not text
        and not column.nested
        and 2 <= column.distinct <= _MOST_CLASSES
        and len(column.cells) >= max(_OFTEN * column.distinct, len(text.cells) // 2)
    ]
    return min(possible, key=lambda column: (not column.called(*_LABELS), column.distinct), default=None)
