"""An attack on a private run's own method, in its own settings: what it finds out bounds the true epsilon from below.

A canary is a unit whose gradient points along one coordinate that no other unit touches, far longer than the bound.
Each is in the data or not by the toss of a coin, all others add nothing (the worst data for the method), and the
attacker sees every gradient that the method lets out. How many tosses are guessed right says how much it tells at
least (Steinke, Nasr & Jagielski 2023: one run with many canaries). Beside it stands what the claim rests on, measured:
the noise, the bound, and how units are drawn. M canaries, T steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from labwright import (
    Batch,
    Built,
    Data,
    Experiment,
    Goal,
    LabwrightError,
    Mean,
    Method,
    Metric,
    Port,
    Split,
    Steps,
    Task,
    TensorSplit,
    Update,
)
from torch import Generator, Tensor, nn

from labwright_privacy.differential.method import DifferentiallyPrivate
from labwright_privacy.differential.per_sample import trained

CONFIDENCE = 0.98  # of what the guesses show
_BY_MEASURE = 2.5e-5  # chance of a false alarm of each of four measures: one honest run in 10,000
_FAR = 100.0  # lengths of the bound, of a canary's gradient


@dataclass(frozen=True)
class Measure:
    """Something that the claim rests on: as claimed, as measured, and whether the two contradict one another."""

    name: str
    claimed: float
    measured: float
    contradicts: bool


@dataclass(frozen=True)
class Audit:
    """What an attack found out: `epsilon` is a lower bound at 98 % confidence, `most` the highest it could have given.

    `right` of `guesses` guesses were right, of `canaries` canaries.
    """

    claimed: float
    delta: float
    epsilon: float
    most: float
    canaries: int
    guesses: int
    right: int
    measures: tuple[Measure, ...]

    @property
    def contradicted(self) -> bool:
        """Whether the claim can't be true, unless by a chance of 1 in 50 for the guesses, 1 in 10,000 for the rest."""
        return self.epsilon > self.claimed or any(measure.contradicts for measure in self.measures)

    def json(self) -> dict[str, Any]:
        return asdict(self) | {"contradicted": self.contradicted, "confidence": CONFIDENCE}


def audit(experiment: Experiment, *, canaries: int = 1000, runs: int = 1, seed: int | None = None) -> Audit:
    """Attack the method of an experiment, in its settings.

    Args:
        experiment: a recipe with the method 'privacy/dp-sgd'.
        canaries: of one run; at most as many as there are units, and trained parameters.
        runs: how many are attacked together: more canaries than one run can hold.
        seed: of the tosses; left out, nobody could know them.

    Raises LabwrightError for an experiment without such a method, and for one too small to be attacked.
    """
    if not experiment.method.is_a(DifferentiallyPrivate):
        raise LabwrightError(
            f"method: {experiment.method.label!r} claims no privacy, so that there is nothing to audit. Train with "
            'method = { name = "privacy/dp-sgd", epsilon = 3.0 }.'
        )
    built = experiment.build()
    method = built.method
    assert isinstance(method, DifferentiallyPrivate)
    places = sum(p.numel() for p in built.model.parameters() if p.requires_grad)
    count = min(canaries, method.units.count, places)
    if count < 2:
        raise LabwrightError(
            f"there is room for {count} canary among {method.units.count} units; no attack has a chance."
        )
    random = Generator()
    random.manual_seed(seed) if seed is not None else random.seed()
    seen = [_attacked(experiment, built, count, places, random) for _ in range(runs)]
    return _judged(seen, random)


@dataclass(frozen=True)
class _Seen:
    """What one run let out, in lengths of the bound: at each canary's coordinate, after each step.

    And how many units each batch had, and how many batches each unit was in.
    """

    inside_M: Tensor
    values_TM: Tensor
    sizes_T: Tensor
    times_N: Tensor
    noise: float
    rate: float
    units: int
    claimed: float
    delta: float


