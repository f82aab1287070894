"""Checks of tasks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import torch
from labwright import Batch, Experiment, LabwrightError, Split
from torch import Generator, Tensor

from labwright_testing.kit import Kit, NotApplicable, Subject, check, tensors

MOST = 2  # components that are tried in a part of a task, as each reads the data anew


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


@check("task")
def cuts_its_batches_by_rows(subject: Subject) -> None:
    """`Batch.rows` gives some of a batch's samples: cut in two, its rows and its weight add up to those of the whole.

    That is how `device.accumulate` makes micro-batches. A batch that counts something, or whose tensors don't all have
    a row for each sample, is of a class with a `rows` of its own, which counts anew.
    """
    batch = subject.batch(6)
    size = len(batch)
    assert size > 1, "a batch of 6 has one sample"
    parts = [batch.rows(slice(0, 1)), batch.rows(slice(1, size))]
    assert [len(part) for part in parts] == [1, size - 1], (
        f"1 and {size - 1} rows become {[len(part) for part in parts]}"
    )
    for part in parts:
        assert type(part) is type(batch), f"rows of a {type(batch).__name__} are a {type(part).__name__}"
    for name in ("inputs", "targets"):
        whole, *cut = [tensors(getattr(one, name)) for one in (batch, *parts)]
        for of_whole, first, rest in zip(whole, *cut, strict=True):
            if first.shape[1:] == rest.shape[1:] == of_whole.shape[1:]:  # else what fills up rows is cut off, too
                assert torch.equal(torch.cat([first, rest]), of_whole), (
                    f"the rows of its {name} aren't those of the whole"
                )
    weights = [subject.task.weight(one) for one in (batch, *parts)]
    close = abs(weights[0] - weights[1] - weights[2]) <= 1e-6 * abs(weights[0])
    assert close, f"a batch weighs {weights[0]}, its rows {weights[1]} and {weights[2]}: something isn't counted anew"


@check("task")
def orders_by_seed_and_epoch(subject: Subject) -> None:
    """`order` of `train` depends on its arguments alone: another epoch has another order, the same one the same.

    Indices are int64 and on the CPU; a batch has at most `size` of them. Draw from `labwright.generator(seed, epoch)`.
    """
    before = torch.get_rng_state()
    first, again, other = (_order(subject, epoch) for epoch in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state()), "it draws from torch's own generator"
    for indices in first:
        assert indices.dtype == torch.int64, f"its indices are {indices.dtype}"
        assert indices.device.type == "cpu" and indices.ndim == 1, f"its indices have shape {tuple(indices.shape)}"
        assert 0 < len(indices) <= 4, f"asked for batches of 4, it gives one of {len(indices)}"
    assert _same(first, again), "the same seed and epoch have two orders"
    assert len(first) < 3 or not _same(first, other), "two epochs have one order"


@check("task")
def sees_each_sample_once_an_epoch(subject: Subject) -> None:
    """An epoch of `train` has each sample of the task's view in one batch; `replacement = True` says otherwise."""
    if subject.task.replacement:
        raise NotApplicable("it draws with replacement")
    part = _viewed(subject)
    counts = torch.cat([*_order(subject, 0)]).bincount(minlength=len(part))
    assert len(counts) == len(part), f"an index is {len(counts) - 1}, of {len(part)} samples"
    assert int(counts.max()) == 1, f"sample {int(counts.argmax())} is in an epoch {int(counts.max())} times"
    assert int(counts.min()) == 1, f"{int((counts == 0).sum())} of {len(part)} samples are in no batch of an epoch"


@check("task")
def finds_a_model_for_its_contract(subject: Subject) -> None:
    """Some installed model has the methods that `model_contract` names, with the same parameters.

    Bring one, and a recipe with it, or nobody can use the task.
    """
    contract = getattr(subject.target, "model_contract", None)
    if contract is None:
        raise NotApplicable("it calls the model itself")
    assert subject.first, f"no recipe has a model that fits {contract.__name__}, which it calls"


@check("task")
def takes_the_losses_that_fit_its_contracts(subject: Subject) -> None:
    """What fits the `contract` of a `Part` in its settings can stand there: the loss of a batch is a number.

    A few of the installed components are put where the recipe has one, and in a setting of one also where it has none.
    """
    parts = {name: setting.part for name, setting in subject.settings.items() if setting.part}
    contracts = {name: (part.kind, part.contract) for name, part in parts.items() if part.contract}
    if not contracts:
        raise NotApplicable("no part of it has a contract")
    subject.descends()
    base, named = subject.experiment, subject.experiment.task.parts()
    for name, (kind, contract) in contracts.items():
        places = [path for path in named if path.partition(".")[0] == name]
        if not places and subject.settings[name].several:
            continue  # whoever writes the recipe says how many there are, and what they are called
        place = places[0] if places else name
        first = [named[place].name] if places else []
        fitting = [*islice(_fitting(base, f"task.{place}", [*first, *base.plugins.names(kind)]), MOST)]
        assert fitting, f"{name}: no installed {kind} fits {contract.__name__}"
        for component, experiment in fitting:
            other = Subject(Kit(subject.plugins, {subject.label: experiment}), subject.declared)
            try:
                losses = other.losses(other.built(), other.batch(4))
            except Exception as error:
                raise AssertionError(f"{place}={component!r} fits, but: {type(error).__name__}: {error}") from error
            finite = all(bool(loss.isfinite()) for loss in losses.values())
            assert finite, f"{place}={component!r}: the loss is no finite number"


def _fitting(base: Experiment, path: str, names: Iterable[str]) -> Iterator[tuple[str, Experiment]]:
    """Components that the contract of a place lets in, and the experiment with each."""
    for name in dict.fromkeys(names):
        try:
            yield name, base.varied({path: name})
        except LabwrightError:
            continue


def _viewed(subject: Subject) -> Split:
    part = subject.task.data.split("train")
    assert part is not None, "the data has no training part"
    viewed = subject.task.view("train", part)
    assert viewed is not None, "its view of the training part is nothing"
    return viewed


def _order(subject: Subject, epoch: int) -> Sequence[Tensor]:
    return subject.task.order("train", _viewed(subject), size=4, seed=0, epoch=epoch)


def _same(left: Sequence[Tensor], right: Sequence[Tensor]) -> bool:
    return len(left) == len(right) and all(map(torch.equal, left, right))


def _batches(subject: Subject, start: int, most: int = 4) -> list[Batch]:
    found = subject.task.batches("train", size=4, seed=0, epoch=0, start=start)
    assert found is not None, "the data has no training part"
    return [batch for batch, _ in zip(found, range(most), strict=False)]


def _equal(left: Batch, right: Batch) -> bool:
    pairs = zip(tensors(left), tensors(right), strict=True)
    return all(one.shape == other.shape and torch.equal(one, other) for one, other in pairs)
