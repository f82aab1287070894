"""What looks at pictures for the metrics: a classifier that has never seen a generated one, and its features.

B batch, C classes, F features. A judge takes pictures in the data's own scale and gives features and logits.
"""

from __future__ import annotations

import math
from pathlib import Path
from shutil import copyfile, copytree
from typing import final

import torch
from labwright import (
    Accuracy,
    AdamW,
    Classes,
    Data,
    Image,
    IndexedBatches,
    LabwrightError,
    Plugins,
    Port,
    Split,
    TensorSplit,
    derived_seed,
    epoch_order,
    isolated,
    listed,
    load,
)
from labwright_tasks.learned import differing
from torch import Tensor, nn
from torch.nn import functional

from labwright_gan.metrics import Seen

FEATURES = 64
_SEED = 20
_BATCH = 64
_AT_ONCE = 256
_UPDATES = 40  # at least, of a classifier of few generated samples
_POOLED = 8  # pixels


@final
class SmallCNN(nn.Module):
    """Three convolutions, two of them strided, and a layer of 64 features before the classes."""

    about = "the 64 features before the last layer of a small convolutional classifier trained on the training part"

    def __init__(self, picture: Image, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(picture.channels, 16, stride=1),
            *_convolution(16, 32, stride=2),
            *_convolution(32, 64, stride=2),
            nn.AdaptiveAvgPool2d(3),
            nn.Flatten(),
            nn.Linear(64 * 9, FEATURES),
            nn.ReLU(),
        )
        self.head = nn.Linear(FEATURES, classes)

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, 64) and logits (B, C)."""
        features_BF = self.body(x_BCHW)
        return features_BF, self.head(features_BF)


@final
class FromRun(nn.Module):
    """The classifier of a run; its features are what enters its last linear layer, or its logits if it has none."""

    about = "what enters the last linear layer of the classifier given as `judge`"

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
        self.last = layers[-1] if layers else None

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, F) and logits (B, C)."""
        if self.last is None:
            logits_BC = self.model(x_BCHW)
            return logits_BC, logits_BC
        entered: list[Tensor] = []
        handle = self.last.register_forward_pre_hook(lambda _, arguments: entered.append(arguments[0]))
        try:
            logits_BC = self.model(x_BCHW)
        finally:
            handle.remove()
        return entered[-1].flatten(1), logits_BC


@final
class Pixels(nn.Module):
    """What is left where pictures have no classes: their pixels, averaged to 8x8 at most; no logits."""

    about = "the pixels, averaged to 8x8 at most, since a classifier has no classes to learn of them"

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, None]:
        """Features (B, F)."""
        height, width = (min(_POOLED, side) for side in x_BCHW.shape[2:])
        return functional.adaptive_avg_pool2d(x_BCHW, (height, width)).flatten(1), None


Judge = SmallCNN | FromRun | Pixels


