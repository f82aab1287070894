"""Mixup and CutMix against their closed forms, and answers that are the mean over a picture and its mirror image."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from labwright import Batch, Classes, Data, Features, Image, LabwrightError, Port, TensorSplit, Tokens
from labwright_tasks.classification import Classification
from labwright_tasks.losses import CrossEntropy, Summed
from labwright_tasks.mixing import MixedBatch
from labwright_tasks.rare_losses import Focal
from labwright_tasks.weights import WeightedBatch
from torch import Generator, Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its customary name


class Made(Data):
    """Eight pictures, each of one number all over."""

    item, target, source, licence = Image, Classes, "made here", "CC0-1.0"

    def prepare(self) -> None: ...

    def ports(self) -> tuple[Port, Port]:
        return Image(1, 10, 20), Classes(("a", "b", "c"))

    def split(self, name: str) -> TensorSplit:
        return TensorSplit((torch.arange(8.0)[:, None, None, None].expand(8, 1, 10, 20),), torch.arange(8) % 3)


def drawn(seed: int, **settings: Any) -> tuple[Batch, MixedBatch]:
    task = Classification(Made(), **settings)
    batch = task.data.split("train").fetch(torch.arange(8), 0, 0)  # type: ignore[union-attr]
    mixed = task.draw(batch, Generator().manual_seed(seed))
    assert isinstance(mixed, MixedBatch)
    return batch, mixed


@pytest.mark.parametrize("seed", range(5))
def test_mixup_averages_pictures_and_says_whose_labels_they_have(seed: int) -> None:
    batch, mixed = drawn(seed, mixup=0.4)
    share, values_B = float(mixed.shares[0]), mixed.inputs[0][:, 0, 0, 0]
    assert 0 <= share <= 1 and (mixed.shares == share).all()
    others_B = (values_B - share * torch.arange(8.0)) / (1 - share)  # whole numbers: another sample of the batch each
    torch.testing.assert_close(others_B, others_B.round(), atol=1e-3, rtol=0)
    assert sorted(others_B.round().int().tolist()) == list(range(8))
    assert mixed.others.tolist() == [int(other) % 3 for other in others_B.round()]
    assert torch.equal(mixed.targets, batch.targets)


@pytest.mark.parametrize("seed", range(5))
def test_the_share_of_cutmix_is_the_area_that_is_left(seed: int) -> None:
    _, mixed = drawn(seed, cutmix=1.0)
    x_BHW = mixed.inputs[0][:, 0]
    own_BHW = x_BHW == torch.arange(8.0)[:, None, None]
    moved_B = mixed.others != mixed.targets
    assert moved_B.any()
    torch.testing.assert_close(own_BHW[moved_B].float().mean((1, 2)), mixed.shares[moved_B], atol=1e-6, rtol=0)
    cut_HW = ~own_BHW[moved_B][0]
    rows, columns = cut_HW.any(1), cut_HW.any(0)
    assert torch.equal(cut_HW, rows[:, None] & columns)  # a rectangle, the same in all
    assert (own_BHW[moved_B] == ~cut_HW).all()


def test_the_loss_is_the_cross_entropy_of_soft_labels() -> None:
    task = Classification(Made(), mixup=1.0)
    _, mixed = drawn(3, mixup=1.0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(200, 3))
    soft_BC = mixed.shares[:, None] * F.one_hot(mixed.targets, 3) + (1 - mixed.shares)[:, None] * F.one_hot(
        mixed.others, 3
    )
    for smoothing in (0.0, 0.1):
        loss = task.loss(model, mixed, CrossEntropy(label_smoothing=smoothing), "train")
        expected = F.cross_entropy(model(mixed.inputs[0]), soft_BC, label_smoothing=smoothing)
        torch.testing.assert_close(loss, expected)
    halves = [task.loss(model, mixed.rows(some), CrossEntropy(), "train") for some in (slice(0, 4), slice(4, 8))]
    torch.testing.assert_close(sum(halves) / 2, task.loss(model, mixed, CrossEntropy(), "train"))


def test_pieces_of_a_batch_have_its_loss_where_classes_have_weights() -> None:
    task, model = Classification(Made(), mixup=1.0), nn.Sequential(nn.Flatten(), nn.Linear(200, 3))
    _, mixed = drawn(0, mixup=1.0)
    for criterion in (CrossEntropy(weights=[1.0, 10.0, 3.0]), Summed({"only": CrossEntropy(weights=[1.0, 10.0, 3.0])})):
        criterion.prepare(Classes(("a", "b", "c")))
        pieces = [mixed.rows(slice(0, 3)), mixed.rows(slice(3, 8))]
        weights = [criterion.normalizer(piece.targets) or 0.0 for piece in pieces]
        losses = [task.loss(model, batch, criterion, "train") for batch in (*pieces, mixed)]
        first, second, whole = (loss["only"] if isinstance(loss, dict) else loss for loss in losses)
        torch.testing.assert_close((weights[0] * first + weights[1] * second) / sum(weights), whole)


def test_a_sum_of_losses_is_mixed_part_by_part() -> None:
    task, model = Classification(Made(), mixup=1.0), nn.Sequential(nn.Flatten(), nn.Linear(200, 3))
    _, mixed = drawn(3, mixup=1.0)
    parts = task.loss(model, mixed, Summed(losses={"plain": CrossEntropy(), "focal": Focal(gamma=0.0)}), "train")
    alone = task.loss(model, mixed, CrossEntropy(), "train")
    assert isinstance(parts, dict) and [*parts] == ["plain", "focal"]
    for part in parts.values():
        torch.testing.assert_close(part, alone)


def test_shares_are_of_a_beta_distribution_and_drawn_by_the_generator_alone() -> None:
    shares = torch.tensor([float(drawn(seed, mixup=0.5)[1].shares[0]) for seed in range(800)])
    # Beta(a, a) has the mean 1/2 and the variance 1 / (8 a + 4): five standard errors
    assert abs(float(shares.mean()) - 0.5) < 5 * (1 / 8 / 800) ** 0.5
    assert abs(float(shares.var()) - 1 / 8) < 0.02
    first, again = drawn(1, mixup=0.2, cutmix=1.0)[1], drawn(1, mixup=0.2, cutmix=1.0)[1]
    assert torch.equal(first.inputs[0], again.inputs[0]) and torch.equal(first.shares, again.shares)


def test_answers_are_the_mean_probability_of_a_picture_and_its_mirror_image() -> None:
    task, model = Classification(Made(), test_time="flip"), nn.Sequential(nn.Flatten(), nn.Linear(200, 3))
    x = torch.randn(4, 1, 10, 20)
    logits, _ = task.evaluate(model, Batch((x,), torch.tensor([0, 1, 2, 0])))
    expected = ((model(x).softmax(1) + model(x.flip(-1)).softmax(1)) / 2).detach()
    torch.testing.assert_close(logits.softmax(1), expected)
    torch.testing.assert_close(logits.exp(), expected)
    (answer, *_) = task.predict(model, (x,), [None] * 4)
    assert answer["probability"] == pytest.approx(expected[0].max().item(), abs=1e-6)


def test_what_cannot_be_mixed_is_said() -> None:
    class Words(Made):
        item = Tokens

    class Numbers(Made):
        item = Features

    with pytest.raises(LabwrightError, match=r"task\.mixup: it mixes pictures or features.*Words has Tokens"):
        Classification(Words(), mixup=0.2)
    with pytest.raises(LabwrightError, match=r"task\.cutmix: it cuts from pictures; Numbers has Features"):
        Classification(Numbers(), cutmix=1.0)
    with pytest.raises(LabwrightError, match=r"task\.test_time: pictures can be mirrored"):
        Classification(Numbers(), test_time="flip")
    batch = WeightedBatch((torch.zeros(2, 1, 4, 4),), torch.tensor([0, 1]), torch.ones(2))
    with pytest.raises(LabwrightError, match="the data weighs its samples"):
        Classification(Made(), mixup=0.2).draw(batch, Generator())


def test_nothing_is_drawn_where_nothing_is_mixed() -> None:
    generator, batch = Generator().manual_seed(0), Made().split("train").fetch(torch.arange(2), 0, 0)
    before: Tensor = generator.get_state()
    assert Classification(Made()).draw(batch, generator) is batch
    assert torch.equal(generator.get_state(), before)
