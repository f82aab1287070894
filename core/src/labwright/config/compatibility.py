"""What fits together, by ports and by the loss's contract, before any data is read; and components in words."""

from __future__ import annotations

import inspect
import json
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from labwright.base.errors import LabwrightError, listed
from labwright.base.search import Part
from labwright.config.recipe import whole_recipe
from labwright.config.resolve import ComponentSpec, Where, resolve
from labwright.config.signature import ARGUMENTS, hints_of, signature, unwrapped
from labwright.interfaces.closed_form import ClosedForm
from labwright.interfaces.task import Task
from labwright.plugin.registry import Plugins


def check_fit(
    task: Task,
    task_spec: ComponentSpec,
    model: ComponentSpec,
    loss: ComponentSpec | None,
    plugins: Plugins,
    here: Where,
) -> None:
    """Raises LabwrightError if the model or the loss has other ports than the task, or the loss another contract."""
    part = task_spec.settings.get("data")
    data = f"data {part.label!r}" if isinstance(part, ComponentSpec) else f"task {task_spec.label!r}"
    for spec in (model, loss) if loss else (model,):
        for port, offered in _misfits(spec.given, task):
            asks, has = ("takes", "offers") if port == "inputs" else ("returns", "has targets")
            raise LabwrightError(
                f"{here / spec.kind}: {spec.kind} {spec.label!r} {asks} "
                f"{' or '.join(wanted.__name__ for wanted in spec.given[port])}; {data} {has} {offered.__name__}. "
                f"`labwright list {plugins.heading(spec.kind)} --for RECIPE` shows those that fit."
            )
    _check_parts(task_spec, here / "task", plugins)
    descends = not model.is_a(ClosedForm)
    if descends and task.contract and loss is None:
        raise LabwrightError(f"{here / 'loss'}: task {task_spec.label!r} needs a loss; see `labwright list losses`.")
    if loss is not None and task.contract is None:
        raise LabwrightError(f"{here / 'loss'}: task {task_spec.label!r} has an objective of its own. Leave loss out.")
    for called, contract in ((model, task.model_contract), (loss if descends else None, task.contract)):
        if called and contract and (fault := contract_fault(called, contract)):
            raise LabwrightError(
                f"{here / called.kind}: {called.kind} {called.label!r} doesn't fit task {task_spec.label!r}: {fault}. "
                f"`labwright list {plugins.heading(called.kind)} --for RECIPE` shows those that fit."
            )


def _check_parts(task: ComponentSpec, where: Where, plugins: Plugins) -> None:
    """Raises LabwrightError if a loss among a task's own settings has another contract than its place."""
    settings = {} if task.thing is not None else signature(task.target).settings
    for path, part in task.parts().items():
        mark = settings[path.partition(".")[0]].part
        fault = contract_fault(part, mark.contract) if mark and mark.contract else ""
        if fault:
            raise LabwrightError(
                f"{where}.{path}: {part.kind} {part.label!r} doesn't fit there: {fault}. "
                f"`labwright list {plugins.heading(part.kind)}` shows what there is."
            )


def _misfits(given: Mapping[str, tuple[type, ...]], task: Task) -> list[tuple[str, type]]:
    """The ports that a constructor takes in other types than the task has, with those of the task."""
    offered = zip(("inputs", "outputs"), task.port_types(), strict=True)
    return [(port, type_) for port, type_ in offered if given.get(port) and not issubclass(type_, given[port])]


def contract_fault(loss: ComponentSpec, contract: type) -> str:
    """How a loss's or a model's methods differ from what a task calls, or nothing; by the names of their parameters."""
    inner = loss.settings.get("loss")
    if isinstance(inner, ComponentSpec):  # a loss around another is called as that one is
        return contract_fault(inner, contract)
    # by names, as both are checked before any tensor is there, and an author reads names
    for method, function in inspect.getmembers(contract, inspect.isfunction):
        if method.startswith("_") and method != "__call__":
            continue
        wanted = list(inspect.signature(function).parameters)[1:]
        has = _parameters(loss.target if loss.thing is None else loss.thing, method)
        if has is None:
            return f"it has no method {method}({', '.join(wanted)})"
        # an object from Python may be anyone's, such as torch.nn's: its number of arguments is all that must agree
        fits = len(has) >= len(wanted) if loss.thing is not None else has[: len(wanted)] == wanted
        if not fits:
            call = "" if method == "__call__" else f".{method}"
            return f"the task calls {loss.kind}{call}({', '.join(wanted)}), it takes ({', '.join(has)})"
    return ""


