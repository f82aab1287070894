"""What a step keeps in memory, by part: weights, gradients, the optimizer's state, and activations for backward."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from labwright import Method
from torch import Tensor, nn

from labwright_instruments.layers import objective_of, tensors_of


@dataclass(frozen=True)
class Parts:
    """Bytes of a training, by part; of several phases or micro-batches those of the largest, as one is alive at a time.

    `weights` are parameters and buffers of model and loss; `activations` is what autograd keeps of one forward pass, or
    None where that couldn't be told; `notes` say why, and what else isn't counted.
    """

    weights: int
    gradients: int
    optimizer: int
    averages: int
    batch: int
    activations: int | None
    notes: tuple[str, ...]

    @property
    def together(self) -> int:
        """All of it at once; what operations take for themselves while they run isn't counted."""
        known = (self.weights, self.gradients, self.optimizer, self.averages, self.batch)
        return sum(known) + (self.activations or 0)

    def json(self) -> dict[str, int | None]:
        named = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "notes"}
        return {f"{name}_bytes": value for name, value in named.items()} | {"together_bytes": self.together}


def parts_of_memory(trainer: Any, batches: Sequence[Any], shares: Sequence[float]) -> Parts:
    """Take one step of each phase, and count what there is on the way; a storage that several tensors share once."""
    weights = weights_of(trainer.model, trainer.criterion)
    notes: list[str] = []
    gradients = activations = 0
    hidden = False
    for phase_step in trainer.phase_steps:
        for batch in batches:
            try:
                activations = max(activations, kept_for_backward(phase_step, batch, weights))
            except RuntimeError as error:
                if "saved tensor hooks" not in str(error):
                    raise
                hidden = True
                notes.append(
                    f"activations of phase {phase_step.name!r} aren't counted: its loss takes gradients of its own by "
                    "torch.func, which doesn't say what it keeps."
                )
                break
        phase_step.method.gradients(phase_step, batches, shares)
        gradients = max(gradients, size(_gradients(phase_step.parameters)))
        phase_step.apply(0, trainer.intervals.total)
    if type(trainer.built.method).gradients is not Method.gradients:
        notes.append(
            f"method {type(trainer.built.method).__name__} makes gradients in its own way; what that takes meanwhile "
            "isn't counted."
        )
    if trainer.settings.compile:
        notes.append("activations are those without torch.compile, which keeps fewer.")
    return Parts(
        weights=size(weights),
        gradients=gradients,
        optimizer=size(_states(trainer.phase_steps)),
        averages=size(tensor for phase_step in trainer.phase_steps for tensor in phase_step.average),
        batch=max(size(tensors_of(batch)) for batch in batches),
        activations=None if hidden else activations,
        notes=tuple(dict.fromkeys(notes)),
    )


def kept_for_backward(phase_step: Any, batch: Any, weights: Iterable[Tensor]) -> int:
    """Bytes that autograd keeps of a forward pass, beside the weights and the batch themselves."""
    known = _storages([*weights, *tensors_of(batch)])
    kept: dict[Any, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept.update(_storages([tensor]))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = objective_of(phase_step, batch)  # held until all is counted: a storage that is freed may come again
    total = sum(count for place, count in kept.items() if place not in known)
    del loss
    return total


def weights_of(*held: Any) -> list[Tensor]:
    """Parameters and buffers of those that are modules."""
    modules = [thing for thing in held if isinstance(thing, nn.Module)]
    return [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]


def size(tensors: Iterable[Tensor]) -> int:
    """Bytes of the storages behind tensors, each once."""
    return sum(_storages(tensors).values())


def _storages(tensors: Iterable[Tensor]) -> dict[Any, int]:
    found: dict[Any, int] = {}
    for tensor in tensors:
        if tensor.layout == torch.strided:
            storage = getattr(tensor, "_local_tensor", tensor).untyped_storage()
            found[storage.data_ptr(), tensor.device] = storage.nbytes()
        else:  # a sparse tensor has no storage of its own
            found[id(tensor)] = tensor._nnz() * tensor.element_size()
    return found


def _gradients(parameters: Iterable[Tensor]) -> Iterator[Tensor]:
    return (parameter.grad for parameter in parameters if parameter.grad is not None)


def _states(phase_steps: Iterable[Any]) -> Iterator[Tensor]:
    """The tensors of the optimizers' states; counts of steps, a number each, are left out."""
    for phase_step in phase_steps:
        for slots in phase_step.optimizer.state_dict().values():
            yield from (tensor for tensor in slots.values() if tensor.dim())
