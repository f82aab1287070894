"""Sentences of words with a tag each, as they are published: columns of text, or lists in a table."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from labwright import LabwrightError, LeftOut, listed
from labwright_tasks.cells import Cells
from labwright_tasks.delimited import Written
from labwright_tasks.opening import opened
from labwright_tasks.published import Parts, Published, read_parts
from labwright_tasks.tables import SUFFIXES, Table, read_table, suffix_of, told

from labwright_nlp.data.reading import files_of_parts

COLUMNS = (".conll", ".conllu", ".conll03", ".iob", ".iob2", ".bio", ".txt")  # a word in each line
_BEGIN = "-DOCSTART-"
_RUNNING = 3  # words in a line that isn't one of columns, if it is alone
_UNIVERSAL = ".conllu"  # whose words are numbered: https://universaldependencies.org/format.html
_UNIVERSAL_COLUMNS = 2, 4  # FORM and UPOS
Name = str | int


def published_sentences(path: Path, words: Name, tags: Name, *, written: Written, parts: Parts | None) -> Published:
    """The sentences of each part: `text` has the words of each and `tags` its tags, lists as JSON.

    Raises LabwrightError as `read_parts` does, for a sentence with more words than tags, or none.
    """
    path = path.expanduser()
    if not in_columns(path):
        columns = {"text": _named(words, "words"), "tags": _named(tags, "tags")}
        published = read_parts(path, columns, written=written, parts=parts, lists=[*columns.values()])
        tables = {part: checked(table) for part, table in published.tables.items()}
        return replace(published, tables=tables)
    if parts is not None and parts.column:
        raise LabwrightError(
            "task.data.parts.column: a file with a word in each line has no column that names parts; give files, as "
            'in task.data.parts={valid="dev.conll", test="test.conll"}.'
        )
    files, left_out = {"train": [path]}, list[LeftOut]()
    if path.is_dir():
        files, left_out = files_of_parts(path, COLUMNS, packed=True)
    files |= {part: [file.expanduser()] for part, file in (parts.files if parts else {}).items()}
    for part, some in files.items():
        if len(some) > 1:
            raise LabwrightError(f"{path} has several files for {part!r}: {listed(file.name for file in some)}.")
    tables = {part: sentences_at(some[0], words, tags, written) for part, some in files.items()}
    return Published(tables, left_out, told(tables.values()))


def sentences_at(path: Path, words: Name, tags: Name | None, written: Written) -> Table:
    """The sentences of one file; without `tags` of their words alone."""
    if not in_columns(path) and tags is not None:
        columns = {"text": _named(words, "words"), "tags": _named(tags, "tags")}
        return checked(read_table(path, columns, written=written, lists=[*columns.values()]))
    remarks: list[str] = []
    texts, labels, lines = Cells(), Cells(), array("I")
    usual = _UNIVERSAL_COLUMNS if suffix_of(path) == _UNIVERSAL else (1, -1)
    sentences = _sentences(path, written.encoding, remarks)
    for first, rows in sentences if tags is not None else _checked_columns(path, sentences):
        texts.append(
            json.dumps(
                [_cell(row, words, usual[0], f"{path}, line {first + at}") for at, row in rows], ensure_ascii=False
            )
        )
        if tags is not None:
            labels.append(json.dumps([_tag(row, tags, usual[1], f"{path}, line {first + at}") for at, row in rows]))
        lines.append(first)
    if not lines:
        raise LabwrightError(
            f"{path} has no sentence: a word and its tag in each line, a line of nothing between sentences."
        )
    found = {"text": texts} | ({} if tags is None else {"tags": labels})
    return Table(str(path), found, lines, remarks=tuple(remarks))


def words_at(path: Path, words: Name, written: Written) -> Table:
    """The words of the sentences of one file, tags or none."""
    if not in_columns(path):
        name = _named(words, "words")
        return read_table(path, {"text": name}, written=written, lists=[name])
    return sentences_at(path, words, None, written)


def in_columns(path: Path) -> bool:
    """Whether a file, or what is in a folder, has a word in each line, rather than being a table."""
    if not path.is_dir():
        return suffix_of(path) in COLUMNS
    endings = [suffix_of(file) for file in path.iterdir() if file.is_file()]
    return not any(ending in SUFFIXES for ending in endings) and any(ending in COLUMNS for ending in endings)


def checked(table: Table) -> Table:
    """The table, if each row has a tag for each word. Raises LabwrightError naming the row that hasn't."""
    for row, (text, tags) in enumerate(zip(table["text"], table["tags"], strict=True)):
        words, labels = listing(text), listing(tags)
        if len(words) != len(labels):
            raise LabwrightError(
                f"{table.where(row)}: {len(words)} words and {len(labels)} tags; each word has one tag."
            )
        if "" in labels:
            raise LabwrightError(
                f"{table.where(row)}: the word {words[labels.index('')]!r} has an empty tag; what is nothing is O."
            )
    return table


