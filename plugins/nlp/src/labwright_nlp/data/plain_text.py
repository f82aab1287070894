"""A text file of the user's own, for language modelling."""

from __future__ import annotations

from pathlib import Path

from labwright_nlp.data.corpus import Between, Case, Context, Corpus
from labwright_nlp.data.reading import read_text
from labwright_nlp.data.texts import Share
from labwright_nlp.tokenizing import Kind, Pretrained, Vocabulary


class PlainText(Corpus):
    """One text file, packed or not, as running text: its last tenth is for validation, all before it to learn from.

    Or a folder with text files at any depth, a document each: whole documents are held out.

    Args:
        path: a text file, or a folder with some (.txt).
        encoding: of text that is no UTF-8 and has no byte order mark, such as cp1252.
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
        pretrained: Pretrained = None,
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

    def documents(self) -> tuple[list[str], str]:
        path = self.path.expanduser()
        documents = self.documents_of(path) if path.is_dir() else [read_text(path, self.encoding)]
        return documents, str(path)
