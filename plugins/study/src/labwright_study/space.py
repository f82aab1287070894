"""The search space of an experiment: the marks of its components, and what its `[search]` table makes of them.

A setting below a component that is itself searched exists only where that component is chosen. It is stored as
`model[vision/mlp].depth`, since a study has one kind of parameter for a name, and shown as `model.depth`. One that
counts only under a value of another (`labwright.When`) is searched only there, and has its default elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from labwright import (
    Choice,
    Experiment,
    Integers,
    LabwrightError,
    Setting,
    Train,
    Uniform,
    listed,
    nearest,
    signature,
)
from labwright.engine import NONE, ComponentSpec, Where, checked

from labwright_study.dimension import Dependent, Dimension, Mark, Need, default_of, that_count

if TYPE_CHECKING:
    import optuna

BATCH_SIZE = "train.batch_size"
RANGE = ("low", "high", "log", "step")
EXAMPLES = "{ low = 1e-4, high = 1e-1, log = true }, a list of choices, or false for none"


class Space:
    """Where a study looks. `Space.of(experiment)` reads it off; `suggest(trial)` draws from it.

    `notes` say in words what isn't as the marks and the search table have it. `beside` are the recipe's own values, by
    path, that no mark can hold.
    """

    def __init__(
        self, dimensions: Sequence[Dimension], notes: Sequence[str] = (), beside: Mapping[str, Any] | None = None
    ) -> None:
        self.dimensions, self.notes, self.beside = tuple(dimensions), tuple(notes), dict(beside or {})
        self._searched = {dimension.name: dimension for dimension in dimensions}

    @classmethod
    def of(
        cls,
        experiment: Experiment,
        *,
        search: Mapping[str, Any] | None = None,
        fixed: Iterable[str] = (),
        widened: bool = True,
    ) -> Space:
        """The marks of an experiment's components, narrowed, widened and added to by its `[search]` and by `search`.

        `fixed` are patterns of paths that aren't searched; `only` in a search table are patterns of those that are. The
        recipe's own values are searched too, unless `widened` is false. Raises LabwrightError for a path that isn't
        there or a range that isn't valid.
        """
        where, place = Where(source=experiment.source) / "search", _places(experiment, search or {})
        asked = dict(experiment.search) | dict(search or {})
        fixed = list(fixed)
        only = asked.pop("only", None)
        if only is not None and not (isinstance(only, list) and all(isinstance(path, str) for path in only)):
            raise LabwrightError(f"{place('only')}: given {only!r}; it is a list of paths, such as ['optimizer.*'].")
        used: set[str] = set()
        recipe = experiment if widened else None
        dimensions = [
            dimension
            for dimension in _dimensions(experiment, "", "", None, asked, used, place, recipe)
            if (only is None or _matches(dimension, only)) and not _matches(dimension, fixed)
        ]
        for path in asked.keys() - used:
            raise LabwrightError(_unknown(path, experiment, place(path)))
        for pattern in [*(only or ()), *fixed]:
            if (
                not any(_matches(dimension, [pattern]) for dimension in dimensions)
                and _setting(experiment, pattern) is None
            ):
                every = list(_dimensions(experiment, "", "", None, asked, used, place, recipe))
                if not any(_matches(dimension, [pattern]) for dimension in every):
                    known = {dimension.path for dimension in every}
                    raise LabwrightError(
                        f"{pattern!r} is nothing that is searched{nearest(pattern, known)} "
                        f"Searched are {listed(known, 40)}."
                    )
        whole, idle = that_count(dimensions, asked, place)
        if not whole:
            raise LabwrightError(
                f"{where}: there is nothing to search; the components have no marks. Add some, such as "
                f'"optimizer.lr" = {EXAMPLES.partition(", a list")[0]}.'
            )
        if not widened:
            return cls(whole)
        grown = cls([_grown(dimension) for dimension in whole])
        point = grown.point()
        beside = {
            dimension.path: _value(experiment, dimension.path)
            for dimension in grown._under(point)
            if dimension.name not in point
        }
        of_method = getattr(experiment.method.target, "of_studies", "")  # an object's, or a function's, isn't known
        notes = [*idle, *_widened(whole, grown, beside), *([of_method] if of_method else [])]
        return cls(grown.dimensions, notes, beside)

    def within(self, samples: int | None) -> Space:
        """The space for training data of so many samples: larger batches than that aren't offered."""
        kept, left = [], ""
        for dimension in self.dimensions:
            fitting: Dimension | None = dimension
            if dimension.path == BATCH_SIZE and samples is not None:
                fitting = _at_most(dimension, samples)
            if fitting != dimension:
                left = f"{BATCH_SIZE}: the training part has {samples} samples, so that larger batches aren't searched."
            if fitting is not None:
                kept.append(fitting)
        return Space(kept, [*self.notes, left], self.beside) if left else self

    def suggest(self, trial: optuna.Trial, point: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A point of the space: values by the path they set in a recipe; `trial` keeps them by their names.

        A dimension that `point` leaves out is left out.
        """
        drawn: dict[str, Any] = {}
        for dimension in self._under(drawn):
            if point is None or dimension.name in point:
                drawn[dimension.name] = dimension.suggested(trial)
        return self.values(drawn)

    def values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """What a trial's stored parameters set in a recipe: a component before what is below it.

        What has no effect beside the others has its default.
        """
        values = {
            dimension.path: dimension.value(params[dimension.name])
            for dimension in self.dimensions
            if dimension.name in params
        }
        for dimension in self.dimensions:
            chosen = dimension.when is None or params.get(dimension.when[0]) == dimension.when[1]
            for one in dimension.bears if chosen and dimension.path in values else ():
                if (one.given or one.path in values) and not one.when.holds(values[dimension.path]):
                    values[one.path] = one.default
        return values

    def point(self) -> dict[str, Any]:
        """The parameters that stand for the recipe itself; without those that no mark can hold."""
        point: dict[str, Any] = {}
        for dimension in self._under(point):
            if dimension.own:
                point[dimension.name] = dimension.own[0]
        return point

    def whole(self, params: Mapping[str, Any]) -> bool:
        """Whether a trial's parameters are all that its choices ask for."""
        return all(dimension.name in params for dimension in self._under(params))

    def shown(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """A trial's parameters by the path they set."""
        return {dimension.path: params[dimension.name] for dimension in self.dimensions if dimension.name in params}

    def json(self) -> dict[str, dict[str, Any]]:
        return {dimension.name: dimension.json() for dimension in self.dimensions}

    def _under(self, drawn: Mapping[str, Any]) -> Iterator[Dimension]:
        """The dimensions that exist, given those that were drawn so far."""
        for dimension in self.dimensions:
            if dimension.counts(drawn, self._searched):
                yield dimension


def _places(experiment: Experiment, by_hand: Mapping[str, Any]) -> Callable[[str], Where]:
    """Where a path is searched, for messages: in the recipe's file, or by the option."""
    option, table = Where(("--search",)), Where(source=experiment.source) / "search"
    return lambda key: (option if key in by_hand else table) / key


def _dimensions(
    experiment: Experiment,
    below: str,
    prefix: str,
    when: tuple[str, Any] | None,
    asked: Mapping[str, Any],
    used: set[str],
    place: Callable[[str], Where],
    recipe: Experiment | None,
) -> Iterator[Dimension]:
    """The dimensions below a path, `prefix` in the storage's names: components that are searched, then settings.

    `recipe` is the experiment whose own values these are, None under a choice that isn't the recipe's.
    """
    marks = {path: mark for path, mark in experiment.marks().items() if path.startswith(below)}
    entries, keys = dict[str, Any](), dict[str, str]()
    for key, entry in asked.items():
        path = _bare(key)
        stands = path.startswith(below) and key in (path, prefix + path.removeprefix(below))
        if stands and (_setting(experiment, path) or _component(experiment, path)):
            used.add(key)
            entries[path], keys[path] = entry, key
    searched = [path for path in entries if entries[path] is not False and _component(experiment, path)]
    for path in searched:
        stored = prefix + path.removeprefix(below)
        yield from _choice_of_components(experiment, path, stored, when, keys[path], asked, used, place, recipe)
    for path in dict.fromkeys([*marks, *entries]):
        if entries.get(path) is False or any(f"{path}.".startswith(f"{component}.") for component in searched):
            continue
        setting = _setting(experiment, path)
        mark, values = (
            _mark(entries[path], setting, place(keys[path])) if setting and path in entries else (marks[path], None)
        )
        own = () if recipe is None else _own(recipe, path, mark, values)
        name = prefix + path.removeprefix(below)
        needs, bears = _conditions(experiment, path, name)
        yield Dimension(name, path, mark, values, when, own, needs, bears)


def _conditions(experiment: Experiment, path: str, name: str) -> tuple[tuple[Need, ...], tuple[Dependent, ...]]:
    """What the setting at a path, called `name` in the storage, needs to count, and what needs one of its values."""
    above, _, key = path.rpartition(".")
    owner = _component(experiment, above)
    settings = {} if owner is None or owner.target is None else signature(owner.target).settings
    if key not in settings:  # an entry of a table
        return (), ()
    needs, bears = list[Need](), list[Dependent]()
    for when in settings[key].conditions:
        now, default = _value(experiment, f"{above}.{when.setting}"), default_of(settings[when.setting])
        needs.append(Need(f"{name.removesuffix(key)}{when.setting}", when, now, default))
    for one in settings.values():
        place, default = f"{above}.{one.name}", default_of(one)
        given = _value(experiment, place) != default
        bears += [Dependent(place, when, default, given) for when in one.conditions if when.setting == key]
    return tuple(needs), tuple(bears)


def _choice_of_components(
    experiment: Experiment,
    path: str,
    stored: str,
    when: tuple[str, Any] | None,
    key: str,
    asked: Mapping[str, Any],
    used: set[str],
    place: Callable[[str], Where],
    recipe: Experiment | None,
) -> Iterator[Dimension]:
    """A component that is searched, and under each of its choices the marks of that component."""
    given, where = asked[key], place(key)
    options = given.get("choices") if isinstance(given, Mapping) else given
    if not isinstance(options, list) or len(options) < 2:
        raise LabwrightError(f"{where}: given {given!r}; a component is searched by a list of two names or more.")
    labels: list[Any] = [option.get("name") if isinstance(option, Mapping) else option for option in options]
    if not all(isinstance(label, str) for label in labels):
        raise LabwrightError(f"{where}: given {given!r}; each choice is a name, or a table with one.")
    if len(set(labels)) < len(labels):
        raise LabwrightError(f"{where}: given {listed(labels)}; the choices need different names.")
    current = _component(experiment, path)
    assert current is not None
    settings = {label: _branch(current, label, option) for label, option in zip(labels, options, strict=True)}
    if recipe is not None and current.label not in labels:
        settings[current.label] = _branch(current, current.name, _at(experiment.given, path))
    own: tuple[str, ...] = ()
    below: list[Dimension] = []
    for label, spec in settings.items():
        try:
            variant = experiment.varied({path: spec})
        except LabwrightError as error:
            raise LabwrightError(f"{where}: choice {label!r} doesn't fit: {error}") from error
        known = recipe if label == current.label else None
        dimensions = list(
            _dimensions(variant, f"{path}.", f"{stored}[{label}].", (stored, label), asked, used, place, known)
        )
        if known is not None and _alike(variant, known, path, dimensions):
            own = (label,)
        elif known is not None:
            dimensions = [replace(dimension, own=()) for dimension in dimensions]
        below += dimensions
    yield Dimension(stored, path, Choice(*labels), settings, when, own)
    yield from below


def _branch(current: ComponentSpec, label: str, option: Any) -> Any:
    """What a choice sets: its own table, or the recipe's where the recipe has that component."""
    if isinstance(option, Mapping) or label != current.name or not current.name:
        return option
    return {key: value for key, value in current.table().items() if value is not None}


def _alike(variant: Experiment, recipe: Experiment, path: str, below: Iterable[Dimension]) -> bool:
    """Whether a choice can be the recipe's component: what differs is searched below it."""
    leaves = []
    for tried in (variant, recipe):
        spec = _component(tried, path)
        leaves.append(dict(_leaves(spec.table(), path)) if spec else {})
    of_choice, of_recipe = leaves
    differing = {leaf for leaf in of_choice.keys() | of_recipe.keys() if of_choice.get(leaf) != of_recipe.get(leaf)}
    return differing <= {dimension.path for dimension in below if dimension.own}


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, path if key == "name" else f"{path}.{key}")
    else:
        yield path, value


def _own(recipe: Experiment, path: str, mark: Mark, values: Mapping[Any, Any] | None) -> tuple[Any, ...]:
    """The recipe's own value at a path as a mark would hold it; empty if none of that kind can."""
    value = _value(recipe, path)
    if (spec := _component(recipe, path)) is not None and not spec.name:
        return ()  # given from Python: its class's name is none that a recipe can have
    if isinstance(mark, Choice):
        if values is not None:
            return (next((label for label, option in values.items() if option == value), json.dumps(value)),)
        return (value,) if isinstance(value, str | bool | int | float | None) else ()
    if isinstance(value, bool) or not isinstance(value, int | float) or (mark.log and value <= 0):
        return ()
    steps = (value - mark.low) / mark.step if mark.step else 0.0
    return (value,) if abs(steps - round(steps)) < 1e-8 else ()


def _value(experiment: Experiment, path: str) -> Any:
    """What an experiment's recipe has at the path of a setting, ready for TOML, or of a component: its name."""
    if (spec := _component(experiment, path)) is not None:
        return spec.label
    setting = _setting(experiment, path)
    above, _, key = path.rpartition(".")
    owner = _component(experiment, above)
    if setting is None:
        return None
    if isinstance(setting, Entry):
        return (_value(experiment, above) or {}).get(key)
    value = getattr(experiment.train, key) if owner is None else owner.settings.get(key, setting.default)
    return None if value is None else setting.written(value)


def _grown(dimension: Dimension) -> Dimension:
    """A dimension that holds the recipe's own value."""
    if not dimension.own or dimension.contains(dimension.own[0]):
        return dimension
    (value,) = dimension.own
    if isinstance(dimension.mark, Choice):
        options = (*dimension.mark.options, value)
        values = dimension.values
        if values is not None and value not in values:
            values = {**values, value: json.loads(value)}
        return replace(dimension, mark=Choice(*options), values=values)
    return replace(
        dimension,
        mark=replace(dimension.mark, low=min(dimension.mark.low, value), high=max(dimension.mark.high, value)),
    )


def _widened(before: Sequence[Dimension], space: Space, beside: Mapping[str, Any]) -> Iterator[str]:
    """What is said of the recipe's own values: which are searched for its sake, and which only its own trial has."""
    added = []
    for was, dimension in zip(before, space.dimensions, strict=True):
        if dimension.mark != was.mark:
            end = "" if isinstance(was.mark, Choice) else "from " if dimension.own[0] < was.mark.low else "up to "
            added.append(f"{dimension.path} {end}{_text(dimension.own[0])}")
    if added:
        yield f"the recipe's own values are searched too: {', '.join(added)}."
    marks = {dimension.path: dimension.mark for dimension in space.dimensions}
    for path, value in beside.items():
        own = f"{_text(value)}, the recipe's own"
        yield f"{path}: {own}, is none of {marks[path]}, so that only the first trial has it."


def _text(value: Any) -> str:
    return NONE if value is None else str(value)


def _at_most(dimension: Dimension, most: int) -> Dimension | None:
    """A dimension without values above `most`, the recipe's own excepted; None if that leaves nothing to search."""
    most = max([most, *dimension.own])
    if isinstance(dimension.mark, Choice):
        options = [size for size in dimension.mark.options if not isinstance(size, int | float) or size <= most]
        return replace(dimension, mark=Choice(*options)) if len(options) > 1 else None
    if most >= dimension.mark.high:
        return dimension
    return replace(dimension, mark=replace(dimension.mark, high=most)) if dimension.mark.low < most else None


def _mark(given: Any, setting: Setting, where: Where) -> tuple[Mark, Mapping[Any, Any] | None]:
    """The mark that an entry of `[search]` asks for, and what its labels stand for. Raises LabwrightError."""
    if isinstance(given, list):
        given = {"choices": given}
    if not isinstance(given, Mapping) or not given:
        raise LabwrightError(f"{where}: given {given!r}; it is {EXAMPLES}.")
    if "choices" in given:
        return _choices(given, setting, where)
    for key in given:
        if key not in RANGE:
            raise LabwrightError(
                f"{where / str(key)}: a range has no {key!r}{nearest(str(key), RANGE)} It has low, high, log, step."
            )
    for key in ("low", "high"):
        if isinstance(given.get(key), bool) or not isinstance(given.get(key), int | float):
            raise LabwrightError(f"{where}: given {dict(given)!r}; a range needs a number for {key}.")
        _valid(setting, given[key], where / key)
    kind = Uniform if "number" in str(setting.adapter.json_schema()) else Integers
    try:
        return kind(**given), None
    except (TypeError, ValueError) as error:
        raise LabwrightError(f"{where}: {error}.") from error


def _choices(given: Mapping[str, Any], setting: Setting, where: Where) -> tuple[Mark, Mapping[Any, Any] | None]:
    options = given["choices"]
    if not isinstance(options, list) or len(options) < 2 or len(given) > 1:
        raise LabwrightError(f"{where}: given {dict(given)!r}; choices are a list of two values or more.")
    options = [_valid(setting, option, where / number) for number, option in enumerate(options)]
    for number, option in enumerate(options):
        if option in options[:number]:
            raise LabwrightError(f"{where / number}: given {option!r}, which stands there before. Each value once.")
    if all(isinstance(option, str | bool | int | float | None) for option in options):
        return Choice(*options), None
    labels = [json.dumps(option) for option in options]
    return Choice(*labels), dict(zip(labels, options, strict=True))


def _valid(setting: Setting, value: Any, where: Where) -> Any:
    """The value as a recipe would hold it. None, in TOML "none", is a setting left out, for one that can be."""
    if value is None or (value == NONE and setting.default is None and not _takes(setting, NONE)):
        if setting.default is not None:
            raise LabwrightError(f"{where}: given None, which means left out, and this setting can't be.")
        return None
    number = isinstance(value, int) and not isinstance(value, bool)
    allowed = "number" in str(setting.adapter.json_schema())
    return setting.written(checked(setting, float(value) if number and allowed else value, where, ""))


def _takes(setting: Setting, value: Any) -> bool:
    try:
        setting.validated(value)
    except (ValueError, TypeError):
        return False
    return True


def _matches(dimension: Dimension, patterns: Iterable[str]) -> bool:
    """Whether a dimension is meant: `*` and `?` stand for others, brackets for themselves."""
    plain = [pattern.replace("[", "[[]") for pattern in patterns]
    return any(fnmatchcase(name, pattern) for pattern in plain for name in (dimension.path, dimension.name))


def _bare(path: str) -> str:
    """`model[vision/mlp].depth` as `model.depth`."""
    bare, depth = "", 0
    for character in path:
        depth += (character == "[") - (character == "]")
        bare += character if not depth and character != "]" else ""
    return bare


def _at(table: Any, path: str) -> Any:
    for key in path.split("."):
        table = table.get(key) if isinstance(table, Mapping) else None
    return table


def _component(experiment: Experiment, path: str) -> ComponentSpec | None:
    """The component at a path, if one is there."""
    first, *rest = path.split(".")
    component: Any = experiment.component(first)
    if first == "optimizer" and rest and rest[0] in experiment.optimizers and len(experiment.optimizers) > 1:
        component, rest = experiment.optimizers[rest[0]], rest[1:]
    while rest and isinstance(component, ComponentSpec):
        # one of a list or table of components is two keys away, `losses.class`; of a table of lists three
        parts = component.parts()
        length = next((length for length in (1, 2, 3) if ".".join(rest[:length]) in parts), 1)
        component, rest = parts.get(".".join(rest[:length])), rest[length:]
    return component if isinstance(component, ComponentSpec) else None


def _setting(experiment: Experiment, path: str) -> Setting | None:
    """The setting at a path, if there is one."""
    above, _, key = path.rpartition(".")
    if above == "train":
        return signature(Train).settings.get(key)
    owner = _component(experiment, above) if above else None
    if owner is not None:
        return None if owner.target is None else signature(owner.target).settings.get(key)
    table = _setting(experiment, above) if "." in above else None
    if table is None or table.part or "additionalProperties" not in str(table.adapter.json_schema()):
        return None
    beside = _value(experiment, above) or {}
    # `balanced`, or numbers, in the place of a table have no entries
    return Entry(key, table.adapter, None, None, None, beside=beside) if isinstance(beside, Mapping) else None


@dataclass(frozen=True)
class Entry(Setting):
    """One entry of a setting that is a table: the weight of one head, `loss.weights.ink`, or `task.teacher.weight`.

    It is valid `beside` what the recipe's table has.
    """

    beside: Mapping[str, Any] = field(default_factory=dict)

    def validated(self, value: Any) -> Any:
        whole = super().validated({**self.beside, self.name: value})
        return whole[self.name] if isinstance(whole, Mapping) else getattr(whole, self.name)


def _unknown(path: str, experiment: Experiment, where: Where) -> str:
    above = _bare(path).rpartition(".")[0]
    owner = _component(experiment, above) if above else None
    keys = signature(Train).settings if above == "train" else {}
    if owner is not None and owner.target is not None:
        keys = signature(owner.target).settings
    if above and owner is None and not keys and (value := _value(experiment, above)) is not None:
        return f"{where}: the recipe has {value!r} for {above}, which has no entries. A table of them there has."
    known = [f"{above}.{key}" for key in keys] or [*experiment.marks(), "model", "optimizer", "loss", "task"]
    return f"{where}: the experiment has no setting {path!r}{nearest(path, known)} There are {listed(known, 40)}."
