"""A text file of the user's own, for language modelling."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from labwright import LabwrightError, LeftOut, listed

from labwright_nlp.data.corpus import Between, Case, Context, Corpus
from labwright_nlp.data.reading import is_hidden, read_text, text_files
from labwright_nlp.data.texts import Share
from labwright_nlp.tokenizing import Kind, Vocabulary

_NAMED = 3  # files that aren't used


class PlainText(Corpus):
    """One text file, gzipped or not, as running text: its last tenth is for validation, all before it to learn from.

    Or a folder with text files (.txt) at any depth, a document each: whole documents are held out. `between` them
    stands a blank line, or a `token` of its own.

    `valid` and `test` are the shares at its end, `test` last; `context` is how many tokens the model sees at once.
    `tokenizer` is `char`, `byte`, `word`, `bpe`, `wordpiece`, `unigram` (learned from the training part, at most
    `vocabulary` tokens) or `pretrained`: that of what the run starts from, or of the folder `pretrained`, which holds
    tokenizer.json. `case` says whether capitals are kept or made small (`lower`) before that.
    """

    source = "a file of yours"
    licence = "yours"

    def __init__(
        self,
        *,
        path: Path,
        context: Context = 128,
        valid: Share = 0.1,
        test: Share = 0.0,
        encoding: str = "utf-8",
        tokenizer: Kind = "char",
        vocabulary: Vocabulary = 8192,
        pretrained: Path | None = None,
        case: Case = "keep",
        between: Between = "blank-line",
    ) -> None:
        super().__init__(
            context=context,
            valid=valid,
            test=test,
            tokenizer=tokenizer,
            vocabulary=vocabulary,
            pretrained=pretrained,
            case=case,
            between=between,
        )
        self.path, self.encoding = path, encoding
        self._left_out: list[LeftOut] = []

    def documents(self) -> tuple[list[str], str]:
        path = self.path.expanduser()
        if not path.is_dir():
            return [read_text(path, self.encoding)], str(path)
        files = text_files(path, self.suffixes)
        others = sorted(
            file.name for file in path.rglob("*") if file.is_file() and file not in {*files} and not is_hidden(file)
        )
        if not files:
            raise LabwrightError(
                f"task.data.path: {path} has no file that ends in {listed(self.suffixes)}; it has "
                f"{listed(others[:_NAMED] or ['none at all'])}."
            )
        texts = [read_text(file, self.encoding) for file in files]
        empty = sum(not text.strip() for text in texts)
        left_out = (len(others), f"no text: {listed(others, _NAMED)}"), (empty, "nothing in it")
        self._left_out = [LeftOut(count, "file" if count == 1 else "files", why) for count, why in left_out if count]
        return [text for text in texts if text.strip()], str(path)

    def left_out(self) -> Sequence[LeftOut]:
        return self._left_out
