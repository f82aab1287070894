"""Checks of models. B batch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from labwright import Batch, Built, ClosedForm, LabwrightError, listed
from safetensors.torch import save_file
from torch import Generator, Tensor, nn

from labwright_testing.kit import NotApplicable, Subject, check, tensors
from labwright_testing.training import trained

STEPS, FALL = 150, 0.5  # of the loss of one batch in so many steps
SETTLED = 10  # losses in a row that say that it has fallen


@check("model")
def answers_batches_of_one_and_three(subject: Subject) -> None:
    """In evaluation a batch of 1 or of 3 is answered by as many rows, and a row's answer doesn't depend on the others.

    Look for `squeeze()` without an axis, for sizes taken from the first batch, for padding that isn't masked, and for
    statistics over the batch.
    """
    model = subject.built().model.eval()
    if isinstance(model, ClosedForm):
        raise NotApplicable("it is computed in closed form, and asked by its task")
    three = subject.task.ports()[0].example(3, Generator().manual_seed(0))
    try:
        with torch.no_grad():
            whole, alone = tensors(model(*three)), tensors(model(*(one[:1] for one in three)))
    except NotImplementedError as error:
        raise NotApplicable("its task calls its parts") from error
    for of_three, of_one in zip(whole, alone, strict=True):
        assert of_three.shape[0] == 3, f"a batch of 3 is answered with shape {tuple(of_three.shape)}"
        assert of_one.shape[0] == 1, f"a batch of 1 is answered with shape {tuple(of_one.shape)}"
        if of_three[:1].shape == of_one.shape:
            torch.testing.assert_close(
                of_three[:1], of_one, rtol=1e-3, atol=1e-3, msg=lambda said: f"a row depends on its neighbours: {said}"
            )


@check("model")
def trains_every_parameter(subject: Subject) -> None:
    """Each parameter gets a finite gradient from some phase's loss.

    One without a gradient is unused: remove it, or set `requires_grad_(False)` if it is to stay as it is.
    """
    subject.descends()
    built = subject.built()
    built.model.train()
    for loss in subject.losses(built, subject.batch(8)).values():
        torch.autograd.backward(loss)
    trained = {id(one) for optimizer in built.optimizers.values() for one in optimizer.parameters.values()}
    for name, parameter in built.model.named_parameters():
        if parameter.requires_grad and id(parameter) in trained:
            assert parameter.grad is not None, f"{name} gets no gradient"
            assert bool(parameter.grad.isfinite().all()), f"the gradient of {name} isn't finite"


@check("model")
def gives_the_same_losses_for_the_same_seed(subject: Subject) -> None:
    """Built twice with one seed and updated six times, the losses agree in every bit.

    Draw from torch's own generator, as `torch.rand` and dropout do: a run that is resumed begins others anew.
    """
    subject.descends()
    first, again = (list(islice(_training(subject), 6)) for _ in range(2))
    assert first == again, f"the losses are {first} and {again}"


@check("model")
def keeps_everything_in_its_state(subject: Subject) -> None:
    """A model made anew and given the state of another answers as that one does.

    Whatever is learned or set by the data is a parameter or a buffer (`register_buffer`), not a plain attribute.
    """
    one, other = subject.built(), subject.built(**{"train.seed": 1})
    if isinstance(one.model, ClosedForm):
        batches = subject.task.batches("train", size=64, seed=0, epoch=0)
        assert batches is not None
        one.model.fit(batches)
    state = {name: tensor.clone() for name, tensor in one.model.state_dict().items()}
    try:
        other.model.load_state_dict(state)
    except RuntimeError as error:
        raise AssertionError(f"its state can't be taken up: {error}") from error
    batch = subject.held_out(4)
    for name, tensor in other.model.state_dict().items():
        assert torch.equal(tensor, state[name]), f"{name} isn't taken up"
    first, again = (tensors(subject.results(each.model, batch)) for each in (one, other))
    for left, right in zip(first, again, strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=0, equal_nan=True, msg="it answers differently")


@check("model")
def starts_from_its_own_weights(subject: Subject) -> None:
    """A run that starts from a trained model of the same recipe takes every tensor, and has none that keeps its own.

    Names and shapes are there from the constructor on: register no buffer in `forward`, rename nothing.
    """
    subject.descends()
    state = trained(subject, 1).trainer.model.state_dict()
    tensors_of = {name: one.contiguous().clone() for name, one in state.items() if isinstance(one, Tensor)}
    with TemporaryDirectory(prefix="labwright-") as scratch:
        save_file(tensors_of, Path(scratch) / "model.safetensors")
        experiment = subject.experiment.varied({"start": {"run": scratch}})
        built = experiment.build(task=subject.task)
        try:
            started = experiment.begun(built)
        except LabwrightError as error:
            raise AssertionError(f"its own weights don't fit it: {error}") from error
    assert started is not None, "the experiment starts from nothing"
    assert not started.kept, f"{listed(started.kept)} aren't in a trained model"
    for name, tensor in built.model.state_dict().items():
        assert not isinstance(tensor, Tensor) or torch.equal(tensor, tensors_of[name]), f"{name} isn't taken up"


@check("model")
def changes_nothing_in_evaluation(subject: Subject) -> None:
    """In evaluation it gives the same answer twice and leaves its state as it is.

    Dropout, noise and running statistics ask `self.training`.
    """
    built = subject.built()
    batch = subject.held_out(4)
    before = {name: tensor.clone() for name, tensor in built.model.state_dict().items()}
    first, again = (tensors(subject.results(built.model, batch)) for _ in range(2))
    for left, right in zip(first, again, strict=True):
        assert torch.equal(left, right) or bool(left.isnan().any()), "a second answer is another"
    for name, tensor in built.model.state_dict().items():
        assert torch.equal(tensor, before[name]), f"evaluation changes {name}"


@check("model")
def moves_whole(subject: Subject) -> None:
    """`model.to(device)` moves everything: no tensor is a plain attribute of a module.

    Make it a buffer, with `persistent=False` if it needn't be saved, or make it in `forward` where the inputs are.
    """
    model = subject.built().model
    for path, module in model.named_modules():
        for key, value in vars(module).items():
            if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
                raise AssertionError(f"{path + '.' if path else ''}{key} is a tensor that stays behind")
    for name, tensor in model.to("meta").state_dict().items():
        assert tensor.is_meta, f"{name} stays behind"


@check("model")
def computes_in_bf16(subject: Subject) -> None:
    """Under autocast to bfloat16 the loss is finite and within a tenth of that in float32.

    Don't fix dtypes (`.float()`, `torch.zeros(...)` without the dtype of what it meets); keep sums of many terms, and
    exponentials, in float32.
    """
    subject.descends()
    built, batch = subject.built(), subject.batch(8)
    built.model.eval()
    with torch.no_grad():
        exact = subject.losses(built, batch)
        try:
            with torch.autocast("cpu", torch.bfloat16):
                rough = subject.losses(built, batch)
        except RuntimeError as error:
            raise AssertionError(f"it can't be computed: {error}") from error
    for phase, loss in exact.items():
        assert bool(rough[phase].isfinite()), f"the loss of phase {phase} is {float(rough[phase])}"
        difference = abs(float(rough[phase]) - float(loss))
        assert difference <= 0.1 * max(abs(float(loss)), 0.1), f"{float(rough[phase]):.4g} instead of {float(loss):.4g}"


@check("model")
def learns_one_batch_by_heart(subject: Subject) -> None:
    """Trained on a single batch of 8 for up to 150 steps of its recipe's optimizer, the loss falls by half.

    If not, a part isn't trained, the rate doesn't fit, or the model can't tell the samples apart.
    """
    subject.descends()
    if len(subject.built().optimizers) > 1:
        raise NotApplicable("its phases play against one another")
    losses: list[float] = []
    for loss in islice(_training(subject), STEPS):
        losses.append(loss)
        if len(losses) > SETTLED and max(losses[-SETTLED:]) < FALL * losses[0]:
            return
    assert min(losses[-SETTLED:]) < FALL * losses[0], f"the loss goes from {losses[0]:.4g} to {losses[-1]:.4g}"


@check("model")
def says_what_it_goes_with(subject: Subject) -> None:
    """Whether torch.compile takes it whole, and torch.func its gradients for several trials at once. Never a failure.

    What is said names the reason: a branch on values, a call that torch can't follow, state that is written in place.
    """
    subject.descends()
    batch = subject.batch(4)
    for what, tried in (("torch.compile", _compiled), ("torch.func", _functional)):
        built = subject.built()
        built.model.train()
        try:
            tried(subject, built, batch)
        except Exception as error:  # noqa: BLE001 - whatever a compiler may raise is the answer
            first, *_ = [*str(error).strip().splitlines(), ""]
            subject.notes.append(f"{what}: no, {type(error).__name__}: {first[:200]}")
        else:
            subject.notes.append(f"{what}: yes")


class Objective(nn.Module):
    """Batch -> loss of a phase, as one module."""

    def __init__(self, subject: Subject, built: Built, phase: str) -> None:
        super().__init__()
        self.task, self.phase = subject.task, phase
        self.model, self.criterion = built.model, built.criterion

    def forward(self, batch: Batch) -> Tensor:
        loss = self.task.loss(self.model, batch, self.criterion, self.phase)
        return sum(loss.values(), torch.zeros(())) if isinstance(loss, dict) else loss


def _compiled(subject: Subject, built: Built, batch: Batch) -> None:
    """Trace the objective as one graph, without making code of it."""
    for phase in subject.task.phases():
        if phase.name in built.optimizers:
            objective = Objective(subject, built, phase.name)
            torch.compile(objective, backend="eager", fullgraph=True)(batch)


def _functional(subject: Subject, built: Built, batch: Batch) -> None:
    """Gradients of two trials at once, each with weights of its own."""
    for phase in subject.task.phases():
        if phase.name not in built.optimizers:
            continue
        objective = Objective(subject, built, phase.name)
        weights = {name: torch.stack([one.detach()] * 2) for name, one in objective.named_parameters()}
        buffers = {name: torch.stack([one] * 2) for name, one in objective.named_buffers()}

        def loss(weights: dict[str, Tensor], buffers: dict[str, Tensor], objective: Objective = objective) -> Tensor:
            found: Tensor = torch.func.functional_call(objective, (weights, buffers), (batch,))
            return found

        torch.func.vmap(torch.func.grad(loss), randomness="different")(weights, buffers)


def _training(subject: Subject) -> Iterator[float]:
    """The losses of steps on one batch, all phases' in turn, at a constant rate."""
    built, batch = subject.built(), subject.batch(8)
    built.model.train()
    torch.manual_seed(0)
    while True:
        for phase in subject.task.phases():
            if phase.name not in built.optimizers:
                continue
            optimizer = built.optimizers[phase.name]
            loss = subject.task.loss(built.model, batch, built.criterion, phase.name)
            loss = sum(loss.values(), torch.zeros(())) if isinstance(loss, dict) else loss
            torch.autograd.backward(loss)
            optimizer.step(optimizer.lr)
            for parameter in built.model.parameters():
                parameter.grad = None
            yield float(loss.detach())
