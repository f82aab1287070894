"""Optimizers of other libraries by their names: those of torch.optim, and whatever a plugin makes a `lw.Family` of.

The first of them that a process builds imports torch._dynamo, which takes about 3 s; `sgd`, `adam` and `adamw` don't.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Annotated, Any, ClassVar

import torch
from labwright import (
    Choice,
    Family,
    Group,
    LabwrightError,
    Optimizer,
    PerTrial,
    Schedule,
    Uniform,
    When,
    listed,
    nearest,
)
from pydantic import Field
from torch import Tensor, nn

OURS = ("params", "lr", "weight_decay")  # what a library's constructor is given by settings of their own
GROUP = "group:"  # stands before a slot that the library keeps for a group of parameters


class LibraryOptimizer(Optimizer):
    """A class derived from torch.optim.Optimizer.

    `found_inf` is read on the host, so that a GPU waits: what the libraries do with it themselves starts SGD's momentum
    from memory that was never written. A slot of the state that the library keeps for a group of parameters, such as a
    count of steps, is called `group:SLOT` and stands with each parameter of the group; numbers are tensors without
    axes.

    Args:
        lr: learning rate, the highest of the run; left out, the library's own default.
        weight_decay: weight decay as the library has it; left out, its own default.
        options: the optimizer's own settings, by the names that the library has for them; left out, its own defaults.

    Raises LabwrightError for an option that the library doesn't know, and for one it has to be given.

    Example: `lw.Experiment(..., optimizer={"name": "torch/RAdam", "lr": 1e-3, "options": {"betas": [0.9, 0.95]}})`
    """

    label: ClassVar[str]
    library: ClassVar[Callable[..., torch.optim.Optimizer]]
    defaults: ClassVar[Mapping[str, Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """A library's own settings are said where `options` is."""
        super().__init_subclass__(**kwargs)
        if "library" not in vars(cls):
            return
        taken = [one for one in inspect.signature(cls.library).parameters.values() if one.name not in OURS]
        own = [one.name if one.default is one.empty else f"{one.name} = {one.default!r}" for one in taken]
        head, _, arguments = inspect.cleandoc(cls.__doc__ or cls.__name__).partition("\nArgs:\n")
        cls.__doc__ = f"{head}\n\nArgs:\n    options: the library's own settings: {', '.join(own)}.\n{arguments}"

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        *,
        lr: Annotated[float | None, Field(gt=0), Uniform(1e-5, 1e-1, log=True)] = None,
        weight_decay: Annotated[float | None, Field(ge=0)] = None,
        schedule: Annotated[Schedule, Choice("constant", "cosine", "one-cycle")] = "constant",
        warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        end: Annotated[float, Field(gt=0, le=1), When("schedule", but=("constant", "step", "torch/*"))] = 1e-3,
        groups: dict[str, Group] | None = None,
        layer_decay: Annotated[float | None, Field(gt=0, le=1), PerTrial()] = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        self._known = {name: one.default for name, one in inspect.signature(self.library).parameters.items()}
        self._known |= self.defaults
        lr = _number(self._known["lr"]) if lr is None else lr
        if lr is None:
            raise LabwrightError(f"optimizer.lr: {self.label!r} has no rate of its own; give one.")
        decays = weight_decay is not None or any(group.weight_decay is not None for group in (groups or {}).values())
        if decays and "weight_decay" not in self._known:
            raise LabwrightError(f"optimizer.weight_decay: {self.label!r} has no weight decay; leave it out.")
        decay = weight_decay if weight_decay is not None else _number(self._known.get("weight_decay")) or 0.0
        super().__init__(
            parameters,
            lr=lr,
            weight_decay=decay,
            schedule=schedule,
            warmup=warmup,
            end=end,
            groups=groups,
            layer_decay=layer_decay,
        )
        self._arguments = {**self.defaults, **self._checked(options or {}), "lr": lr}
        self._begin()

    def _begin(self) -> None:
        self._library = self._built([self._group(*group) for group in self.groups])
        # what a library writes into a group later is state, such as a count of steps; this is what it began with
        self._fixed = [dict(group) for group in self._library.param_groups]

    def step(self, lr: float, found_inf: Tensor | None = None) -> None:
        # read on the host: see the class
        if found_inf is not None and found_inf.item() == 1:
            return
        for group, (_, factor, _) in zip(self._library.param_groups, self.groups, strict=True):
            group["lr"] = lr * factor
        self._library.step()

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """The state in use, not a copy, numbers and a group's slots apart.

        Raises LabwrightError for what is neither tensor nor number.
        """
        state: dict[str, dict[str, Tensor]] = {}
        for (names, _, _), group, fixed in zip(self.groups, self._library.param_groups, self._fixed, strict=True):
            for name in names:
                slots = _slots(self._library, self.parameters[name], group, fixed)
                if slots:
                    state[name] = {slot: self._tensor(name, slot, value) for slot, value in slots.items()}
        return state

    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        for name in state:
            self.check_parameter(name)
        loaded = {name: self._like_its_own(name, slots) for name, slots in state.items()}
        self._begin()
        for (names, _, _), group in zip(self.groups, self._library.param_groups, strict=True):
            for name in names:
                slots = loaded.get(name, {})
                group.update({slot.removeprefix(GROUP): one for slot, one in slots.items() if slot.startswith(GROUP)})
                own = {slot: one for slot, one in slots.items() if not slot.startswith(GROUP)}
                if own:
                    self._library.state[self.parameters[name]] = own

    def _checked(self, options: Mapping[str, Any]) -> dict[str, Any]:
        takes = [name for name in self._known if name not in OURS]
        for key in options:
            if key in OURS:
                raise LabwrightError(f"optimizer.options: {key!r} is a setting of the optimizer itself, not an option.")
            if key not in takes:
                raise LabwrightError(
                    f"optimizer.options: {self.label!r} has no option {key!r}{nearest(key, takes)} "
                    f"It takes {listed(takes, most=40)}."
                )
        # a recipe has lists where libraries unpack tuples, as of betas
        return {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}

    def _group(self, names: list[str], factor: float, decay: float) -> dict[str, Any]:
        group = {"params": [self.parameters[name] for name in names], "lr": self.lr * factor}
        return group | ({"weight_decay": decay} if "weight_decay" in self._known else {})

    def _built(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        try:
            return self.library(groups, **self._arguments)
        except Exception as error:
            takes = listed((name for name in self._known if name not in OURS), most=40)
            said = f"optimizer: {self.label!r} refuses its settings: {error}. Its options are {takes}."
            raise LabwrightError(said) from error

    def _tensor(self, name: str, slot: str, value: Any) -> Tensor:
        if isinstance(value, Tensor):
            return value.clone() if slot.startswith(GROUP) else value  # a file has each tensor under one name
        if isinstance(value, bool | int | float):
            return torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else None)
        raise LabwrightError(
            f"the state of optimizer {self.label!r} can't be saved: {slot!r} of parameter {name!r} is neither tensor "
            f"nor number but {type(value).__name__}. Use another optimizer, or options under which it isn't kept."
        )

    def _like_its_own(self, name: str, slots: Mapping[str, Tensor]) -> dict[str, Any]:
        """Slots of a saved state as the library has them: numbers again, tensors where the library keeps them.

        What the library has is seen by two steps of a parameter of the same kind, with gradients of zero.
        """
        own = self._own_slots(name)
        shapes = {slot: value.shape if isinstance(value, Tensor) else () for slot, value in own.items()}
        if all(slot.startswith(GROUP) for slot in slots):  # of a parameter that was never updated
            shapes = {slot: shape for slot, shape in shapes.items() if slot.startswith(GROUP)}
        self.check_slots(name, slots, shapes)
        return {slot: _like(own[slot], value) for slot, value in slots.items()}

    def _own_slots(self, name: str) -> dict[str, Any]:
        index = next(index for index, (names, _, _) in enumerate(self.groups) if name in names)
        twin = nn.Parameter(self.parameters[name].detach().clone())
        # a library may draw numbers in a step
        with torch.random.fork_rng(devices=[]):
            group = {key: deepcopy(value) for key, value in self._fixed[index].items() if key != "params"}
            library = self._built([group | {"params": [twin]}])
            fixed = dict(library.param_groups[0])
            for _ in range(2):
                twin.grad = torch.zeros_like(twin)
                library.step()
        return _slots(library, twin, library.param_groups[0], fixed)


