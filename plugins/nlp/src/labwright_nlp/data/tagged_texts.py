"""Sentences whose words have a tag each. N sentences, B batch, T positions, L letters of a word."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import torch
from labwright import LEFT_OUT, Batch, Data, Finding, Input, LabwrightError, LeftOut, Port, Tokens, listed, nearest
from labwright_tasks import other_data
from labwright_tasks.delimited import Encoding, Written
from labwright_tasks.dense_labels import PositionClasses, SpelledWords, Words
from labwright_tasks.entities import OUTSIDE, entities, tag_entities
from labwright_tasks.other_data import Facts, drift
from labwright_tasks.published import Parts
from labwright_tasks.tables import Table, joined
from pydantic import Field
from torch import Tensor

from labwright_nlp.data import model_folder, noticing
from labwright_nlp.data.odd_texts import odd_texts
from labwright_nlp.data.reading import check_typed, read_text, tables_at, text_files
from labwright_nlp.data.tagged_reading import (
    COLUMNS,
    in_columns,
    listing,
    published_sentences,
    sentences_at,
    words_at,
)
from labwright_nlp.data.texts import Length, Share, chosen_rows, digest
from labwright_nlp.tokenizing import (
    Characters,
    KnowsWords,
    Pieces,
    Pretrained,
    TokensOfWords,
    Vocabulary,
    kept,
    learned,
    learned_words,
)

_KEPT, _LETTERS = "tags.json", "letters"
_CASES: Mapping[str, Callable[[str], str]] = {"keep": str, "lower": str.lower}
_ALPHABET = 512  # letters that are known
Letters = Annotated[
    int, Field(ge=0, le=100, description="most letters of a word that a model is given too; 0: none; for whole words.")
]


class TaggedWords(Data, ABC):
    """Sentences whose words have a tag each, wherever they are.

    The first piece of a word has its tag, the others none. With `letters` a word is given with these as well, for
    models that read them (`SpelledWords`).

    Args:
        tokenizer: what a word is cut into: nothing, it is a token as it is given (word); subwords that are learned
            (bpe, wordpiece, unigram); or tokens of a pretrained tokenizer.
        case: whether words' capitals are kept or made small before they are tokens; their letters stay as they are.
        length: most tokens of a sentence; words behind it are neither learned from nor measured, and counted.
    """

    item = Tokens
    target = PositionClasses
    line = "text"
    suffixes = (".txt",)
    words: str | int = "tokens"  # the columns of a file
    tags: str | int = "tags"
    format = Written()
    called: list[str] | None = None  # the names of tags that are numbers

    def __init__(
        self,
        *,
        tokenizer: KnowsWords,
        vocabulary: int,
        pretrained: Path | None,
        case: Literal["keep", "lower"],
        letters: int,
        length: int,
    ) -> None:
        if letters and tokenizer != "word":
            raise LabwrightError(
                f"task.data.letters: whole words have letters; with task.data.tokenizer={tokenizer!r} leave it out."
            )
        self.tokenizer, self.vocabulary, self.pretrained = tokenizer, vocabulary, pretrained
        self.case, self.letters, self.length = case, letters, length
        if letters:
            self.item = SpelledWords  # type: ignore[misc, assignment]
        self.names: tuple[str, ...] = ()
        self.tokens: Pieces | None = None
        self.alphabet: Characters | None = None
        self._start: Path | None = None
        self._splits: dict[str, Sentences] = {}
        self._rows: dict[str, Table] = {}
        self._left_out: list[LeftOut] = []
        self._told: list[str] = []  # what reading has to say
        self._remarks: list[str] = []
        self.facts: Facts = {}

    @abstractmethod
    def parted(self) -> dict[str, Table]:
        """The sentences of each part: `text` has the words of each and `tags` its tags, lists as JSON."""

    def starts_from(self, folder: Path) -> None:
        self._start = folder

    def prepare(self) -> None:
        self._rows = self.parted()
        train = self._rows["train"]
        tags = Counter(tag for row in range(len(train)) for tag in self._tags(train, row))
        self.names = tuple(sorted(tags, key=lambda name: (name != OUTSIDE, name[2:], name)))
        if len(self.names) < 2:
            raise LabwrightError(f"{train.origin}: every word has the tag {self.names[0]!r}; there is nothing to tell.")
        for table in self._rows.values():
            self._check_tags(table)
        self._learn(train)
        self._take_up(self._rows)
        self.facts = self._facts("train")

    def refit(self, rows: Mapping[str, Tensor]) -> None:
        """See `labwright_tasks.folds.Refittable`."""
        self._learn(joined([self._rows[name].take(of_part.tolist()) for name, of_part in rows.items()]))
        self._take_up(self._rows)

    def _learn(self, rows: Table) -> None:
        """Learn a tokenizer, and the letters, from some sentences."""
        words = (word for row in range(len(rows)) for word in self._cased(self._words(rows, row)))
        if self.tokenizer == "word":
            self.tokens = learned_words(words, self.vocabulary)
        else:
            tokens = learned(
                self.tokenizer, words, vocabulary=self.vocabulary, pretrained=self.pretrained, start=self._start
            )
            assert isinstance(tokens, Pieces)
            self.tokens = tokens
        if self.letters:
            words = (word for row in range(len(rows)) for word in self._words(rows, row))
            self.alphabet = Characters.learned(words, _ALPHABET)

    def _take_up(self, rows: Mapping[str, Table]) -> None:
        assert self.tokens is not None
        self._splits = {part: self._encoded(table) for part, table in rows.items()}
        lengths = {part: split.whole_N for part, split in self._splits.items()}
        ids = {part: split.ids_L.numpy() for part, split in self._splits.items()}
        self._remarks = [
            *self._told,
            *noticing.cut(lengths, self.length),
            *noticing.unknown(ids, self.tokens.unknown, self.tokenizer),
            *(remark for part, table in rows.items() if (remark := self._broken(table, part))),
            *(remark for part, table in rows.items() if (remark := self._without_token(table, part))),
        ]

    def _without_token(self, table: Table, part: str) -> str:
        """What to say of words that the tokenizer leaves nothing of, in sentences that aren't cut."""
        split = self._splits[part]
        whole = (torch.from_numpy(split.whole_N) == split.lengths).tolist()
        sizes = zip(split.places, split.lengths.tolist(), whole, strict=True)
        bare = [sum(place >= size for place in places) if all_there else 0 for places, size, all_there in sizes]
        if not any(bare):
            return ""
        first = next(row for row, count in enumerate(bare) if count)
        return (
            f"{sum(bare):,} words of {part} have no token, as in {table.where(first)}: they are neither learned from "
            "nor measured."
        )

    def _broken(self, table: Table, part: str) -> str:
        """What to say of tags that go on with nothing."""
        if not tag_entities(self.names):
            return ""
        odd, first = 0, 0
        for row in range(len(table)):
            tags = self._tags(table, row)
            more = len(entities(tags) - entities(tags, strict=True))
            first = first if odd or not more else row
            odd += more
        return (
            f"{odd:,} entities of {part} begin with I-, as in {table.where(first)}: they count as entities, except for "
            "strict-entity-f1."
            if odd
            else ""
        )

    def ports(self) -> tuple[Port, Port]:
        assert self.tokens is not None
        outputs = PositionClasses(self.names, (self.length,))
        if self.alphabet is not None:
            return SpelledWords(self.tokens.size, self.length, self.alphabet.size, self.letters), outputs
        return model_folder.port(self.tokens, self.length, self.tokenizer, self._start), outputs

    def split(self, name: str) -> Sentences | None:
        return self._splits.get(name)

    def on(self, path: Path) -> Self:
        """The sentences of a table, or of all tables in a folder, or of a file with a word in each line."""
        other = copy(self)
        files, other._left_out = ([path], list[LeftOut]()) if in_columns(path) else tables_at(path)
        tables = [sentences_at(file, self.words, self.tags, self.format) for file in files]
        if len(tables) > 1:
            raise LabwrightError(f"{path} has {len(tables)} tables; give one of them.")
        table, bare = tables[0].filled("text", "tags")
        other._left_out += bare
        other._rows, other._told = {"test": table}, [*table.remarks]
        strange = Counter(tag for row in range(len(table)) for tag in self._tags(table, row) if tag not in self.names)
        if strange:
            why = f"tags that no word to learn from has: {listed(strange)}"
            other._left_out.append(LeftOut(strange.total(), "words", why))
        other._take_up({"test": table})
        other._remarks += drift(other._facts("test"), self.facts, len(table))
        return other

    def inputs(self, path: Path) -> Iterable[tuple[str, Callable[[], tuple[Tensor, ...]]]] | None:
        """The sentences of a table, or of a file with a word in each line, with tags or without."""
        if path.is_dir():
            return None
        return self._sentences(words_at(path, self.words, self.format))

    def _sentences(self, table: Table) -> Iterator[tuple[str, Callable[[], tuple[Tensor, ...]]]]:
        for row in range(len(table)):
            yield table.where(row), partial(self._asked, self._words(table, row))

    def parse(self, line: str) -> Input:
        """A sentence: its words with blanks between them, or a list as JSON."""
        check_typed(line)
        words = listing(line.strip())
        if not words:
            raise LabwrightError("a sentence has at least one word; none was given.")
        return self._asked(words)

    def read(self, path: Path) -> Input:
        return self.parse(" ".join(read_text(path, self.format.encoding).split()))

    def files(self, folder: Path) -> list[Path]:
        return text_files(folder, (*self.suffixes, *COLUMNS))

    def _asked(self, words: list[str]) -> Input:
        table = Table("", {"text": [json.dumps(words)], "tags": [json.dumps([""] * len(words))]}, [1])
        split = self._encoded(table)
        inputs = split.fetch(torch.tensor([0]), 0, 0).inputs
        return Input(inputs, origin=Words(tuple(words), split.places[0]))

    def show(self, inputs: tuple[Tensor, ...]) -> list[str]:
        assert self.tokens is not None
        rows = zip(inputs[0].tolist(), inputs[1].tolist(), strict=True)
        return [self.tokens.decode(ids[:length]) for ids, length in rows]

    def checks(self) -> list[Finding]:
        """Sentences that are empty, long, in another alphabet, or nearly the same."""
        return odd_texts(
            {
                part: [" ".join(self._words(table, row)) for row in range(len(table))]
                for part, table in self._rows.items()
            }
        )

    def place(self, split: str, index: int) -> str:
        return self._rows[split].where(index)

    def left_out(self) -> Sequence[LeftOut]:
        return self._left_out

    def remarks(self) -> Sequence[str]:
        return self._remarks

    def identity(self, split: str) -> Iterable[str]:
        return (digest(self._rows[split], ("tags",)),)

    def save(self, folder: Path) -> None:
        assert self.tokens is not None
        self.tokens.save(folder)
        if self.alphabet is not None:
            (folder / _LETTERS).mkdir()
            self.alphabet.save(folder / _LETTERS)
        model_folder.keep(self._start, self.tokenizer, folder)
        (folder / _KEPT).write_text(json.dumps({"tags": self.names}, ensure_ascii=False) + "\n", encoding="utf-8")
        other_data.keep(folder, self.facts)

    def load(self, folder: Path) -> None:
        tokens = kept(self.tokenizer, folder)
        assert isinstance(tokens, Pieces)
        self.tokens = tokens
        if self.letters:
            alphabet = kept("char", folder / _LETTERS)
            assert isinstance(alphabet, Characters)
            self.alphabet = alphabet
        self.names = tuple(json.loads((folder / _KEPT).read_text(encoding="utf-8"))["tags"])
        self.facts = other_data.kept(folder)
        self._start = model_folder.kept(folder) or self._start

    def _words(self, table: Table, row: int) -> list[str]:
        return listing(table["text"][row])

    def _tags(self, table: Table, row: int) -> list[str]:
        """The tags of a sentence, by their names. Raises LabwrightError for a number without one."""
        tags = listing(table["tags"][row])
        if not self.called:
            return tags
        for tag in tags:
            if not (tag.isdecimal() and int(tag) < len(self.called)) and tag not in self.called:
                raise LabwrightError(
                    f"{table.where(row)}: the tag {tag!r} has no name; task.data.names has {len(self.called)} of them, "
                    "from that of 0 on."
                )
        return [self.called[int(tag)] if tag.isdecimal() else tag for tag in tags]

    def _cased(self, words: Iterable[str]) -> list[str]:
        return [*map(_CASES[self.case], words)]

    def _encoded(self, table: Table) -> Sentences:
        """Sentences as tokens, cut to `length`, with a label at each word's first token; none for a tag unknown."""
        assert self.tokens is not None
        label = {name: number for number, name in enumerate(self.names)}
        sentences = [self._words(table, row) for row in range(len(table))]
        encoded = self.tokens.encode_words([self._cased(words) for words in sentences], self.length)
        targets, letters = [], []
        for row, (words, of_words) in enumerate(zip(sentences, encoded, strict=True)):
            labels_T = torch.full((len(of_words.ids),), LEFT_OUT)
            for place, tag in zip(of_words.places, self._tags(table, row), strict=True):
                if place < len(labels_T):
                    labels_T[place] = label.get(tag, LEFT_OUT)
            targets.append(labels_T)
            if self.alphabet is not None:
                there = [word for word, place in zip(words, of_words.places, strict=True) if place < len(of_words.ids)]
                letters.append(self._spelled(there, len(of_words.ids)))
        return Sentences(encoded, targets, letters, self.tokens.pad_id)

    def _check_tags(self, table: Table) -> None:
        """Raise LabwrightError naming the sentence with a tag that none to learn from has."""
        for row in range(len(table)):
            for tag in self._tags(table, row):
                if tag not in self.names:
                    raise LabwrightError(
                        f"{table.where(row)}: no sentence to learn from has the tag {tag!r}{nearest(tag, self.names)} "
                        f"Tags are {listed(self.names)}."
                    )

    def _spelled(self, words: Sequence[str], tokens: int) -> Tensor:
        """The letters of the word of each token, (T, L), 0 behind its last."""
        assert self.alphabet is not None
        letters_TL = torch.zeros(tokens, self.letters, dtype=torch.int64)
        for place, ids in enumerate(self.alphabet.encode(words)):
            cut = torch.from_numpy(ids[: self.letters].astype(np.int64))
            letters_TL[place, : len(cut)] = cut
        return letters_TL

    def _facts(self, part: str) -> Facts:
        split = self._splits[part]
        labels = split.labels_L[split.labels_L != LEFT_OUT]
        return other_data.facts({"the number of tokens": torch.from_numpy(split.whole_N)}, labels, self.names)


