"""Parameters that groups of the optimizers freeze, for good or until a step, and the modules that so stand still."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from labwright.base.durations import in_steps
from labwright.base.errors import LabwrightError
from labwright.interfaces.optimizer import Optimizer


class Freezing:
    """What the groups of a run's optimizers freeze. What the author of a model froze stays so, whatever they say.

    `until` has the name of each parameter that is frozen at first, and when it is to learn; None: never. Raises
    LabwrightError for phases that disagree about one.
    """

    def __init__(self, model: nn.Module, optimizers: Mapping[str, Optimizer]) -> None:
        self.model = model
        self._modes = [(module, module.training) for module in model.modules()]
        self._parameters: dict[str, nn.Parameter] = {}
        self.until: dict[str, str | None] = {}
        for phase, optimizer in optimizers.items():
            for name, parameter in optimizer.parameters.items():
                until = optimizer.frozen.get(name, "0 steps")
                if name in self._parameters and self.until.get(name, "0 steps") != until:
                    raise LabwrightError(
                        f"optimizer.groups: phase {phase!r} trains {name!r} with another phase, and only one of them "
                        "freezes it; freeze it in both, or in none."
                    )
                if until != "0 steps" and parameter.requires_grad:
                    self.until[name] = until
                self._parameters[name] = parameter

    def ends(self, per_epoch: int) -> frozenset[int]:
        """The steps, counted from 0, before which something begins to learn."""
        return frozenset(in_steps(until, per_epoch) for until in self.until.values() if until is not None)

    def apply(self, step: int = 0, per_epoch: int = 1) -> None:
        """Set the model to train at a step: what is frozen then has no gradient, and stands still with all it holds.

        A module stands still, in evaluation mode, if all parameters in it are frozen; the others are as they were made.
        """
        frozen = {name for name, until in self.until.items() if until is None or step < in_steps(until, per_epoch)}
        for name in self.until:
            self._parameters[name].requires_grad_(name not in frozen)
        for module, training in self._modes:
            module.training = training
        ours = {id(self._parameters[name]) for name in frozen}
        for module in self.model.modules():
            parameters = list(module.parameters())
            if not any(one.requires_grad for one in parameters) and any(id(one) in ours for one in parameters):
                module.eval()
