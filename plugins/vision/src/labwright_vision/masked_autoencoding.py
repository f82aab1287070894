"""Pictures of which most is hidden, and is to be filled in: learning without labels (He et al. 2022).

B batch, C channels, H height, W width, T patches, K of them that are seen, M masked, P numbers of a patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import torch
from labwright import (
    Batch,
    Data,
    Goal,
    Image,
    IndexedBatches,
    LabwrightError,
    Metric,
    Part,
    Port,
    Split,
    Task,
    derived_seed,
    evaluating,
)
from pydantic import Field
from torch import Generator, Tensor
from torch.nn import functional as F  # noqa: N812 - its customary name

if TYPE_CHECKING:
    from labwright import Section

_STREAM = 14  # of draws, beside those of augmentation
_FLAT = 1e-6  # added to a patch's variance
_SHOWN = 12  # pictures in the report


@dataclass(frozen=True)
class Patches(Port):
    """Squares of `patch` x `patch` pixels: forward returns (B, T, P), row by row, P = channels * patch ** 2."""

    patch: int

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:  # noqa: ARG002 - nothing to draw
        return (torch.empty(batch_size, 0, 0),)


class FillsIn(Protocol):
    """A model that fills in pictures: what it makes of those patches it sees, and what is kept of it."""

    def embed(self, x_BCHW: Tensor) -> Tensor:
        """The representation of whole pictures, (B, D)."""
        ...


class PatchesLoss(Protocol):
    """What a loss is called with: predicted patches and true ones, both of shape (B, M * P)."""

    def __call__(self, predictions: Tensor, targets: Tensor) -> Tensor: ...


class Masked:
    """A part whose samples say which patches are seen and which are masked: a function of (seed, epoch, index)."""

    def __init__(self, part: Split, patches: int, seen: int) -> None:
        self.part, self.patches, self.seen = part, patches, seen

    def __len__(self) -> int:
        return len(self.part)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:
        batch = self.part.fetch(indices, epoch, seed)
        seeds = (derived_seed(seed, epoch, index, _STREAM) for index in indices.tolist())
        orders = [torch.randperm(self.patches, generator=Generator().manual_seed(one)) for one in seeds]
        order_BT = torch.stack(orders)
        return Batch((batch.inputs[0], order_BT[:, : self.seen]), order_BT[:, self.seen :])


class MaskedPictures(Task):
    """Learn a representation of pictures without labels: a share of their patches is hidden and filled in.

    Lower is better: `masked_error`, the mean squared difference of masked patches, each with its own mean taken off and
    divided by its own deviation, so that 1 is what a patch's mean gives, less where patches are of one value.

    Args:
        data: pictures; their labels aren't looked at.

    Source: He et al. 2022, "Masked Autoencoders Are Scalable Vision Learners".
    """

    goal = Goal("masked_error", "minimize")
    contract = PatchesLoss
    model_contract = FillsIn

    def __init__(
        self,
        data: Annotated[Data, Part("data")],
        *,
        patch: Annotated[int, Field(ge=1, description="pixels along a patch's side, which divide the picture's.")] = 4,
        masked: Annotated[float, Field(gt=0, lt=1, description="share of the patches that are hidden.")] = 0.75,
    ) -> None:
        if not issubclass(data.item, Image):
            raise LabwrightError(f"task.data: {type(data).__name__} has {data.item.__name__}; patches are of pictures.")
        self.data, self.patch, self.masked = data, patch, masked

    def port_types(self) -> tuple[type[Port], type[Port]]:
        return self.data.item, Patches

    def ports(self) -> tuple[Port, Port]:
        return self.data.ports()[0], Patches(self.patch)

    def view(self, split: str, part: Split) -> Split:  # noqa: ARG002 - all alike
        inputs = self.data.ports()[0]
        assert isinstance(inputs, Image)
        if inputs.height % self.patch or inputs.width % self.patch:
            raise LabwrightError(
                f"task.patch: pictures of {inputs.height}x{inputs.width} can't be cut into patches of "
                f"{self.patch}x{self.patch}."
            )
        if inputs.channels * self.patch**2 == 1:
            raise LabwrightError(
                f"task.patch: {self.patch} of grey pictures is one number, which is its own mean: nothing is left to "
                "fill in. Take 2 or more."
            )
        patches = (inputs.height // self.patch) * (inputs.width // self.patch)
        seen = round(patches * (1 - self.masked))
        if not 0 < seen < patches:
            raise LabwrightError(
                f"task.masked: {self.masked} of {patches} patches leaves {seen} to see; both sides need one."
            )
        return Masked(part, patches, seen)

    def loss(self, model: Any, batch: Batch, criterion: PatchesLoss, phase: str) -> Tensor:  # noqa: ARG002 - one phase
        return criterion(*self.evaluate(model, batch))

    def evaluate(self, model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        """Masked patches as they are filled in, and as they are, (B, M * P)."""
        filled_BTP, true_BTP = model(*batch.inputs), normalised(cut(batch.inputs[0], self.patch))
        masked = batch.targets[:, :, None].expand(-1, -1, true_BTP.shape[2])
        return filled_BTP.gather(1, masked).flatten(1), true_BTP.gather(1, masked).flatten(1)

    def metrics(self) -> dict[str, Metric]:
        return {"masked_error": MaskedError()}

    def predict(self, model: Any, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:  # noqa: ARG002 - embeddings are of no size
        """For each row its representation, of the whole picture."""
        return [{"embedding": row} for row in model.embed(*inputs).detach().float().cpu().tolist()]

    def report(self, model: Any, split: str, device: torch.device) -> Sequence[Section]:
        """Some pictures: what is seen of each, how the rest is filled in, and the whole."""
        from labwright import Pictures

        part = self.part(split, plain=True)
        if not part:
            return ()
        (batch,) = IndexedBatches(part, [torch.arange(min(_SHOWN, len(part)))], seed=0, epoch=0)
        batch = batch.to(device)
        with evaluating(model):
            filled_BTP = model(*batch.inputs).float()
        x_BCHW = batch.inputs[0].float()
        true_BTP = cut(x_BCHW, self.patch)
        mean, deviation = _scale(true_BTP)
        is_masked = torch.zeros_like(true_BTP).scatter(
            1, batch.targets[:, :, None].expand(-1, -1, true_BTP.shape[2]), 1
        )
        seen = true_BTP * (1 - is_masked) + true_BTP.mean((1, 2), keepdim=True) * is_masked
        filled = true_BTP * (1 - is_masked) + (filled_BTP * deviation + mean) * is_masked
        rows = torch.cat([pasted(patches, x_BCHW, self.patch) for patches in (seen, filled, true_BTP)], dim=3).cpu()
        low, high = rows.amin((1, 2, 3), keepdim=True), rows.amax((1, 2, 3), keepdim=True)
        note = "What is seen, the rest filled in, the whole. A patch's mean and deviation are its own, not guessed."
        return [Pictures("Filled in", list((rows - low) / (high - low).clamp_min(_FLAT)), note=note)]


class MaskedError:
    """The mean squared difference of numbers; nan before the first."""

    higher_is_better = False
    loss = "mse"

    _sum: Tensor | float
    _count: int

    def __init__(self) -> None:
        self._sum: Tensor | float = 0.0
        self._count = 0

    def update(self, predictions: Tensor, targets: Tensor) -> None:
        self._sum = self._sum + (predictions.float() - targets.float()).square().sum(dtype=torch.float64)
        self._count += targets.numel()

    def compute(self) -> float:
        return float(self._sum) / self._count if self._count else float("nan")

    def reset(self) -> None:
        self._sum, self._count = 0.0, 0


def cut(x_BCHW: Tensor, patch: int) -> Tensor:
    """Pictures as patches, (B, T, P), row by row."""
    return F.unfold(x_BCHW, patch, stride=patch).transpose(1, 2)


def pasted(patches_BTP: Tensor, like_BCHW: Tensor, patch: int) -> Tensor:
    """Patches as pictures again: the inverse of `cut`."""
    return F.fold(patches_BTP.transpose(1, 2), like_BCHW.shape[2:], patch, stride=patch)


def normalised(patches_BTP: Tensor) -> Tensor:
    """Each patch without its mean, over its deviation."""
    mean, deviation = _scale(patches_BTP)
    return (patches_BTP - mean) / deviation


def _scale(patches_BTP: Tensor) -> tuple[Tensor, Tensor]:
    mean = patches_BTP.mean(2, keepdim=True)
    return mean, (patches_BTP.var(2, keepdim=True, correction=0) + _FLAT).sqrt()
