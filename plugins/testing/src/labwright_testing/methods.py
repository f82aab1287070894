"""Checks of methods, and of whatever keeps a state of its own: tasks, methods, listeners."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from labwright import Method, Stateful, Steps, Task, Update, listed
from torch import Tensor, nn

from labwright_testing.kit import NotApplicable, Subject, check
from labwright_testing.training import STEPS, Training, alike, begun, trained


class Watched(Method):
    """A method that is looked at while it trains. Raises AssertionError for what it shouldn't do."""

    def __init__(self, method: Method) -> None:
        self.method, self.calls = method, 0

    def check(self, task: Task, model: nn.Module) -> None:
        self.method.check(task, model)

    def begin(self, task: Task, model: nn.Module, criterion: Any, recipe: Mapping[str, Any]) -> Sequence[str]:
        return self.method.begin(task, model, criterion, recipe)

    def feed(self, steps: Steps) -> Iterator[Any]:
        return self.method.feed(steps)

    def gradients(self, update: Update, batches: Sequence[Any], weights: Sequence[float]) -> Mapping[str, Tensor]:
        before = [parameter.detach().clone() for parameter in update.parameters]
        losses = self.method.gradients(update, batches, weights)
        self.calls += 1
        for kept, parameter in zip(before, update.parameters, strict=True):
            assert torch.equal(kept, parameter), "it moves parameters, which is the optimizer's part"
        assert update.name in losses, f"phase {update.name!r}: its losses are called {listed(losses) or 'nothing'}"
        for name, loss in losses.items():
            assert name == update.name or name.startswith(f"{update.name}/"), f"phase {update.name!r} has no {name!r}"
            assert isinstance(loss, Tensor) and loss.shape == (), f"loss {name!r} is no scalar tensor"
            assert not loss.requires_grad, f"loss {name!r} keeps its graph: return it detached"
        gradients = [parameter.grad for parameter in update.parameters if parameter.grad is not None]
        assert gradients, f"phase {update.name!r}: no parameter has a gradient"
        assert all(bool(gradient.isfinite().all()) for gradient in gradients), "a gradient isn't finite"
        return losses


@check("method")
def leaves_gradients_and_gives_the_losses(subject: Subject) -> None:
    """`gradients` leaves finite ones in `grad` of the phase's parameters and returns the loss under the phase's name.

    Named parts are PHASE/PART; all are scalars without a graph. The parameters themselves are as before.
    """
    watched = Watched(subject.experiment.method.build())
    trained(subject, 2, changes={"method": watched})
    assert watched.calls, "in two steps it is asked for no gradients"


@check("method")
def repeats_and_resumes_exactly(subject: Subject) -> None:
    """Trained twice with one seed, and stopped and gone on with, it has the same losses and weights in every bit.

    Draw from torch's own generator, which begins anew at each step; keep what is left over from step to step in
    `state`.
    """
    whole = trained(subject, STEPS)
    _compare(whole, trained(subject, STEPS), "trained again with the same seed")
    half = trained(subject, STEPS // 2)
    _compare(whole, trained(subject, STEPS, after=half), f"gone on with after step {STEPS // 2}")


@check("task", "method", "logger", "stop")
def takes_up_the_state_it_gave(subject: Subject) -> None:
    """`state()` is the same when asked twice, and what was made anew and given it by `load_state` gives the same.

    It holds tensors, and what JSON gives back as it is. A state that is asked for in mid-run changes nothing.
    """
    if not (inspect.isclass(subject.target) and issubclass(subject.target, Stateful)):
        raise NotApplicable("it keeps no state")
    subject.descends()
    training = trained(subject, STEPS)
    often = trained(subject, STEPS, changes={"train.save_every": "1 steps"})
    _compare(training, often, "saved after every step")
    kept = dict(_thing(subject, training).state())
    assert alike(kept, dict(_thing(subject, training).state())), "asked twice, `state` gives something else"
    with begun(subject, after=training) as other:
        again = dict(_thing(subject, other).state())
    differing = [name for name in kept.keys() | again.keys() if not alike(kept.get(name), again.get(name))]
    assert not differing, f"after `load_state`, {listed(sorted(differing))} of its state is another"


def _thing(subject: Subject, training: Training) -> Stateful:
    things = training.trainer.stateful.values()
    thing: Stateful = next(thing for thing in things if isinstance(thing, subject.target))
    return thing


def _compare(whole: Training, other: Training, when: str) -> None:
    """Raises AssertionError if the steps that both took have other losses, or they end with other weights."""
    for step, losses in other.losses.items():
        assert alike(whole.losses[step], losses), f"{when}, the losses of step {step} are others"
    assert alike(whole.checkpoint.model, other.checkpoint.model), f"{when}, it ends with other weights"
    assert alike(whole.checkpoint.training, other.checkpoint.training), f"{when}, it ends in another state"
    assert alike(whole.checkpoint.tables, other.checkpoint.tables), f"{when}, its tables hold other rows"