def _attacked(experiment: Experiment, built: Built, count: int, places: int, random: Generator) -> _Seen:
    method: Any = built.method
    coordinates_M = torch.randperm(places, generator=random)[:count]
    inside_M = torch.rand(count, generator=random) < 0.5
    pointing_N = torch.full((method.units.count,), -1, dtype=torch.int64)
    slots_M = torch.randperm(method.units.count, generator=random)[:count]
    pointing_N[slots_M[inside_M]] = coordinates_M[inside_M]
    fresh: DifferentiallyPrivate = experiment.method.build()
    watch = _Watch(fresh, coordinates_M)
    # users are units of one row here
    fresh.unit, fresh.secret = "row", None
    expected = max(1, round(method.rate * method.units.count))
    attacked = Experiment(
        task=Canaries(built.task.ports(), pointing_N, _FAR * method.bound),
        model=built.model,
        optimizer={"name": "sgd", "lr": 1e-6, "momentum": 0.0},
        method=watch,
        device=experiment.device.table(),
        train={"steps": method.total, "batch_size": expected, "evaluate_every": f"{method.total} steps"}
        | {"save_every": f"{method.total} steps", "seed": int(torch.randint(2**31, (), generator=random))},
        log=[],
        plugins=experiment.plugins,
    )
    with TemporaryDirectory(prefix="labwright-") as scratch:
        fresh.where = Path(scratch) / "secrets"
        attacked.run(Path(scratch) / "run")
    figures, part = fresh.figures(method.total), fresh.parts[-1]
    return _Seen(
        inside_M,
        torch.stack(watch.values) * (part.rate * method.units.count / fresh.bound),
        torch.tensor([len(units) for units in watch.units]),
        torch.cat(watch.units).bincount(minlength=method.units.count),
        part.noise,
        part.rate,
        method.units.count,
        figures["epsilon"],
        figures["delta"],
    )


class _Watch(Method):
    """The method under attack, and an attacker who looks at what it leaves as gradients."""

    def __init__(self, method: DifferentiallyPrivate, coordinates_M: Tensor) -> None:
        self.method, self.coordinates_M = method, coordinates_M
        self.values: list[Tensor] = []
        self.units: list[Tensor] = []

    def check(self, task: Task, model: nn.Module) -> None:
        self.method.check(task, model)

    def begin(self, task: Task, model: nn.Module, criterion: Any, recipe: Mapping[str, Any]) -> Sequence[str]:
        return self.method.begin(task, model, criterion, recipe)

    def feed(self, steps: Steps) -> Iterator[Any]:
        return self.method.feed(steps)

    def gradients(self, update: Update, batches: Sequence[Any], weights: Sequence[float]) -> Mapping[str, Tensor]:
        losses = self.method.gradients(update, batches, weights)
        gradients = [
            torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            for parameter in trained(update).values()
        ]
        flat_P = torch.cat([gradient.flatten() for gradient in gradients])
        self.values.append(flat_P[self.coordinates_M.to(flat_P.device)].double().cpu())
        self.units.append(torch.cat([batch.inputs[0] for batch in batches]).cpu())
        return losses


class _Slots(Data):
    """As many rows as there are units: each with its number and the coordinate it points along, or -1."""

    source, licence = "made for an audit", "none"

    def __init__(self, ports: tuple[Port, Port], pointing_N: Tensor) -> None:
        self._ports, self.pointing_N = ports, pointing_N
        self.item, self.target = type(ports[0]), type(ports[1])  # type: ignore[misc]

    def prepare(self) -> None: ...

    def ports(self) -> tuple[Port, Port]:
        return self._ports

    def split(self, name: str) -> Split | None:
        rows = torch.arange(len(self.pointing_N))
        return TensorSplit((rows,), self.pointing_N) if name == "train" else None


class Canaries(Task):
    """The loss of a row is the parameter it points at, times a slope: its gradient points along one coordinate."""

    goal = Goal("loss", "minimize")

    def __init__(self, ports: tuple[Port, Port], pointing_N: Tensor, slope: float) -> None:
        self.data, self.slope = _Slots(ports, pointing_N), slope
        self.names: list[str] = []

    def loss(self, model: nn.Module, batch: Batch, criterion: Any, phase: str) -> Tensor:  # noqa: ARG002 - one phase
        parameters = dict(model.named_parameters())
        # known while they are parameters: torch.func puts plain tensors in their place
        self.names = self.names or [name for name, one in parameters.items() if one.requires_grad]
        flat_P = torch.cat([parameters[name].flatten() for name in self.names])
        pointed_B: Tensor = flat_P[batch.targets.clamp(min=0)] * (batch.targets >= 0)
        return self.slope * pointed_B.mean()

    def evaluate(self, model: nn.Module, batch: Batch) -> tuple[Any, ...]:  # noqa: ARG002 - it has no such part
        raise LabwrightError("an audit measures nothing on other data.")

    def metrics(self) -> dict[str, Metric]:
        return {"loss": Mean()}


# ---------------------------------------------------------------------------------------------------- what it comes to