def _slots(
    library: torch.optim.Optimizer, parameter: Tensor, group: dict[str, Any], fixed: dict[str, Any]
) -> dict[str, Any]:
    """The parameter's state, and what the library has written into its group since it was built."""
    written = {
        GROUP + key: value
        for key, value in group.items()
        if key not in ("params", "lr") and (key not in fixed or value is not fixed[key])
    }
    return dict(library.state.get(parameter, {})) | written


def _like(own: Any, value: Tensor) -> Any:
    if isinstance(own, Tensor):
        return torch.empty_like(own, dtype=value.dtype).copy_(value)
    return type(own)(value.item())


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _torch_names() -> list[str]:
    # Left out: LBFGS, which calls the loss again and again within a step (a closure), and SparseAdam, which takes
    # sparse gradients only, while a phase has parameters of every kind, and its gradients are clipped as dense ones.
    out = {"LBFGS", "SparseAdam", "Optimizer"}
    exported = {name: getattr(torch.optim, name) for name in torch.optim.__all__ if name not in out}
    return [
        name for name, value in exported.items() if inspect.isclass(value) and issubclass(value, torch.optim.Optimizer)
    ]


TORCH: Mapping[str, type[LibraryOptimizer]] = Family(
    "torch", _torch_names, lambda name: (getattr(torch.optim, name), {}), LibraryOptimizer
)
