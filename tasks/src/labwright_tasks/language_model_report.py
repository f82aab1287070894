"""What a run's report shows of a language model. T tokens of a window."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import torch
from labwright import LEFT_OUT, Figure, IndexedBatches, Section, Table, evaluating
from matplotlib.figure import Figure as Canvas
from torch import Tensor, nn

if TYPE_CHECKING:
    from labwright import Split

    from labwright_tasks.language_model import LanguageModel

_AT_ONCE, _BATCHES = 64, 20  # windows whose loss is looked at: enough for a smooth curve
_TEXTS, _PROMPT, _LENGTH = 4, 16, 200  # texts shown, tokens of a prompt, most tokens written
_LINE_END = " \u21b5 "


def sections(task: LanguageModel, model: nn.Module, split: str, device: torch.device) -> list[Section]:
    """The sections for one split; none if the data has no such split."""
    part = task.data.split(split)
    if part is None or not len(part):
        return []
    with evaluating(model):
        return [_texts(task, model, part), _by_place(task, model, part, device)]


def _texts(task: LanguageModel, model: nn.Module, part: Split) -> Table:
    rows: list[tuple[object, ...]] = []
    chosen = torch.arange(_TEXTS) * len(part) // _TEXTS
    ids_BT, lengths_B = part.fetch(torch.unique(chosen), 0, 0).inputs
    for number, (ids, length) in enumerate(zip(ids_BT.tolist(), lengths_B.tolist(), strict=True)):
        prompt = ids[: min(length, _PROMPT)]
        (shown,) = task.data.show((torch.tensor([prompt]), torch.tensor([len(prompt)])))
        pieces = islice(task.continuation(model, prompt, number), _LENGTH)
        rows.append((_one_line(str(shown)), _one_line("".join(pieces))))
    most = "the most probable token each time" if task.temperature == 0 else f"temperature {task.temperature:g}"
    top = f", among the {task.top_k} most probable tokens" if task.top_k and task.temperature else ""
    note = f"Prompts are from the split; what follows is the model's, at {most}{top}. {_LINE_END.strip()} ends a line."
    return Table("Written by the model", ("prompt", "continuation"), rows, note)


def _by_place(task: LanguageModel, model: nn.Module, part: Split, device: torch.device) -> Figure:
    total_T, count_T = _losses(task, model, part, device)
    seen = count_T > 0
    canvas = Canvas(figsize=(6.0, 3.2), layout="constrained")
    axes = canvas.subplots()
    axes.plot((total_T / count_T)[seen].numpy(), linewidth=1.8, marker="o" if len(total_T) <= 40 else "", markersize=3)
    axes.set(xlabel="tokens seen before in the window, less one", ylabel="nats per token")
    axes.grid(axis="y", alpha=0.4)
    return Figure("Loss by place in the window", canvas, "What more context is worth: the mean loss at each place.")


def _losses(task: LanguageModel, model: nn.Module, part: Split, device: torch.device) -> tuple[Tensor, Tensor]:
    """The sum of the losses at each place, (T,) in nats, and how many there are, (T,)."""
    total_T = count_T = torch.zeros(())
    for batch in islice(IndexedBatches.in_order(part, _AT_ONCE), _BATCHES):
        nats_BT = task.nats(model, batch.to(device))  # type: ignore[arg-type]
        total_T = total_T + nats_BT.sum(dim=0).cpu().double()
        count_T = count_T + (batch.targets != LEFT_OUT).sum(dim=0)
    return total_T, count_T


def _one_line(text: str) -> str:
    return text.replace("\n", _LINE_END)