def _judged(seen: Sequence[_Seen], random: Generator) -> Audit:
    """Guess the tosses from what was seen, and measure what the claim rests on."""
    one = seen[0]
    scores = torch.cat([_scores(run.values_TM, one.noise, one.rate) for run in seen])
    inside = torch.cat([run.inside_M for run in seen])
    # how many to guess is decided on what the claimed method would have shown, and once for one without noise
    tries = []
    for guesses in dict.fromkeys((_best_count(one, len(inside), random), len(inside) // 2 * 2)):
        right = _right(scores, inside, guesses)
        found = lower_bound(len(inside), guesses, right, one.delta, (1 - CONFIDENCE) / 2)
        tries.append((found, guesses, right))
    epsilon, guesses, right = max(tries)
    most = lower_bound(len(inside), len(inside), len(inside), one.delta, (1 - CONFIDENCE) / 2)
    claimed = max(run.claimed for run in seen)
    return Audit(claimed, one.delta, epsilon, most, len(inside), guesses, right, tuple(_measures(seen)))


def _scores(values_TM: Tensor, noise: float, rate: float) -> Tensor:
    """How much more likely each canary is inside than not, as a logarithm, (M,); by the claimed noise and rate."""
    gain_TM = (2 * values_TM - 1) / (2 * noise**2)
    return torch.logaddexp(torch.tensor(math.log1p(-rate) if rate < 1 else -math.inf), math.log(rate) + gain_TM).sum(0)


def _right(scores: Tensor, inside: Tensor, guesses: int) -> int:
    """How many are right if the highest scores are guessed to be inside, and as many of the lowest not to be."""
    order = scores.argsort()
    half = guesses // 2
    return int(inside[order[len(order) - half :]].sum() + (~inside[order[:half]]).sum())


def _best_count(one: _Seen, count: int, random: Generator) -> int:
    """How many guesses would find out most about the method as it is claimed to be, by trying it."""
    steps = len(one.values_TM)
    inside = torch.rand(count, generator=random) < 0.5
    values = torch.randn(steps, count, generator=random, dtype=torch.float64) * one.noise
    values += (torch.rand(steps, count, generator=random) < one.rate) & inside
    scores = _scores(values, one.noise, one.rate)
    tries = [max(2, int(count * share) // 2 * 2) for share in (0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)]

    def found(guesses: int) -> float:
        return lower_bound(count, guesses, _right(scores, inside, guesses), one.delta, (1 - CONFIDENCE) / 2)

    return max(tries, key=found)


def _measures(seen: Sequence[_Seen]) -> Iterator[Measure]:
    from scipy import stats

    one = seen[0]
    out = torch.cat([run.values_TM[:, ~run.inside_M].flatten() for run in seen])
    squares = float((out / one.noise).square().sum())
    less = bool(stats.chi2.cdf(squares, len(out)) < _BY_MEASURE)
    yield Measure("noise", one.noise, float(out.square().mean().sqrt()), less)
    within = torch.cat([run.values_TM[:, run.inside_M].flatten() for run in seen])
    spread = math.sqrt((one.noise**2 + one.rate * (1 - one.rate)) / len(within))
    more = (float(within.mean()) - one.rate) / spread
    yield Measure("bound", 1.0, float(within.mean()) / one.rate, bool(stats.norm.sf(more) < _BY_MEASURE))
    sizes = torch.cat([run.sizes_T for run in seen])
    times = torch.cat([run.times_N for run in seen])
    # of units that are drawn by chance alone, batches differ in size, and some units are drawn more often than others
    for name, counts, tosses in (("spread of batches", sizes, one.units), ("spread of units", times, len(one.sizes_T))):
        if variance := tosses * one.rate * (1 - one.rate):
            squares = float((counts.double() - tosses * one.rate).square().sum()) / variance
            even = bool(stats.chi2.cdf(squares, len(counts)) < _BY_MEASURE)
            yield Measure(name, math.sqrt(variance), math.sqrt(squares / len(counts) * variance), even)


def lower_bound(canaries: int, guesses: int, right: int, delta: float, chance: float) -> float:
    """The largest epsilon that so many right guesses contradict, but for a `chance`; 0 if they contradict none.

    Source: Steinke, Nasr & Jagielski 2023, theorem 5.2 and appendix D.
    """
    if _chance(canaries, guesses, right, 0.0, delta) > chance:
        return 0.0
    low, high = 0.0, 1.0
    while high < 60 and _chance(canaries, guesses, right, high, delta) <= chance:
        low, high = high, 2 * high
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if _chance(canaries, guesses, right, middle, delta) <= chance else (low, middle)
    return low


def _chance(canaries: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """How likely so many right guesses, or more, are at most for an (epsilon, delta)-private method."""
    import numpy
    from scipy import stats

    share = 1 / (1 + math.exp(-epsilon))
    tail = float(stats.binom.sf(right - 1, guesses, share))
    missing = numpy.arange(1, right + 1)
    below = numpy.cumsum(stats.binom.pmf(right - missing, guesses, share))
    slack = float((below / missing).max()) if right else 0.0
    return min(1.0, tail + 2 * canaries * delta * slack)
