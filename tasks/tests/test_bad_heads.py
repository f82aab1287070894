"""What can't be several tasks at once is refused in one message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from heads_of_points import ON_TRUNK, PORTS, Samples, Single, Trunk, experiment
from labwright import Classes, Features, Heads, LabwrightError, Values
from torch import Tensor, nn


class Bare(nn.Module):
    """No heads: one tensor."""

    def __init__(self, inputs: Features) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Any:
        return self.layer(x)


class Lacking(Bare):
    def forward(self, x: Tensor) -> Any:
        return {"kind": self.layer(x), "size": self.layer(x)[:, :2]}


class Wide(Bare):
    def forward(self, x: Tensor) -> Any:
        return {"kind": self.layer(x), "side": self.layer(x), "size": self.layer(x)[:, :2]}


class Summing(nn.Module):
    def forward(self, losses: dict[str, Tensor]) -> Tensor:
        return torch.stack(tuple(losses.values())).sum()


class Odd(Samples):
    def ports(self) -> tuple[lw.Port, lw.Port]:
        return Features((4,)), Heads({"kind": PORTS.ports["kind"], "scene": lw.Image(1, 4, 4)})


class Beyond(Samples):
    def prepare(self) -> None:
        super().prepare()
        self.targets["side"][3] = 7


def multi(**settings: Any) -> dict[str, Any]:
    return {"task": {"name": "multi", "data": Samples, **settings}}


def weights(**settings: float) -> dict[str, Any]:
    return {"loss": {"name": "weighted", "weights": settings}}


ALONE = {"task": {"name": "classification", "data": Single}, "model": Trunk, "loss": "cross-entropy"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (multi(data=Single), r"task\.data: several tasks at once need data with Heads; Single has targets Classes\."),
        (multi(losses={"knd": "mse"}), r"task\.losses\.knd: the data has no head 'knd'; did you mean 'kind'\? It has"),
        (multi(losses={"size": "cross-entropy"}), r"losses\.size: loss CrossEntropy doesn't fit a head of Values: it"),
        (multi(losses={"kind": "mse"}), r"losses\.kind: loss MeanSquaredError doesn't fit a head of Classes: it takes"),
        (multi(losses={"kind": {"name": "penalized", "loss": "mse"}}), r"losses\.kind: loss Penalized doesn't fit"),
        (
            multi(losses={"kind": {"name": "cross-entropy", "weights": [1.0]}}),
            r"task\.losses\.kind\.weights: given 1 numbers for 3 classes: a, b, c",
        ),
        (multi(losses={"kind": "cross-entropi"}), r"task\.losses\.kind: no loss is called 'cross-entropi'; did you"),
        (multi(losses="mse"), r"task\.losses: given 'mse'; it is a table of losses, each under its own name"),
        (multi(goal="kind/acuracy"), r"task\.goal: given 'kind/acuracy'; it is 'score'.*did you mean 'accuracy'"),
        (multi(goal="accuracy"), r"task\.goal: given 'accuracy'; it is 'score', or HEAD/METRIC"),
        (multi(goal="knd/accuracy"), r"task\.goal: there is no metric 'knd/accuracy'; did you mean 'kind/accuracy'\?"),
        (multi(goal="size/accuracy"), r"task\.goal: there is no metric 'size/accuracy'"),
        (multi(data=Odd), r"task\.data: head 'scene' has targets Image; task 'multi' has heads of Classes, Values\."),
        (multi(data=Beyond), r"Beyond, head 'side': a training label is 7, but its 2 classes have labels 0 to 1"),
        (weights(sise=2.0), r"loss\.weights\.sise: the data has no head 'sise'; did you mean 'size'\?"),
        (weights(size=-1.0), r"loss\.weights\.size: given -1\.0; it should be greater than or equal to 0"),
        (weights(size=0.0, kind=0.0, side=0.0), r"loss\.weights: all weights are 0, so that there is nothing to"),
        ({"loss": None}, r"loss: task 'multi' needs a loss; see `labwright list losses`\."),
        (
            {"loss": "cross-entropy"},
            r"loss 'cross-entropy' doesn't fit task 'multi': the task calls loss\(losses\),",
        ),
        ({"loss": {"name": "penalized", "loss": "weighted"}}, r"loss\.loss: a penalty goes with a loss that is"),
        ({"loss": Summing}, r"loss Summing returned a Tensor; of task 'multi' it returns a part for each loss it is"),
        ({"model": Bare}, r"model Bare returned a Tensor; task 'multi' takes a dict with a tensor for each head: kind"),
        ({"model": Lacking}, r"gives for head 'side' none among kind, size; it should be of shape \(10, 2\)\."),
        ({"model": Wide}, r"model Wide gives for head 'side' shape \(10, 3\); it should be of shape \(10, 2\)\."),
        ({"model": Trunk}, r"model 'Trunk' returns Classes; data 'Samples' has targets Heads"),
        ({"model": {"name": "heads"}}, r"model\.trunk: model 'heads' needs this setting: a model, one of"),
        ({"model": {"name": "heads", "trunk": Bare(Features((4,)))}}, r"model\.trunk: Bare takes no ports, so that"),
        ({"model": {**ON_TRUNK, "features": 0}}, r"model\.features: given 0; it should be greater than or equal to 1"),
        ({**ALONE, "method": "pcgrad"}, r"method: 'pcgrad' projects .* the loss of task Classification has none"),
    ],
)
def test_bad_input_is_answered_in_one_message(changed: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(LabwrightError, match=words) as raised:
        experiment(**changed).run(tmp_path / "run")
    assert "\n" not in str(raised.value)


def test_a_trunk_for_other_ports_is_refused_by_name() -> None:
    class Reader(nn.Module):
        def __init__(self, inputs: lw.Tokens, outputs: Classes) -> None:
            super().__init__()

    with pytest.raises(LabwrightError, match=r"model\.trunk: model 'Reader' takes Tokens; here it is given Features\."):
        experiment(model={"name": "heads", "trunk": Reader}).build()


@pytest.mark.parametrize("name", ["a/b", "a.b", ""])
def test_a_heads_name_can_stand_in_the_name_of_a_metric(name: str) -> None:
    with pytest.raises(LabwrightError, match="its name has neither dot nor slash"):
        Heads({name: Values(1)})
