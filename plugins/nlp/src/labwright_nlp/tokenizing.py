"""From text to numbers and back: words, characters, bytes, learned pieces, or a pretrained tokenizer.

Every tokenizer of our own has its padding at 0. Texts come in as `clean` leaves them.
"""

from __future__ import annotations

import json
import os
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from labwright import LabwrightError, When, located
from pydantic import Field

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Inner

Kind = Annotated[
    Literal["word", "char", "byte", "bpe", "wordpiece", "unigram", "pretrained"],
    Field(
        description="what a text is cut into: words, characters, bytes in UTF-8 or subwords (bpe, wordpiece, unigram), "
        "learned from the training texts, or tokens of a pretrained tokenizer."
    ),
]
KnowsWords = Annotated[  # and where they stand in a text
    Literal["word", "bpe", "wordpiece", "unigram", "pretrained"],
    Field(
        description="what a text is cut into: words or subwords (bpe, wordpiece, unigram), learned from the training "
        "texts, or tokens of a pretrained tokenizer."
    ),
]
Case = Annotated[
    Literal["keep", "lower", "mark"],
    Field(
        description="what becomes of capitals before texts are tokens: kept, made small, or made small behind a mark, "
        "so that a word is the same wherever it stands (mark; not with a pretrained tokenizer)."
    ),
]
Vocabulary = Annotated[
    int,
    Field(
        ge=3,
        description="most tokens of a learned tokenizer, those of special meaning included.",
    ),
    When("tokenizer", but=("byte", "pretrained")),
]
Pretrained = Annotated[
    Path | None,
    Field(
        description="for `tokenizer` pretrained: a folder with tokenizer.json; left out, it is that of what the run "
        "starts from (`start.run`)."
    ),
]

PAD, UNKNOWN = "<pad>", "<unk>"
_LEARNED, _LETTERS = "tokenizer.json", "characters.json"
MARK = "\ue000"  # of the private use area, so that no text has it
BETWEEN = "\ue001"  # the texts of a pair
_PADS = (
    "[PAD]",
    PAD,
    "<|pad|>",
    "<|padding|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "</s>",
    "<eos>",
)  # the first there is
_SEPARATORS = ("[SEP]", "</s>", "<sep>", "<|sep|>")  # the first there is
_MASKS = ("[MASK]", "<mask>", "<|mask|>")  # the first there is
_BEHIND = "##"  # before a piece that isn't a word's first
_STEP = 1e-4  # between the scores of what the trainer of unigrams has no score for
_AT_ONCE = 4096  # lines of a long text that are encoded together


def clean(text: str, case: Case = "keep") -> str:
    """The text in valid Unicode, half a surrogate pair replaced, with its capitals as `case` says.

    `lower` makes them small, `mark` too, but with a mark before each, so that a word's letters are the same at the
    beginning of a sentence as in it (inline casing; of words: Bérard et al. 2019, "Machine Translation of Restaurant
    Reviews").
    """
    whole = text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    match case:
        case "keep":
            return whole
        case "lower":
            return whole.lower()
        case "mark":
            return "".join(
                MARK + letter.lower() if letter.lower().upper() == letter != letter.lower() else letter
                for letter in whole
            )


def unmarked(text: str) -> str:
    """The text before its capitals were marked."""
    between = " ?"  # what is put together from words has a blank behind a mark
    return re.sub(f"{MARK}{between}(.?)", lambda found: found[1].upper(), text, flags=re.DOTALL)


class Tokenizer(ABC):
    """Text to ids and back. `exact` says that no text is lost on the way, so that its characters can be counted.

    `unknown` is the id of what isn't known; None: everything is.
    """

    size: int
    pad_id: int = 0
    unknown: int | None = None
    exact: bool = False

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids of each text, int32."""

    def cut(self, ids: np.ndarray, most: int) -> np.ndarray:
        """The ids of a text, the first `most` of them if there are more; what stands behind every text stays."""
        return ids[:most]

    @abstractmethod
    def stream(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """The ids of a long text, (N,) int32, and for each token how many characters end before or with it, (N,)."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str: ...

    @abstractmethod
    def save(self, folder: Path) -> None: ...


