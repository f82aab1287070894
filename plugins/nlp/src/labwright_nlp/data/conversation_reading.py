"""Conversations as they are published: a prompt and its response in each row, or a list of messages."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labwright import LabwrightError, LeftOut, listed, nearest, sentence
from labwright_tasks.columnar import PARQUET, reading_parquet
from labwright_tasks.opening import opened
from labwright_tasks.published import files_of_parts
from labwright_tasks.tables import JSON_LINES, cell_of, suffix_of

from labwright_nlp.chat_template import Message

ROLES = ("system", "user", "assistant")
ENDINGS = (*JSON_LINES, ".json", *PARQUET)
_SHOWN = 60


@dataclass(frozen=True)
class Keys:
    """What rows call a prompt, its response and the messages of a conversation; a `system` message may come first."""

    prompt: str = "prompt"
    response: str = "response"
    messages: str = "messages"
    system: str = "system"

    @property
    def all(self) -> tuple[str, ...]:
        return (self.prompt, self.response, self.messages, self.system)


@dataclass(frozen=True)
class Conversation:
    """Messages, each with a role and a content, and where they stand."""

    messages: tuple[Message, ...]
    where: str

    @property
    def answered(self) -> bool:
        return any(one["role"] == "assistant" for one in self.messages)

    @property
    def asked(self) -> str:
        """All before the last answer, as one text."""
        last = max((at for at, one in enumerate(self.messages) if one["role"] == "assistant"), default=None)
        return "\n".join(one["content"] for one in self.messages[:last])


def published_conversations(
    path: Path, keys: Keys, unread: Counter[str]
) -> tuple[dict[str, list[Conversation]], list[LeftOut]]:
    """The conversations of each part that have an answer, and what was left out.

    How many rows have more than `keys`, by its name, is put to `unread`.

    Raises LabwrightError naming what can't be read, and where none is left.
    """
    path = path.expanduser()
    files, left_out = files_of_parts(path, "task.data.path")
    parts, bare = {}, list[str]()
    for part, some in (files or {"train": [path]}).items():
        parts[part] = [one for file in some for one in answered_at(file, keys, bare, unread)]
        if not parts[part]:
            raise LabwrightError(
                f"{listed(map(str, some))}: no conversation with an answer, which is what is learned: a row has "
                f"{keys.prompt!r} and {keys.response!r}, or {keys.messages!r}."
            )
    return parts, [*left_out, *unanswered(bare)]


def answered_at(path: Path, keys: Keys, bare: list[str], unread: Counter[str]) -> Iterator[Conversation]:
    """The conversations of a file that have an answer; where those stand that have none is put to `bare`."""
    for where, row in rows_at(path):
        found = conversation(row, keys, where)
        unread.update(name for name, value in row.items() if name not in keys.all and isinstance(value, str) and value)
        if found.answered:
            yield found
        else:
            bare.append(where)


def unanswered(bare: Sequence[str]) -> list[LeftOut]:
    if not bare:
        return []
    what = "conversation" if len(bare) == 1 else "conversations"
    return [LeftOut(len(bare), what, f"without an answer, as in {bare[0]}")]


def rows_at(path: Path) -> Iterator[tuple[str, Any]]:
    """The rows of a file, and where each stands. Raises LabwrightError for a file that can't be read."""
    suffix = suffix_of(path)
    if suffix not in ENDINGS:
        raise LabwrightError(
            f"task.data.path: {path} ends in {suffix or 'nothing'}; conversations are in {listed(ENDINGS)}."
        )
    if suffix in PARQUET:
        with reading_parquet(path) as parquet:
            rows = parquet.read_table(path).to_pylist()
        yield from ((f"{path}, row {number}", row) for number, row in enumerate(rows, 1))
        return
    lines = opened(path)
    if suffix == ".json":
        rows = _json(lines.read(), str(path))
        if not isinstance(rows, list):
            raise LabwrightError(f"{path} is no list of rows; an object on each line is .jsonl.")
        yield from ((f"{path}, row {number}", row) for number, row in enumerate(rows, 1))
        return
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield f"{path}, line {number}", _json(line, f"{path}, line {number}")


def conversation(row: Any, keys: Keys, where: str) -> Conversation:
    """A row as a conversation, answered or not. Raises LabwrightError for one that is none."""
    if not isinstance(row, Mapping):
        raise LabwrightError(f"{where}: given {str(row)[:_SHOWN]!r}; a conversation is an object.")
    system = row.get(keys.system)
    first = [{"role": "system", "content": _text(system, keys.system, where)}] if system else []
    if row.get(keys.messages) is not None:
        messages = row[keys.messages]
        if not isinstance(messages, list) or not messages:
            raise LabwrightError(
                f"{where}: {keys.messages!r} is to be a list such as "
                f'[{{"role": "user", "content": "..."}}, ...], given {str(messages)[:_SHOWN]!r}.'
            )
        return Conversation((*first, *(_message(one, where) for one in messages)), where)
    if keys.prompt not in row:
        raise LabwrightError(
            f"{where}: neither {keys.prompt!r} nor {keys.messages!r}; it has {listed(map(str, row)) or 'nothing'}. "
            "task.data.prompt and task.data.response name what they are called."
        )
    asked = [*first, {"role": "user", "content": _text(row[keys.prompt], keys.prompt, where)}]
    response = row.get(keys.response)
    if response is None or (isinstance(response, str) and not response.strip()):
        return Conversation((*asked,), where)
    answer = {"role": "assistant", "content": _text(response, keys.response, where)}
    return Conversation((*asked, answer), where)


def _message(one: Any, where: str) -> Message:
    if not isinstance(one, Mapping) or "role" not in one or "content" not in one:
        raise LabwrightError(f"{where}: given {str(one)[:_SHOWN]!r}; a message has a role and a content.")
    role = one["role"]
    if role not in ROLES:
        raise LabwrightError(
            f"{where}: no message has the role {role!r}{nearest(str(role), ROLES)} There are {listed(ROLES)}."
        )
    content = one["content"]
    if role == "assistant" and content in ("", None):
        raise LabwrightError(f"{where}: an answer without any text; leave the message out.")
    return {"role": role, "content": _text(content, f"content of {role}", where)}


def _text(value: Any, name: str, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise LabwrightError(f"{where}: the {name} is to be a text, given {str(value)[:_SHOWN]!r}.")
    return cell_of(value)


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LabwrightError(f"{where}: no JSON: {sentence(str(error))}") from None
