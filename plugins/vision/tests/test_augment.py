"""Augmentation is a function of (seed, epoch, index), and its maps are the ones their names say."""

from __future__ import annotations

import pytest
import torch
from labwright import derived_seed
from labwright_vision.data import augment
from labwright_vision.data.augment import Affine, Colours, recoloured
from labwright_vision.data.policies import Erasing, Operations
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


# ---------------------------------------------------------------------------------------------------- crops and colours

MEAN, DEVIATION = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def drawn(monkeypatch: pytest.MonkeyPatch, *row: float) -> None:
    """Let the draws of every sample be these, whichever table they are for."""
    monkeypatch.setattr(
        augment, "draws", lambda length, width, *, seed, epoch: torch.tensor(row[:width]).expand(length, width)
    )


def test_a_crop_shows_its_window_over_the_whole_side(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn(monkeypatch, 1.0, 0.5, 0.0, 1.0, 0.5)  # a quarter of the area, square, at the left and at the bottom
    places = torch.arange(8.0)
    across, down = places.expand(1, 1, 8, 8), places[:, None].expand(1, 1, 8, 8)
    shown = torch.cat([Affine(1, crop=0.75)(x, torch.arange(1), 0, 0) for x in (across, down)])
    inside = (places + 0.5) / 2 - 0.5  # where the middle of a pixel lies in a window of half the side
    torch.testing.assert_close(shown[0, 0, 0], inside.clamp(min=0), rtol=0, atol=1e-5)
    torch.testing.assert_close(shown[1, 0, :, 0], (inside + 4).clamp(max=7), rtol=0, atol=1e-5)


def test_crops_lie_within_the_picture_and_within_their_settings() -> None:
    windows = Affine(2000, crop=0.8)._windows(torch.rand(2000, 4, generator=torch.Generator().manual_seed(0)))
    sides, centres = torch.stack([windows[:, 0, 0], windows[:, 1, 1]], dim=1), windows[:, :2, 2]
    assert bool((centres.abs() + sides <= 1 + 1e-6).all())
    free = sides.amax(dim=1) < 1  # longer ones are cut to the picture
    area, aspect = sides.prod(dim=1), sides[:, 0] / sides[:, 1]
    assert area.min() >= 0.2 - 1e-6 and area.max() <= 1 + 1e-6 and area.std() > 0.15
    assert aspect[free].min() >= 3 / 4 - 1e-5 and aspect[free].max() <= 4 / 3 + 1e-5


@pytest.mark.parametrize(("crop", "jitter", "grey"), [(0.8, 0.0, 0.0), (0.0, 0.5, 0.2)])
def test_crops_and_colours_are_functions_of_seed_epoch_and_index(crop: float, jitter: float, grey: float) -> None:
    def made() -> Affine | Colours:
        return Affine(9, crop=crop) if crop else Colours(9, jitter=jitter, grey=grey, mean=MEAN, deviation=DEVIATION)

    x, everything = pictures(9, 3, 8, 8), torch.arange(9)
    augmenting = made()
    whole = augmenting(x, everything, 4, 2)
    augmenting(x, everything, 4, 3), augmenting(x, everything, 5, 2)  # what was asked for between changes nothing
    assert torch.equal(augmenting(x, everything, 4, 2), whole)
    some = torch.tensor([7, 0])
    torch.testing.assert_close(made()(x[some], some, 4, 2), whole[some], rtol=0, atol=1e-6)
    for epoch, seed in ((5, 2), (4, 3)):
        assert not torch.allclose(augmenting(x, everything, epoch, seed), whole, atol=1e-3)


@pytest.mark.parametrize(("place", "name"), [(0, "brightness"), (1, "contrast"), (2, "saturation")])
def test_factors_are_those_of_torchvision(place: int, name: str) -> None:
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    x = pictures(3, 3, 6, 5) * 0.5 + 0.2  # nothing is clipped
    for factor in (0.6, 1.0, 1.3):
        factors = torch.ones(3, 3)
        factors[:, place] = factor
        expected = getattr(functional, f"adjust_{name}")(x, factor)
        # it has 0.2989 for red, where Pillow and BT.601 have 0.299
        torch.testing.assert_close(recoloured(x, factors, torch.zeros(3)), expected, rtol=0, atol=1e-4)


def test_a_hue_turns_and_keeps_luma() -> None:
    x = pictures(2, 3, 4, 4) * 0.2 + 0.4
    unchanged, weights = torch.ones(2, 3), torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    third = recoloured(x, unchanged, torch.full((2,), 1 / 3))
    torch.testing.assert_close((third * weights).sum(1), (x * weights).sum(1), rtol=0, atol=1e-5)
    assert float((third - x).abs().max()) > 0.05
    again = recoloured(recoloured(third, unchanged, torch.full((2,), 1 / 3)), unchanged, torch.full((2,), 1 / 3))
    torch.testing.assert_close(again, x, rtol=0, atol=1e-5)
    shades = x[:, :1].expand(-1, 3, -1, -1)
    torch.testing.assert_close(recoloured(shades, unchanged, torch.full((2,), 0.4)), shades, rtol=0, atol=1e-5)


def test_colours_are_changed_in_the_scale_of_pixels_and_clipped_there(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn(monkeypatch, 1.0, 0.5, 0.5, 0.5, 0.0, 1.0)  # brightness at its most, the others as they are
    values = pictures(2, 3, 4, 4)
    mean, deviation = torch.tensor(MEAN)[:, None, None], torch.tensor(DEVIATION)[:, None, None]
    brighter = Colours(2, jitter=0.5, grey=0.0, mean=MEAN, deviation=DEVIATION)
    shown = brighter((values - mean) / deviation, torch.arange(2), 0, 0) * deviation + mean
    torch.testing.assert_close(shown, (values * 1.4).clamp(max=1), rtol=0, atol=1e-5)


def test_four_in_five_pictures_are_jittered_and_a_share_is_grey() -> None:
    x = pictures(1, 3, 4, 4).expand(1000, -1, -1, -1) * 0.3 + 0.3
    jittered = Colours(1000, jitter=0.4, grey=0.0, mean=(0.0,) * 3, deviation=(1.0,) * 3)(x, torch.arange(1000), 0, 0)
    changed = int(((jittered - x).abs().amax(dim=(1, 2, 3)) > 1e-4).sum())
    assert 750 <= changed <= 850  # 800 expected, standard deviation 13
    shaded = Colours(1000, jitter=0.0, grey=0.3, mean=(0.0,) * 3, deviation=(1.0,) * 3)(x, torch.arange(1000), 0, 0)
    grey = int((shaded.std(dim=1).amax(dim=(1, 2)) < 1e-5).sum())
    assert 240 <= grey <= 360  # 300 expected, standard deviation 15


def test_grey_pictures_have_no_colour_to_turn() -> None:
    x = pictures(2, 1, 4, 4)
    shown = Colours(2, jitter=1.0, grey=0.0, mean=(0.0,), deviation=(1.0,))(x, torch.arange(2), 0, 0)
    assert shown.shape == x.shape and not torch.allclose(shown, x)
    assert not Colours(2, jitter=0.0, grey=1.0, mean=(0.0,), deviation=(1.0,)).active


MEAN, DEVIATION = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)


def scaled_bytes(pixels_BCHW: Tensor) -> Tensor:
    mean, deviation = torch.tensor(MEAN)[:, None, None], torch.tensor(DEVIATION)[:, None, None]
    return (pixels_BCHW.float() / 255 - mean) / deviation


@pytest.mark.parametrize("policy", ["rand-augment", "trivial-augment"])
def test_a_policy_is_torchvision_s_and_the_same_in_every_batch(policy: str) -> None:
    from torchvision.transforms import v2

    pixels = torch.randint(256, (40, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    x, every = scaled_bytes(pixels), torch.arange(40)
    change = Operations(policy, MEAN, DEVIATION)  # type: ignore[arg-type]
    torch.manual_seed(7)
    shown, after = change(x, every, epoch=2, seed=1), torch.rand(1)
    torch.manual_seed(7)
    assert torch.equal(after, torch.rand(1))  # torch's own generator is as it was
    torch.testing.assert_close(change(x[5:6], torch.tensor([5]), epoch=2, seed=1)[0], shown[5], rtol=0, atol=0)
    assert not torch.equal(change(x, every, epoch=3, seed=1), shown)
    of_torchvision = {"rand-augment": v2.RandAugment, "trivial-augment": v2.TrivialAugmentWide}[policy]()
    with torch.random.fork_rng():
        torch.manual_seed(derived_seed(1, 2, 5, 12))
        expected = of_torchvision(pixels[5])
    torch.testing.assert_close(shown[5], scaled_bytes(expected[None])[0])


def test_a_policy_leaves_the_generators_of_gpus_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)
    torch.manual_seed(3)
    assert seeds == [3]  # PyTorch seeds them by that name
    Operations("trivial-augment", MEAN, DEVIATION)(torch.zeros(2, 3, 8, 8), torch.arange(2), epoch=0, seed=0)
    assert seeds == [3]


def test_a_share_of_pictures_has_a_rectangle_erased() -> None:
    x = torch.ones(2000, 2, 20, 30)
    shown = Erasing(2000, 0.3)(x, torch.arange(2000), epoch=0, seed=0)
    erased_BHW = (shown == 0).all(1)
    assert torch.equal(erased_BHW, (shown == 0).any(1))  # in every channel alike
    share = erased_BHW.flatten(1).any(1)
    assert abs(float(share.float().mean()) - 0.3) < 5 * (0.3 * 0.7 / 2000) ** 0.5
    for cut_HW in erased_BHW[share][:50]:
        assert torch.equal(cut_HW, cut_HW.any(1)[:, None] & cut_HW.any(0))
    # areas are uniform in 0.02 to 0.4, but for those cut off at a side and rounded
    assert 0.15 < float(erased_BHW[share].float().mean()) < 0.22
    assert torch.equal(shown[3:4], Erasing(2000, 0.3)(x[3:4], torch.tensor([3]), epoch=0, seed=0))
