"""Recipes for tables of texts with labels, and for running text."""

from __future__ import annotations

from pathlib import Path

from labwright_tasks.opening import opened
from labwright_tasks.suggesting.columns import Column, Glimpse, glimpse
from labwright_tasks.suggesting.sizes import sized
from labwright_tasks.suggesting.suggestion import Suggestion
from labwright_tasks.tables import suffix_of

_LABELS = ("label", "class", "category", "target", "sentiment", "stars", "rating", "topic", "tag", "y")
_TEXTS = ("text", "sentence", "name", "title", "word", "phrase", "smiles", "sequence")
_LETTERS = 15  # of a text, in the mean, whose column isn't called like one
_WORDS = 3  # of a text, in the mean: fewer are names or codes, of which the letters say more
_MOST_CLASSES = 200
_FEW_COLUMNS = 3  # of a table of texts; one of more is probably about something else
_OFTEN = 5  # rows of a class, in the mean
_CONTEXTS = (32, 64, 128, 256)
_HIGH_SHARE = 95  # in a hundred texts that aren't cut


def labelled_texts(path: Path) -> Suggestion | None:
    """A table with a column of texts and one of labels."""
    seen = glimpse(path)
    if seen is None:
        return None
    text = max(seen.columns, key=lambda column: (column.called(*_TEXTS), column.letters), default=None)
    if text is None or text.distinct < len(text.cells) / 2 or text.numeric:
        return None
    if text.letters < _LETTERS and not text.called(*_TEXTS):
        return None
    label = _label_of(seen, text)
    if label is None:
        return None
    sizes = sized(seen.rows)
    letters = text.words < _WORDS
    lengths = sorted(len(cell) if letters else len(cell.split()) for cell in text.cells)
    nearly = lengths[len(lengths) * _HIGH_SHARE // 100]
    length = next((context for context in _CONTEXTS if context >= nearly), _CONTEXTS[-1])
    read = {"tokenizer": "char", "case": "mark"} if letters else {"tokenizer": "word", "case": "lower"}
    unit = "characters" if letters else "words"
    data = {"name": "nlp/text-files", "path": str(path), "text": text.name, "label": label.name}
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
                f"{_HIGH_SHARE} of 100 texts have {nearly} {unit} or fewer: {length} cuts few.",
            ),
            "model": (
                f"A bag of {unit} and what stands side by side: on small data hard to beat, and trained in seconds. "
                "nlp/text-cnn and nlp/lstm read all in its order; nlp/encoder begins from a pretrained model.",
                f"Dropout is {sizes.dropout} of {seen.rows:,} samples: 0.5 below 2,000, 0.1 from 50,000 on, else 0.3.",
            ),
            "device": ("Small models are trained faster without a GPU.",),
            "train": sizes.reasons,
        },
        fit=0.8 if named else 0.6 if len(seen.columns) <= _FEW_COLUMNS else 0.3,
    )


def running_text(path: Path) -> Suggestion | None:
    """A text file, to write on like it."""
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


def _label_of(seen: Glimpse, text: Column) -> Column | None:
    """The column of classes: of few values that come often; one that is called like a label goes before others."""
    possible = [
        column
        for column in seen.columns
        if column is not text
        and 2 <= column.distinct <= _MOST_CLASSES
        and len(column.cells) >= max(_OFTEN * column.distinct, len(text.cells) // 2)
    ]
    return min(possible, key=lambda column: (not column.called(*_LABELS), column.distinct), default=None)