def listing(cell: str) -> list[str]:
    """The words or tags of a cell: a list as JSON, or with blanks between them."""
    if not cell.startswith("["):
        return cell.split()
    try:
        found = json.loads(cell)
    except ValueError:
        return cell.split()
    return [str(one) for one in found]


def _sentences(
    path: Path, encoding: str | None, remarks: list[str]
) -> Iterator[tuple[int, list[tuple[int, list[str]]]]]:
    """The line that each sentence begins in, and its rows: how many lines behind that, and the columns."""
    first, rows, universal = 0, list[tuple[int, list[str]]](), suffix_of(path) == _UNIVERSAL
    about = 0  # lines that are about the sentence below them: '# id 7 domain=en', '# sent_id = 7'
    for number, line in enumerate(opened(path, encoding, remarks), 1):
        cells = [cell.strip() for cell in (line.split("\t") if "\t" in line else line.split())]
        if not any(cells) or cells[0] == _BEGIN:
            if rows:
                yield first, rows
            rows = []
        elif not rows and not universal and line.startswith("# ") and "=" in line:
            about += 1
        elif not universal or cells[0].isdecimal():  # not a remark, nor what stands for several words or for none
            first = first if rows else number
            rows.append((number - first, cells))
    if rows:
        yield first, rows
    if about:
        remarks.append(f"{path}: lines before a sentence that begin with # and hold a = aren't words of it: {about:,}.")


def _checked_columns(
    path: Path, sentences: Iterable[tuple[int, list[tuple[int, list[str]]]]]
) -> Iterator[tuple[int, list[tuple[int, list[str]]]]]:
    """The sentences, if their lines are columns. Raises LabwrightError where they are words of a running text: where
    lines are of several lengths, or each of several words with a line of nothing behind it.
    """
    begins, width, alone = 0, 0, True
    meant = (
        "with --on each line has one word, perhaps with its tag. A file that is one sentence is given without --on; "
        "sentences one on each line by `labwright predict RUN - < FILE`."
    )
    for first, rows in sentences:
        begins, width = begins or first, width or len(rows[0][1])
        alone = alone and len(rows) == 1
        for at, cells in rows:
            if len(cells) != width:
                raise LabwrightError(
                    f"{path}, line {first + at} has {len(cells)} columns and line {begins} has {width}; {meant}"
                )
        yield first, rows
    if alone and width >= _RUNNING:
        raise LabwrightError(f"{path} has no two lines together, and {width} columns; {meant}")


def _cell(cells: list[str], column: Name, usual: int, where: str) -> str:
    place = column if isinstance(column, int) else usual
    index = place - 1 if place > 0 else place
    if place == 0 or not -len(cells) <= index < len(cells):
        raise LabwrightError(
            f"{where}: {' '.join(cells)[:60]!r} has too few columns; a word and its tag are needed, column "
            f"{place} of them. task.data.words and task.data.tags say which columns: 1 is the first, -1 the last."
        )
    return cells[index]


def _tag(cells: list[str], column: Name, usual: int, where: str) -> str:
    return _cell(cells if len(cells) > 1 else [], column, usual, where)  # a word alone isn't its own tag


def _named(column: Name, setting: str) -> str:
    if isinstance(column, int):
        raise LabwrightError(f"task.data.{setting}: a table's columns have names, given {column}.")
    return column
