"""Token ids in files, for language modelling on more than fits in memory. F files, B batch, T tokens of a window."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import torch
from labwright import LEFT_OUT, Data, LabwrightError, LeftOut, Port, Tokens, derived_seed, sentence
from labwright_tasks.language_model import NextTokens, TokenBatch
from labwright_tasks.opening import no_file
from pydantic import BaseModel, Field, ValidationError
from torch import Tensor

from labwright_nlp.data import noticing
from labwright_nlp.data.corpus import Context
from labwright_nlp.data.reading import check_typed, files_of_parts, read_text, text_files
from labwright_nlp.data.texts import Share
from labwright_nlp.tokenizing import Pieces, Tokenizer, clean, hiding, kept

ABOUT, TOKENIZER = "tokens.json", "tokenizer.json"
_SUFFIXES = (".bin", ".npy")
_LOOKS, _LOOKED_AT = 64, 64  # places of a file, and tokens at each, that tell it from another of its size

Window = Annotated[int, Field(ge=1, description="shards whose samples are mixed at a time.")]


class About(BaseModel, extra="ignore"):
    """What tokens.json says of the files beside it; an .npy file says its `dtype` itself."""

    vocab_size: Annotated[int, Field(ge=1)]
    dtype: Literal["uint8", "uint16", "uint32"] = "uint16"
    pad_id: Annotated[int, Field(ge=0)] = 0


class TokenFiles(Data):
    """Token ids in files of any size: a batch's windows are read from where they lie, and nothing else.

    Names of files begin with `train`, and perhaps `valid` (or `val`) and `test`: train.bin, or train-000.npy,
    train-001.npy and so on. A .bin file is the ids and nothing else, as nanoGPT's scripts write it; an .npy file holds
    one axis of whole numbers. `tokens.json` beside them says how many tokens there are, and how .bin files store one:
    {"vocab_size": 50257, "dtype": "uint16"}. With the `tokenizer.json` that made them beside it, prompts and
    continuations are texts; without, they are numbers. `labwright_nlp.write_tokens` writes all of that.

    Windows of `context` tokens lie side by side; those to learn from begin at an offset drawn anew for each epoch.

    Args:
        path: a folder with files of token ids, and tokens.json.
        valid, test: share at the end of each training file, test last, that is held out as this part, if it has no
            files; 0: there is no such part.
        window: files, which come in random order, whose samples are mixed at a time.
    """

    item = Tokens
    target = NextTokens
    source = "files of yours"
    licence = "yours"
    in_memory = False
    independent = False  # windows of one text
    line = "prompt"
    suffixes = (".txt",)

    def __init__(
        self, *, path: Path, context: Context = 128, valid: Share = 0.01, test: Share = 0.0, window: Window = 8
    ) -> None:
        if valid + test >= 1:
            raise LabwrightError(f"task.data: valid {valid} and test {test} leave nothing to learn from.")
        self.path, self.context, self.valid, self.test, self.window = path, context, valid, test, window
        self.about = About(vocab_size=1)
        self.tokens: Tokenizer | None = None
        self._splits: dict[str, FileWindows] = {}
        self._left_out: list[LeftOut] = []
        self._more: list[str] = []  # what is said of a token that was added

    def prepare(self) -> None:
        folder = self.path.expanduser()
        if not folder.is_dir():
            raise no_file(folder, "task.data.path: there is no folder")
        self.load(folder)
        files, self._left_out = files_of_parts(folder, _SUFFIXES, besides=(ABOUT, TOKENIZER))
        parts = {part: [_looked_at(path, self.about) for path in paths] for part, paths in files.items()}
        end = 1.0
        for name in ("test", "valid"):
            if name not in parts and getattr(self, name):
                begin = end - getattr(self, name)
                parts[name] = [file.share(begin, end) for file in parts["train"]]
                end = begin
        parts["train"] = [file.share(0.0, end) for file in parts["train"]]
        for part, pieces in parts.items():
            least = self.context + 1 if part == "train" else 2
            for piece in pieces:
                if len(piece) < least:
                    raise LabwrightError(
                        f"{piece.path} has {len(piece):,} tokens for {part!r}, and with task.data.context="
                        f"{self.context} it needs {least:,} or more. Take it away, or set a smaller context or other "
                        "shares."
                    )
            self._splits[part] = FileWindows(pieces, self.about, self.context, self.window, moving=part == "train")

    def on(self, path: Path) -> Self:
        """A file of token ids, or all of a folder."""
        paths = [path]
        if path.is_dir():
            paths = sorted(file for file in path.iterdir() if file.suffix.lower() in _SUFFIXES)
        beside = (path if path.is_dir() else path.parent) / ABOUT
        about = read_about(beside.parent) if beside.is_file() else self.about
        if about.vocab_size not in self._sizes():
            raise LabwrightError(
                f"{beside} says vocab_size={about.vocab_size:,}, the run has {self.about.vocab_size:,}: ids of another "
                "tokenizer, which mean other things."
            )
        pieces = [_looked_at(file, about) for file in paths]
        if not pieces or min(map(len, pieces)) < 2:
            raise LabwrightError(f"{path} has no file ({' or '.join(_SUFFIXES)}) of two tokens or more in each.")
        other = copy(self)
        other._splits = {"test": FileWindows(pieces, self.about, self.context, self.window, moving=False)}
        other._left_out = []
        return other

    def _sizes(self) -> tuple[int, ...]:
        """How many tokens files of the same tokenizer may be said to have: with the mask, and without if it is last."""
        size = self.about.vocab_size
        masked = isinstance(self.tokens, Pieces) and self.tokens.mask_id == size - 1
        return (size, size - 1) if masked else (size,)

    def ports(self) -> tuple[Port, Port]:
        size = self.about.vocab_size
        return Tokens(size, self.context, self.about.pad_id), NextTokens(size, self.context)

    def hides(self) -> Pieces:
        """See `labwright_nlp.hiding.Hides`. Files hold no weights, so that any tokenizer may be given a token more."""
        if self.tokens is None:
            raise LabwrightError(
                f"task.data.path: {self.path} has no {TOKENIZER}, which says what the ids stand for and which of them "
                "are text: put it beside the files. `labwright_nlp.write_tokens` does."
            )
        if self.tokens.size < self.about.vocab_size:
            raise LabwrightError(
                f"task.data.path: {self.path / TOKENIZER} has {self.tokens.size:,} tokens, {ABOUT} says "
                f"{self.about.vocab_size:,}: of ids beyond the tokenizer's it isn't known whether they are text, to be "
                f"hidden and told. Where there are none, say vocab_size={self.tokens.size}; else give them tokens."
            )
        before, self.tokens = self.tokens, hiding(self.tokens, "bpe")
        if self.tokens.size > before.size:
            self.about = self.about.model_copy(update={"vocab_size": self.tokens.size})
            self._more = noticing.mask(self.tokens, "bpe")
        return self.tokens

    def remarks(self) -> Sequence[str]:
        return self._more

    def split(self, name: str) -> FileWindows | None:
        return self._splits.get(name)

    def left_out(self) -> Sequence[LeftOut]:
        return self._left_out

    def identity(self, split: str) -> Iterator[str]:
        return (line for piece in self._splits[split].pieces for line in piece.identity())

    def parse(self, line: str) -> tuple[Tensor, ...]:
        """The tokens of a prompt, however many."""
        check_typed(line)
        if self.tokens is not None:
            ids = self.tokens.stream(clean(line))[0].tolist()
        elif re.fullmatch(r"[\d\s]*", line, re.ASCII):
            ids = [int(number) for number in line.split()]
        else:
            raise LabwrightError(
                f"the prompt {line!r} is no row of token ids, such as '17 4 90', and there was no {TOKENIZER} beside "
                "the run's token files that could make ids of a text."
            )
        if not ids or max(ids) >= self.about.vocab_size:
            raise LabwrightError(f"the prompt {line!r} has no token, or one beyond {self.about.vocab_size - 1:,}.")
        return torch.tensor([ids]), torch.tensor([len(ids)])

    def read(self, path: Path) -> tuple[Tensor, ...]:
        return self.parse(read_text(path))

    def files(self, folder: Path) -> list[Path]:
        return text_files(folder, self.suffixes)

    def show(self, inputs: tuple[Tensor, ...]) -> list[str]:
        ids_BT, lengths_B = inputs
        rows = [ids[:length] for ids, length in zip(ids_BT.tolist(), lengths_B.tolist(), strict=True)]
        return [" ".join(map(str, ids)) if self.tokens is None else self.tokens.decode(ids) for ids in rows]

    def save(self, folder: Path) -> None:
        (folder / ABOUT).write_text(self.about.model_dump_json() + "\n", encoding="utf-8")
        if self.tokens is not None:
            self.tokens.save(folder)

    def load(self, folder: Path) -> None:
        self.about = read_about(folder)
        self.tokens = kept("pretrained", folder) if (folder / TOKENIZER).is_file() else None
        if self.tokens is not None and self.tokens.size > self.about.vocab_size:
            raise LabwrightError(
                f"{folder / TOKENIZER} has {self.tokens.size:,} tokens, {ABOUT} says {self.about.vocab_size:,}: it is "
                "not what made these files. Take it away, or correct vocab_size."
            )


@dataclass(frozen=True)
class Piece:
    """The tokens `begin` to `end` of a file whose first one is at byte `offset`."""

    path: Path
    dtype: np.dtype
    offset: int
    begin: int
    end: int

    def __len__(self) -> int:
        return self.end - self.begin

    def share(self, begin: float, end: float) -> Piece:
        return replace(self, begin=int(begin * self.end), end=int(end * self.end))

    def read(self, starts: Sequence[int], most: int) -> np.ndarray:
        """The tokens from each start on, `most` or as many as there are, int64 (B, most); 0 behind the last.

        Files are read in place and not mapped: the pages of a mapping that were touched stay with the process. Raises
        LabwrightError if the file is no longer what it was.
        """
        ids_BT, length = np.zeros((len(starts), most), dtype=self.dtype), len(self)
        try:
            handle = os.open(self.path, os.O_RDONLY)
            try:
                for row, start in zip(ids_BT, starts, strict=True):
                    whole = row[: length - start]
                    if (
                        os.preadv(handle, [whole], self.offset + (self.begin + start) * self.dtype.itemsize)
                        < whole.nbytes
                    ):
                        raise LabwrightError(f"{self.path} is shorter than it was when the run began. Put it back.")
            finally:
                os.close(handle)
        except OSError as error:
            raise LabwrightError(f"{self.path} can't be read any more: {error.strerror}.") from error
        return ids_BT.astype(np.int64)

    def identity(self) -> Iterator[str]:
        yield f"{self.path.name} {self.path.stat().st_size} {self.dtype} {self.begin} {self.end}"
        places = np.linspace(0, max(len(self) - _LOOKED_AT, 0), _LOOKS).astype(np.int64)
        yield hashlib.sha256(self.read(places.tolist(), _LOOKED_AT).tobytes()).hexdigest()


class FileWindows:
    """Windows of tokens side by side in files, each a shard; `moving` ones begin elsewhere in each epoch.

    Only places are kept: what a loader worker is given is a few paths.
    """

    def __init__(self, pieces: Sequence[Piece], about: About, context: int, window: int, *, moving: bool) -> None:
        self.pieces, self.about, self.context, self.window, self.moving = pieces, about, context, window, moving
        lengths_F = torch.tensor([len(piece) for piece in pieces])
        # a moving window is whole wherever it begins; the last of the others may be short
        self.shards = (
            ((lengths_F - context) // context).clamp(min=1) if moving else (lengths_F + context - 2) // context
        )
        self._lasts_F, self._ends_F = lengths_F - 1, self.shards.cumsum(0)

    def __len__(self) -> int:
        return int(self._ends_F[-1])

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> TokenBatch:
        files_B = torch.bucketize(indices, self._ends_F, right=True)
        starts_B = (indices - (self._ends_F - self.shards)[files_B]) * self.context
        if self.moving:
            offsets_F = derived_seed(seed, epoch, 7) % (self._lasts_F + 1 - self.shards * self.context)
            starts_B += offsets_F[files_B]
        window_BT = torch.empty(len(indices), self.context + 1, dtype=torch.int64)
        for number in torch.unique(files_B).tolist():
            rows, piece = files_B == number, self.pieces[number]
            ids = piece.read(starts_B[rows].tolist(), self.context + 1)
            if not 0 <= ids.min() <= ids.max() < self.about.vocab_size:
                self._refuse(piece, ids, starts_B[rows])
            window_BT[rows] = torch.from_numpy(ids)
        lengths_B = (self._lasts_F[files_B] - starts_B).clamp_(max=self.context)
        ids_BT, next_BT = window_BT[:, :-1], window_BT[:, 1:]
        if not self.moving:
            beyond_BT = torch.arange(self.context) >= lengths_B[:, None]
            ids_BT, next_BT = ids_BT.masked_fill(beyond_BT, self.about.pad_id), next_BT.masked_fill(beyond_BT, LEFT_OUT)
        return TokenBatch((ids_BT, lengths_B), next_BT, int(lengths_B.sum()))

    def _refuse(self, piece: Piece, ids: np.ndarray, starts_B: Tensor) -> None:
        row, column = np.argwhere((ids < 0) | (ids >= self.about.vocab_size))[0]
        raise LabwrightError(
            f"{piece.path}, token {piece.begin + int(starts_B[row]) + column:,}: its id is {ids[row, column]:,}, and "
            f"{ABOUT} says vocab_size={self.about.vocab_size:,}: that number or `dtype` is wrong."
        )


def read_about(folder: Path) -> About:
    """What tokens.json in a folder says. Raises LabwrightError if there is none, or it says something else."""
    file = folder / ABOUT
    example = '{"vocab_size": 50257, "dtype": "uint16"}'
    if not file.is_file():
        raise LabwrightError(
            f"{folder} has no {ABOUT}, which says how many tokens there are and how they are stored: {example}. "
            "`labwright_nlp.write_tokens` writes one with the files."
        )
    try:
        return About.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "it"
        raise LabwrightError(f"{file}: {where}: {sentence(fault['msg'])} It is to be like {example}.") from error
    except ValueError as error:
        raise LabwrightError(f"{file} is no JSON: {sentence(str(error))} It is to be like {example}.") from error


def _looked_at(path: Path, about: About) -> Piece:
    """A whole file. Raises LabwrightError for one that holds no row of whole numbers."""
    if path.suffix.lower() == ".npy":
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise LabwrightError(f"{path} can't be read as .npy: {sentence(str(error))}") from error
        if array.ndim != 1 or array.dtype.kind not in "iu" or not isinstance(array, np.memmap):
            raise LabwrightError(
                f"{path} has shape {array.shape} of {array.dtype}; token ids are one axis of integers."
            )
        return Piece(path, array.dtype, array.offset, 0, len(array))
    dtype, size = np.dtype(about.dtype), path.stat().st_size
    if size % dtype.itemsize:
        raise LabwrightError(
            f"{path} has {size:,} bytes, no multiple of the {dtype.itemsize} of {about.dtype} in {ABOUT}."
        )
    return Piece(path, dtype, 0, 0, size // dtype.itemsize)
