"""One dimension of a search space, and where it counts: what others need of it, and what it needs of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from labwright import Choice, Integers, LabwrightError, Setting, Uniform, When, listed
from labwright.engine import Where

if TYPE_CHECKING:
    import optuna

Mark = Uniform | Integers | Choice


@dataclass(frozen=True)
class Need:
    """Which value of the setting that a dimension called `name` would search another one needs in order to count.

    `now` is what the recipe has there, `default` what it has where that one doesn't count itself.
    """

    name: str
    when: When
    now: Any
    default: Any


@dataclass(frozen=True)
class Dependent:
    """A setting that goes back to its default where another one's value leaves it without effect.

    `given` says that the recipe has something else than the default there.
    """

    path: str
    when: When
    default: Any
    given: bool


@dataclass(frozen=True)
class Dimension:
    """One parameter of a study: the path it sets in a recipe, where it is looked for, and under which choice.

    `name` is what the storage calls it. `values` are what the labels of a Choice stand for, where these aren't plain.
    `when` is the dimension and the label under which this one exists. `own` holds the recipe's own value, as the study
    stores it; it is empty where the recipe has none here, or one that no mark of this kind can hold. `needs` are the
    values of others without which it has no effect, `bears` the settings that have none without some value of this one.
    """

    name: str
    path: str
    mark: Mark
    values: Mapping[Any, Any] | None = None
    when: tuple[str, Any] | None = None
    own: tuple[Any, ...] = ()
    needs: tuple[Need, ...] = ()
    bears: tuple[Dependent, ...] = ()

    @property
    def condition(self) -> str:
        """Where it is searched, in words; empty if everywhere."""
        branch = [f"{self.when[0]} is {self.when[1]}"] if self.when else []
        return " and ".join([*branch, *(str(need.when) for need in self.needs)])

    def counts(self, drawn: Mapping[str, Any], searched: Mapping[str, Dimension]) -> bool:
        """Whether it exists beside what was drawn before it, by name: its branch is chosen, and it has an effect."""
        if self.when is not None and not (self.when[0] in drawn and drawn[self.when[0]] == self.when[1]):
            return False
        return all(
            need.when.holds(searched[need.name].value(drawn[need.name]) if need.name in drawn else need.default)
            for need in self.needs
        )

    def value(self, label: Any) -> Any:
        """What is set in the recipe for a value that the study stores."""
        return self.values[label] if self.values is not None else label

    def suggested(self, trial: optuna.Trial) -> Any:
        if isinstance(self.mark, Choice):
            return trial.suggest_categorical(self.name, self.mark.options)
        if isinstance(self.mark, Integers):
            low, high, step = self.mark.low, self.mark.high, self.mark.step
            return trial.suggest_int(self.name, low, high - (high - low) % step, step=step, log=self.mark.log)
        return trial.suggest_float(self.name, self.mark.low, self.mark.high, step=self.mark.step, log=self.mark.log)

    def contains(self, value: Any) -> bool:
        """Whether a study could have come to a value, such as the recipe's own."""
        if isinstance(self.mark, Choice):
            known = [option for option in self.mark.options if isinstance(option, bool) == isinstance(value, bool)]
            return value in known  # 1 is not true
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        steps = (value - self.mark.low) / self.mark.step if self.mark.step else 0.0
        return self.mark.low <= value <= self.mark.high and abs(steps - round(steps)) < 1e-8

    def grid(self) -> list[Any] | None:
        """Every value, or None if there are endlessly many."""
        if isinstance(self.mark, Choice):
            return list(self.mark.options)
        if self.mark.step is None or self.mark.log:
            whole = isinstance(self.mark, Integers)
            return list(range(int(self.mark.low), int(self.mark.high) + 1)) if whole else None
        count = int((self.mark.high - self.mark.low) / self.mark.step + 1e-8)
        return [self.mark.low + number * self.mark.step for number in range(count + 1)]

    def json(self) -> dict[str, Any]:
        """As it is shown and stored, to be compared with that of another day."""
        place = {"path": self.path, "searched": str(self.mark)}
        branch = [f"{self.when[0]} = {self.when[1]}"] if self.when else []
        conditions = " and ".join([*branch, *(str(need.when) for need in self.needs)])
        return place | ({"if": conditions} if conditions else {})


def that_count(
    dimensions: Sequence[Dimension], asked: Mapping[str, Any], place: Callable[[str], Where]
) -> tuple[list[Dimension], list[str]]:
    """The dimensions that have an effect somewhere, each behind what it depends on, and notes on the others.

    Those under a choice that isn't searched are left out. Raises LabwrightError for one that is asked for and has none.
    """
    names = {dimension.name for dimension in dimensions}
    dimensions = [dimension for dimension in dimensions if dimension.when is None or dimension.when[0] in names]
    searched = {dimension.name: dimension for dimension in dimensions}
    kept, without = dict[str, Dimension](), dict[str, str]()

    def keep(dimension: Dimension, above: tuple[str, ...] = ()) -> None:
        """Put it behind what it needs; `above` are those that need it, which of two that need each other come later."""
        above, needs = (*above, dimension.name), list[Need]()
        for need in dimension.needs:
            if need.name in searched and need.name not in (*above, *kept, *without):
                keep(searched[need.name], above)
            if need.name in kept:
                needs.append(need)
            elif need.name not in above and not need.when.holds(need.now):
                without[dimension.name] = f"{dimension.path} (it counts where {need.when})"
        if dimension.name not in without:
            kept[dimension.name] = replace(dimension, needs=tuple(needs))

    for dimension in dimensions:
        if dimension.name not in (*kept, *without):
            keep(dimension)
    for key in asked:
        for name in without:
            if key in (name, searched[name].path):
                raise LabwrightError(f"{place(key)}: it has no effect here: {without[name]}. Leave it out.")
    notes = [f"without effect here and not searched: {listed(without.values())}."] if without else []
    return list(kept.values()), notes


def default_of(setting: Setting) -> Any:
    """The default of a setting as a recipe has it."""
    return None if setting.required or setting.default is None else setting.written(setting.default)
