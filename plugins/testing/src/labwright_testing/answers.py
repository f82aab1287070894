"""Checks of what a task says of its model: predictions, inputs that are read for them, and reports."""

from __future__ import annotations

import inspect
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import numpy as np
import torch
from labwright import (
    Attachment,
    ClosedForm,
    Data,
    Figure,
    Film,
    Input,
    LabwrightError,
    Pictures,
    Section,
    Sounds,
    Table,
    Task,
    isolated,
    listed,
)
from torch import Generator, Tensor, nn

from labwright_testing.kit import NotApplicable, Subject, check
from labwright_testing.training import alike

CLOSE = 1e-3  # relative: a row alone and among others is rounded otherwise

Arguments = tuple[Tensor, ...]


@check("task")
def answers_each_row_by_itself(subject: Subject) -> None:
    """`predict` gives one answer for each row, which depends on that row and its origin alone, with values for JSON.

    Asked are lines that `inputs` of `conformance` gives or the data shows, else held-out samples without an origin. An
    answer is a table by names; values may be an Attachment and an iterator of texts, too.
    """
    task = subject.task
    if type(task).predict is Task.predict:
        raise NotApplicable("it doesn't predict")
    takes = list(inspect.signature(task.predict).parameters)
    assert len(takes) >= 3, f"it takes ({', '.join(takes)}), and is called with (model, inputs, origins)"
    model, rows = _exact(task, *_asked(subject))
    together = _predicted(task, model, rows)
    assert len(together) == len(rows), f"{len(rows)} rows are given {len(together)} answers"
    for number, (row, answer) in enumerate(zip(rows, together, strict=True)):
        (alone,) = _predicted(task, model, [row])
        assert _close(alone, answer), f"row {number} alone is answered {alone}, with another row {answer}"


@check("task", "data")
def reads_inputs_without_its_data(subject: Subject) -> None:
    """`parse` gives arguments with one row each, the same again after `load` of what `save` kept in a folder.

    Tried are lines that `inputs` of `conformance` gives, texts or names of files; else texts that the data shows.
    """
    task = subject.task
    lines = _lines(subject)
    if not lines:
        raise NotApplicable("no line is given that it could read")
    with TemporaryDirectory(prefix="labwright-") as scratch:
        task.save(Path(scratch))
        again = subject.experiment.task.build()
        again.load(Path(scratch))
    for line in lines:
        arguments, reread = task.parse(line), again.parse(line)
        counts = [len(argument) if argument.dim() else 0 for argument in arguments]
        assert counts and set(counts) == {1}, f"{line!r} is read as arguments of {listed(map(str, counts))} rows, not 1"
        assert alike(tuple(arguments), tuple(reread)), f"{line!r} is read as another input without the data"
        origins = [getattr(given, "origin", None) for given in (arguments, reread)]
        assert alike(*origins), (
            f"{line!r} has another origin without the data: {origins[1]!r} instead of {origins[0]!r}"
        )


@check("task")
def reports_without_a_trace(subject: Subject) -> None:
    """`report` gives sections, and leaves the model, its mode and the global random numbers as they were.

    A section is a Figure, Table, Pictures, Film, Sounds or Text, with as many captions as there is to see, or none; a
    table's rows have a cell for each column. Use `labwright.evaluating(model)`, and draw from `labwright.generator`.
    """
    task = subject.task
    if type(task).report is Task.report:
        raise NotApplicable("it has no report")
    model = _answering(subject).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with isolated(seed=0):
        dice = _dice()
        sections = [*task.report(model, "valid", torch.device("cpu"))]
        drawn = _dice() != dice
    for section in sections:
        assert isinstance(section, get_args(Section)), f"a {type(section).__name__} is no section"
        fault = _fault(section)
        assert not fault, f"section {section.title!r}: {fault}"
    assert alike(before, model.state_dict()), "it changes the model"
    assert not drawn, "it draws from a global generator"
    assert all(module.training for module in model.modules()), "it leaves the model in evaluation mode"


def _answering(subject: Subject) -> nn.Module:
    """The model of the recipe as it is before the first step; one in closed form is computed."""
    model = subject.built().model
    if isinstance(model, ClosedForm):
        batches = subject.task.batches("train", size=64, seed=0, epoch=0)
        assert batches is not None, "the data has no training part"
        model.fit(batches)
    return model.eval()


def _lines(subject: Subject) -> list[str]:
    """What `parse` may be asked: what `inputs` gives, else the texts that the data shows and can read."""
    if given := subject.kit.inputs.get(subject.label):
        return list(given)
    data = subject.task.data
    if type(data).parse is Data.parse:
        return []
    lines = [text for text in data.show(subject.held_out(2).inputs) if isinstance(text, str)]
    try:
        for line in lines:
            subject.task.parse(line)
    except LabwrightError:  # what is shown need not be what is read
        return []
    return lines


