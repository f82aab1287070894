"""Checks of tasks."""

from __future__ import annotations

import torch
from labwright import Batch, LabwrightError
from torch import Generator, Tensor

from labwright_testing.kit import Subject, check, tensors


@check("task")
def has_a_loss_that_is_pure_and_scalar(subject: Subject) -> None:
    """`loss` returns one number, the same for the same arguments, and changes neither batch nor weights.

    What is random is drawn in `draw`; what is to change after a step is changed in `after_step`.
    """
    subject.descends()
    built, batch = subject.built(), subject.batch(4)
    built.model.eval()
    kept = [tensor.clone() for tensor in tensors(batch)]
    weights = {name: one.detach().clone() for name, one in built.model.named_parameters()}
    first, again = subject.losses(built, batch), subject.losses(built, batch)
    assert torch.equal(torch.get_rng_state(), torch.manual_seed(0).get_state()), "it draws from torch's generator"
    for phase, loss in first.items():
        assert isinstance(loss, Tensor) and loss.shape == (), f"phase {phase}: the loss has shape {tuple(loss.shape)}"
        assert loss.requires_grad, f"phase {phase}: the loss has no gradient"
        values = [float(one.detach()) for one in (loss, again[phase])]
        assert values[0] == values[1], f"phase {phase}: {values[0]} at first, then {values[1]}"
    for before, after in zip(kept, tensors(batch), strict=True):
        assert torch.equal(before, after), "the batch is changed"
    for name, one in built.model.named_parameters():
        assert torch.equal(weights[name], one), f"{name} is changed"


@check("task")
def evaluates_without_a_trace(subject: Subject) -> None:
    """`evaluate` leaves the model as it is, and gives the same twice if torch's generator, which is seeded for it, is.

    So evaluating more often changes nothing. Draw from nothing but torch's generator.
    """
    built, batch = subject.built(), subject.held_out(4)
    state = {name: one.clone() for name, one in built.model.state_dict().items()}
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        found.append(tensors(subject.results(built.model, batch)))
    for left, right in zip(*found, strict=True):
        assert left.shape == right.shape and bool(((left == right) | left.isnan()).all()), "a second one is another"
    for name, one in built.model.state_dict().items():
        assert torch.equal(state[name], one), f"it changes {name}"


@check("task")
def reports_its_goal(subject: Subject) -> None:
    """The goal's metric is among `metrics()`, which are new each time and take what `evaluate` returns."""
    task, built = subject.task, subject.built()
    metrics = task.metrics()
    goal = task.goal.metric
    known = [name for name in metrics if goal == name or goal.startswith(f"{name}/")]
    assert known, f"the goal is {goal!r}, the metrics are {', '.join(metrics)}"
    assert task.metrics()[known[0]] is not metrics[known[0]], f"metrics() gives the same {known[0]!r} each time"
    results = subject.results(built.model, subject.held_out(4))
    try:
        metrics[known[0]].update(*results)
    except TypeError as error:
        raise AssertionError(f"metric {known[0]!r} doesn't take what evaluate returns: {error}") from error


@check("task")
def begins_its_batches_anywhere(subject: Subject) -> None:
    """`batches(start=k)` are the batches from k on, the same each time: that is how a run resumes in mid-epoch."""
    task = subject.task
    whole = _batches(subject, 0)
    assert len(whole) > 1, "the training part has no two batches of 4"
    for left, right in zip(whole, _batches(subject, 0), strict=True):
        assert _equal(left, right), "a second pass with the same seed and epoch has other batches"
    for left, right in zip(whole[1:], _batches(subject, 1), strict=False):
        assert _equal(left, right), "the pass from batch 1 on has other batches than the whole one"
    lengths = [len(found) for start in (0, 1) if (found := task.batches("train", size=4, seed=0, epoch=0, start=start))]
    assert lengths[0] == lengths[1] + 1, f"there are {lengths[0]} batches, and {lengths[1]} from batch 1 on"


@check("task")
def draws_from_the_generator_given(subject: Subject) -> None:
    """`draw` takes its random numbers from the generator it is given, and from nothing else."""
    batches = subject.task.batches("train", size=4, seed=0, epoch=0)
    assert batches is not None
    batch = next(iter(batches))
    before = torch.get_rng_state()
    first, again = (subject.task.draw(batch, Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state()), "it draws from torch's own generator"
    assert _equal(first, again), "the same generator gives another draw"


@check("task")
def trains_parts_that_are_there(subject: Subject) -> None:
    """Each phase names children of the model, and an optimizer's phase has something to train."""
    subject.descends()
    try:
        optimizers = subject.built().optimizers
    except LabwrightError as error:
        raise AssertionError(str(error)) from error
    for phase, optimizer in optimizers.items():
        assert optimizer.parameters, f"phase {phase!r} trains nothing"


@check("task")
def weighs_a_batch_by_a_number(subject: Subject) -> None:
    """`weight` is a positive number known on the host: samples, or target tokens; a tensor would make a GPU wait."""
    weight = subject.task.weight(subject.batch(4))
    assert isinstance(weight, int | float) and weight > 0, f"the weight of a batch of 4 is {weight!r}"


def _batches(subject: Subject, start: int, most: int = 4) -> list[Batch]:
    found = subject.task.batches("train", size=4, seed=0, epoch=0, start=start)
    assert found is not None, "the data has no training part"
    return [batch for batch, _ in zip(found, range(most), strict=False)]


def _equal(left: Batch, right: Batch) -> bool:
    pairs = zip(tensors(left), tensors(right), strict=True)
    return all(one.shape == other.shape and torch.equal(one, other) for one, other in pairs)
