"""Which runs, and in which order: `--where`, `--sort`, `--last`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from operator import ge, gt, le, lt
from typing import Any

from labwright import LabwrightError, listed, nearest

from labwright_instruments.runs.entries import Entry, is_number
from labwright_instruments.runs.goals import Direction

OWN = (
    "name",
    "variant",
    "status",
    "step",
    "steps",
    "goal",
    "valid",
    "test",
    "seconds",
    "when",
    "note",
    "tag",
    "fault",
)  # what each run has
_ORDERED: Mapping[str, Callable[[Any, Any], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}


@dataclass(frozen=True)
class Condition:
    """What is asked of a field: equal (texts by a pattern such as `vision/*`), unequal, or more or less of it."""

    field: str
    sign: str
    value: str

    def holds(self, entry: Entry) -> bool:
        """Whether it holds of a run; of one without the field it holds only that it isn't equal to anything."""
        there = entry.fields.get(self.field)
        if self.sign in ("=", "!="):
            values = there if isinstance(there, list) else [there]
            equal = any(_equal(value, self.value) for value in values if value is not None)
            return equal if self.sign == "=" else not equal
        number = _number(self.value)
        if number is not None:
            return is_number(there) and _ORDERED[self.sign](there, number)
        return isinstance(there, str) and _ORDERED[self.sign](there, self.value)  # of dates: 2026-11-30


def parsed_condition(text: str) -> Condition:
    """`FIELD=VALUE`, or with != < <= > >= in its place. Raises LabwrightError for anything else."""
    match = re.fullmatch(r"\s*([^<>=!\s][^<>=!]*?)\s*(==|!=|<=|>=|=|<|>)\s*(.*?)\s*", text, re.DOTALL)
    if match is None or not match[3]:
        raise LabwrightError(
            f"--where {text!r} is no condition: write FIELD=VALUE, or != < <= > >= for =, such as "
            "'valid.accuracy>0.9', model.width=64 or tag=good."
        )
    return Condition(match[1], "=" if match[2] == "==" else match[2], match[3])


def field_named(given: str, entries: Iterable[Entry], option: str) -> str:
    """The field that a name stands for: itself; a metric of valid, else of test; or the one setting that ends so.

    Raises LabwrightError if no run has it, or several settings end so.
    """
    entries = list(entries)
    known = dict.fromkeys([*OWN, *(name for entry in entries for name in entry.fields)])
    ways = (given, f"valid.{given}", f"test.{given}", given.removesuffix(".name"))
    for name in ways:
        if name in known:
            return name
    if given == "tags":
        return "tag"
    # as the table heads its columns, else any end that only one setting has
    headed = {short: path for path, short in short_names(differing(entries)).items()}
    ends = [name for name in known if name.endswith(f".{given}")]
    if given in headed or len(ends) == 1:
        return headed.get(given) or ends[0]
    if ends:
        raise LabwrightError(f"{option}: {given!r} may be {listed(ends)}: say which.")
    bare = {name for entry in entries for of in entry.metrics.values() for name in of}
    raise LabwrightError(
        f"{option}: no run has {given!r}{nearest(given, [*known, *bare])} A field is a setting by its path, such as "
        f"model.width, SPLIT.METRIC, such as valid.accuracy, or one of {', '.join(OWN)}."
    )


def chosen(entries: Sequence[Entry], where: Iterable[str], last: int | None) -> list[Entry]:
    """The runs of which all conditions hold, of them the `last` that were begun. Raises LabwrightError."""
    conditions = [parsed_condition(text) for text in where]
    named = [Condition(field_named(one.field, entries, "--where"), one.sign, one.value) for one in conditions]
    kept = [entry for entry in entries if all(condition.holds(entry) for condition in named)]
    return kept[-last:] if last else kept


