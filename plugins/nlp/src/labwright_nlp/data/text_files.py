"""The user's own texts with labels, in files."""

from __future__ import annotations

from pathlib import Path

from labwright_tasks.delimited import Columns, Delimiter, Quote, Written
from labwright_tasks.published import Parts, read_parts
from labwright_tasks.tables import Table

from labwright_nlp.data.reading import rows_of
from labwright_nlp.data.texts import Length, Share, Texts
from labwright_nlp.tokenizing import Case, Kind, Vocabulary


class TextFiles(Texts):
    """Texts and labels of your own: JSON Lines, CSV or TSV with a header, gzipped or not, or Parquet.

    `path` is one file, or a folder with a file `train` (or `training`), such as train.csv, and perhaps `valid` (or
    `validation`, `val`, `dev`) and `test` (or `testing`). A part without a file is held out: `valid` and `test` are its
    shares of the training texts; 0 is no such part. `text` and `label` name the columns; rows without one or the other
    are left out. A label is a text, a number or a truth value, the same one in every kind of file: 1.0 is 1. Files are
    UTF-8; those that aren't are in `encoding`. Between tabs a quote is a character like any other.

    `tokenizer` is `word`, `char`, `byte`, `bpe` (all learned from the training texts, at most `vocabulary` tokens) or
    `pretrained`: that of what the run starts from, or of the folder `pretrained`, which holds tokenizer.json. `case`
    says what becomes of capitals before that: `keep`, `lower`, or `mark`, which writes a mark and the small letter.
    """

    source = "files of yours"
    licence = "yours"

    def __init__(
        self,
        *,
        path: Path,
        text: str = "text",
        label: str = "label",
        delimiter: Delimiter | None = None,
        columns: Columns = (),
        quote: Quote | None = None,
        encoding: str | None = None,
        parts: Parts | None = None,
        valid: Share = 0.1,
        test: Share = 0.1,
        tokenizer: Kind = "word",
        vocabulary: Vocabulary = 20_000,
        pretrained: Path | None = None,
        case: Case = "keep",
        length: Length = 128,
    ) -> None:
        super().__init__(
            tokenizer=tokenizer,
            vocabulary=vocabulary,
            pretrained=pretrained,
            case=case,
            length=length,
            valid=valid,
            test=test,
        )
        self.path, self.text, self.label = path, text, label
        self.parts, self.format = parts, Written(delimiter, columns, quote, encoding)

    def rows(self) -> dict[str, Table]:
        columns = {"text": self.text, "label": self.label}
        published = read_parts(self.path, columns, written=self.format, parts=self.parts)
        parts, self.unused, self.told = {}, published.left_out, published.remarks
        for part, table in published.tables.items():
            parts[part], left_out = rows_of(table)
            self.unused += left_out
        return parts
