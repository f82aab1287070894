"""What a run's report shows of a language model: what it writes, and what context is worth. T tokens of a window."""

from __future__ import annotations

from collections.abc import Sequence

from labwright import Figure, Text
from matplotlib.figure import Figure as Canvas
from torch import Tensor

_LINE_END = " \u21b5 "
_DOTTED = 40  # places up to which each has a dot


def written(prompts: Sequence[str], continuations: Sequence[str], how: str) -> Text:
    """What the model wrote after each prompt; `how` says how tokens were drawn."""
    captions = [f"after: {prompt.replace(chr(10), _LINE_END)}" for prompt in prompts]
    note = f"Prompts are from the split; what stands below each is the model's, at {how}."
    return Text("Written by the model", continuations, captions, preformatted=True, note=note)


def by_place(nats_T: Tensor) -> Figure:
    """The mean loss at each place of a window, (T,) in nats; a place with no number isn't drawn."""
    canvas = Canvas(figsize=(6.0, 3.2), layout="constrained")
    axes = canvas.subplots()
    axes.plot(nats_T.numpy(), linewidth=1.8, marker="o" if len(nats_T) <= _DOTTED else "", markersize=3)
    axes.set(xlabel="tokens seen before in the window, less one", ylabel="nats per token")
    axes.grid(axis="y", alpha=0.4)
    return Figure("Loss by place in the window", canvas, "What more context is worth: the mean loss at each place.")