class Characters(Tokenizer):
    """Each character is a token; id 1 stands for a character that isn't known."""

    def __init__(self, letters: str) -> None:
        self.letters = letters
        self.size = len(letters) + 2
        self.exact, self.unknown = True, 1
        self._ids = np.full(0x110000, 1, dtype=np.int32)
        self._ids[_codes(letters)] = np.arange(2, self.size)

    @classmethod
    def learned(cls, texts: Iterable[str], vocabulary: int) -> Characters:
        """The most frequent characters, in the order of their code points."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(text)
        ranked = sorted(counts, key=lambda letter: (-counts[letter], letter))
        return cls("".join(sorted(ranked[: vocabulary - 2])))

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [self._ids[_codes(text)] for text in texts]

    def stream(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        ids = self._ids[_codes(text)]
        return ids, np.arange(1, len(ids) + 1)

    def decode(self, ids: Sequence[int]) -> str:
        return "".join("\ufffd" if token < 2 else self.letters[token - 2] for token in ids)

    def save(self, folder: Path) -> None:
        (folder / _LETTERS).write_text(json.dumps({"letters": self.letters}) + "\n", encoding="utf-8")


class Bytes(Tokenizer):
    """Each byte of the text in UTF-8 is a token, its value plus 1; nothing is unknown."""

    size = 257
    exact = True

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [_bytes(text).astype(np.int32) + 1 for text in texts]

    def stream(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        values = _bytes(text)
        return values.astype(np.int32) + 1, np.cumsum((values & 0xC0) != 0x80)  # a character begins

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(token - 1 for token in ids if token).decode("utf-8", "replace")

    def save(self, folder: Path) -> None:
        """Nothing was learned."""


@dataclass(frozen=True)
class TokensOfWords:
    """A sentence as tokens, int32: where each word's first one is, and how many there were before it was cut.

    A word that was cut off, or has no token, has a place behind the last token.
    """

    ids: np.ndarray
    places: tuple[int, ...]
    whole: int


class Pieces(Tokenizer):
    """A tokenizer of the tokenizers library; `special` tokens are left out of a text that is put together again.

    One that has no padding of its own, such as GPT-2's, pads with the token between texts, or with a new one, so that
    no token of texts is taken for padding.
    """

    def __init__(self, inner: Inner, *, exact: bool, special: bool) -> None:
        self.inner = inner
        self.exact, self.special = exact, special
        padding = inner.padding
        inner.no_padding()
        inner.no_truncation()
        known = inner.get_vocab(with_added_tokens=True)
        self.size = max(known.values(), default=0) + 1
        if padding:
            self.pad_id = padding["pad_id"]
        else:
            self.pad_id = next((known[name] for name in _PADS if name in known), self.size)
        self.size = max(self.size, self.pad_id + 1)
        named = (getattr(inner.model, "unk_token", None), UNKNOWN, "[UNK]")
        self.unknown = next((known[name] for name in named if name in known), None)
        self.separator = next((name for name in _SEPARATORS if name in known), "\n")
        self.mask = next((name for name in _MASKS if name in known), None)  # what stands for a hidden token
        self.mask_id = known[self.mask] if self.mask else None
        self._typed: tuple[str, ...] = ()  # what is read as the mask
        ended = inner.num_special_tokens_to_add(False) and inner.encode("a").special_tokens_mask
        self._behind = next((count for count, mark in enumerate(reversed(ended)) if not mark), 0) if ended else 0

    def encode(self, texts: Sequence[str], *, special: bool = True) -> list[np.ndarray]:
        """The ids of each text, with the `special` tokens that the tokenizer puts around one."""
        if self.special and not self.exact:  # a pretrained one; those that are learned know a mark
            texts = [text.replace(BETWEEN, self.separator) for text in texts]
        texts = [self._with_masks(text) for text in texts]
        with _refusing():
            encodings = self.inner.encode_batch_fast(texts, add_special_tokens=special)
        return [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]

    def encode_words(self, sentences: Sequence[Sequence[str]], most: int) -> list[TokensOfWords]:
        """The ids of sentences whose words are known, cut as `cut` does; of one without any token an unknown one.

        A pretrained tokenizer of bytes is given the blanks between words, which its tokens of running text have.
        """
        found, unknown = [], np.array([min(1, self.size - 1) if self.unknown is None else self.unknown], dtype=np.int32)
        with _refusing():
            before = " " if self.special and not self.exact and _blank_begins_words(self.inner) else ""
        for start in range(0, len(sentences), _AT_ONCE):
            with _refusing():
                encodings = self.inner.encode_batch(
                    [
                        [f"{before}{word}" if place and word else word for place, word in enumerate(words)]
                        for words in sentences[start : start + _AT_ONCE]
                    ],
                    is_pretokenized=True,
                )
            for encoding, words in zip(encodings, sentences[start : start + _AT_ONCE], strict=True):
                ids = self.cut(np.array(encoding.ids, dtype=np.int32), most) if encoding.ids else unknown
                end = len(ids) - self._behind  # of what is kept of words, if some are cut off
                places = [len(ids)] * len(words)
                for place, word in reversed([*enumerate(encoding.word_ids)]):
                    if word is not None and (place < end or len(encoding.ids) == len(ids)):
                        places[word] = place
                found.append(TokensOfWords(ids, tuple(places), max(1, len(encoding.ids))))
        return found

    def windows(
        self, first: str, second: str, most: int, shared: int
    ) -> list[tuple[tuple[int, ...], tuple[tuple[int, int], ...]]]:
        """Two texts as tokens, at most so many: the whole first, and as much of the second as has room, in windows.

        Of each token there are the letters of the second text it stands for; others stand for none, (0, 0). Windows
        share so many tokens of the second. There is none where the first leaves no room.
        """
        with _refusing():
            asked = len(self.inner.encode(first, add_special_tokens=False).ids)
            if asked + self.inner.num_special_tokens_to_add(True) + shared >= most:
                return []
            self.inner.enable_truncation(most, stride=shared, strategy="only_second")
            try:
                whole = self.inner.encode(first, second)
            finally:
                self.inner.no_truncation()
        found = []
        for encoding in (whole, *whole.overflowing):
            # of tokenizers that put nothing between two texts the library knows the sides of the first window alone
            sides = encoding.sequence_ids if 1 in encoding.sequence_ids else encoding.type_ids
            of_second = zip(encoding.offsets, sides, strict=True)
            letters = tuple((low, high) if side == 1 else (0, 0) for (low, high), side in of_second)
            found.append((tuple(encoding.ids), letters))
        return found

    def cut(self, ids: np.ndarray, most: int) -> np.ndarray:
        behind = min(self._behind, most)
        return ids if len(ids) <= most else np.concatenate([ids[: most - behind], ids[len(ids) - behind :]])

    def stream(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        lines = self._with_masks(text).split("\n")
        lines = [f"{line}\n" for line in lines[:-1]] + lines[-1:]
        ids: list[int] = []
        ends: list[int] = []
        before = 0
        for start in range(0, len(lines), _AT_ONCE):
            chunk = lines[start : start + _AT_ONCE]
            with _refusing():
                encodings = self.inner.encode_batch(chunk, add_special_tokens=False)
            for line, encoding in zip(chunk, encodings, strict=True):
                ids += encoding.ids
                ends += [before + end for _, end in encoding.offsets]
                before += len(line)
        return np.array(ids, dtype=np.int32), np.array(ends, dtype=np.int64)

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.inner.decode(list(ids), skip_special_tokens=self.special))

    def hiding(self) -> Pieces:
        """This tokenizer with a token for what is hidden, a new one if it has none, which texts may have typed."""
        if self.mask is None:
            # with the blank before it, as byte-level tokens have theirs
            token = _library().AddedToken(_MASKS[0], lstrip=True, special=True)
            self.inner.add_special_tokens([token])
            return Pieces(self.inner, exact=self.exact, special=self.special).hiding()
        self._typed = tuple(dict.fromkeys((self.mask.lower(), clean(self.mask, "mark"))))
        return self

    def ordinary(self) -> np.ndarray:
        """Which ids stand for text, bool (V,): neither padding, nor what isn't known, nor one of special meaning."""
        ordinary_V = np.zeros(self.size, dtype=bool)
        ordinary_V[[*self.inner.get_vocab(with_added_tokens=True).values()]] = True
        special = [token for token, added in self.inner.get_added_tokens_decoder().items() if added.special]
        others = (self.pad_id, self.unknown, self.mask_id)
        ordinary_V[[*special, *(token for token in others if token is not None)]] = False
        return ordinary_V

    def _with_masks(self, text: str) -> str:
        """With masks as the tokenizer writes them, where capitals have been made small."""
        for typed in self._typed:
            text = text.replace(typed, self.mask or "")
        return text

    def save(self, folder: Path) -> None:
        self.inner.save(str(folder / _LEARNED))