def _asked(subject: Subject) -> tuple[nn.Module, list[Arguments]]:
    """A model, and two inputs of the same shapes, with one row each, that the task answers by it."""
    model = _answering(subject)
    if lines := _lines(subject):
        rows = [subject.task.parse(line) for line in lines]
        shapes = [[argument.shape for argument in row] for row in rows]
        alike_rows = [row for row, shape in zip(rows, shapes, strict=True) if shape == shapes[0]]
        return model, [*alike_rows, alike_rows[0]][:2]
    held_out = subject.held_out(2).inputs
    example = subject.task.ports()[0].example(2, Generator().manual_seed(0))
    faults = []
    for inputs in (held_out, example):  # a task may predict for something else than what it measures
        rows = [tuple(argument[row : row + 1] for argument in inputs) for row in range(min(2, len(inputs[0])))]
        try:
            _predicted(subject.task, model, rows)
        except LabwrightError as error:
            faults.append(str(error))
        else:
            return model, rows
    raise AssertionError(
        f"it answers neither held-out samples nor its port's example, {' '.join(faults)} Give conformance lines that "
        f'it reads: inputs={{"{subject.label}": ["LINE", "LINE"]}}.'
    )


def _exact(task: Task, model: nn.Module, rows: list[Arguments]) -> tuple[nn.Module, list[Arguments]]:
    """Both in float64, where that can be computed: two rows together are then what they are alone, rounding and all."""
    double = [
        Input((one.double() if one.is_floating_point() else one for one in row), getattr(row, "origin", None))
        for row in rows
    ]
    doubled = deepcopy(model).double()
    try:
        _predicted(task, doubled, double)
    except Exception:  # noqa: BLE001 - nobody promised float64; what else is wrong is found without it
        return model, rows
    return doubled, [*double]


def _predicted(task: Task, model: nn.Module, rows: Sequence[Arguments]) -> list[dict[str, Any]]:
    """The answers to rows asked for together, as a person gets them. Raises AssertionError for what JSON can't hold."""
    inputs = tuple(torch.cat(column) for column in zip(*rows, strict=True))
    origins = [row.origin if isinstance(row, Input) else None for row in rows]
    with torch.inference_mode(), isolated(seed=0):
        try:
            answers = task.predict(model, inputs, origins)
        except (TypeError, AttributeError) as error:
            if any(origin is not None for origin in origins):
                raise
            # a task may need what only `read` and `parse` tell
            raise NotApplicable(f"without an origin it has no answer ({error}); conformance(inputs=...)") from error
        return [{name: _shown(name, value) for name, value in answer.items()} for answer in answers]


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, Attachment):
        return value
    text = "".join(value) if isinstance(value, Iterator) else value
    try:
        json.dumps(text)
    except TypeError as error:
        raise AssertionError(
            f"{name!r} of an answer is a {type(value).__name__}, no value for JSON: {error}"
        ) from error
    return text


def _close(left: Any, right: Any) -> bool:
    """Whether two answers are the same, rounding apart; of files only whether they are of one kind."""
    if isinstance(left, Attachment):
        return isinstance(right, Attachment) and left.suffix == right.suffix and bool(left.data) == bool(right.data)
    if isinstance(left, Mapping):
        return (
            isinstance(right, Mapping) and left.keys() == right.keys() and all(_close(left[k], right[k]) for k in left)
        )
    if isinstance(left, list | tuple):
        return isinstance(right, list | tuple) and len(left) == len(right) and all(map(_close, left, right))
    if isinstance(left, float) and isinstance(right, float):
        same = left == right or (math.isnan(left) and math.isnan(right))
        return same or math.isclose(left, right, rel_tol=CLOSE, abs_tol=CLOSE)
    return bool(left == right)


def _dice() -> tuple[Any, ...]:
    """Where the global generators are."""
    kind, keys, *rest = np.random.get_state()
    return torch.get_rng_state().tolist(), random.getstate(), kind, list(keys), rest


def _fault(section: Section) -> str:
    """What is wrong with a section, or nothing."""
    if not section.title.strip():
        return "it has no title"
    if isinstance(section, Table):
        cells = {len(row) for row in section.rows} - {len(section.columns)}
        return f"a row has {cells.pop()} cells for {len(section.columns)} columns" if cells else ""
    if isinstance(section, Figure):
        return ""
    if isinstance(section, Film):
        return "" if section.gif.startswith(b"GIF8") else "it is no GIF"
    if isinstance(section, Pictures):
        shown: Sequence[Any] = section.images
    else:
        shown = section.waveforms if isinstance(section, Sounds) else section.passages
    right = len(section.captions) in (0, len(shown))
    return "" if right else f"it has {len(section.captions)} captions for {len(shown)} things to see"