def trained(split: Split, picture: Image, classes: int, epochs: int) -> SmallCNN:
    """A classifier of a split's pictures after `epochs` passes, on the CPU: a function of its arguments."""
    with isolated(seed=derived_seed(_SEED)), torch.enable_grad():
        judge = SmallCNN(picture, classes)
        optimizer = AdamW(dict(judge.named_parameters()), lr=3e-3, schedule="one-cycle")
        total, step = epochs * -(-len(split) // _BATCH), 0
        for epoch in range(epochs):
            order = list(torch.split(epoch_order(len(split), seed=_SEED, epoch=epoch), _BATCH))
            if len(order) > 1 and len(order[-1]) == 1:  # of one sample with one pixel left BatchNorm knows no variance
                order[-2:] = [torch.cat(order[-2:])]
            for batch in IndexedBatches(split, order, seed=_SEED, epoch=epoch):
                torch.autograd.backward(functional.cross_entropy(judge(batch.inputs[0])[1], batch.targets))
                optimizer.step(optimizer.lr_at(step, total))
                judge.zero_grad()
                step += 1
    return judge.eval().requires_grad_(False)


def kept(file: Path, picture: Image, classes: int) -> SmallCNN:
    """A classifier whose weights are in a file."""
    from safetensors.torch import load_file

    with isolated():  # what it begins with is drawn, and nothing else is to be moved by that
        judge = SmallCNN(picture, classes)
    judge.load_state_dict(load_file(file))
    return judge.eval().requires_grad_(False)


@final
class GeneratedAlone:
    """The accuracy on real samples of a classifier that has learned from generated ones alone (Ravuri & Vinyals 2019).

    It is a judge anew, given as many generated samples of the classes asked for as there are real ones to test it on,
    in as many passes, but 40 updates or more. On the test part only, as it is trained each time.
    """

    splits = ("test",)
    higher_is_better = True

    def __init__(self, classes: int, epochs: int) -> None:
        self.classes, self.epochs = classes, epochs
        self.reset()

    def update(self, seen: Seen) -> None:
        for kept, samples in ((self._real, seen.real), (self._fake, seen.fake), (self._labels, seen.labels)):
            kept.append(samples.detach().cpu())

    def compute(self) -> float:
        if not self._real:
            return math.nan
        real, fake, labels = (torch.cat(kept) for kept in (self._real, self._fake, self._labels))
        epochs = max(self.epochs, -(-_UPDATES * _BATCH // len(fake)))
        learner = trained(TensorSplit((fake,), labels), Image(*fake.shape[1:]), self.classes, epochs)
        accuracy = Accuracy()
        with torch.no_grad():
            for some, asked in zip(torch.split(real, _AT_ONCE), torch.split(labels, _AT_ONCE), strict=True):
                accuracy.update(learner(some)[1], asked)
        return accuracy.compute()

    def reset(self) -> None:
        self._real: list[Tensor] = []
        self._fake: list[Tensor] = []
        self._labels: list[Tensor] = []


def of_run(folder: Path, ports: tuple[Port, Port]) -> FromRun:
    """The classifier that a run folder holds.

    Raises LabwrightError if there is none, if it isn't as the run left it, or if it looks at other pictures or tells
    other classes apart.
    """
    try:
        # with plugins of its own, or what is amiss with those of no concern would be among its notes
        run = load(folder, plugins=Plugins.discover())
    except LabwrightError as error:
        raise LabwrightError(f"task.judge: {error}") from error
    if run.notes:
        raise LabwrightError(f"task.judge: {' '.join(run.notes)} A judge is the model of a run as that ended.")
    theirs = run.task.ports()
    if theirs != ports:
        raise LabwrightError(
            f"task.judge: the run {folder} goes from {_words(theirs[0])} to {_words(theirs[1])}; a judge of this data "
            f"goes from {_words(ports[0])} to {_words(ports[1])}."
        )
    return FromRun(run.model).eval().requires_grad_(False)


def check_numbers(folder: Path, data: Data) -> None:
    """Raises LabwrightError for a run whose data gave other numbers for the same pictures than this does."""
    learned, _ = differing(data, folder)
    if learned:
        raise LabwrightError(
            f"task.judge: what {folder} has learned of its data is not what is learned of this data ({listed(learned)} "
            "in its task/), so that the judge would be given other numbers for the same pictures. Train it on this "
            "data, with the same settings of task.data."
        )


def copied(folder: Path, to: Path) -> None:
    """Keep what `of_run` needs of a run folder."""
    to.mkdir()
    copyfile(folder / "recipe.toml", to / "recipe.toml")
    for part in ("task", "checkpoints"):
        copytree(folder / part, to / part)


def _convolution(before: int, after: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]


def _words(port: Port) -> str:
    if isinstance(port, Image):
        return f"pictures of {port.channels}x{port.height}x{port.width}"
    if isinstance(port, Classes):
        return f"the classes {', '.join(port.names[:12])}"
    return type(port).__name__