def learned(
    kind: Kind, texts: Iterable[str], *, vocabulary: int, pretrained: Path | None, start: Path | None = None
) -> Tokenizer:
    """The tokenizer of that kind, learned from the training texts, or read from the folder `pretrained`.

    `start` is the folder that belongs to the weights the run starts from: a pretrained tokenizer is its, unless another
    is given. Words are runs of letters, digits and underscores, or of other signs; what isn't among the most frequent
    is unknown. `bpe` merges bytes (Sennrich et al. 2016; Radford et al. 2019, section 2.2). `wordpiece` merges letters
    and cuts a word from its left into the longest pieces there are, `##` before all but the first (Schuster & Nakajima
    2012; Devlin et al. 2019); blanks are lost. `unigram` has pieces of bytes with a probability each, and cuts a text
    where their product is largest (Kudo 2018). Raises LabwrightError for a folder without tokenizer.json, and if it is
    given for another kind, missing or given twice.
    """
    if kind == "pretrained" and pretrained is not None and start is not None:
        raise LabwrightError(
            f"task.data.pretrained: the run starts from {start}, and takes the tokenizer there: write start.run=FOLDER "
            "instead of task.data.pretrained=FOLDER, for the tokenizer and the weights that go with it."
        )
    pretrained = start if kind == "pretrained" and pretrained is None else pretrained
    if (kind == "pretrained") != (pretrained is not None):
        raise LabwrightError(
            "task.data.tokenizer: 'pretrained' is the tokenizer of what the run starts from, start.run=FOLDER, or that "
            "of a folder with tokenizer.json alone, task.data.pretrained=FOLDER."
            if kind == "pretrained"
            else f"task.data.pretrained: a tokenizer of kind {kind!r} is learned from the training texts; leave the "
            'folder out, or set task.data.tokenizer="pretrained".'
        )
    match kind:
        case "char":
            return Characters.learned(texts, vocabulary)
        case "byte":
            return Bytes()
        case "pretrained":
            assert pretrained is not None
            return _read(pretrained.expanduser() / _LEARNED, kind)
        case "word":
            return Pieces(_words(texts, vocabulary), exact=False, special=False)
        case "bpe":
            return Pieces(_merges(texts, vocabulary), exact=True, special=True)
        case "wordpiece":
            return Pieces(_wordpieces(texts, vocabulary), exact=False, special=False)
        case "unigram":
            return Pieces(_unigrams(texts, vocabulary), exact=True, special=True)