class TaggedTexts(TaggedWords):
    """Sentences of your own whose words have a tag each: names and other entities, parts of speech.

    A table has a list of words and one of tags in each row (JSON Lines, Parquet, or cells with blanks between them);
    another file has a word in each line, its tag in another column, and a line of nothing between sentences, as CoNLL
    has them (.conll, .iob2, .bio, .txt; .conllu). A folder has such a file `train`, and perhaps `valid` and `test`.
    What has no file is held out of the training sentences, equal ones together.

    Tags of entities are B-TYPE where one begins, I-TYPE where it goes on, and O; other tags are classes as they are.
    The first piece of a word has its tag, the others none.

    Args:
        path: a table, a file with a word in each line, or a folder with one of these for each part.
        words: the column of words: its name in a table; where each line has a word its number, 1 the first and -1 the
            last, and for any name the first, in .conllu the second (FORM).
        tags: the column of tags: its name in a table; where each line has a word its number, 1 the first and -1 the
            last, and for any name the last, in .conllu the fourth (UPOS).
        names: of tags that are numbers in the file, those of 0, 1 and so on; left out, tags are called as they are.
        parts: which sentences are which part: files `valid` and `test`, or, in a table, a `column` that names the part,
            or one whose cells are listed in the files `train`, `valid` and `test`.
        valid, test: share of the training sentences that is held out as this part, if it has no file; 0: there is no
            such part.
    """

    source = "files of yours"
    licence = "yours"

    def __init__(
        self,
        *,
        path: Path,
        words: str | int = "tokens",
        tags: str | int = "tags",
        names: list[str] | None = None,
        encoding: Encoding | None = None,
        parts: Parts | None = None,
        valid: Share = 0.1,
        test: Share = 0.1,
        tokenizer: KnowsWords = "word",
        vocabulary: Vocabulary = 20_000,
        pretrained: Pretrained = None,
        case: Literal["keep", "lower"] = "keep",
        letters: Letters = 0,
        length: Length = 128,
    ) -> None:
        super().__init__(
            tokenizer=tokenizer,
            vocabulary=vocabulary,
            pretrained=pretrained,
            case=case,
            letters=letters,
            length=length,
        )
        self.path, self.words, self.tags, self.parts = path, words, tags, parts
        self.format, self.called = Written(encoding=encoding), names
        self.valid, self.test = valid, test

    def parted(self) -> dict[str, Table]:
        published = published_sentences(self.path, self.words, self.tags, written=self.format, parts=self.parts)
        self._left_out, self._told = [*published.left_out], [*published.remarks]
        tables = {}
        for part, table in published.tables.items():
            tables[part], bare = table.filled("text", "tags")
            self._left_out += bare
        shares = {name: getattr(self, name) for name in ("test", "valid") if name not in tables and getattr(self, name)}
        chosen = chosen_rows(tables["train"], shares, (), None, None)
        return tables | {name: tables["train"].take(some) for name, some in chosen.items()}


