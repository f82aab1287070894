"""Questions about texts, and their answers in them, as they are published: SQuAD's files, or a row for each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from labwright import LabwrightError, LeftOut, listed
from labwright_tasks.columnar import PARQUET, reading_parquet
from labwright_tasks.opening import opened
from labwright_tasks.published import files_of_parts
from labwright_tasks.tables import JSON_LINES, cell_of, suffix_of

_ENDINGS = (".json", *JSON_LINES, *PARQUET)


@dataclass(frozen=True)
class Question:
    """What is asked of a text, and what answers it: texts, and the letter each begins at. Without one nothing does."""

    context: str
    question: str
    answers: tuple[str, ...]
    starts: tuple[int, ...]
    title: str
    where: str


def published_questions(path: Path) -> tuple[dict[str, list[Question]], list[LeftOut]]:
    """The questions of each part, and what was left out. Raises LabwrightError naming what can't be read."""
    path = path.expanduser()
    files, left_out = files_of_parts(path, "task.data.path")
    parts, misplaced = {}, list[str]()
    for part, some in (files or {"train": [path]}).items():
        parts[part] = [question for file in some for question in questions_at(file, misplaced)]
        if not parts[part]:
            raise LabwrightError(f"{listed(map(str, some))}: no question whose answer is in its text.")
    return parts, [*left_out, *untold(misplaced)]


def untold(misplaced: Sequence[str]) -> list[LeftOut]:
    """What to say of questions whose answers aren't where they are said to be."""
    if not misplaced:
        return []
    what = "question" if len(misplaced) == 1 else "questions"
    return [LeftOut(len(misplaced), what, f"an answer that isn't at its place in the text, as in {misplaced[0]}")]


def questions_at(path: Path, misplaced: list[str], *, answered: bool = True) -> Iterator[Question]:
    """The questions of a file; where those stand whose answer isn't in the text is put to `misplaced`.

    Raises LabwrightError for a row that says nothing of answers, unless these are not `answered`: then whatever answers
    there are are left aside.
    """
    suffix = suffix_of(path)
    if suffix not in _ENDINGS:
        raise LabwrightError(
            f"task.data.path: {path} ends in {suffix or 'nothing'}; questions are in {listed(_ENDINGS)}."
        )
    rows = _nested(path) if suffix == ".json" else _of_table(path) if suffix in PARQUET else _lines(path)
    for where, row in rows:
        question = _question(row, where, answered)
        if not answered:
            yield replace(question, answers=(), starts=())
            continue
        placed = [
            _place(question.context, text, start) for text, start in zip(question.answers, question.starts, strict=True)
        ]
        if None in placed:
            misplaced.append(where)
            continue
        starts = tuple(place for place in placed if place is not None)
        yield Question(question.context, question.question, question.answers, starts, question.title, where)


def _place(context: str, text: str, start: int) -> int | None:
    """Where an answer begins: where it is said to, or at its only place if that isn't said."""
    if start >= 0:
        return start if context.startswith(text, start) and text.strip() else None
    return context.find(text) if text.strip() and context.count(text) == 1 else None


def _nested(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """SQuAD's own files: articles of paragraphs of questions; or a list of rows."""
    try:
        content = json.loads(opened(path).read())
    except ValueError as error:
        raise LabwrightError(f"{path} is no JSON: {error}. Rows with a JSON object each are .jsonl.") from None
    articles = content.get("data") if isinstance(content, dict) else content
    if not isinstance(articles, list):
        raise LabwrightError(f"{path} has no list of articles under `data`, as SQuAD's files do.")
    for number, article in enumerate(articles, 1):
        if not isinstance(article, dict) or "paragraphs" not in article:
            yield f"{path}, row {number}", article
            continue
        for at, paragraph in enumerate(article["paragraphs"], 1):
            where = f"{path}, article {number}, paragraph {at}"
            if not isinstance(paragraph, dict) or not isinstance(paragraph.get("qas"), list):
                raise LabwrightError(f"{where}: no list of questions under `qas`, as SQuAD's files have.")
            for asked in paragraph["qas"]:
                yield where, {"title": article.get("title", ""), "context": paragraph.get("context"), **asked}


def _lines(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(opened(path), 1):
        if line.strip():
            try:
                yield f"{path}, line {number}", json.loads(line)
            except ValueError as error:
                raise LabwrightError(f"{path}, line {number}: no JSON: {error}.") from None


def _of_table(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    with reading_parquet(path) as parquet:
        rows = parquet.read_table(path).to_pylist()
    for number, row in enumerate(rows, 1):
        yield f"{path}, row {number}", row


def _question(row: Any, where: str, answered: bool) -> Question:
    """A row as a question. Raises LabwrightError for one without a text, or whose answers can't be read."""
    if not isinstance(row, dict):
        raise LabwrightError(f"{where}: given {str(row)[:60]!r}; a question is an object with context and question.")
    for needed in ("context", "question"):
        if not isinstance(row.get(needed), str) or not row[needed].strip():
            raise LabwrightError(f"{where}: no {needed}; it has {listed(row)}.")
    if answered and "answers" not in row and not row.get("is_impossible"):
        raise LabwrightError(f"{where}: no answers; it has {listed(row)}. A question that has none says [].")
    answers = row.get("answers") or []
    if isinstance(answers, dict):  # as the datasets library has them
        texts, starts = answers.get("text", []), answers.get("answer_start", [])
        starts = starts or [-1] * len(texts)
    elif isinstance(answers, list) and all(isinstance(answer, dict) and "text" in answer for answer in answers):
        texts = [answer["text"] for answer in answers]
        starts = [answer.get("answer_start", answer.get("start", -1)) for answer in answers]
    else:
        texts, starts = None, None
    whole = texts is not None and len(texts) == len(starts) and all(isinstance(start, int) for start in starts)
    if not whole or not all(isinstance(text, str) for text in texts):
        raise LabwrightError(
            f"{where}: the answers are {str(answers)[:80]}; they are a list such as "
            '[{"text": "308", "answer_start": 34}], or {"text": [...], "answer_start": [...]}.'
        )
    if row.get("is_impossible"):
        texts, starts = [], []
    context, question, title = map(cell_of, (row["context"], row["question"], str(row.get("title") or "")))
    return Question(context, question, tuple(map(cell_of, texts)), tuple(starts), title, where)