def hiding(tokens: Tokenizer | None, kind: Kind) -> Pieces:
    """A tokenizer with a token for what is hidden; those that are learned get one. Raises LabwrightError for others."""
    if not isinstance(tokens, Pieces):
        raise LabwrightError(
            f"task.data.tokenizer: of {kind!r} nothing is hidden: one sign is told by those beside it. Learn words or "
            "pieces of them: task.data.tokenizer=bpe or word."
        )
    if kind == "pretrained" and tokens.mask is None:
        raise LabwrightError(
            f"task.data.tokenizer: the pretrained tokenizer has no token for what is hidden, such as {_MASKS[0]}, and "
            "its weights know none. Take an encoder's, such as BERT's, or learn one: task.data.tokenizer=bpe or word."
        )
    return tokens.hiding()


def learned_words(words: Iterable[str], vocabulary: int) -> Pieces:
    """A tokenizer of whole words, whatever signs are in them: the most frequent ones."""
    return Pieces(_words(words, vocabulary, whole=True), exact=False, special=False)


def kept(kind: Kind, folder: Path) -> Tokenizer:
    """The tokenizer that `save` left in a folder."""
    match kind:
        case "char":
            return Characters(json.loads((folder / _LETTERS).read_text(encoding="utf-8"))["letters"])
        case "byte":
            return Bytes()
        case _:
            return _read(folder / _LEARNED, kind)


