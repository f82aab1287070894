"""A run's model as an ONNX file that other programs can use, checked against PyTorch before it is called done."""

from __future__ import annotations

import inspect
import json
import logging
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any, Protocol, cast

import labwright as lw
import torch
from torch import Tensor, nn

CHECKED = (1, 3)  # batch sizes that are compared; the file was traced with 2
TOLERANCE = 1e-4  # largest difference, as a share of the largest value of an output


class Merging(Protocol):
    """A model, or part of one, that answers alike with fewer parts, such as without adapters: what is exported."""

    def merged(self) -> nn.Module: ...


def export(run: Path | str, target: Path | str, *, plugins: lw.Plugins | None = None) -> dict[str, Any]:
    """Write model.onnx, what the task learned (`task/`) and model.json into a folder; returns what model.json says.

    The size of a batch is free, other axes are those of the input port. The model is the one the run ended with, on the
    CPU. Its outputs are called `output`, `output_0` and so on if it returns several, or by the keys of its table.

    Args:
        run: the run folder.
        target: a new or empty folder.
        plugins: those among which the recipe's names are looked up; all that are installed, if left out.

    Raises LabwrightError if the model can't be exported, RunFailed if onnxruntime computes something else.

    Example: `labwright_export.export("runs/digits", "digits-model")`
    """
    run, target = Path(run).expanduser(), Path(target).expanduser()
    loaded = lw.load(run, plugins=plugins)
    inputs, outputs = loaded.task.ports()
    model = _merged(loaded.model).eval()
    names = _argument_names(loaded.model, len(inputs.example(1, lw.generator(0))))
    examples = [inputs.example(size, lw.generator(size)) for size in CHECKED]
    answers = [_answers(loaded.model, example) for example in examples]  # whatever is merged has to answer as before
    _claim(target, run)
    file = target / "model.onnx"
    _write(model, inputs.example(2, lw.generator(0)), names, list(answers[0]), file)
    pairs = zip(examples, answers, strict=True)
    compared = [_differences(file, dict(zip(names, example, strict=True)), answer) for example, answer in pairs]
    largest = {name: max(differences[name] for differences in compared) for name in answers[0]}
    left_out = _learned(run / "task", target / "task")
    facts = {
        "inputs": [_described(name, argument) for name, argument in zip(names, examples[0], strict=True)],
        "outputs": [
            {**_described(name, answer), "largest_difference": largest[name]} for name, answer in answers[0].items()
        ],
        "input_port": str(inputs),
        "output_port": str(outputs),
        "largest_difference": max(largest.values()),
        "bytes": sum(part.stat().st_size for part in target.glob("model.onnx*")),
        "torch": torch.__version__,
        "notes": [*loaded.notes, *left_out],
    }
    (target / "model.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return {"folder": str(target), **facts}


def _merged(model: nn.Module) -> nn.Module:
    """The model, with what can be merged of it merged, in a copy."""
    if inspect.isfunction(getattr(type(model), "merged", None)):  # and no layer that is called so
        return cast(Merging, model).merged()
    parts = {name: _merged(part) for name, part in model.named_children()}
    if all(parts[name] is part for name, part in model.named_children()):
        return model
    model = copy(model)
    model._modules = {**model._modules, **parts}
    return model


def _learned(task: Path, target: Path) -> list[str]:
    """Copy what the task learned, without the runs in it, such as a teacher, which only training asks."""
    runs = sorted(folder.name for folder in task.iterdir() if (folder / "checkpoints").is_dir())
    shutil.copytree(task, target, ignore=lambda folder, _: runs if Path(folder) == task else ())
    return [f"task/{name} isn't copied: it is a run that is asked in training alone." for name in runs]


def _claim(target: Path, run: Path) -> None:
    """Make an empty folder. Raises LabwrightError if something is in it, or a link in the run leads it elsewhere."""
    if target.is_relative_to(run) and not target.resolve().is_relative_to(run.resolve()):
        raise lw.LabwrightError(f"{target} is a link out of the run, to {target.resolve()}: remove it, or give --out.")
    target.mkdir(parents=True, exist_ok=True)
    if any(target.iterdir()):
        raise lw.LabwrightError(f"the folder {target} isn't empty. Give another one (--out), or empty it.")


def _argument_names(model: nn.Module, count: int) -> list[str]:
    """The names of forward's first arguments, without the shape at their end: `ids_BT` is `ids`.

    Of one that takes any (`*inputs`) they are numbered, unless there is but one.
    """
    names = list(inspect.signature(model.forward).parameters)[:count]
    if rest := _rest(model):
        before = names[: names.index(rest)] if rest in names else names
        more = count - len(before)
        names = [*before, *([rest.rstrip("s")] if more == 1 else [f"{rest}_{place}" for place in range(more)])]
    return [name.rpartition("_")[0] if name.rpartition("_")[2].isupper() else name for name in names]


def _rest(model: nn.Module) -> str:
    """What forward calls any number of arguments, such as `inputs` of a model around another; "" if it has no such."""
    parameters = inspect.signature(model.forward).parameters.values()
    return next((one.name for one in parameters if one.kind is one.VAR_POSITIONAL), "")


def _described(name: str, tensor: Tensor) -> dict[str, Any]:
    return {"name": name, "dtype": str(tensor.dtype).removeprefix("torch."), "shape": ["batch", *tensor.shape[1:]]}


def _answers(model: nn.Module, example: Sequence[Tensor]) -> dict[str, Tensor]:
    """What PyTorch makes of an example, by the names that the outputs have in the file."""
    with torch.inference_mode(), _explained(model):
        output = model(*example)
    return dict(_named("", output))


def _named(name: str, output: Any) -> Iterator[tuple[str, Tensor]]:
    """The tensors of what a model returned: one, or tables and tuples of them. Raises LabwrightError for others."""
    if isinstance(output, Tensor):
        yield name or "output", output
    elif isinstance(output, Mapping):
        for key, value in output.items():
            yield from _named(f"{name}_{key}" if name else str(key), value)
    elif isinstance(output, tuple | list):
        for place, value in enumerate(output):
            yield from _named(f"{name or 'output'}_{place}", value)
    else:
        raise lw.LabwrightError(
            f"the model can't be exported to ONNX: it returned a {type(output).__name__}. Return a tensor, or a dict "
            "or tuple of tensors."
        )


def _write(
    model: nn.Module, example: Sequence[Tensor], names: Sequence[str], outputs: Sequence[str], file: Path
) -> None:
    batch = torch.export.Dim("batch")
    shapes = tuple({0: batch} for _ in example)
    rest = _rest(model)
    before = list(inspect.signature(model.forward).parameters).index(rest) if rest else len(shapes)
    with _quiet(), _explained(model):
        program = torch.onnx.export(
            model,
            tuple(example),
            input_names=list(names),
            output_names=list(outputs),
            dynamic_shapes=(*shapes[:before], shapes[before:]) if rest else shapes,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.save(file)


@contextmanager
def _explained(model: nn.Module) -> Iterator[None]:
    """Whatever goes wrong within it is said in the words of a person who exports."""
    try:
        yield
    except Exception as error:  # the exporter's errors have no common class but this
        named: BaseException | None = error
        while named is not None and not isinstance(named, lw.LabwrightError):  # the model's own words
            named = named.__cause__
        if named is not None:
            raise lw.LabwrightError(f"model {type(model).__name__} can't be exported to ONNX: {named}") from error
        reason = str(error).strip().split("\n")[0]
        raise lw.LabwrightError(
            f"model {type(model).__name__} can't be exported to ONNX: {reason} Its forward may use what a graph can't "
            "hold: values read by Python, packed sequences, other files."
        ) from error


def _differences(file: Path, given: Mapping[str, Tensor], answers: Mapping[str, Tensor]) -> dict[str, float]:
    """How far onnxruntime's outputs lie from PyTorch's at most, by name. Raises RunFailed for one that is too far."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    exported = session.run(list(answers), {name: argument.numpy() for name, argument in given.items()})
    differences = {}
    for (name, ours), array in zip(answers.items(), exported, strict=True):
        theirs = torch.from_numpy(array)
        one, other = theirs.double(), ours.double()
        same_shape = one.shape == other.shape
        # what is masked is infinite on both sides, and no measure of how large the others are
        difference = float((one - other).abs().where(one != other, 0.0).max()) if same_shape else float("inf")
        if not difference <= TOLERANCE * max(1.0, float(other.abs().where(other.isfinite(), 0.0).max())):
            raise lw.RunFailed(
                f"{file}: onnxruntime's {name!r} of shape {tuple(theirs.shape)} differs from PyTorch's of shape "
                f"{tuple(ours.shape)} by up to {difference:.3g}. The file is not to be used."
            )
        differences[name] = difference
    return differences


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's warnings and logs: what matters is compared afterwards."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
