"""The layers of a model as one real batch goes through them: shapes, parameters, floating-point operations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

COUNTED = "matrix products, convolutions, attention; a multiply-add is 2"
# of tables a row is taken; what makes a weight of another doesn't see the batch
_NO_PRODUCTS = (nn.Embedding, nn.EmbeddingBag, ParametrizationList)


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
    """What one forward pass of a batch showed.

    `operations` are calls of any kind, `uncounted` layers with weights in which none is one whose FLOPs are known.
    """

    layers: tuple[Layer, ...]
    flops: int
    operations: int
    uncounted: tuple[str, ...]


def passed(trainer: Any, batches: Sequence[Any]) -> Passed:
    """Send the micro-batches of a step through the objective of each phase, and look at every module on the way.

    Operations are counted by the formulas of torch.utils.flop_counter: matrix products, convolutions and attention.
    """
    modules = _modules(trainer)
    outputs: dict[str, str] = {}
    flops = dict.fromkeys(modules, 0)
    with ExitStack() as hooks, _counting() as counter:
        for name, module in modules.items():
            before, after = _looking(name, counter, outputs, flops)
            hooks.enter_context(module.register_forward_pre_hook(before))
            hooks.enter_context(module.register_forward_hook(after))
        for phase_step in trainer.phase_steps:
            for batch in batches:
                objective_of(phase_step, batch)
    if "" not in outputs:  # a loss that calls its parts alone
        flops[""] = counter.flops
    layers = tuple(
        Layer(name, type(module).__name__, outputs.get(name, ""), *_sizes(module), flops[name])
        for name, module in modules.items()
    )
    uncounted = tuple(
        f"{layer.name or 'the model'} ({layer.kind})"
        for layer in layers
        if layer.output and not layer.flops and _multiplies(modules[layer.name])
    )
    return Passed(layers, counter.flops, counter.operations, uncounted)


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


def _counting() -> Any:
    """What adds up the `flops` of all operations, and counts these, while it is entered.

    torch's own FlopCounterMode also follows modules, by hooks that torch.func doesn't go with.
    """
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import flop_registry

    class Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
        flops = operations = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            given = kwargs or {}
            out = func(*args, **given)
            self.operations += 1
            if formula := flop_registry.get(func._overloadpacket):
                self.flops += formula(*args, **given, out_val=out)
            return out

    return Counting()  # type: ignore[no-untyped-call]


def _looking(name: str, counter: Any, outputs: dict[str, str], flops: dict[str, int]) -> tuple[Any, Any]:
    """What is called before and after a module's forward pass: notes its output's shape and its operations."""
    begun: list[int] = []

    def before(module: nn.Module, arguments: Any) -> None:  # noqa: ARG001 - torch calls it so
        begun.append(counter.flops)

    def after(module: nn.Module, arguments: Any, output: Any) -> None:  # noqa: ARG001 - torch calls it so
        shapes = ["x".join(map(str, tensor.shape)) or "scalar" for tensor in tensors_of(output)]
        outputs.setdefault(name, ", ".join(shapes) or type(output).__name__)
        flops[name] += counter.flops - begun.pop()

    return before, after


def tensors_of(value: Any) -> Iterator[Tensor]:
    """Every tensor in a batch, or in what a module gave."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from tensors_of(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from tensors_of(one)
    elif is_dataclass(value):
        for field in fields(value):
            yield from tensors_of(getattr(value, field.name))


def _sizes(module: nn.Module) -> tuple[int, int]:
    parameters = list(module.parameters())
    frozen = sum(parameter.numel() for parameter in parameters if not parameter.requires_grad)
    return sum(parameter.numel() for parameter in parameters), frozen


def _multiplies(module: nn.Module) -> bool:
    own = module.parameters(recurse=False)
    return not isinstance(module, _NO_PRODUCTS) and any(parameter.dim() > 1 for parameter in own)
