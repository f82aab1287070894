"""What flows between a task's data and a model: shapes and meanings, fixed once the data has been read.

B batch, C channels or classes, H height, W width, T time, D any width. An input port describes the positional arguments
a model is called with; an output port what its forward returns. A plugin may define its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor

from labwright.base.errors import LabwrightError


class Port(ABC):
    """A frozen dataclass that says what a model is called with, or what it returns.

    Example: `@dataclass(frozen=True)
    class Graph(lw.Port): features: int`
    """

    @abstractmethod
    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        """Random arguments of the right shapes and types: an input port's call, or an output port's target."""

    def check(self, output: Any, target: Tensor) -> None:
        """Raises LabwrightError if what a model returned, and the target beside it, aren't what this port stands for.

        A task calls it with what it evaluates; shapes and types alone are looked at.
        """


@dataclass(frozen=True)
class Image(Port):
    """Pictures: `model(x_BCHW)`, float32, usually scaled to about zero mean and unit variance.

    Example: `lw.Image(channels=3, height=32, width=32)`
    """

    channels: int
    height: int
    width: int

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        return (torch.randn(batch_size, self.channels, self.height, self.width, generator=generator),)


@dataclass(frozen=True)
class Tokens(Port):
    """Symbols: `model(ids_BT, lengths_B)`, both int64. Positions from a row's length on hold `pad_id`.

    Example: `lw.Tokens(vocab_size=8_000, length=128)`
    """

    vocab_size: int
    length: int
    pad_id: int = 0

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        ids_BT = torch.randint(0, self.vocab_size, (batch_size, self.length), generator=generator)
        lengths_B = torch.randint(1, self.length + 1, (batch_size,), generator=generator)
        # as real batches are: a model that looks at padding is found out by its examples
        ids_BT[torch.arange(self.length) >= lengths_B[:, None]] = self.pad_id
        return ids_BT, lengths_B


@dataclass(frozen=True)
class Audio(Port):
    """Sound: `model(x_BT, lengths_B)`, float32 in -1..1 and int64; `length` is in samples, `sample_rate` in Hz.

    Example: `lw.Audio(sample_rate=16_000, length=16_000)`
    """

    sample_rate: int
    length: int

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        x_BT = torch.rand(batch_size, self.length, generator=generator) * 2 - 1
        lengths_B = torch.randint(1, self.length + 1, (batch_size,), generator=generator)
        return x_BT.masked_fill(torch.arange(self.length) >= lengths_B[:, None], 0.0), lengths_B


@dataclass(frozen=True)
class Features(Port):
    """Numbers of any other kind: `model(x)` with x of shape (B, *shape), float32.

    Example: `lw.Features((30,))`
    """

    shape: tuple[int, ...]

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        return (torch.randn(batch_size, *self.shape, generator=generator),)


@dataclass(frozen=True)
class Interactions(Port):
    """Pairs of a user and an item: `model(users_B, items_B)`, both int64.

    Example: `lw.Interactions(users=943, items=1682)`
    """

    users: int
    items: int

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        return tuple(torch.randint(0, most, (batch_size,), generator=generator) for most in (self.users, self.items))


@dataclass(frozen=True)
class Latent(Port):
    """Noise that a generator turns into something: `model(z_BD)`, float32 from a standard normal.

    Example: `lw.Latent(64)`
    """

    dim: int

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        return (torch.randn(batch_size, self.dim, generator=generator),)


@dataclass(frozen=True)
class Classes(Port):
    """One of several classes: forward returns logits_BC; the target is labels_B, int64 in 0..C-1.

    `counts` are the training samples of each class, where the task knows them.

    Example: `lw.Classes(("cat", "dog"))`
    """

    names: tuple[str, ...]
    counts: tuple[int, ...] | None = field(default=None, compare=False, repr=False)

    def check(self, output: Any, target: Tensor) -> None:
        _check_shape(self, output, (*target.shape, len(self.names)), f"{len(self.names)} logits for each label")

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        return (torch.randint(0, len(self.names), (batch_size,), generator=generator),)


@dataclass(frozen=True)
class Values(Port):
    """Real numbers: forward returns values_BD; the target has the same shape, float32.

    Example: `lw.Values(1)`
    """

    dim: int

    def check(self, output: Any, target: Tensor) -> None:
        _check_shape(self, output, (len(target), self.dim), f"{self.dim} values for each sample")

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        return (torch.randn(batch_size, self.dim, generator=generator),)


@dataclass(frozen=True)
class Heads(Port):
    """Several outputs by name: forward returns a dict with each head's answer; targets are such a dict, too.

    A name has neither dot nor slash, as metrics and weights are named after it. Raises LabwrightError for one that has.

    Example: `lw.Heads({"species": lw.Classes(("cat", "dog")), "age": lw.Values(1)})`
    """

    ports: Mapping[str, Port]

    def __post_init__(self) -> None:
        for name in self.ports:
            if not name or "." in name or "/" in name:
                raise LabwrightError(f"Heads: a head is called {name!r}; its name has neither dot nor slash, as 'age'.")

    def example(self, batch_size: int, generator: Generator) -> tuple[Tensor, ...]:
        """The targets of each head in turn."""
        return tuple(tensor for port in self.ports.values() for tensor in port.example(batch_size, generator))


def _check_shape(port: Port, output: Any, shape: tuple[int, ...], what: str) -> None:
    if not isinstance(output, Tensor) or tuple(output.shape) != shape:
        came = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise LabwrightError(f"the model returned {came}; {type(port).__name__} stands for {shape}, {what}.")
