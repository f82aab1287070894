"""Playing episodes: several at once to measure a policy, one to look at. B episodes."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from labwright import LabwrightError
from PIL import Image
from torch import Tensor

from labwright_rl.environments import Environment, Gymnasium

Act = Callable[[Tensor], np.ndarray]
_FRAMES, _WIDTH, _PAUSE = 150, 320, 40  # of a film: frames at most, pixels, milliseconds of a frame


def played(data: Gymnasium, seeds: Sequence[int], act: Act) -> tuple[Tensor, Tensor]:
    """Returns and lengths, float64 (B,), of the episodes of some seeds; `act` answers observations of those that go on.

    Raises LabwrightError for an environment whose episodes have no end.
    """
    environments = [data.take() for _ in seeds]
    returns_B, lengths_B = (torch.zeros(len(seeds), dtype=torch.float64) for _ in range(2))
    seen = {number: one.reset(seed) for number, (one, seed) in enumerate(zip(environments, seeds, strict=True))}
    while seen:
        going = list(seen)
        for number, action in zip(going, act(torch.from_numpy(np.stack([*seen.values()]))), strict=True):
            seen[number], reward, terminated, truncated = environments[number].step(action)
            returns_B[number] += reward
            lengths_B[number] += 1
            if terminated or truncated:
                del seen[number]
        if float(lengths_B.max()) >= 1_000_000:
            raise LabwrightError(
                f"task.data.id: an episode of {data.id!r} has come to no end in a million steps. Give it one: "
                "task.data.options.max_episode_steps=1000."
            )
    data.give_back(*environments)
    return returns_B, lengths_B


@dataclass(frozen=True)
class Film:
    """An episode to look at: a GIF, and how it went. Without a `gif` the environment can't be drawn, and `why`."""

    gif: bytes
    why: str
    gain: float
    length: int


def filmed(data: Gymnasium, seed: int, act: Act) -> Film:
    """The episode of a seed; of a long one not every step is shown."""
    with _without_a_display():
        return _filmed(data, seed, act)


def _filmed(data: Gymnasium, seed: int, act: Act) -> Film:
    environment, why = data.take(), ""
    drawing: Environment | None = None
    try:
        drawing = data.take(render_mode="rgb_array")
    except LabwrightError as error:
        why = f"{data.id} can't be drawn here: {error}"
    playing = drawing or environment
    frames: list[Image.Image] = []
    seen, gain, length, going, stride = playing.reset(seed), 0.0, 0, True, 1
    while going:
        if drawing is not None and length % stride == 0:
            try:
                frames.append(_small(drawing.inner.render()))
            except Exception as error:  # noqa: BLE001 - what a machine without a display makes a library raise
                why, drawing, frames = f"{data.id} can't be drawn here: {error}", None, []
            if len(frames) > _FRAMES:  # every second one is enough
                frames, stride = frames[::2], stride * 2
        (action,) = act(torch.from_numpy(seen)[None])
        seen, reward, terminated, truncated = playing.step(action)
        gain, length, going = gain + reward, length + 1, not (terminated or truncated)
    if playing is not environment:
        playing.inner.close()
    data.give_back(environment)
    return Film(_gif(frames), why, gain, length)


@contextmanager
def _without_a_display() -> Iterator[None]:
    """Within it pygame, which draws many environments, doesn't look for a display, and complain that there is none."""
    name = "SDL_VIDEODRIVER"
    before = os.environ.get(name)
    os.environ.setdefault(name, "dummy")
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]


def _small(pixels: np.ndarray) -> Image.Image:
    frame = Image.fromarray(np.asarray(pixels, np.uint8))
    frame.thumbnail((_WIDTH, _WIDTH))
    return frame.quantize(64)


def _gif(frames: Sequence[Image.Image]) -> bytes:
    if not frames:
        return b""
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=_PAUSE, loop=0, optimize=True)
    return file.getvalue()