@contextmanager
def _refusing() -> Iterator[None]:
    """The library's own words for texts that a tokenizer has no tokens for."""
    try:
        yield
    except Exception as error:  # the library raises bare Exceptions
        raise LabwrightError(f"task.data: the tokenizer can't take these texts: {error}.") from error


def _blank_begins_words(inner: Inner) -> bool:
    """Whether the blank before a word is part of its tokens, which words by themselves aren't given: GPT-2, RoBERTa."""
    running, apart, behind_blank = (
        inner.encode(text, add_special_tokens=False, is_pretokenized=not isinstance(text, str)).ids
        for text in ("a a", ["a", "a"], ["a", " a"])
    )
    return running != apart and running == behind_blank


def _library() -> Any:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # else it warns whenever another process is started
    import tokenizers

    return tokenizers


def _read(path: Path, kind: Kind) -> Pieces:
    if not path.parent.is_dir():
        raise LabwrightError(
            f"task.data.tokenizer: there is no folder {located(path.parent)}. Nothing is downloaded: give a folder "
            "that holds tokenizer.json, such as one made by `hf download NAME --local-dir FOLDER`."
        )
    if not path.is_file():
        names = ", ".join(sorted(file.name for file in path.parent.iterdir())[:12])
        raise LabwrightError(f"task.data.tokenizer: {path.parent} has no tokenizer.json; it has {names or 'nothing'}.")
    try:
        inner = _library().Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exceptions
        raise LabwrightError(f"{path} can't be read as a tokenizer: {error}") from error
    return Pieces(inner, exact=kind in ("bpe", "unigram"), special=kind not in ("word", "wordpiece"))


def _words(texts: Iterable[str], vocabulary: int, *, whole: bool = False) -> Any:
    library = _library()
    inner = library.Tokenizer(library.models.WordLevel(unk_token=UNKNOWN))
    if not whole:
        inner.pre_tokenizer = library.pre_tokenizers.Whitespace()
    trainer = library.trainers.WordLevelTrainer(
        vocab_size=vocabulary, special_tokens=[PAD, UNKNOWN], show_progress=False
    )
    inner.train_from_iterator(texts, trainer)
    return inner


def _merges(texts: Iterable[str], vocabulary: int) -> Any:
    library = _library()
    inner, alphabet = _of_bytes(library.models.BPE(), "bpe", vocabulary)
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[PAD], initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator(texts, trainer)
    return inner


