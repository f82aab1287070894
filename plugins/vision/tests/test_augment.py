"""Augmentation is a function of (seed, epoch, index), and its maps are the ones their names say."""

from __future__ import annotations

import pytest
import torch
from labwright_vision.data import augment
from labwright_vision.data.augment import Affine
from torch import Tensor

ANGLE, ACROSS, DOWN, SIZE, MIRRORED = range(5)


def pictures(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def fixed(monkeypatch: pytest.MonkeyPatch, **columns: float) -> None:
    """Let every draw be 0.5, the middle, except those given: 1.0 is the setting itself, 0.0 its negative."""
    row = torch.full((5,), 0.5)
    for name, value in columns.items():
        row[{"angle": ANGLE, "across": ACROSS, "down": DOWN, "size": SIZE, "mirrored": MIRRORED}[name]] = value
    monkeypatch.setattr(augment, "draws", lambda length, width, *, seed, epoch: row.expand(length, width))


def test_a_sample_gets_the_same_picture_whatever_the_batch_and_the_order() -> None:
    x = pictures(20, 2, 9, 7)
    affine = Affine(20, rotate=15, shift=0.1, scale=0.2, flip=True)
    whole = affine(x, torch.arange(20), epoch=3, seed=1)
    for batch in (torch.tensor([4]), torch.tensor([17, 4, 0]), torch.randperm(20)):
        other = Affine(20, rotate=15, shift=0.1, scale=0.2, flip=True)
        other(x, torch.arange(20), epoch=9, seed=1)  # what was asked for before changes nothing
        torch.testing.assert_close(other(x[batch], batch, epoch=3, seed=1), whole[batch], rtol=0, atol=1e-6)


def test_another_epoch_and_another_seed_show_another_picture() -> None:
    x, all_of_them = pictures(4, 1, 8, 8), torch.arange(4)
    affine = Affine(4, rotate=15)
    first = affine(x, all_of_them, epoch=0, seed=0)
    assert not torch.allclose(first, affine(x, all_of_them, epoch=1, seed=0), atol=1e-3)
    assert not torch.allclose(first, affine(x, all_of_them, epoch=0, seed=1), atol=1e-3)
    assert torch.equal(first, affine(x, all_of_them, epoch=0, seed=0))


def test_settings_of_zero_change_nothing() -> None:
    affine = Affine(3)
    assert not affine.active
    x = pictures(3, 1, 8, 6)
    torch.testing.assert_close(affine(x, torch.arange(3), epoch=0, seed=0), x)


@pytest.mark.parametrize("drawn", [0.0, 1.0])
def test_turning_by_a_right_angle_is_what_rot90_does(monkeypatch: pytest.MonkeyPatch, drawn: float) -> None:
    fixed(monkeypatch, angle=drawn)
    x = pictures(2, 3, 8, 8)
    turned = Affine(2, rotate=90)(x, torch.arange(2), 0, 0)
    torch.testing.assert_close(turned, torch.rot90(x, 1 if drawn == 1.0 else -1, (2, 3)), rtol=0, atol=1e-5)


def test_an_angle_is_one_of_pixels_in_an_oblong_picture_too(monkeypatch: pytest.MonkeyPatch) -> None:
    fixed(monkeypatch, angle=1.0)
    x = torch.zeros(1, 1, 9, 17)
    x[0, 0, 4, 8:12] = 1.0  # a bar of 4 pixels from the middle to the right
    turned = Affine(1, rotate=90, fill=0.0)(x, torch.arange(1), 0, 0)
    expected = torch.zeros_like(x)
    expected[0, 0, 1:5, 8] = 1.0  # the same 4 pixels, upwards
    torch.testing.assert_close(turned, expected, rtol=0, atol=1e-5)


def test_a_shift_is_a_share_of_the_side_and_bares_the_fill(monkeypatch: pytest.MonkeyPatch) -> None:
    fixed(monkeypatch, across=1.0, down=0.0)
    x = pictures(1, 1, 8, 4)
    moved = Affine(1, shift=0.25, fill=-7.0)(x, torch.arange(1), 0, 0)
    expected = torch.full_like(x, -7.0)
    expected[:, :, :-2, 1:] = x[:, :, 2:, :-1]  # a pixel of 4 to the right, 2 of 8 upwards
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-5)


def test_without_a_fill_the_border_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    fixed(monkeypatch, across=1.0)
    x = pictures(1, 1, 4, 4)
    moved = Affine(1, shift=0.5)(x, torch.arange(1), 0, 0)
    torch.testing.assert_close(moved[..., :2], x[..., :1].expand(-1, -1, -1, 2), rtol=0, atol=1e-5)


def test_a_scale_of_a_half_upwards_shows_the_middle_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    fixed(monkeypatch, size=0.0)
    x = torch.zeros(1, 1, 8, 8)
    x[..., 2:6, 2:6] = 1.0
    smaller = Affine(1, scale=0.5, fill=0.0)(x, torch.arange(1), 0, 0)
    assert smaller.sum().item() == pytest.approx(x.sum().item() / 4, rel=1e-5)  # half the width, half the height


def test_flip_mirrors_about_every_second_picture_and_leaves_the_others() -> None:
    x = pictures(1, 1, 5, 6).expand(400, -1, -1, -1)
    shown = Affine(400, flip=True)(x, torch.arange(400), 0, 0)
    mirrored = (shown - x.flip(3)).abs().amax(dim=(1, 2, 3)) < 1e-5
    same = (shown - x).abs().amax(dim=(1, 2, 3)) < 1e-5
    assert torch.equal(mirrored, ~same)
    assert 160 <= int(mirrored.sum()) <= 240  # 200 expected, standard deviation 10


def test_angles_shifts_and_sizes_stay_within_their_settings() -> None:
    affine = Affine(2000, rotate=20, shift=0.1, scale=0.25)
    maps = affine._maps(affine._draws(0, 0), 8, 8)
    turn = maps[:, :, :2]
    size = turn.det().abs() ** -0.5
    angle = torch.rad2deg(torch.atan2(turn[:, 1, 0], turn[:, 0, 0]))
    offset = -torch.linalg.solve(turn, maps[:, :, 2])
    assert size.min() >= 0.75 - 1e-4 and size.max() <= 1.25 + 1e-4 and size.std() > 0.1
    assert angle.abs().max() <= 20 + 1e-3 and angle.std() > 8
    assert offset.abs().max() <= 0.2 + 1e-4  # -1..1 is the whole side
