"""Which modules' parameters come and go together."""

from __future__ import annotations

from collections.abc import Sequence

import labwright as lw
from torch import nn

_NEVER_CALLED = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)


def units(model: nn.Module, blocks: Sequence[str], smallest: int | None) -> list[nn.Module]:
    """The modules of some classes, and those with so many parameters that are in none of the others; inner ones first.

    Raises LabwrightError for a class that no module is of.
    """
    classes = sorted({type(module).__name__ for module in model.modules()})
    for name in blocks:
        if name not in classes:
            raise lw.LabwrightError(
                f"device.blocks: the model has no module of a class {name!r}{lw.nearest(name, classes)} "
                f"It has {lw.listed(classes, 40)}."
            )
    taken: set[nn.Parameter] = set()
    found: list[nn.Module] = []

    def visit(module: nn.Module) -> None:
        for child in module.children():
            visit(child)
        left = {one for one in module.parameters() if one.dim()} - taken
        large = smallest is not None and sum(one.numel() for one in left) >= smallest
        if left and (type(module).__name__ in blocks or (large and not isinstance(module, _NEVER_CALLED))):
            taken.update(left)
            found.append(module)

    visit(model)
    return found
