"""Environments: spaces as ports, episodes by their seeds, and a state that the same actions lead back to."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import torch
from labwright import LabwrightError
from labwright_rl.environments import Environments, Gymnasium
from labwright_rl.playing import filmed, played
from labwright_rl.ports import ContinuousActions, DiscreteActions, Observations


@pytest.mark.parametrize(
    ("name", "shown", "taken"),
    [
        ("CartPole-v1", Observations((4,)), DiscreteActions(2)),
        ("Pendulum-v1", Observations((3,)), ContinuousActions((-2.0,), (2.0,))),
        ("Pictures-v0", Observations((3, 12, 10), pictures=True), DiscreteActions(3)),
        ("OneHot-v0", Observations((5,)), DiscreteActions(2)),
        ("Together-v0", Observations((5,)), ContinuousActions((-1.0, -1.0), (1.0, 1.0))),
    ],
)
def test_spaces_are_ports_and_what_is_shown_fits_them(name: str, shown: Any, taken: Any, tmp_path: Any) -> None:
    data = Gymnasium(id=name)
    assert data.ports() == (shown, taken)
    part = data.split("train")
    assert part is not None
    batch = part.fetch(torch.tensor([3, 1]), 0, 0)
    assert batch.inputs[0].shape == (2, *shown.shape)
    assert batch.inputs[0].dtype == (torch.uint8 if shown.pictures else torch.float32)
    data.save(tmp_path)
    kept = Gymnasium(id=name)
    kept.load(tmp_path)
    assert kept._ports == (shown, taken)


def test_a_start_that_is_not_0_is_told_to_the_environment() -> None:
    """Its actions are -1, 0 and 1, and it refuses others."""
    environment = Gymnasium(id="Pictures-v0").take()
    environment.reset(0)
    for action in range(3):
        environment.step(action)
    with pytest.raises(AssertionError, match="2 is no action"):
        environment.step(3)


def test_an_episode_follows_from_its_seed() -> None:
    data = Gymnasium(id="CartPole-v1", episodes=3)
    lengths = [played(data, data.seeds("valid"), lambda seen: (seen[:, 2] > 0).long().numpy()) for _ in range(2)]
    assert torch.equal(lengths[0][0], lengths[1][0]) and torch.equal(*(length[1] for length in lengths))
    assert not set(data.seeds("valid")) & set(data.seeds("test"))


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1", "Acrobot-v1"])
def test_the_same_actions_lead_back_to_the_same_state(name: str) -> None:
    data = Gymnasium(id=name)
    chance = torch.Generator().manual_seed(0)

    def actions() -> np.ndarray:
        drawn: np.ndarray = data.ports()[1].example(3, chance)[0].numpy()
        return drawn

    whole = Environments(data, 3, seed=1)
    for _ in range(250):  # several episodes
        whole.step(actions(), lambda *_: None)
    again = Environments(data, 3, seed=1)
    assert again.load_state(whole.state())
    for _ in range(30):
        action = actions()
        one, other = (each.step(action, lambda *_: None) for each in (whole, again))
        assert np.array_equal(one.following, other.following) and np.array_equal(one.rewards_N, other.rewards_N)
    assert whole.returns == again.returns


def test_an_environment_that_is_not_deterministic_is_found_out() -> None:
    data = Gymnasium(id="Wavering-v0")
    whole = Environments(data, 1, seed=1)
    whole.step(np.zeros(1, int), lambda *_: None)
    assert not Environments(data, 1, seed=1).load_state(whole.state())


def test_what_was_seen_stays_as_it_was_where_an_environment_shows_the_same_array_again() -> None:
    data = Gymnasium(id="Reusing-v0", episodes=3)
    valid = data.split("valid")
    assert valid is not None
    first = valid.fetch(torch.arange(3), 0, 0)
    assert first.inputs[0].flatten().tolist() == first.targets.float().tolist()
    asked = [data.parse(line) for line in ("7", "8")]
    assert [float(each[0]) for each in asked] == [7.0, 8.0]


def test_each_episode_and_environment_has_a_seed_of_its_own() -> None:
    environments = Environments(Gymnasium(id="CartPole-v1"), 2, seed=0)
    first = environments.observations.copy()
    ended: list[tuple[int, float, int]] = []
    while len(ended) < 2:
        environments.step(np.ones(2, int), lambda *episode: ended.append(episode))
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(environments.observations, first)
    assert all(gain == length for _, gain, length in ended)  # a reward of 1 for each step


def test_a_film_is_a_gif_and_leaves_the_process_as_it_was() -> None:
    before = dict(os.environ)
    film = filmed(Gymnasium(id="CartPole-v1"), 0, lambda seen: np.ones(len(seen), int))
    assert film.gif.startswith(b"GIF89a") and film.gain == film.length > 5
    assert dict(os.environ) == before


def test_an_environment_that_cannot_be_drawn_is_played_all_the_same() -> None:
    film = filmed(Gymnasium(id="Counting-v0"), 0, lambda seen: np.ones(len(seen), int))
    assert not film.gif and "can't be drawn" in film.why
    assert (film.gain, film.length) == (15, 5)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("CartPol-v1", "did you mean 'CartPole-v1'"),
        ("CartPole-v7", "CartPole-v1"),
        ("ALE/Pong-v5", "ALE/Pong-v5"),
        ("nomodule:X-v0", "nomodule"),
        ("", "''"),
        ("Several-v0", "one of several (Discrete) or a row of numbers (Box)"),
        ("Whole-v0", "a row of numbers (Box) that aren't whole ones"),
        ("Endless-v0", "no fixed number of numbers"),
    ],
)
def test_an_environment_that_cannot_be_used_is_named(name: str, words: str) -> None:
    with pytest.raises(LabwrightError, match=r"task\.data\.id") as refused:
        Gymnasium(id=name).ports()
    assert words in str(refused.value)


def test_options_that_an_environment_does_not_take_are_named() -> None:
    with pytest.raises(LabwrightError, match="gravitation"):
        Gymnasium(id="CartPole-v1", options={"gravitation": 9.8}).ports()
