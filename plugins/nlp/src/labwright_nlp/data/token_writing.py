"""Texts as files of token ids, which data `nlp/tokens` reads."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np
from labwright import LabwrightError

from labwright_nlp.data.token_files import ABOUT, TOKENIZER, About, read_about
from labwright_nlp.tokenizing import Pieces, clean, kept

_AT_ONCE = 1024  # texts
_SAID_EVERY = 10.0  # seconds


def write_tokens(
    texts: Iterable[str], folder: Path | str, tokenizer: Path | str, *, part: str = "train", end: str | None = None
) -> int:
    """Write texts as token ids, one after another, to `folder`/`part`.bin, and return how many tokens there are.

    Beside it come tokens.json and the tokenizer. How far it is is said on stderr every ten seconds. The file gets its
    name when it is whole; one of that name is replaced.

    Args:
        texts: any number of them, such as a generator; they are never all in memory.
        folder: is made if it isn't there.
        tokenizer: a folder with tokenizer.json.
        part: `train`, `valid` or `test`, with anything behind it: "train-007" is another file of the same part.
        end: the token behind each text, such as "<|endoftext|>".

    Raises:
        LabwrightError: for a folder without tokenizer.json, an `end` that is no token of its, or a folder with token
            files of another tokenizer.

    Example: `labwright_nlp.write_tokens(map(str.strip, open("texts.txt")), "tokens", "gpt2", end="<|endoftext|>")`
    """
    folder, tokenizer = Path(folder).expanduser(), Path(tokenizer).expanduser()
    tokens = kept("pretrained", tokenizer)
    assert isinstance(tokens, Pieces)
    about = About(vocab_size=tokens.size, dtype="uint16" if tokens.size <= 2**16 else "uint32", pad_id=tokens.pad_id)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / ABOUT).is_file() and (read_about(folder) != about or _other(folder, tokenizer)):
        raise LabwrightError(f"{folder} has token files of another tokenizer; write to another folder.")
    behind = [] if end is None else [tokens.inner.token_to_id(end)]
    if None in behind:
        raise LabwrightError(f"{tokenizer} has no token {end!r} to put behind each text.")
    left, texts_done, count, said = iter(texts), 0, 0, time.monotonic()
    file = folder / f"{part}.bin"
    unfinished = file.with_name(f".{file.name}.part")
    with unfinished.open("wb") as output:
        while some := list(islice(left, _AT_ONCE)):
            for ids in tokens.encode([clean(text) for text in some], special=False):
                output.write(np.array([*ids, *behind], dtype=about.dtype).tobytes())
                count += len(ids) + len(behind)
            texts_done += len(some)
            if time.monotonic() - said >= _SAID_EVERY:
                said = time.monotonic()
                sys.stderr.write(f"{file}: {texts_done:,} texts, {count:,} tokens so far\n")
    unfinished.replace(file)
    (folder / ABOUT).write_text(about.model_dump_json() + "\n", encoding="utf-8")
    if tokenizer.resolve() != folder.resolve():
        shutil.copyfile(tokenizer / TOKENIZER, folder / TOKENIZER)
    sys.stderr.write(f"{file}: {texts_done:,} texts, {count:,} tokens\n")
    return count


def _other(folder: Path, tokenizer: Path) -> bool:
    """Whether token files have a tokenizer beside them that is another one."""
    beside = folder / TOKENIZER
    if not beside.is_file():
        return False
    ours, theirs = (json.loads(file.read_text(encoding="utf-8")) for file in (tokenizer / TOKENIZER, beside))
    return bool(ours != theirs)
