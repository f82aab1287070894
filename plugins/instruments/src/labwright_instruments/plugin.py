"""What labwright-instruments brings: the menu. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator

import labwright as lw


@lw.hookimpl
def labwright_components() -> Iterator[lw.Component]:
    target = "labwright_instruments.event_files:TensorBoard"
    yield lw.Component("logger", "tensorboard", target, "event files for TensorBoard")
    norms = "labwright_instruments.gradient_norms:GradientNorms"
    yield lw.Component("logger", "gradient-norms", norms, "norms of gradients, whole and by layer, in a file")


@lw.hookimpl
def labwright_verbs() -> Iterator[lw.Verb]:
    here = "labwright_instruments.verbs"
    shapes = "layers, shapes, parameters, FLOPs and memory of a recipe"
    yield lw.Verb("summary", f"{here}.summary:verb", shapes, "Look")
    lr = "the learning rate range test, drawn"
    yield lw.Verb("find-lr", f"{here}.find_lr:verb", lr, "Look", trains=True)
    size = "the largest batch that fits, and the fastest"
    yield lw.Verb("find-batch-size", f"{here}.find_batch_size:verb", size, "Look", trains=True)
    slow = "where the time of a step goes"
    yield lw.Verb("profile", f"{here}.profile:verb", slow, "Look", trains=True)
