"""Norms of gradients, in a file of their own."""

from __future__ import annotations

import json
from typing import Annotated, Any, TextIO

import torch
from labwright import LabwrightError, Outcome, Run, hookimpl, ranks
from pydantic import Field
from torch import Tensor, nn


class GradientNorms:
    """Write the norm of the gradient of all parameters, and of each layer's, to gradient_norms.jsonl in a run's folder.

    A line is `{"step": 50, "norm": 1.7, "layers": {"head": 0.4, ...}}`. Norms are Euclidean, of the gradients as they
    come from the loss, before `train.clip`. Where a step has several phases, a parameter's is that of the last phase
    that gave it one. The loop never waits for them: they are read one interval later.

    A logger can't add numbers to metrics.jsonl, which is the loop's own; pandas reads both alike
    (`pandas.read_json(file, lines=True)`).

    Args:
        every: steps from one line to the next; None: train.log_every.
        layers: whether each layer's norm is written, too: of the module that holds the parameters, by its name.
    """

    def __init__(self, *, every: Annotated[int, Field(ge=1)] | None = None, layers: bool = False) -> None:
        self.every, self.layers = every, layers
        self._hooks: list[Any] = []
        self._file: TextIO | None = None

    @hookimpl
    def labwright_run_started(self, run: Run) -> None:
        _refuse(run)
        often = run.recipe["train"]["log_every"]
        self._interval = self.every or (min(-(-run.total_steps // 100), 50) if often == "auto" else int(often))
        self._run = run
        self._fresh: dict[str, Tensor] = {}  # of the step under way, by parameter
        self._waiting: tuple[int, list[str], Tensor] | None = None  # what is on its way from the device
        self._missed = False
        self._file = _from_step(run)
        self._listen()

    @hookimpl
    def labwright_step_ended(self, step: int) -> None:
        if step % self._interval == 0:
            self._collect(step)
        self._listen()

    @hookimpl
    def labwright_run_ended(self, outcome: Outcome) -> None:  # noqa: ARG002 - pluggy calls by name
        if self._file is not None:
            self._write()
            self._file.close()
            self._hang_up()

    def _listen(self) -> None:
        """Hang hooks on what is trained if the next step is due; other steps pay nothing."""
        if (self._run.step + 1) % self._interval:
            return
        for name, parameter in self._run.model.named_parameters():
            if parameter.requires_grad:
                hook = parameter.register_post_accumulate_grad_hook(self._hook(name))  # type: ignore[no-untyped-call]
                self._hooks.append(hook)

    def _hang_up(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def _hook(self, name: str) -> Any:
        def accumulated(parameter: nn.Parameter) -> None:
            # again for each micro-batch: the last one's has the whole sum
            if parameter.grad is not None:
                self._fresh[name] = torch.linalg.vector_norm(parameter.grad.detach())

        return accumulated

    def _collect(self, step: int) -> None:
        self._hang_up()
        self._write()
        if self._fresh:
            self._waiting = step, list(self._fresh), torch.stack([*self._fresh.values()]).float()
        elif not self._missed:
            self._missed = True
            self._run.notes.append(
                f"gradient-norms: step {step} left no gradient where autograd does, so that no norm of it is written: "
                "the recipe's method makes them in its own way."
            )
        self._fresh = {}

    def _write(self) -> None:
        if self._waiting is None or self._file is None:
            return
        step, names, norms = self._waiting
        self._waiting = None
        squares: dict[str, float] = {}
        for name, norm in zip(names, norms.tolist(), strict=True):
            layer = name.rpartition(".")[0] or name
            squares[layer] = squares.get(layer, 0.0) + norm**2
        line: dict[str, Any] = {"step": step, "norm": sum(squares.values()) ** 0.5}
        if self.layers:
            line["layers"] = {layer: square**0.5 for layer, square in squares.items()}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def _refuse(run: Run) -> None:
    """Raises LabwrightError for a run whose gradients aren't what they seem while they come."""
    if run.recipe["device"].get("precision") == "fp16":
        raise LabwrightError(
            "logger 'gradient-norms': under device.precision=fp16 gradients come multiplied by a factor that changes. "
            "Use bf16 or fp32, or leave the logger out."
        )
    if ranks.count() > 1:
        raise LabwrightError(
            f"logger 'gradient-norms': {ranks.count()} processes train together, and each sees the gradient of its own "
            "share alone. Leave the logger out, or train with one."
        )


def _from_step(run: Run) -> TextIO:
    """The file, without what an earlier attempt wrote of the steps that are still to do."""
    path = run.folder / "gradient_norms.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= run.step]
        file = path.open("w", encoding="utf-8")
        file.write("".join(f"{line}\n" for line in kept))
        file.flush()
    except OSError as error:
        raise LabwrightError(f"logger 'gradient-norms' can't write {path}: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise LabwrightError(
            f"logger 'gradient-norms': {path} isn't a file that it wrote: move it elsewhere."
        ) from error
    return file