class Sentences:
    """A split in memory: tokens, labels and letters of all sentences end to end.

    `whole_N` is how many tokens each sentence had before it was cut, `places` where its words begin.
    """

    def __init__(
        self, encoded: Sequence[TokensOfWords], targets: Sequence[Tensor], letters: Sequence[Tensor], pad_id: int
    ) -> None:
        self.ids_L = torch.from_numpy(np.concatenate([sentence.ids for sentence in encoded]))
        self.labels_L = torch.cat([*targets])
        self.letters_L = torch.cat([*letters]) if letters else None
        self.places = [sentence.places for sentence in encoded]
        self.whole_N = np.array([sentence.whole for sentence in encoded])
        self.lengths = torch.tensor([len(sentence.ids) for sentence in encoded])
        self.starts_N = self.lengths.cumsum(0) - self.lengths
        self.pad_id = pad_id

    def __len__(self) -> int:
        return len(self.lengths)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:  # noqa: ARG002 - nothing is augmented
        lengths_B = self.lengths[indices]
        steps_T = torch.arange(int(lengths_B.max()))
        beyond_BT = steps_T >= lengths_B[:, None]
        places_BT = (self.starts_N[indices, None] + steps_T).clamp_(max=len(self.ids_L) - 1)
        ids_BT = self.ids_L[places_BT].long().masked_fill_(beyond_BT, self.pad_id)
        labels_BT = self.labels_L[places_BT].masked_fill_(beyond_BT, LEFT_OUT)
        if self.letters_L is None:
            return Batch((ids_BT, lengths_B), labels_BT)
        letters_BTL = self.letters_L[places_BT].masked_fill_(beyond_BT[..., None], 0)
        return Batch((ids_BT, lengths_B, letters_BTL), labels_BT)
