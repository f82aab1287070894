"""How a study comes to its points: Optuna's samplers by name, each with its settings.

A sampler is a class whose `make(seed, space)` returns an Optuna sampler. A study makes one anew for every trial, with a
seed of (study, trial): what a trial is asked for so depends on what was told before and on nothing else. `own_seed`
says that all of them have the study's seed, for sequences that go on from trial to trial.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from labwright import LabwrightError, listed
from pydantic import Field

if TYPE_CHECKING:
    import optuna

    from labwright_study.space import Space

Startup = Annotated[int, Field(ge=0, description="trials at the beginning that are drawn at random.")]
Population = Annotated[int, Field(ge=2, description="trials of a generation.")]
Crossover = Annotated[
    float, Field(ge=0, le=1, description="probability that a new trial has two parents instead of one.")
]


class Sampler(ABC):
    """Makes an Optuna sampler."""

    own_seed: ClassVar[bool] = False

    @abstractmethod
    def make(self, seed: int, space: Space) -> optuna.samplers.BaseSampler:
        """A new sampler; `seed` is below 2**32. Raises LabwrightError for a space it can't search."""


class TPE(Sampler):
    """Tree-structured Parzen estimator (Bergstra et al. 2011), for any space and several goals.

    Args:
        candidates: points that are drawn for a trial, of which the most promising one is taken.
        multivariate: whether parameters are modelled together instead of one by one (Falkner et al. 2018), under
            conditions those that appear together; left out, a study of one goal does so for the parameters that all
            trials have.
    """

    def __init__(
        self,
        *,
        startup: Startup = 10,
        candidates: Annotated[int, Field(ge=1)] = 24,
        multivariate: bool | None = None,
    ) -> None:
        self.startup, self.candidates, self.multivariate = startup, candidates, multivariate

    def make(self, seed: int, space: Space) -> optuna.samplers.BaseSampler:  # noqa: ARG002
        import optuna

        return optuna.samplers.TPESampler(
            n_startup_trials=self.startup,
            n_ei_candidates=self.candidates,
            multivariate=self.multivariate,
            group=bool(self.multivariate),
            seed=seed,
        )


class GP(Sampler):
    """Gaussian process with expected improvement, for spaces of few parameters and few trials.

    Args:
        deterministic: whether a trial that is repeated gives the same value, so that none of the spread is noise.
    """

    def __init__(self, *, startup: Startup = 10, deterministic: bool = False) -> None:
        self.startup, self.deterministic = startup, deterministic

    def make(self, seed: int, space: Space) -> optuna.samplers.BaseSampler:  # noqa: ARG002
        import optuna

        return optuna.samplers.GPSampler(
            n_startup_trials=self.startup,
            deterministic_objective=self.deterministic,
            warn_independent_sampling=False,
            seed=seed,
        )


class CMAES(Sampler):
    """Covariance matrix adaptation (Hansen 2016), for many numeric parameters and hundreds of trials; one goal.

    Choices and what stands under a condition are drawn at random. It needs `pip install 'labwright-study[cma-es]'`.

    Args:
        startup: trials at the beginning that are drawn at random.
        sigma: standard deviation of the first generation, as a share of each range; left out, a sixth.
        population: trials of a generation; left out, 4 + floor(3 * ln(n)) for n numeric parameters.
    """

    def __init__(
        self,
        *,
        startup: Annotated[int, Field(ge=1)] = 1,
        sigma: Annotated[float, Field(gt=0)] | None = None,
        population: Population | None = None,
    ) -> None:
        self.startup, self.sigma, self.population = startup, sigma, population

    def make(self, seed: int, space: Space) -> optuna.samplers.BaseSampler:  # noqa: ARG002
        import optuna

        if find_spec("cmaes") is None:
            raise LabwrightError("sampler 'cma-es' needs a package: `pip install 'labwright-study[cma-es]'` brings it.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # sigma0 goes in Optuna 6; this plugin needs Optuna 5
            return optuna.samplers.CmaEsSampler(
                n_startup_trials=self.startup,
                sigma0=self.sigma,
                popsize=self.population,
                warn_independent_sampling=False,
                seed=seed,
            )


class NSGAII(Sampler):
    """Non-dominated sorting genetic algorithm II (Deb et al. 2002), for two or three goals and hundreds of trials."""

    def __init__(self, *, population: Population = 50, crossover: Crossover = 0.9) -> None:
        self.population, self.crossover = population, crossover

    def make(self, seed: int, space: Space) -> optuna.samplers.BaseSampler:  # noqa: ARG002
        import optuna

        return optuna.samplers.NSGAIISampler(population_size=self.population, crossover_prob=self.crossover, seed=seed)


class NSGAIII(Sampler):
    """Non-dominated sorting genetic algorithm III (Deb & Jain 2014), for more than three goals."""

    def __init__(self, *, population: Population = 50, crossover: Crossover = 0.9) -> None:
        self.population, self.crossover = population, crossover

    def make(self, seed: int, space: Space) -> optuna.samplers.BaseSampler:  # noqa: ARG002
        import optuna

        return optuna.samplers.NSGAIIISampler(population_size=self.population, crossover_prob=self.crossover, seed=seed)


class QMC(Sampler):
    """A quasi-random sequence, which fills a space more evenly than chance (Bergstra & Bengio 2012).

    Choices and what stands under a condition are drawn at random.

    Args:
        sequence: which one: Sobol's, most even after 2**m trials, or Halton's.
        scramble: whether it is scrambled by the study's seed; otherwise it is the same for all studies.
    """

    own_seed = True

    def __init__(self, *, sequence: Literal["sobol", "halton"] = "sobol", scramble: bool = True) -> None:
        self.sequence, self.scramble = sequence, scramble

    def make(self, seed: int, space: Space) -> optuna.samplers.BaseSampler:  # noqa: ARG002
        import optuna

        return optuna.samplers.QMCSampler(
            qmc_type=self.sequence, scramble=self.scramble, seed=seed, warn_independent_sampling=False
        )


class Grid(Sampler):
    """Every combination of the values, in random order; the study ends with the last one.

    All parameters need a list of values or a step, and none may stand under a condition.
    """

    own_seed = True

    def make(self, seed: int, space: Space) -> optuna.samplers.BaseSampler:
        import optuna

        return optuna.samplers.GridSampler(self.values(space), seed=seed)

    def values(self, space: Space) -> dict[str, list[Any]]:
        """The values of each parameter, by its name in the storage. Raises LabwrightError for a space without end."""
        values = {dimension.name: dimension.grid() for dimension in space.dimensions}
        endless = [name for name, options in values.items() if options is None]
        under = [dimension.name for dimension in space.dimensions if dimension.when]
        if endless or under:
            what = f"endlessly many values: {listed(endless)}" if endless else f"conditions: {listed(under)}"
            raise LabwrightError(
                f"sampler 'grid' goes through every combination, and the space has {what}. Give them a step or a list "
                "in [search], or take another sampler, such as qmc."
            )
        return {name: options for name, options in values.items() if options is not None}


class Random(Sampler):
    """Independent random points: the baseline (Bergstra & Bengio 2012)."""

    def make(self, seed: int, space: Space) -> optuna.samplers.BaseSampler:  # noqa: ARG002
        import optuna

        return optuna.samplers.RandomSampler(seed=seed)