def sorted_by(entries: Sequence[Entry], given: str, elsewhere: Callable[[], Mapping[str, Direction]]) -> list[Entry]:
    """The runs by a field, given as NAME or NAME:minimize: the best first; those without it, or with NaN, are last.

    Which way is better is said by the goals of these runs, else by those of tasks `elsewhere`; what is no metric begins
    with the least. Raises LabwrightError for a field that no run has, or a metric of which it isn't known.
    """
    name, colon, direction = given.rpartition(":")
    if not colon or direction not in ("minimize", "maximize"):
        name, direction = given, ""
    field = field_named(name, entries, "--sort")
    if not direction and _measured(entries, field):
        direction = _better(entries, field, elsewhere)
    sign = -1.0 if direction == "maximize" else 1.0
    there = [entry for entry in entries if _comparable(entry.fields.get(field))]
    texts = any(not is_number(entry.fields[field]) for entry in there)

    def key(entry: Entry) -> Any:
        value = entry.fields[field]
        return said(value) if texts else sign * value

    ordered = sorted(there, key=key, reverse=texts and direction == "maximize")
    placed = {entry.name for entry in there}
    return [*ordered, *(entry for entry in entries if entry.name not in placed)]


def _measured(entries: Iterable[Entry], field: str) -> bool:
    """Whether a field is a metric of some run, and no setting or fact."""
    split, _, metric = field.partition(".")
    return field in ("valid", "test") or any(metric in entry.metrics.get(split, ()) for entry in entries)


def _better(entries: Iterable[Entry], field: str, elsewhere: Callable[[], Mapping[str, Direction]]) -> Direction:
    """Which way a metric is better. Raises LabwrightError where that isn't known."""
    metric = field.partition(".")[2]
    goals = [entry.goal for entry in entries if entry.goal is not None]
    ways = {goal.direction for goal in goals if metric in ("", goal.metric) and goal.direction}
    if not ways:
        ways = {way for known, way in elsewhere().items() if known == metric}
    if len(ways) != 1:
        why = "their goals go both ways" if ways else "it isn't the goal of a task that is known here"
        raise LabwrightError(
            f"--sort {field}: {why}, so say whether lower or higher is better: {field}:minimize or {field}:maximize."
        )
    return ways.pop()


def _comparable(value: Any) -> bool:
    nan = isinstance(value, float) and math.isnan(value)
    return value not in (None, []) and not nan


def _equal(there: Any, given: str) -> bool:
    if isinstance(there, bool):
        return given.lower() == str(there).lower()
    number = _number(given)
    if number is not None and isinstance(there, int | float):
        return bool(there == number)
    return fnmatchcase(said(there), given)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def said(value: Any) -> str:
    """A setting as a recipe would have it: true, 0.003, cosine, [0.9, 0.999]."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(said, value))}]"
    return str(value)


def differing(entries: Sequence[Entry]) -> list[str]:
    """The settings in which runs differ, by path, in the order of their recipes.

    Runs without settings, as damaged ones are, say nothing. What a component has and another in its place has not
    follows from their names, which differ.
    """
    told = [entry.settings for entry in entries if entry.settings]
    paths = dict.fromkeys(path for settings in told for path in settings)
    differ: list[str] = []
    for path in sorted(paths, key=lambda path: path.count(".")):
        values = [said(settings[path]) for settings in told if path in settings]
        lacking = len(values) < len(told) and not any(path.startswith(f"{above}.") for above in differ)
        if len(set(values)) > 1 or lacking:
            differ.append(path)
    return [path for path in paths if path in differ]


def short_names(paths: Sequence[str], taken: Collection[str] = OWN) -> dict[str, str]:
    """Each path by its shortest end that no other has, and that isn't `taken` for something else."""
    names = {}
    for path in paths:
        keys = path.split(".")
        ends = [".".join(keys[-count:]) for count in range(1, len(keys) + 1)]
        names[path] = next(
            (
                end
                for end in ends
                if end not in taken and not any(f".{other}".endswith(f".{end}") for other in paths if other != path)
            ),
            path,
        )
    return names
