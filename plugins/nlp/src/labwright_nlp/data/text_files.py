"""The user's own texts with labels, in files."""

from __future__ import annotations

from pathlib import Path

from labwright.errors import LabwrightError, listed, nearest

from labwright_nlp.data.reading import TABLES, Rows, read_rows, suffix_of
from labwright_nlp.data.texts import Length, Share, Texts
from labwright_nlp.tokenizing import Case, Kind, Vocabulary

_NAMES = {"train": "train", "valid": "valid", "val": "valid", "dev": "valid", "test": "test"}


class TextFiles(Texts):
    """Texts and labels of your own: JSON Lines, CSV or TSV with a header, gzipped or not.

    `path` is one file, or a folder with a file `train`, such as train.csv, and perhaps `valid` (or `val`, `dev`) and
    `test`. A part without a file is held out: `valid` and `test` are its shares of the training texts; 0 is no such
    part. `text` and `label` name the columns; a label is a text or a whole number.

    `tokenizer` is `word`, `char`, `byte`, `bpe` (all learned from the training texts, at most `vocabulary` tokens) or
    `pretrained`, read from tokenizer.json in the folder `pretrained`. `case` says what becomes of capitals before
    that: `keep`, `lower`, or `mark`, which writes a mark and the small letter.
    """

    source = "files of yours"
    licence = "yours"

    def __init__(
        self,
        *,
        path: Path,
        text: str = "text",
        label: str = "label",
        encoding: str = "utf-8",
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
        self.path, self.text, self.label, self.encoding = path, text, label, encoding

    def rows(self) -> dict[str, Rows]:
        path = self.path.expanduser()
        files = _of_folder(path) if path.is_dir() else {"train": path}
        if not path.exists():
            beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
            raise LabwrightError(
                f"task.data.path: there is no file or folder {str(path)!r}{nearest(path.name, beside)}"
            )
        return {
            name: read_rows(file, text=self.text, label=self.label, encoding=self.encoding)
            for name, file in files.items()
        }


def _of_folder(folder: Path) -> dict[str, Path]:
    """The file of each part. Raises LabwrightError if there is none to learn from, or two for one part."""
    files: dict[str, Path] = {}
    there = sorted(path for path in folder.iterdir() if path.is_file() and suffix_of(path) in TABLES)
    for path in there:
        part = _NAMES.get(path.name.lower().partition(".")[0])
        if part in files:
            raise LabwrightError(f"{folder} has two files for {part!r}: {files[part].name} and {path.name}.")
        if part:
            files[part] = path
    if "train" not in files:
        raise LabwrightError(
            f"{folder} has no file `train` with an ending of {listed(TABLES)}, .gz or not; it has "
            f"{listed(path.name for path in there)}. One file is given by its name."
        )
    return files
