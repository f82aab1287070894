"""Diffusion: a denoiser learns to take noise off samples, and makes new ones from noise alone.

B batch, T steps of the noising process; a tensor of it has T + 1 entries, from 0, no noise, to T, hardly anything else.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, final

import torch
from labwright import Batch, Choice, Data, Features, Image, LabwrightError, Part, Port, When
from pydantic import Field
from torch import Generator, Tensor, nn

from labwright_gan.generative import JUDGE_EPOCHS, Generative
from labwright_gan.ports import Noised

Predicted = Literal["v", "epsilon"]
_SAMPLING_STEPS = 50  # unless a recipe says otherwise, or there are fewer
_PROCESS = "process.json"


class DenoisingLoss(Protocol):
    """What a loss is called with: two tensors of shape (B, D), float."""

    def __call__(self, predictions: Tensor, targets: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Noisy(Batch):
    """`inputs` holds samples, pictures with values -1..1; `targets` their classes.

    `noise` (B, ...) is what is mixed with them at step `steps` (B,) of 1..T; where `unasked` (B,) is true, the denoiser
    isn't told the class.
    """

    noise: Tensor
    steps: Tensor
    unasked: Tensor


@final
class Process:
    """The noising process q(x_t | x_0) = N(sqrt(a_t) x_0, 1 - a_t) of Ho et al. 2020, and steps back along it.

    `kept` (T + 1,) is a_t, the share of the variance that is the sample's; the paper's is written with a bar.
    """

    def __init__(self, steps: int, schedule: Literal["cosine", "linear"]) -> None:
        self.steps = steps
        t = torch.arange(steps + 1, dtype=torch.float64)
        if schedule == "cosine":  # Nichol & Dhariwal 2021, equation 17
            shares = ((t / steps + 0.008) / 1.008 * math.pi / 2).cos().square()
            added = (1 - shares[1:] / shares[:-1]).clamp(max=0.999)
        else:  # Ho et al. 2020, section 4, for any number of steps
            added = (torch.linspace(1e-4, 0.02, steps, dtype=torch.float64) * 1000 / steps).clamp(max=0.999)
        self.kept = torch.cat([torch.ones(1, dtype=torch.float64), (1 - added).cumprod(0)])

    def noised(self, x: Tensor, noise: Tensor, steps_B: Tensor) -> Tensor:
        """Samples of q(x_t | x_0)."""
        share, rest = self._factors(steps_B, x)
        return share * x + rest * noise

    def velocity(self, x: Tensor, noise: Tensor, steps_B: Tensor) -> Tensor:
        """v = sqrt(a_t) noise - sqrt(1 - a_t) x_0 (Salimans & Ho 2022, section 4)."""
        share, rest = self._factors(steps_B, x)
        return share * noise - rest * x

    def sample_and_noise(self, x_t: Tensor, predicted: Tensor, kind: Predicted, step: int) -> tuple[Tensor, Tensor]:
        """x_0 and the noise that a prediction at one step says x_t consists of."""
        share, rest = math.sqrt(self.kept[step]), math.sqrt(1 - self.kept[step])
        if kind == "v":
            return share * x_t - rest * predicted, rest * x_t + share * predicted
        return (x_t - rest * predicted) / share, predicted

    def deviation(self, step: int, to: int, eta: float) -> float:
        """The deviation of the noise that a step back adds, `eta` times DDPM's (Song et al. 2021, equation 16)."""
        then, now = float(self.kept[step]), float(self.kept[to])
        return eta * math.sqrt((1 - now) / (1 - then) * (1 - then / now))

    def back(
        self, x_0: Tensor, noise: Tensor, step: int, to: int, eta: float = 0.0, fresh: Tensor | None = None
    ) -> Tensor:
        """x at an earlier step, given the x_0 and the noise found at `step` (Song et al. 2021, equation 12)."""
        added = self.deviation(step, to, eta)
        now = float(self.kept[to])
        x = math.sqrt(now) * x_0 + math.sqrt(max(0.0, 1 - now - added**2)) * noise
        return x if fresh is None or not added else x + added * fresh

    def visited(self, count: int) -> list[int]:
        """Steps that sampling goes through, evenly from T to 0, `count` of them with a prediction."""
        return [int(step) for step in torch.linspace(self.steps, 0, min(count, self.steps) + 1).round()]

    def _factors(self, steps_B: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        kept_B = self.kept.to(steps_B.device, torch.float32)[steps_B].to(x.dtype)
        kept = kept_B.view(-1, *[1] * (x.dim() - 1))
        return kept.sqrt(), (1 - kept).sqrt()


@final
class Diffusion(Generative):
    """Make samples like those of the data by denoising (Ho et al. 2020), asked for by class if `conditional`.

    The model is called with noised samples, the time t / T in 0..1 as (B,), and the classes if conditional, of which
    one more than there are means none. With a cosine schedule `predicts = "v"` is the better one, as nothing is divided
    by the little that is left of the sample at the end. `train.ema` is part of the method.

    Samples are made from noise by DDIM (Song et al. 2021). `guidance` is that without a classifier (Ho & Salimans 2022,
    whose w is one less): the prediction is none's + guidance * (the class's - none's). `sampling_steps`, `guidance` and
    `eta` can be changed when a run is evaluated: `task.guidance=2`. What is made is measured as `Generative` says.

    Args:
        steps: steps of the noising process, from a sample to noise.
        schedule: how the share of the noise grows over the steps: as Nichol & Dhariwal 2021, or as Ho et al. 2020.
        predicts: what the model predicts: the velocity (Salimans & Ho 2022), or the noise.
        unasked: share of the training samples of which the model isn't told the class, so that `guidance` can be other
            than 1.
        sampling_steps: steps in which a sample is made; left out, 50, or `steps` where they are fewer.
        guidance: how much the class counts that is asked for: 1 as the model has learned it; more makes it plainer,
            samples more alike, and a step two calls of the model; 0 takes no notice of it. Other than 1 it needs
            `conditional` and `unasked`.
        eta: fresh noise in each step of sampling, as a share of that of DDPM; 0: none.
    """

    contract = DenoisingLoss

    def __init__(
        self,
        data: Annotated[Data, Part("data")],
        *,
        conditional: bool = False,
        steps: Annotated[int, Field(ge=2, le=10_000)] = 1000,
        schedule: Annotated[Literal["cosine", "linear"], Choice("cosine", "linear")] = "cosine",
        predicts: Annotated[Predicted, Choice("v", "epsilon")] = "v",
        unasked: Annotated[float, Field(ge=0, lt=1), When("conditional", True)] = 0.1,
        sampling_steps: Annotated[int, Field(ge=1)] = _SAMPLING_STEPS,
        guidance: Annotated[float, Field(ge=0)] = 1.0,
        eta: Annotated[float, Field(ge=0, le=1)] = 0.0,
        judge: Path | None = None,
        judge_epochs: Annotated[int, Field(ge=1)] = JUDGE_EPOCHS,
        film: Annotated[int, Field(ge=0, le=200)] = 0,
    ) -> None:
        super().__init__(data, conditional=conditional, judge=judge, judge_epochs=judge_epochs, film=film)
        if guidance != 1 and not (conditional and unasked):
            needs = "task.unasked above 0" if conditional else "task.conditional=true"
            raise LabwrightError(
                f"task.guidance: given {guidance}; other than 1 it compares a class's prediction with that of none, "
                f"for which it needs {needs}."
            )
        if sampling_steps > steps and sampling_steps != _SAMPLING_STEPS:
            raise LabwrightError(
                f"task.sampling_steps: given {sampling_steps}; a sample is made in at most the {steps} of task.steps."
            )
        self.process, self.predicts, self.unasked = Process(steps, schedule), predicts, unasked
        self.learned = {"steps": steps, "schedule": schedule, "predicts": predicts}  # what a model's answers rest on
        self.sampling_steps, self.guidance, self.eta = sampling_steps, guidance, eta

    @property
    def latent_shape(self) -> tuple[int, ...]:
        # with an axis more than a sample has, or `predict` would take one that was read from a file for noise
        return 1, *self._shape

    @property
    def _shape(self) -> tuple[int, ...]:
        """That of a sample."""
        sample = self.data.ports()[0]
        if isinstance(sample, Image):
            return sample.channels, sample.height, sample.width
        assert isinstance(sample, Features)
        return sample.shape

    def port_types(self) -> tuple[type[Port], type[Port]]:
        return Noised, self.data.item

    def ports(self) -> tuple[Port, Port]:
        return Noised(self._shape, self.names if self.conditional else ()), self.data.ports()[0]

    def save(self, folder: Path) -> None:
        super().save(folder)
        (folder / _PROCESS).write_text(json.dumps(self.learned) + "\n", encoding="utf-8")

    def load(self, folder: Path) -> None:
        self._check_process(folder)
        super().load(folder)

    def resumes_from(self, folder: Path) -> None:
        """See `Generative`. Raises LabwrightError for another process than the model learned with."""
        self._check_process(folder)
        super().resumes_from(folder)

    def _check_process(self, folder: Path) -> None:
        file = folder / _PROCESS
        kept = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else self.learned
        for setting, was in kept.items():
            if self.learned[setting] != was:
                raise LabwrightError(
                    f"task.{setting}: given {self.learned[setting]!r}; the model of this run learned with {was!r}, and "
                    "what it predicts would be taken for something else. Leave it as it is, or begin a new run; "
                    "task.sampling_steps, task.guidance and task.eta can be changed."
                )

    # ------------------------------------------------------------------------------------------------ the objective

    def draw(self, batch: Batch, generator: Generator) -> Noisy:
        x, count = self._scaled(batch.inputs[0]), len(batch)
        noise = torch.randn(x.shape, generator=generator)
        steps = torch.randint(1, self.process.steps + 1, (count,), generator=generator)
        return Noisy((x,), batch.targets, noise, steps, torch.rand(count, generator=generator) < self.unasked)

    def loss(self, model: nn.Module, batch: Noisy, criterion: Any, phase: str) -> Tensor:  # noqa: ARG002 - there is one
        x, noise, steps = batch.inputs[0], batch.noise, batch.steps
        labels = batch.targets.masked_fill(batch.unasked, len(self.names)) if self.conditional else None
        predicted = self._predicted(model, self.process.noised(x, noise, steps), steps, labels)
        target = noise if self.predicts == "epsilon" else self.process.velocity(x, noise, steps)
        loss: Tensor = criterion(predicted.flatten(1), target.flatten(1))
        return loss

    def _predicted(self, model: nn.Module, x_t: Tensor, steps: Tensor, labels: Tensor | None) -> Tensor:
        times = steps.to(x_t.dtype) / self.process.steps
        predicted: Tensor = model(x_t, times) if labels is None else model(x_t, times, labels)
        return predicted

    # ------------------------------------------------------------------------------------------------- making samples

    def sampled(self, model: nn.Module, latents: Tensor, labels: Tensor | None) -> Tensor:
        x, process, fresh = latents.view(-1, *self._shape), self.process, None
        streams = _streams(latents) if self.eta else []
        visited = process.visited(self.sampling_steps)
        for step, to in pairwise(visited):
            predicted = self._guided(model, x, step, labels).to(x.dtype)
            x_0, noise = process.sample_and_noise(x, predicted, self.predicts, step)
            if self.of_pictures:  # no value lies outside, and the noise is what is left then
                x_0 = x_0.clamp(-1, 1)
                noise = (x - math.sqrt(process.kept[step]) * x_0) / math.sqrt(1 - process.kept[step])
            if streams:
                drawn = [torch.randn(x.shape[1:], generator=stream) for stream in streams]
                fresh = torch.stack(drawn).to(x.device)
            x = process.back(x_0, noise, step, to, self.eta, fresh)
        return x

    def _guided(self, model: nn.Module, x_t: Tensor, step: int, labels: Tensor | None) -> Tensor:
        steps = torch.full((len(x_t),), step, device=x_t.device)
        if labels is None or self.guidance == 1:
            return self._predicted(model, x_t, steps, labels)
        none = self._predicted(model, x_t, steps, torch.full_like(labels, len(self.names)))
        if self.guidance == 0:
            return none
        return none + self.guidance * (self._predicted(model, x_t, steps, labels) - none)


def _streams(latents: Tensor) -> list[Generator]:
    """A stream of noise for each sample, of its latent alone: what it is made beside doesn't change it."""
    seeds = latents.flatten(1)[:, 0].float().cpu().view(torch.int32).tolist()
    return [Generator().manual_seed(seed % 2**32) for seed in seeds]
