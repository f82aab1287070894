"""What the tests share: the command line, and environments so small that everything about them can be worked out."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from labwright.cli import main


class Counting(gymnasium.Env[Any, Any]):
    """Shows the number of the step and gives it as the reward; ends of itself after `end` steps, if it is given."""

    def __init__(self, end: int | None = None) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
        self.action_space = spaces.Discrete(2)
        self.end, self.at = end, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self.at = 0
        return np.array([0.0], np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.at += 1
        return np.array([self.at], np.float32), float(self.at), self.at == self.end, False, {}


class Wavering(Counting):
    """What it shows is chance, whatever seed it was given."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        _, reward, terminated, truncated, info = super().step(action)
        return np.array([random.random()], np.float32), reward, terminated, truncated, info


class Reusing(Counting):
    """Shows the same array each time, in which the seed of the episode stands first, then the number of the step."""

    def __init__(self) -> None:
        super().__init__()
        self.shown = np.zeros(1, np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self.shown[0] = seed or 0
        return self.shown, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        seen, *others = super().step(action)
        self.shown[0] = seen[0]
        return self.shown, *others


class Shapes(gymnasium.Env[Any, Any]):
    """Observations and actions of any spaces, drawn at random."""

    def __init__(self, shown: Any, taken: Any) -> None:
        self.observation_space, self.action_space = shown, taken

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), f"{action!r} is no action"
        return self.observation_space.sample(), 0.0, False, False, {}


BOX = spaces.Box(-1, 1, (2,), np.float32)
SHAPES = {
    "Pictures-v0": (spaces.Box(0, 255, (12, 10, 3), np.uint8), spaces.Discrete(3, start=-1)),
    "OneHot-v0": (spaces.Discrete(5), spaces.Discrete(2)),
    "Together-v0": (spaces.Dict({"a": BOX, "b": spaces.Discrete(3)}), BOX),
    "Unbounded-v0": (BOX, spaces.Box(-np.inf, np.inf, (2,), np.float32)),
    "Several-v0": (BOX, spaces.MultiDiscrete([2, 3])),
    "Whole-v0": (BOX, spaces.Box(0, 9, (2,), np.int64)),
    "Endless-v0": (spaces.Sequence(BOX), spaces.Discrete(2)),
}


@pytest.fixture(autouse=True, scope="session")
def registered() -> None:
    gymnasium.register("Counting-v0", Counting, max_episode_steps=5)
    gymnasium.register("Wavering-v0", Wavering, max_episode_steps=5)
    gymnasium.register("Reusing-v0", Reusing, max_episode_steps=5)
    for name, (shown, taken) in SHAPES.items():
        made = {"shown": shown, "taken": taken}
        gymnasium.register(name, Shapes, max_episode_steps=5, kwargs=made)


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    errors: str


@pytest.fixture
def labwright(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Said]:
    """The command line, in tmp_path."""
    monkeypatch.chdir(tmp_path)

    def answer(*words: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["labwright", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Said(ended.value.code, captured.out, captured.err)

    return answer
