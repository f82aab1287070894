"""The layers of a model as one real batch goes through them: shapes, parameters, floating-point operations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

COUNTED = "products of matrices, convolutions and attention, a multiplication with its addition as two"
_LOOKED_UP = (nn.Embedding, nn.EmbeddingBag)  # a row is taken, nothing is multiplied


@dataclass(frozen=True)
class Layer:
    """One module: what it gave on its first call, and what it and all within it have and do.

    `parameters` are numbers, each counted once however often it is used; `frozen` of them aren't trained. `flops` are
    of the forward pass of one batch over all calls, and of all phases; `output` is "" for what wasn't called itself.
    """

    name: str
    kind: str
    output: str
    parameters: int
    frozen: int
    flops: int


@dataclass(frozen=True)
class Passed:
    """What one forward pass of a batch showed; `uncounted` are layers with weights in which no operation is known."""

    layers: tuple[Layer, ...]
    flops: int
    uncounted: tuple[str, ...]


def passed(trainer: Any, batches: Sequence[Any]) -> Passed:
    """Send the micro-batches of a step through the objective of each phase, and look at every module on the way.

    Operations are what torch.utils.flop_counter counts: matrix products, convolutions and attention.
    """
    from torch.utils.flop_counter import FlopCounterMode

    modules = _modules(trainer)
    outputs: dict[str, str] = {}
    with ExitStack() as hooks, FlopCounterMode(display=False) as counter:
        for name, module in modules.items():
            hooks.enter_context(module.register_forward_hook(_noting(outputs, name)))
        for phase_step in trainer.phase_steps:
            for batch in batches:
                objective_of(phase_step, batch)
    by_module = {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}
    layers = tuple(
        Layer(name, type(module).__name__, outputs.get(name, ""), *_sizes(module), by_module.get(_path(name), 0))
        for name, module in modules.items()
    )
    uncounted = tuple(
        f"{layer.name or 'the model'} ({layer.kind})"
        for layer in layers
        if layer.output and not layer.flops and _multiplies(modules[layer.name])
    )
    return Passed(layers, counter.get_total_flops(), uncounted)


def objective_of(phase_step: Any, batch: Any) -> Any:
    """A phase's loss of a batch in the precision of the run, without torch.compile: its graph would hide the layers."""
    objective = getattr(phase_step.objective, "_orig_mod", phase_step.objective)
    with phase_step.settings.autocast(phase_step.device) or nullcontext():
        return objective(batch)


def _modules(trainer: Any) -> dict[str, nn.Module]:
    """The modules of the model by name, itself as "", and those of a loss that learns."""
    modules = dict(trainer.model.named_modules())
    criterion = trainer.criterion
    if isinstance(criterion, nn.Module) and any(True for _ in criterion.parameters()):
        modules |= {f"loss.{name}".rstrip("."): module for name, module in criterion.named_modules()}
    return modules


def _path(name: str) -> str:
    """What the counter calls a module: it begins at the objective, which holds both model and criterion."""
    first, _, rest = name.partition(".")
    inner = f"criterion.{rest}" if first == "loss" else f"model.{name}"
    return f"Objective.{inner}".rstrip(".")


def _noting(outputs: dict[str, str], name: str) -> Any:
    def note(module: nn.Module, arguments: Any, output: Any) -> None:  # noqa: ARG001 - torch calls it so
        outputs.setdefault(name, ", ".join(_shapes(output)) or type(output).__name__)

    return note


def _shapes(output: Any) -> Iterator[str]:
    if isinstance(output, Tensor):
        yield "x".join(map(str, output.shape)) or "scalar"
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from _shapes(value)
    elif isinstance(output, list | tuple):
        for value in output:
            yield from _shapes(value)
    elif hasattr(output, "__dict__"):  # such as the outputs of transformers
        yield from _shapes(vars(output))


def _sizes(module: nn.Module) -> tuple[int, int]:
    parameters = list(module.parameters())
    frozen = sum(parameter.numel() for parameter in parameters if not parameter.requires_grad)
    return sum(parameter.numel() for parameter in parameters), frozen


def _multiplies(module: nn.Module) -> bool:
    own = module.parameters(recurse=False)
    return not isinstance(module, _LOOKED_UP) and any(parameter.dim() > 1 for parameter in own)
