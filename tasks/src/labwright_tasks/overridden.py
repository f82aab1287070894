"""What overrides and a variant changed of a recipe, in a line."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labwright import Experiment


def effects(experiment: Experiment) -> list[str]:
    """A note on what an experiment's recipe was told otherwise: what that changed, and what it was already.

    Such as `optimizer.lr 0.003 -> 0.01, train.epochs is 40 already`. A default is as good as a value that is written; a
    component's name stands for its table. Nothing is said of what it starts from, which is said where that is read.
    """
    source = experiment.source
    assert source is not None, "it is of a recipe"
    varied = source.under is not None and source.role == "variant"
    under: Any = source.under.whole if source.under is not None and varied else source.whole
    paths = [path for path, _ in _leaves(source.tables)] if varied else []
    for keys, text in source.overridden:
        paths += [path for path, _ in _leaves(_parsed(text), ".".join(keys))]
    was, now = _written(_complete(experiment, under)), _written(experiment.table())
    told = []
    for path in dict.fromkeys(map(_short, paths)):
        before, after = was.get(path), now.get(path)
        if before == after and path != "start":
            told.append(f"{path} is {_typed(after)} already")
        elif path != "start":
            alike = _typed(before) == _typed(after)  # but for settings of components in a list
            old, new = (json.dumps(one) if alike else _typed(one) for one in (before, after))
            told.append(f"{path} {old} -> {new}")
    return [", ".join(told)] if told else []


def _complete(experiment: Experiment, table: Mapping[str, Any]) -> Mapping[str, Any]:
    """The recipe with its defaults; as it is written where it is none yet, such as one without its data's folder."""
    from labwright import LabwrightError

    try:
        return type(experiment).from_table(dict(table), plugins=experiment.plugins).table()
    except LabwrightError:
        return table


def _written(table: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in tables by its dotted path."""
    return {_short(path): json.loads(json.dumps(value, default=str)) for path, value in _leaves(table)}


def _typed(value: Any) -> str:
    """A value as it is typed; of components in a list their names."""
    if value is None:
        return "unset"
    if isinstance(value, list):
        return (
            f"[{', '.join(_typed(one['name'] if isinstance(one, dict) and 'name' in one else one) for one in value)}]"
        )
    return value if isinstance(value, str) and value else json.dumps(value)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and (value or path):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _parsed(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        return text


def _short(path: str) -> str:
    return path.removesuffix(".name")
