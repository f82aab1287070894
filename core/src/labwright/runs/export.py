"""A run's model as an ONNX file that other programs can use, checked against PyTorch before it is called done."""

from __future__ import annotations

import inspect
import logging
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from labwright.base.errors import LabwrightError, RunFailed
from labwright.base.files import refuse_links, write_json
from labwright.base.seeding import generator
from labwright.plugin.registry import Plugins
from labwright.runs.folder import claim_folder
from labwright.runs.load import built_from, experiment_of

NEEDED = ("onnx", "onnxruntime", "onnxscript")
CHECKED = (1, 3)  # batch sizes that are compared; the file was traced with 2
TOLERANCE = 1e-4  # largest difference, as a share of the largest output


def export(folder: Path, plugins: Plugins, target: Path) -> dict[str, Any]:
    """Write model.onnx, what the task learned (`task/`) and model.json into the folder `target`; returns model.json.

    The size of a batch is free, other axes are those of the input port. The model is the one the run ended with, on the
    CPU. Raises LabwrightError if the model can't be exported, RunFailed if onnxruntime computes something else.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise LabwrightError(f"export needs {', '.join(missing)}: `pip install 'labwright[export]'` brings them.")
    overrides = ["device=cpu"]
    built = built_from(folder, experiment_of(folder, plugins, overrides), overrides=overrides)
    inputs, outputs = built.task.ports()
    names = _argument_names(built.model, len(inputs.example(1, generator(0))))
    if target.is_relative_to(folder):
        refuse_links(folder)
    claim_folder(target)
    file = target / "model.onnx"
    _write(built.model, inputs.example(2, generator(0)), names, file)
    examples = [inputs.example(size, generator(size)) for size in CHECKED]
    difference = max(_difference(built.model, file, names, example) for example in examples)
    shutil.copytree(folder / "task", target / "task")
    facts = {
        "inputs": [
            {"name": name, "dtype": str(one.dtype).removeprefix("torch."), "shape": ["batch", *one.shape[1:]]}
            for name, one in zip(names, examples[0], strict=True)
        ],
        "input_port": str(inputs),
        "output_port": str(outputs),
        "largest_difference": difference,
        "bytes": sum(part.stat().st_size for part in target.glob("model.onnx*")),
        "torch": torch.__version__,
        "notes": built.notes,
    }
    write_json(target / "model.json", facts)
    return {"folder": str(target), **facts}


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
        first = str(error).strip().split("\n")[0]
        raise LabwrightError(
            f"model {type(model).__name__} can't be exported to ONNX: {first} Its forward may use what a graph can't "
            "hold: values read by Python, packed sequences, other files."
        ) from error
    assert program is not None
    program.save(file)


def _difference(model: nn.Module, file: Path, names: Sequence[str], example: Sequence[Tensor]) -> float:
    """The largest difference between onnxruntime's output and PyTorch's. Raises RunFailed if it is too large."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (theirs, *_) = session.run(None, {name: one.numpy() for name, one in zip(names, example, strict=True)})
    with torch.inference_mode():
        ours = model(*example)
    exported = torch.from_numpy(theirs)
    difference = float((exported - ours).abs().max()) if exported.shape == ours.shape else float("inf")
    if not difference <= TOLERANCE * max(1.0, float(ours.abs().max())):
        raise RunFailed(
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