def _of_bytes(model: Any, kind: Kind, vocabulary: int) -> tuple[Any, list[str]]:
    """A tokenizer of pieces of bytes that isn't trained yet, and the letters that stand for bytes."""
    library = _library()
    alphabet = sorted(library.pre_tokenizers.ByteLevel.alphabet())
    if vocabulary < len(alphabet) + 1:
        raise LabwrightError(
            f"task.data.vocabulary: {kind!r} starts from {len(alphabet)} bytes and padding, given {vocabulary}; it "
            f"needs {len(alphabet) + 1} or more, such as 1024."
        )
    inner = library.Tokenizer(model)
    inner.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = library.decoders.ByteLevel()
    return inner, alphabet


def _wordpieces(texts: Iterable[str], vocabulary: int) -> Any:
    """Ideographs are words of their own, as BERT has them, and so are our marks."""
    library, texts = _library(), [*texts]
    counts = Counter(letter for text in texts for letter in text if not letter.isspace())
    ranked = sorted(counts, key=lambda letter: (-counts[letter], letter))
    letters = sorted(ranked[: (vocabulary - 2) // 2])  # each as the first of a word, and as one behind it
    inner = library.Tokenizer(library.models.WordPiece(unk_token=UNKNOWN))
    inner.normalizer = library.normalizers.BertNormalizer(clean_text=False, strip_accents=False, lowercase=False)
    of_words, marks = library.pre_tokenizers, library.Regex(f"[{MARK}{BETWEEN}]")
    inner.pre_tokenizer = of_words.Sequence([of_words.Split(marks, "isolated"), of_words.BertPreTokenizer()])
    inner.decoder = library.decoders.WordPiece(prefix=_BEHIND, cleanup=False)
    # letters behind the first would be numbered in an order of chance, by which equal counts are ranked, too
    named = [PAD, UNKNOWN, *(_BEHIND + letter for letter in letters)]
    trainer = library.trainers.WordPieceTrainer(
        vocab_size=vocabulary,
        special_tokens=named,
        initial_alphabet=letters,
        limit_alphabet=len(letters),
        continuing_subword_prefix=_BEHIND,
        show_progress=False,
    )
    inner.train_from_iterator(texts, trainer)
    pieces = sorted(inner.get_vocab(with_added_tokens=False).items(), key=lambda piece: piece[1])
    model = library.models.WordPiece(dict(pieces), unk_token=UNKNOWN, continuing_subword_prefix=_BEHIND)
    plain = library.Tokenizer(model)
    plain.normalizer, plain.pre_tokenizer, plain.decoder = inner.normalizer, inner.pre_tokenizer, inner.decoder
    return plain


def _unigrams(texts: Iterable[str], vocabulary: int) -> Any:
    library = _library()
    inner, alphabet = _of_bytes(library.models.Unigram(), "unigram", vocabulary)
    trainer = library.trainers.UnigramTrainer(
        vocab_size=vocabulary, special_tokens=[PAD], initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator(texts, trainer)
    # The trainer adds up in an order of chance, which shows in the last digits, and gives bytes that it has no score
    # for the lowest and steps above it, in an order of chance too.
    pieces = [(piece, score) for piece, score in json.loads(inner.to_str())["model"]["vocab"] if piece != PAD]
    lowest = min(score for _, score in pieces)
    added, step = set(), 0
    for piece, score in sorted(pieces, key=lambda known: known[1]):
        if len(piece) == 1 and abs(score - lowest - step * _STEP) < _STEP / 1000:
            added.add(piece)
            step += 1
    scores = {piece: round(lowest if piece in added else score, 9) for piece, score in pieces}
    ranked = sorted(scores.items(), key=lambda known: (-known[1], known[0]))
    inner.model = library.models.Unigram([(PAD, 0.0), *ranked])
    inner.add_special_tokens([PAD])
    return inner


def _codes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)


def _bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-8"), dtype=np.uint8)