def _parameters(target: Any, method: str) -> list[str] | None:
    if method == "__call__":
        if inspect.isfunction(target):
            return list(inspect.signature(target).parameters)
        of = target if inspect.isclass(target) else type(target)
        method = "forward" if issubclass(of, nn.Module) else "__call__"
    function = getattr(target, method, None)
    if function is None:
        return None
    return list(inspect.signature(function).parameters)[inspect.isclass(target) :]


def fitting_names(kind: str, recipe: str, plugins: Plugins) -> list[str]:
    """The names of a kind of component that go with a recipe's task: models by ports, losses by contract too.

    Only the recipe's task is looked at, so that a recipe whose model or loss doesn't fit can be put right. Data fits if
    it has the same ports. Kinds that any task takes are listed whole; what can't be loaded is left out.

    Raises LabwrightError for a recipe that can't be read or names no task.

    Example: `lw.fitting_names("model", "vision/digits", lw.Plugins.discover())`
    """
    table, source, _ = whole_recipe(recipe, plugins)
    where = Where(("task",), source)
    if "task" not in table:
        raise LabwrightError(f"{where}: the recipe names no task; it is one of {listed(plugins.names('task'))}.")
    task: Task = resolve("task", table["task"], plugins, where).build()
    return [name for name in plugins.names(kind) if _fits(kind, name, task, plugins)]


def _fits(kind: str, name: str, task: Task, plugins: Plugins) -> bool:
    if kind not in ("model", "loss", "data") or name.endswith("/*"):
        return True
    try:
        # what is broken is listed by `labwright plugins`; here it just doesn't fit
        target = plugins.load(kind, name)
        constructor = signature(target)
    except LabwrightError:
        return False
    if kind == "data":
        return (getattr(target, "item", None), getattr(target, "target", None)) == task.port_types()
    if _misfits(constructor.given, task):
        return False
    contract = task.model_contract if kind == "model" else task.contract
    if contract is None or "loss" in constructor.settings:  # a loss around another fits as that one does
        return kind == "model" or "loss" in constructor.settings
    return not contract_fault(ComponentSpec(kind, name, target), contract)


def described(kind: str, name: str, plugins: Plugins) -> dict[str, Any]:
    """A component in words: its documentation, the ports it takes and returns, and its settings."""
    target = plugins.load(kind, name)
    constructor = signature(target)
    hints = hints_of(target) if constructor.settings else {}
    ports = {key: " | ".join(type_.__name__ for type_ in types) for key, types in constructor.given.items() if types}
    settings = [
        {
            "name": key,
            "type": _words(hints[key]),
            "default": ""
            if setting.required or setting.default is None
            else json.dumps(setting.written(setting.default)),
            "needed": setting.required,
            "search": str(setting.mark or ""),
            "description": setting.description,
        }
        for key, setting in constructor.settings.items()
    ]
    formulas = r"\.\. math::\n(?:[ \t]*\n|[ \t]+.*\n)+"  # of a library; not to be read on a terminal
    documentation = ARGUMENTS.sub("", re.sub(formulas, "", inspect.getdoc(target) or "")).strip()
    return {"documentation": documentation, "ports": ports, "settings": settings}


_LIMITS = {"ge": ">= ", "le": "<= ", "gt": "> ", "lt": "< ", "multiple_of": "a multiple of "}
_LIMITS |= {"min_length": "of length >= ", "max_length": "of length <= "}


def _words(hint: Any) -> str:
    """`Annotated[int, Field(ge=1)] | None` as `int >= 1`; None is the field left out."""
    bare, extras, _ = unwrapped(hint)
    if part := next((extra for extra in extras if isinstance(extra, Part)), None):
        return f"a {part.kind}"
    marks = [mark for extra in extras for mark in getattr(extra, "metadata", ())]
    limits = [f"{sign}{getattr(mark, name)}" for mark in marks for name, sign in _LIMITS.items() if hasattr(mark, name)]
    return " ".join([_type(bare), ", ".join(limits)]).rstrip()


def _type(bare: Any) -> str:
    origin, within = typing.get_origin(bare), typing.get_args(bare)
    if origin is typing.Literal:
        return " | ".join(map(str, within))
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(_words, within))
    if origin in (dict, Mapping):
        return f"table of {_words(within[-1])}"
    if origin is tuple and ... not in within:
        return f"[{', '.join(map(_words, within))}]"
    if origin in (list, tuple, Sequence):
        return f"list of {_words(within[0])}"
    return bare.__name__ if inspect.isclass(bare) and not within else re.sub(r"\w+\.", "", str(bare))
