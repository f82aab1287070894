"""A setting that is given where it has no effect is refused: `labwright.When`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any, Literal

import labwright as lw
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from labwright import LabwrightError, builtin
from labwright.builtin.optimizers import SGD, AdamW
from labwright.config.compatibility import described
from labwright.config.resolve import Where, resolve
from labwright.runs.load import evaluated, experiment_of
from labwright.runs.resume import resume
from parts import Net, sorting
from pydantic import Field
from torch import Tensor, nn

KEPT = Path(__file__).parent / "kept"


class Coded(nn.Module):
    """A net over numbers, or over what they become.

    Args:
        numbers: what a number becomes.
        bins: how many pieces a number has.
        sigma: of the frequencies.
        base: of the frequencies' steps.
        steps: how many there are.
    """

    def __init__(
        self,
        inputs: lw.Features,
        outputs: lw.Classes,
        *,
        numbers: Literal["plain", "binned", "waves"] = "plain",
        bins: Annotated[int, Field(ge=1), lw.When("numbers", "binned", "waves")] = 2,
        sigma: Annotated[float, Field(gt=0), lw.When("numbers", "waves"), lw.When("steps", but=(None, 1))] = 0.5,
        base: Annotated[float, lw.When("steps", None)] = 10.0,
        steps: int | None = None,
    ) -> None:
        super().__init__()
        self.numbers, self.steps = numbers, steps
        count = inputs.shape[0] * (1 if numbers == "plain" else bins)
        self.scale = sigma if numbers == "waves" and steps not in (None, 1) else 1.0
        self.scale *= base if steps is None else 1.0
        self.count = count
        self.head = nn.Linear(count, len(outputs.names))

    def forward(self, x_BD: Tensor) -> Tensor:
        wide_BD = x_BD.repeat(1, self.count // x_BD.shape[1]) * self.scale
        return self.head(wide_BD.sin() if self.numbers == "waves" else wide_BD)


class Menu:
    @lw.hookimpl
    def labwright_components(self) -> list[lw.Component]:
        return [lw.Component("model", "toys/coded", f"{__name__}:Coded", "a net")]


PORTS = {"inputs": lw.Features((4,)), "outputs": lw.Classes(("a", "b", "c"))}
PLUGINS = lw.Plugins([]).extended([builtin, Menu()])


def spec(table: dict[str, Any]) -> Any:
    return resolve("model", {"name": "toys/coded", **table}, PLUGINS, Where(("model",)))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"bins": 8},
            'model.bins: given 8, which has no effect: it counts where numbers is "binned" or "waves", and here '
            "numbers is \"plain\" (model 'toys/coded'). Leave it out, as an override `model.bins=`, or set "
            "model.numbers.",
        ),
        (
            {"numbers": "waves", "sigma": 0.1},
            "model.sigma: given 0.1, which has no effect: it counts where steps is not left out or 1, and here steps "
            "is left out (model 'toys/coded'). Leave it out, as an override `model.sigma=`, or set model.steps.",
        ),
        (
            {"base": 2, "steps": 3},
            "model.base: given 2.0, which has no effect: it counts where steps is left out, and here steps is 3 (model "
            "'toys/coded'). Leave it out, as an override `model.base=`, or set model.steps.",
        ),
    ],
)
def test_one_message_says_what_was_given_what_it_needs_and_what_is_there(given: dict[str, Any], said: str) -> None:
    with pytest.raises(lw.LabwrightError) as error:
        spec(given)
    assert str(error.value) == said


def unmet(table: dict[str, Any]) -> set[str]:
    """Which settings differ from their defaults without an effect, by hand."""
    numbers, steps = table.get("numbers", "plain"), table.get("steps")
    idle = {
        "bins": numbers == "plain" and table.get("bins", 2) != 2,
        "sigma": (numbers != "waves" or steps in (None, 1)) and table.get("sigma", 0.5) != 0.5,
        "base": steps is not None and table.get("base", 10.0) != 10.0,
    }
    return {name for name, is_so in idle.items() if is_so}


def model(table: dict[str, Any]) -> nn.Module:
    """What the constructor makes of settings, as it did before any were refused."""
    torch.manual_seed(0)
    return Coded(**PORTS, **table)


@settings(max_examples=60, deadline=None)
@given(
    some.fixed_dictionaries(
        {},
        optional={
            "numbers": some.sampled_from(["plain", "binned", "waves"]),
            "bins": some.sampled_from([1, 2, 3]),
            "sigma": some.sampled_from([0.5, 0.25]),
            "base": some.sampled_from([10.0, 2.0]),
            "steps": some.sampled_from([1, 3]),
        },
    )
)
def test_what_counts_is_never_refused_and_without_the_rest_the_losses_are_the_same_bits(table: dict[str, Any]) -> None:
    left = dict(table)
    while unmet(left):
        with pytest.raises(lw.LabwrightError, match="which has no effect") as error:
            spec(left)
        name = str(error.value).partition(":")[0].removeprefix("model.")
        assert name in unmet(left)
        del left[name]
    assert spec(left).settings == left
    x_BD = torch.arange(12.0).view(3, 4)
    before, now = model(table), model(left)
    losses = [nn.functional.cross_entropy(net(x_BD), torch.tensor([0, 1, 2])) for net in (before, now)]
    assert torch.equal(*losses)


def trained(optimizer: lw.Optimizer) -> list[Tensor]:
    (weight,) = optimizer.parameters.values()
    for step in range(4):
        weight.grad = 2 * weight.detach() + step
        optimizer.step(optimizer.lr_at(step, 4))
    return [weight.detach()]


@pytest.mark.parametrize(
    ("kind", "idle"), [(AdamW, {"end": 0.5}), (SGD, {"end": 0.5}), (SGD, {"dampening": 0.5}), (SGD, {"lr": 0.2})]
)
def test_an_optimizer_does_the_same_without_what_is_refused(kind: Any, idle: dict[str, Any]) -> None:
    made = [kind({"w": nn.Parameter(torch.ones(3))}, **given) for given in ({}, idle)]
    same = torch.equal(*(trained(one)[0] for one in made))
    assert same == ("lr" not in idle)  # a setting that counts makes a difference
    try:
        sorting(optimizer={"name": kind.__name__.lower(), **idle})
    except lw.LabwrightError as error:
        assert same and "has no effect" in str(error)
    else:
        assert not same


def test_a_default_says_nothing_so_that_a_run_s_own_recipe_is_read() -> None:
    experiment = sorting(model={"name": "toys/coded", "numbers": "plain"}, plugins=[Menu()])
    whole = experiment.table()["model"]
    assert whole["bins"] == 2
    assert sorting(model=whole, plugins=[Menu()]).table()["model"] == whole


def test_settings_of_train_and_of_classes_from_python_are_held_to_it_too() -> None:
    with pytest.raises(lw.LabwrightError, match=r"^model\.bins: given 5, .* \(model 'Coded'\)"):
        sorting(model={"name": Coded, "bins": 5})
    experiment = sorting(model={"name": Coded, "numbers": "binned", "bins": 5})
    with pytest.raises(lw.LabwrightError, match=r"^model\.bins: given 5, which has no effect"):
        experiment.varied({"model.numbers": "plain"})


def test_where_it_counts_stands_in_its_description() -> None:
    told = {one["name"]: one["description"] for one in described("model", "toys/coded", PLUGINS)["settings"]}
    assert told["bins"] == 'how many pieces a number has. It counts where numbers is "binned" or "waves".'
    assert told["sigma"].endswith('It counts where numbers is "waves" and steps is not left out or 1.')
    assert told["steps"] == "how many there are."


def test_a_run_of_before_is_read_without_it_and_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(KEPT / "interrupted", folder)
    recipe = folder / "recipe.toml"
    text = recipe.read_text(encoding="utf-8").replace('schedule = "cosine"', 'schedule = "constant"')
    recipe.write_text(text.replace("end = 0.001", "end = 0.5"), encoding="utf-8")
    plugins = lw.Plugins.discover(local=[KEPT / "blobs.py"])
    said = "optimizer.end of the recipe is left out: it counts where schedule is not"
    experiment = experiment_of(folder, plugins, ["device.threads=1"])
    assert any(note.startswith(said) for note in experiment.notes)
    assert experiment.optimizers["train"].settings["schedule"].name == "constant"
    assert any(note.startswith(said) for note in evaluated(folder, plugins, "test", "last").notes)
    trainer, notes = resume(folder, plugins)
    assert any(note.startswith(said) for note in notes) and trainer.run.step == 14


def test_a_net_without_conditions_is_as_it_was() -> None:
    assert all(not one.conditions for one in lw.signature(Net).settings.values())


def test_an_override_takes_what_counts_no_longer_with_it_and_says_so(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('base = "vision/digits-mlp"\noptimizer = { name = "adamw", schedule = "cosine", end = 0.1 }\n')
    experiment = lw.Experiment.from_recipe(file, ["optimizer.schedule=constant"])
    assert "end" not in experiment.optimizers["train"].settings
    said = "optimizer.end of the recipe is left out: it counts where schedule is not"
    assert [note.startswith(said) for note in experiment.notes].count(True) == 1
    with pytest.raises(LabwrightError, match=r"optimizer\.end: given 0\.1, which has no effect"):
        lw.Experiment.from_recipe("vision/digits-mlp", ["optimizer.schedule=constant", "optimizer.end=0.1"])
