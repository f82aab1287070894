"""Prompts in a file, a JSON object on each line, and settings that are a prompt's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from labwright import LabwrightError, listed, nearest, sentence
from pydantic import ValidationError
from torch import Tensor

from labwright_tasks.next_token import Sampling
from labwright_tasks.opening import opened

_SHOWN = 60


@runtime_checkable
class Prompting(Protocol):
    """Data whose prompts are more than a line of text, such as a conversation.

    `prompt` makes tokens of a row, such as `{"messages": [...]}`; it raises LabwrightError for one that is none.
    `prompt_keys` are what a row may have.
    """

    prompt_keys: tuple[str, ...]

    def prompt(self, row: Mapping[str, Any]) -> tuple[Tensor, ...]: ...


def prompts_at(
    path: Path, read: Callable[[Mapping[str, Any]], tuple[Tensor, ...]]
) -> Iterator[tuple[str, Callable[[], tuple[Tensor, ...]]]]:
    """Where each object stands, and what makes tokens of it; what is wrong with one is said when it is read."""
    for number, line in enumerate(opened(path), 1):
        if line.strip():
            yield f"{path}, line {number}", partial(_read, line, read)


def _read(line: str, read: Callable[[Mapping[str, Any]], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise LabwrightError(f"no JSON: {sentence(str(error))}") from None
    if not isinstance(row, dict):
        raise LabwrightError(f'given {str(row)[:_SHOWN]!r}; a prompt is an object such as {{"prompt": "..."}}.')
    return read(row)


def parted(
    row: Mapping[str, Any], usual: Sampling, keys: tuple[str, ...], settable: tuple[str, ...]
) -> tuple[dict[str, Any], Sampling]:
    """What a row says of its prompt, and how to go on with it.

    Args:
        row: of a file of prompts.
        usual: the settings where the row has none.
        keys: what says something of the prompt.
        settable: settings that a row may have.

    Raises LabwrightError for a key that is neither, and for a setting that can't be used.
    """
    known = (*keys, *settable)
    for name in row:
        if name not in known:
            raise LabwrightError(
                f"{name!r} is nothing that a prompt has{nearest(name, known)} It may have {listed(known)}."
            )
    given = {name: value for name, value in row.items() if name in settable}
    try:
        how = Sampling.model_validate({**usual.model_dump(), **given}) if given else usual
    except ValidationError as error:
        fault = error.errors()[0]
        where = str(fault["loc"][0]) if fault["loc"] else "settings"
        raise LabwrightError(f"{where}: given {given.get(where)!r}: {sentence(fault['msg'])}") from None
    return {name: value for name, value in row.items() if name in keys}, how
