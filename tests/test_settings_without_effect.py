"""Settings that change nothing beside others: what is refused makes no difference, and what depends on data is said."""

from __future__ import annotations

from typing import Any

import labwright as lw
import pytest
import torch
from labwright_gan.data.ring import Ring
from labwright_gan.diffusion import Diffusion
from labwright_gan.task import Adversarial
from labwright_nlp.answering import Answering
from labwright_nlp.data.synthetic_questions import SyntheticQuestions
from labwright_nlp.models.gpt import GPT
from labwright_nlp.models.transformer_encoder import TransformerEncoder
from labwright_rl.on_policy import OnPolicy
from labwright_speech.models.bc_resnet import BCResNet
from labwright_tabular.models.ft_transformer import FTTransformer
from labwright_tabular.models.mlp import MLP
from labwright_tabular.ports import Fields
from labwright_tasks.dense_labels import PositionClasses
from labwright_tasks.language_model import NextTokens
from labwright_vision.detection.losses import DetectionLoss
from labwright_vision.detection.ports import Boxes
from labwright_vision.models.torchvision_detectors import TorchvisionDetector
from torch import nn

FIELDS = Fields(("a", "b"), values=((-1.0, 0.0, 0.5, 2.0), (0.0, 1.0)))
KINDS = lw.Classes(("a", "b"))
TOKENS, NEXT = lw.Tokens(20, 8), NextTokens(20, 8)
SMALL = {"width": 16, "depth": 1, "heads": 2}
SOUND = lw.Audio(8000, 4000)
IDLE = [  # a model, its ports, settings, and others that change nothing beside them
    (MLP, FIELDS, KINDS, {"numbers": "plain"}, {"bins": 99}),
    (MLP, FIELDS, KINDS, {"numbers": "plain"}, {"sigma": 3.0}),
    (FTTransformer, FIELDS, KINDS, {"numbers": "periodic"}, {"bins": 3}),
    (GPT, TOKENS, NEXT, {**SMALL}, {"rotary_base": 100.0}),
    (GPT, TOKENS, NEXT, {**SMALL}, {"buckets": 3}),
    (BCResNet, SOUND, KINDS, {"hidden_bands": 0}, {"hidden_width": 7}),
]


def losses(model: Any, inputs: Any, outputs: Any, table: dict[str, Any]) -> list[float]:
    """Of three steps in training mode, as the constructor and PyTorch make them."""
    torch.manual_seed(0)
    built = model(inputs, outputs, **table).train()
    example = inputs.example(6, torch.Generator().manual_seed(0))
    found = []
    for step in range(3):
        torch.manual_seed(step)
        logits = built(*example).flatten(0, -2)
        loss = nn.functional.cross_entropy(logits, torch.arange(len(logits)) % logits.shape[-1])
        gradients = torch.autograd.grad(loss, list(built.parameters()), allow_unused=True)
        with torch.no_grad():
            for weight, gradient in zip(built.parameters(), gradients, strict=True):
                weight -= 0.1 * (0 if gradient is None else gradient)
        found.append(loss.item())
    return found


@pytest.mark.parametrize(("model", "inputs", "outputs", "table", "idle"), IDLE)
def test_without_a_setting_that_is_refused_the_losses_are_the_same_bits(
    model: Any, inputs: Any, outputs: Any, table: dict[str, Any], idle: dict[str, Any]
) -> None:
    (name, value), settings = *idle.items(), lw.signature(model).settings
    (when,) = settings[name].conditions
    assert settings[name].validated(value) != settings[name].default
    assert not when.holds(table.get(when.setting, settings[when.setting].default))
    assert losses(model, inputs, outputs, table | idle) == losses(model, inputs, outputs, table)


def test_points_have_no_film_and_no_judge() -> None:
    for settings, said in (({"film": 4}, r"task\.film: it shows pictures"), ({"judge_epochs": 3}, "offers points")):
        with pytest.raises(lw.LabwrightError, match=said):
            Adversarial(Ring(), **settings)  # type: ignore[arg-type]
    with pytest.raises(lw.LabwrightError, match=r"task\.sampling_steps: given 30; .* at most the 20 of task\.steps"):
        Diffusion(Ring(), steps=20, sampling_steps=30)
    assert len(Diffusion(Ring(), steps=20).process.visited(50)) == 21  # as many as there are, if none are asked for


def test_the_clip_of_ppo_is_refused_beside_a2c_and_searched_with_ppo_alone() -> None:
    (when,) = lw.signature(OnPolicy).settings["clip"].conditions
    assert when.holds("ppo") and not when.holds("a2c")
    with pytest.raises(lw.LabwrightError, match=r'task\.clip: given 0\.3, .* objective is "ppo", and'):
        lw.Experiment.from_recipe("rl/cartpole-ppo", ["task.objective=a2c", "task.clip=0.3"])


def test_a_spread_that_the_model_does_not_give_has_no_weight() -> None:
    given = {"logits": torch.zeros(1, 1, 2), "boxes": torch.zeros(1, 1, 4), "anchors": torch.tensor([[[4.0, 4, 8]]])}
    empty = {"boxes": torch.zeros(1, 0, 4), "labels": torch.zeros(1, 0, dtype=torch.int64)}
    empty["crowd"] = torch.zeros(1, 0, dtype=torch.bool)
    with pytest.raises(lw.LabwrightError, match=r"loss\.dfl_weight: given 2\.0, .* set model\.bins=16"):
        DetectionLoss(dfl_weight=2.0)(given, empty)


def test_a_model_says_what_of_its_settings_is_not_read() -> None:
    tagger = TransformerEncoder(TOKENS, PositionClasses(("a", "b"), (8,)), **SMALL, pooling="cls")
    assert tagger.remarks()[0].startswith("model.pooling=cls has no effect: something is said of each token")
    assert not TransformerEncoder(TOKENS, KINDS, **SMALL, pooling="cls").remarks()
    assert MLP(FIELDS, KINDS, numbers="plain", dim=4).remarks()[0].startswith("model.dim=4 has no effect")
    assert not MLP(FIELDS, KINDS, numbers="piecewise", dim=4).remarks()
    detector = {"architecture": "retinanet", "width": 16, "trainable_layers": 3}
    held = TorchvisionDetector(lw.Image(3, 64, 64), Boxes(("a",)), **detector).remarks()  # type: ignore[arg-type]
    assert held[0].startswith("model.trainable_layers: 2 stages of the backbone are held as they begin")


def test_a_threshold_for_no_answer_is_said_to_have_none_where_every_question_has_one() -> None:
    for share, said in ((0.0, True), (0.5, False)):
        data = SyntheticQuestions(train=20, valid=4, test=0, unanswerable=share, vocabulary=300)
        task = Answering(data, threshold=1.0)
        task.prepare()
        assert any(note.startswith("task.threshold=1 has no effect") for note in data.remarks()) == said


def test_a_model_in_closed_form_has_no_use_for_what_a_descent_is_told() -> None:
    with pytest.raises(lw.LabwrightError, match=r"it has no use for train\.clip, train\.drop_last\."):
        lw.Experiment.from_recipe("recsys/movielens-ease", ["train.clip=1.0", "train.drop_last=true"])
