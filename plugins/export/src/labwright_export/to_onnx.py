"""A run's model as an ONNX file that other programs can use, checked against PyTorch before it is called done."""

from __future__ import annotations

import inspect
import json
import logging
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import labwright as lw
import torch
from torch import Tensor, nn

CHECKED = (1, 3)  # batch sizes that are compared; the file was traced with 2
TOLERANCE = 1e-4  # largest difference, as a share of the largest output


def export(run: Path | str, target: Path | str, *, plugins: lw.Plugins | None = None) -> dict[str, Any]:
    """Write model.onnx, what the task learned (`task/`) and model.json into a folder; returns what model.json says.

    The size of a batch is free, other axes are those of the input port. The model is the one the run ended with, on the
    CPU.

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
    names = _argument_names(loaded.model, len(inputs.example(1, lw.generator(0))))
    _claim(target, run)
    file = target / "model.onnx"
    _write(loaded.model, inputs.example(2, lw.generator(0)), names, file)
    examples = [inputs.example(size, lw.generator(size)) for size in CHECKED]
    difference = max(_difference(loaded.model, file, names, example) for example in examples)
    shutil.copytree(run / "task", target / "task")
    facts = {
        "inputs": [
            {"name": name, "dtype": str(argument.dtype).removeprefix("torch."), "shape": ["batch", *argument.shape[1:]]}
            for name, argument in zip(names, examples[0], strict=True)
        ],
        "input_port": str(inputs),
        "output_port": str(outputs),
        "largest_difference": difference,
        "bytes": sum(part.stat().st_size for part in target.glob("model.onnx*")),
        "torch": torch.__version__,
        "notes": list(loaded.notes),
    }
    (target / "model.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return {"folder": str(target), **facts}


def _claim(target: Path, run: Path) -> None:
    """Make an empty folder. Raises LabwrightError if something is in it, or a link in the run leads it elsewhere."""
    if target.is_relative_to(run) and not target.resolve().is_relative_to(run.resolve()):
        raise lw.LabwrightError(f"{target} is a link out of the run, to {target.resolve()}: remove it, or give --out.")
    target.mkdir(parents=True, exist_ok=True)
    if any(target.iterdir()):
        raise lw.LabwrightError(f"the folder {target} isn't empty. Give another one (--out), or empty it.")


def _argument_names(model: nn.Module, count: int) -> list[str]:
    """The names of forward's first arguments, without the shape at their end: `ids_BT` is `ids`."""
    names = list(inspect.signature(model.forward).parameters)[:count]
    return [name.rpartition("_")[0] if name.rpartition("_")[2].isupper() else name for name in names]


def _write(model: nn.Module, example: Sequence[Tensor], names: Sequence[str], file: Path) -> None:
    batch = torch.export.Dim("batch")
    try:
        with _quiet():
            program = torch.onnx.export(
                model,
                tuple(example),
                input_names=list(names),
                output_names=["output"],
                dynamic_shapes=tuple({0: batch} for _ in example),
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # the exporter's errors have no common class but this
        reason = str(error).strip().split("\n")[0]
        raise lw.LabwrightError(
            f"model {type(model).__name__} can't be exported to ONNX: {reason} Its forward may use what a graph can't "
            "hold: values read by Python, packed sequences, other files."
        ) from error
    assert program is not None
    program.save(file)


def _difference(model: nn.Module, file: Path, names: Sequence[str], example: Sequence[Tensor]) -> float:
    """The largest difference between onnxruntime's output and PyTorch's. Raises RunFailed if it is too large."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    given = {name: argument.numpy() for name, argument in zip(names, example, strict=True)}
    (output, *_) = session.run(None, given)
    with torch.inference_mode():
        ours = model(*example)
    exported = torch.from_numpy(output)
    difference = float((exported - ours).abs().max()) if exported.shape == ours.shape else float("inf")
    if not difference <= TOLERANCE * max(1.0, float(ours.abs().max())):
        raise lw.RunFailed(
            f"{file}: onnxruntime's output of shape {tuple(exported.shape)} differs from PyTorch's of shape "
            f"{tuple(ours.shape)} by up to {difference:.3g}. The file is not to be used."
        )
    return difference


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
