"""DP-SGD: what one unit of the data adds to a step is bounded, and noise hides whether it was there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from labwright import Augmented, Batch, LabwrightError, Method, Steps, Task, Uniform, Update
from pydantic import Field
from torch import Tensor, nn

from labwright_privacy.differential import refusals, secrets
from labwright_privacy.differential.accounting import Accountant, Part, noise_for, spent
from labwright_privacy.differential.per_sample import PerSample, named, trained
from labwright_privacy.differential.secrets import Secret
from labwright_privacy.differential.units import Units

_GRADIENTS = 2**25  # numbers held at once, if `at_once` doesn't say how many samples
_SAMPLES = 512  # and samples at once: what convolutions unfold is larger than the gradients of a small model
_AHEAD = 50  # steps that the ledger has before they are made
_ROUNDING = 1e-9
_LOOKS = 20  # how often on the way of a run epsilon is computed anew
_DRAWS = ("task", "model", "loss", "optimizer", "method", "start")  # what the randomness of a run depends on
_LENGTH = ("batch_size", "epochs", "steps", "drop_last", "seed", "clip", "ema")


class DifferentiallyPrivate(Method):
    """(epsilon, delta)-differential privacy of the weights: single gradients are bounded, their sum gets noise.

    A step draws each unit by chance (Poisson sampling), cuts its gradient to length `bound` at most, adds normal noise
    of `noise` times `bound` to the sum, and divides by the number of units that are drawn on average; a step that draws
    none still takes its noise. `train.batch_size` is how many rows are drawn on average. Either `epsilon` is given or
    `noise`.

    Args:
        epsilon: most that all steps together may tell of one unit; the noise that keeps to it is found.
        noise: standard deviation of the noise in units of `bound`; epsilon follows from it.
        delta: probability with which more than epsilon may be told; less than one over the number of units.
        bound: length that the gradient of a unit is cut to, the norm over all parameters together.
        unit: what is there or isn't in data sets that the weights must not tell apart: a `row` of the training part, or
            a `user` with all interactions. Left out, a user where the data has users.
        most: most rows of a user, drawn anew, that count in a step; where a row is the unit, unused.
        accountant: how epsilon is computed: `prv` by privacy random variables (Gopi et al. 2021), or `rdp` by Rényi
            divergences (Mironov et al. 2019), which never gives a smaller one.
        at_once: samples whose gradients are in memory together; left out, up to 512, by the size of the model.
        secret: name of the file that noise and sampling come from, so that a run can be made again exactly; left out,
            each run has one of its own.

    Source: Abadi et al. 2016, algorithm 1.
    """

    of_studies = (
        "Differential privacy: each trial spends its own epsilon. Choosing among trials by metrics without noise isn't "
        "covered: whoever sees what was chosen learns from all of them, at most the sum of their epsilons and deltas."
    )

    def __init__(
        self,
        *,
        epsilon: Annotated[float, Field(gt=0)] | None = None,
        noise: Annotated[float, Field(gt=0)] | None = None,
        delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5,
        bound: Annotated[float, Field(gt=0), Uniform(0.1, 10.0, log=True)] = 1.0,
        unit: Literal["row", "user"] | None = None,
        most: Annotated[int, Field(ge=1)] = 64,
        accountant: Accountant = "prv",
        at_once: Annotated[int, Field(ge=1)] | None = None,
        secret: str | None = None,
    ) -> None:
        if (epsilon is None) == (noise is None):
            given = "neither" if epsilon is None else "both"
            raise LabwrightError(
                f"method: 'privacy/dp-sgd' takes epsilon or noise, and {given} is given. epsilon = 3.0 says what the "
                "weights may tell of one unit; noise = 1.0 says how much noise there is, and epsilon follows."
            )
        self.epsilon, self.noise, self.delta, self.bound = epsilon, noise, delta, bound
        self.unit, self.most, self.accountant, self.at_once = unit, most, accountant, at_once
        if secret is not None:
            secrets.check_name(secret)
        self.secret = secret
        self.where: Path | None = None  # of secrets, if it isn't where they usually lie
        self.per_sample = PerSample()
        self.parts: list[Part] = []  # what was spent so far, the part that goes on now last
        self.secret_name = secret or ""
        self.begun = self.planned = self.least = 0  # of the part: the step it began at, and how many it will have
        self.unsaved = 0  # steps that may have followed the checkpoint that was taken up

    def check(self, task: Task, model: nn.Module) -> None:
        refusals.refuse_model(model)
        refusals.refuse_task(task)

    def begin(self, task: Task, model: nn.Module, criterion: Any, recipe: Mapping[str, Any]) -> Sequence[str]:
        refusals.refuse_samples_in(model, task.ports()[0])
        refusals.refuse_loss(criterion, task)
        refusals.refuse_class_weights(criterion, task)
        refusals.refuse_recipe(recipe)
        train = recipe["train"]
        batches = task.batches("train", size=train["batch_size"], seed=0, epoch=0, whole=train["drop_last"])
        if batches is None or not len(batches):
            return ()  # which is refused by itself
        refusals.refuse_mixing(task, batches)
        self.units = Units.of(task, batches.split, self.unit, self.most)
        self.rate = min(1.0, train["batch_size"] / len(batches.split))
        self.total = train.get("steps") or (train.get("epochs") or 1) * len(batches)
        count, _, what = train["save_every"].partition(" ")
        self.between = math.ceil(float(count) * (len(batches) if what.startswith("epoch") else 1))
        if self.delta >= 1 / self.units.count:
            raise LabwrightError(
                f"method.delta: {self.delta:g} allows for as much as publishing one of the {self.units.count:,} "
                f"{self.units.name}s whole; it has to be well below {1 / self.units.count:.2g}."
            )
        noise = self._noise((), self.total)
        return [*self._notes(task, noise, recipe)]

    def _noise(self, history: Sequence[Part], steps: int) -> float:
        if self.noise is not None:
            return self.noise
        assert self.epsilon is not None
        return noise_for(self.epsilon, self.delta, self.rate, steps, tuple(history), self.accountant)

    def _notes(self, task: Task, noise: float, recipe: Mapping[str, Any]) -> Iterator[str]:
        epsilon = spent([Part("", noise, self.rate, self.total)], self.delta, self.accountant)
        yield (
            f"differential privacy of each {self.units.name}, one of {self.units.count:,}: epsilon {epsilon:.4g} at "
            f"delta {self.delta:g}; noise {noise:.4g}, bound {self.bound:g}, {self.rate:.3g} of the {self.units.name}s "
            "drawn in a step."
        )
        files = refusals.learned_from_data(task)
        learned = (
            f" So is what was learned from the data before the first step: {', '.join(files)} in task/."
            if files
            else ""
        )
        given = {"the weights it starts from": "start" in recipe, "its teacher": "teacher" in recipe.get("task", {})}
        elsewhere = " and ".join(what for what, there in given.items() if there)
        before = f" What may be known of its data by {elsewhere} isn't counted." if elsewhere else ""
        yield (
            "the weights (model.safetensors) are covered, those of all checkpoints together. metrics.jsonl, "
            "report.html, outcome.json and state.json aren't: they hold losses, metrics and samples without noise."
            f"{learned}{before}"
        )

    # ------------------------------------------------------------------------------------------------- what a step eats

    def feed(self, steps: Steps) -> Iterator[Any]:
        self._take_up(steps)
        return self._drawn(steps)

    def _take_up(self, steps: Steps) -> None:
        """Find the secret, and begin the part of the history that these steps belong to."""
        run = steps.run
        where = self.where or (secrets.folder() if run.kept else run.folder.with_name("secrets"))
        secret = Secret.kept(self.secret_name, where) if self.secret_name else None
        if secret is None and run.step:
            run.notes.append(
                f"the secret {self.secret_name!r} of this run isn't in {where}: its noise can't be drawn again, so "
                "that the run goes on with fresh noise and isn't exact any more. Steps that may have been made after "
                f"this checkpoint and were lost, at most {self.unsaved:,}, count as made."
            )
            self.parts[-1] = replace(self.parts[-1], steps=self.parts[-1].steps + self.unsaved)
        self.ledger = secret or Secret.new(self.secret or secrets.name_of(run.folder.name), where)
        self.secret_name = self.ledger.name
        self.drawn_from = secrets.context(
            {name: run.recipe.get(name) for name in _DRAWS},
            {name: run.recipe["train"].get(name) for name in _LENGTH},
            run.data.digests if run.data else {},
            # with another rounding a step isn't made again exactly, and on another device noise is another
            [run.device.type, run.recipe["device"].get("precision")],
        )
        key = self.ledger.digest(self.drawn_from, "part").hex()[:16]
        # what was made with this run's own secret counts, also where it goes on from a checkpoint before that
        made, known = self.ledger.parts, {part.key for part in self.parts}
        others = [part for name, part in made.items() if name not in {*known, key}] if self.secret is None else []
        before = [
            max(part, made.get(part.key, part), key=lambda one: one.steps) for part in self.parts if part.key != key
        ]
        history, left = [*others, *before], run.total_steps - run.step
        part = next((part for part in self.parts if part.key == key), None)
        if part is None:
            part = Part(key, self._noise(history, left) if left else 0.0, self.rate, 0)
        self.parts = [*history, part]
        self.begun, self.planned = run.step - part.steps, left + part.steps
        if self.epsilon is not None:
            whole = spent([*history, replace(part, steps=self.planned)], self.delta, self.accountant)
            if whole > self.epsilon * (1 + _ROUNDING):
                raise LabwrightError(
                    f"method.epsilon: with these settings, which the run had before, it would come to {whole:.4g} and "
                    f"not to {self.epsilon:g}. Raise method.epsilon, or take fewer steps."
                )
        self.floor = made[key].steps if key in made else 0
        self.least = self.floor if others else 0
        self.reserved = 0

    def _drawn(self, steps: Steps) -> Iterator[Any]:
        """The rows of the units that each step draws by chance; a row that doesn't count where it draws none."""
        run, train = steps.run, steps.run.recipe["train"]
        batches = steps.task.batches("train", size=train["batch_size"], seed=train["seed"], epoch=0)
        assert batches is not None
        augmenting = self.ledger.seed(self.drawn_from, "samples")
        while run.step < run.total_steps:
            if self.parts[-1].steps >= self.reserved:
                self.reserved = self.parts[-1].steps + _AHEAD
                self._write_down(self.reserved)
            random = self.ledger.generator(self.drawn_from, "units", str(run.step))
            rows, self.sizes = self.units.drawn(self.rate, random)
            self.step = run.step
            # windows of a text that begin elsewhere in each epoch would be other rows: what is in one is in two then
            epoch = int(run.epoch) if isinstance(batches.split, Augmented) else 0
            yield batches.split.fetch(rows if len(rows) else torch.tensor([0]), epoch, augmenting)

    def _write_down(self, steps: int) -> None:
        part = self.parts[-1]
        self.ledger.parts[part.key] = replace(part, steps=max(steps, self.floor))
        self.ledger.write()

    # --------------------------------------------------------------------------------------------- and its gradients

    def gradients(self, update: Update, batches: Sequence[Any], weights: Sequence[float]) -> Mapping[str, Tensor]:  # noqa: ARG002 - one batch
        (batch,) = batches
        parameters = list(trained(update).values())
        # what a sample meets by chance, as in dropout, depends on who stands before it: nobody may know it
        torch.manual_seed(self.ledger.seed(self.drawn_from, "model", str(self.step)))
        buffers = [(name, buffer, buffer._version) for name, buffer in update.model.named_buffers()]
        if len(self.sizes):
            sums, losses = self._bounded(update, batch, parameters)
        else:
            sums = [torch.zeros_like(parameter) for parameter in parameters]
            with torch.no_grad():
                losses = named(update, update.losses(batch))[1]
        for name, buffer, version in buffers:
            if buffer._version != version:
                raise LabwrightError(
                    f"method: the forward pass of {type(update.model).__name__} changes its buffer {name!r}, which "
                    "takes up samples without noise. Take a model whose buffers stand still."
                )
        self._add_noise(sums)
        expected = self.rate * self.units.count
        for parameter, gradient in zip(parameters, sums, strict=True):
            parameter.grad = gradient.detach() / expected
        self.parts[-1] = replace(self.parts[-1], steps=self.parts[-1].steps + 1)
        return losses

    def _bounded(
        self, update: Update, batch: Batch, parameters: Sequence[Tensor]
    ) -> tuple[list[Tensor], Mapping[str, Tensor]]:
        """The sum of what the units of a batch add, each of length `bound` at most, and the mean losses."""
        if len(batch) != int(self.sizes.sum()):
            raise LabwrightError(
                f"task: of {int(self.sizes.sum()):,} samples that were drawn the task makes {len(batch):,}: which of "
                "them belong to which unit isn't known. Take a task that keeps them."
            )
        fitting = _GRADIENTS // sum(parameter.numel() for parameter in parameters)
        at_once = self.at_once or max(1, min(_SAMPLES, fitting))
        whole = bool((self.sizes == 1).all())
        owner = torch.arange(len(self.sizes)).repeat_interleave(self.sizes).to(parameters[0].device)
        shares = (1.0 / self.sizes).to(parameters[0].device)
        sums = [torch.zeros_like(parameter) for parameter in parameters]
        of_units = [] if whole else [p.new_zeros(len(self.sizes), *p.shape) for p in parameters]
        losses: dict[str, Tensor] = {}
        for some, gradients, of_rows in self.per_sample(update, batch, at_once):
            for name, values in of_rows.items():
                losses[name] = losses.get(name, 0.0) + values.sum() / len(batch)
            if whole:
                self._add_bounded(sums, gradients)
                continue
            for unit_sums, gradient in zip(of_units, gradients, strict=True):
                share = shares[owner[some]].to(gradient.dtype).view(-1, *[1] * (gradient.dim() - 1))
                unit_sums.index_add_(0, owner[some], gradient * share)
        if not whole:
            self._add_bounded(sums, of_units)
        return sums, losses

    def _add_bounded(self, sums: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        """Add gradients (b, ...) to their sums, each cut to length `bound` over all parameters together."""
        norms = torch.stack([gradient.unsqueeze(-1).flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)
        factors = self.bound / norms.clamp(min=self.bound)
        for total, gradient in zip(sums, gradients, strict=True):
            total += torch.tensordot(factors.to(gradient.dtype), gradient, dims=1)

    def _add_noise(self, sums: Sequence[Tensor]) -> None:
        """Noise of the secret and this step alone, on each coordinate."""
        device, texts = sums[0].device, (self.drawn_from, "noise", str(self.step))
        on_host = self.ledger.generator(*texts)
        random = torch.Generator(device).manual_seed(self.ledger.seed(*texts))  # 64 bits, unlike a CPU's
        for total in sums:
            if device.type == "cpu":
                drawn = torch.from_numpy(on_host.standard_normal(total.shape)).to(total.dtype)
            else:
                drawn = torch.randn(total.shape, generator=random, device=device, dtype=total.dtype)
            total.add_(drawn, alpha=self.parts[-1].noise * self.bound)

    # -------------------------------------------------------------------------------------------------- what was spent

    def figures(self, step: int) -> Mapping[str, float]:
        """Epsilon after so many steps; between looks that of the next one, which is more."""
        if not self.parts:
            return {}
        part = self.parts[-1]
        own = max(0, step - self.begun) if self.planned else part.steps
        look = max(1, self.planned // _LOOKS)
        made = max(own, min(self.planned, -(-own // look) * look), self.least)
        epsilon = spent([*self.parts[:-1], replace(part, steps=made)], self.delta, self.accountant)
        return {"epsilon": epsilon, "delta": self.delta}

    def state(self) -> Mapping[str, Any]:
        if self.planned:
            self._write_down(self.parts[-1].steps)
            self.reserved = 0
            self.unsaved = max(0, min(self.between, self.planned - self.parts[-1].steps))
        return {
            "parts": [asdict(part) for part in self.parts],
            "secret": self.secret_name,
            "unsaved": self.unsaved,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.parts = [Part(**part) for part in state["parts"]]
        self.secret_name, self.unsaved = self.secret or state["secret"], state["unsaved"]
