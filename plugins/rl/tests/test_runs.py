"""Whole runs: exact when resumed, measured, shown and refused where they should be."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from labwright_study.fused.fuse_key import why_not
from labwright_testing.verify_resume import verify_resume

PPO = ["task.environments=2", "task.rollout=16", "task.passes=2", "train.batch_size=8", "train.steps=24"]
DQN = ["task.environments=2", "task.collect=4", "task.updates=3", "task.warmup=40", "task.memory=60", "train.steps=24"]
SHORT = {
    "rl/cartpole-ppo": PPO,
    "rl/acrobot-ppo": [*PPO, "task.normalize_rewards=true", "task.data.options.max_episode_steps=40"],
    "rl/cartpole-dqn": [*DQN, "train.batch_size=16"],
    "rl/pendulum-sac": [*DQN, "train.batch_size=16", "task.data.options.max_episode_steps=30"],
}
OFTEN = ["train.evaluate_every=8 steps", "train.save_every=8 steps", "train.log_every=4", "task.data.episodes=3"]


@pytest.mark.parametrize("recipe", SHORT)
def test_a_run_resumed_in_mid_round_is_equal_bit_for_bit(recipe: str) -> None:
    """Stopped after 11 of 22 steps: within a round, within an episode, and the buffer has begun to forget."""
    verdict = verify_resume(lw.Experiment.from_recipe(recipe, SHORT[recipe]), 11)
    assert verdict.exact, verdict
    assert (verdict.steps, verdict.stopped_at) == (22, 11)


def test_a_buffer_is_written_once_and_appended(tmp_path: Path) -> None:
    overrides = [*SHORT["rl/cartpole-dqn"], *OFTEN, "task.memory=1000"]
    run = lw.Experiment.from_recipe("rl/cartpole-dqn", overrides).run(tmp_path / "run")
    checkpoints = run.folder / "checkpoints"
    files = sorted((checkpoints / "tables" / "state.task.replay.rewards").iterdir())
    # each begins where the one before it ends; checkpoints of steps 8, 16 and 24 have each written their own rows
    bounds = [tuple(map(int, file.stem.split("-"))) for file in files]
    assert bounds[0][0] == 0 and [one[1] for one in bounds[:-1]] == [one[0] for one in bounds[1:]]
    assert len(files) >= 2
    training = checkpoints / "step-00000024" / "training.safetensors"
    assert b"replay" not in training.read_bytes()


def test_a_resumed_buffer_that_is_damaged_is_named(tmp_path: Path, labwright: Callable[..., Any]) -> None:
    overrides = [*SHORT["rl/cartpole-dqn"], *OFTEN]
    run = lw.Experiment.from_recipe("rl/cartpole-dqn", overrides).run(tmp_path / "run")
    for file in (run.folder / "checkpoints" / "tables").rglob("*.safetensors"):
        file.write_bytes(b"nothing")
    said = labwright("resume", run.folder)
    assert said.code == 2 and "is damaged" in said.errors and "Traceback" not in said.errors


@pytest.mark.parametrize(
    ("recipe", "overrides", "named"),
    [
        ("rl/cartpole-dqn", ["task.memory=5000"], "task.memory was 60 and is 5000 now"),  # most of it never written
        ("rl/cartpole-ppo", ["task.environments=4", "task.rollout=8"], "task.environments was 2 and is 4 now"),
        ("rl/cartpole-ppo", ["task.rollout=32", "task.passes=1"], "task.rollout was 16 and is 32 now"),
        ("rl/cartpole-ppo", ["task.normalize_rewards=true"], "task.normalize_rewards was False and is True now"),
    ],
)
def test_a_resumed_run_keeps_the_sizes_of_what_it_has_collected(
    recipe: str, overrides: list[str], named: str, tmp_path: Path, labwright: Callable[..., Any]
) -> None:
    lw.Experiment.from_recipe(recipe, [*SHORT[recipe], "log=[]"]).trainer(tmp_path / "run").fit(until=13)
    said = labwright("resume", tmp_path / "run", *overrides)
    assert said.code == 2 and named in said.errors and "Traceback" not in said.errors
    assert labwright("resume", tmp_path / "run", "task.discount=0.9").code == 0


def test_a_run_is_measured_shown_and_played(tmp_path: Path, labwright: Callable[..., Any]) -> None:
    said = labwright("run", "rl/cartpole-ppo", "--folder", tmp_path / "run", *PPO, *OFTEN)
    assert said.code == 0, said.errors
    log = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    valid = [record["metrics"] for record in log if record["event"] == "evaluation" and record["split"] == "valid"]
    assert {"return", "spread", "length", "collected/steps", "collected/entropy"} <= valid[-1].keys()
    assert valid[-1]["collected/steps"] == 6 * 2 * 16 / 2  # 24 updates are 3 rounds of 8
    report = (tmp_path / "run" / "report.html").read_text()
    assert "data:image/gif;base64," in report and "Collected while learning" in report
    assert "random play" in report
    said = labwright("predict", tmp_path / "run", "--seed", 7, "--json")
    answer = json.loads(said.out)
    assert answer["return"] == answer["length"] and Path(answer["film"]).read_bytes().startswith(b"GIF89a")
    said = labwright("predict", tmp_path / "run", "--seed", "x")
    assert said.code == 2 and "a seed is a whole number" in said.errors
    for split in ("valid", "test"):
        said = labwright("evaluate", tmp_path / "run", "--split", split, "--json")
        again = json.loads(said.out)["metrics"]
        (logged,) = [row["metrics"] for row in log if row.get("split") == split and row["step"] == 24]
        assert again and again == {name: logged[name] for name in again}
    said = labwright("evaluate", tmp_path / "run", "--split", "train")
    assert said.code == 2 and "train is random play" in said.errors and "Traceback" not in said.errors


@pytest.mark.parametrize("recipe", ["rl/cartpole-ppo", "rl/cartpole-dqn"])
def test_a_trainer_goes_on_itself_where_it_stopped(recipe: str, tmp_path: Path) -> None:
    experiment = lw.Experiment.from_recipe(recipe, [*SHORT[recipe], *OFTEN, "log=[]"])
    whole = experiment.run(tmp_path / "whole")
    trainer = experiment.trainer(tmp_path / "parts")
    trainer.fit(until=11)
    assert trainer.fit().metrics == whole.metrics
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(trainer.model.state_dict()[name], tensor)


def test_a_trainer_that_went_back_writes_what_it_has_then(tmp_path: Path) -> None:
    overrides = [*SHORT["rl/cartpole-dqn"], "train.save_every=4 steps", "train.keep=9", "log=[]"]
    trainer = lw.Experiment.from_recipe("rl/cartpole-dqn", overrides).trainer(tmp_path / "run")
    trainer.fit(until=20)
    trainer.restore(trainer.checkpoints.read(8))
    trainer.fit(until=10)
    state: Any = trainer.task.state()  # type: ignore[attr-defined]
    written = trainer.checkpoints.read(10).training["state/task/replay/rewards"]
    held = state["replay/rewards"]
    assert written.count == held.count and torch.equal(written.rows, held.rows)
    observations = trainer.checkpoints.read(10).training["state/task/replay/observations"]
    assert torch.equal(observations.rows, state["replay/observations"].rows)


def test_a_run_of_an_environment_that_wavers_says_that_it_is_not_exact(tmp_path: Path) -> None:
    overrides = ["task.data.id=Wavering-v0", *PPO, *OFTEN]
    experiment = lw.Experiment.from_recipe("rl/cartpole-ppo", [*overrides, "log=[]"])
    experiment.trainer(tmp_path / "run").fit(until=5)
    resumed, _ = experiment.resumed(tmp_path / "run")
    outcome = resumed.fit()
    assert any("isn't deterministic" in note for note in outcome.notes)


@pytest.mark.parametrize("recipe", SHORT)
def test_sums_of_rounds_are_what_the_recipe_says(recipe: str) -> None:
    """The recipes' comments tell how many steps of the environments a run takes."""
    experiment = lw.Experiment.from_recipe(recipe)
    task: Any = experiment.prepared()
    updates = experiment.train.steps
    assert updates is not None
    if recipe.endswith("ppo"):
        assert updates % task.round_steps(experiment.train.batch_size) == 0
        steps = updates // task.round_steps(experiment.train.batch_size) * task.rollout * task.environments
    else:
        steps = task.warmup + updates // task.updates * task.collect_steps * task.environments
    expected = {"rl/cartpole-ppo": 100_000, "rl/acrobot-ppo": 200_000, "rl/cartpole-dqn": 75_000}
    assert steps == pytest.approx(expected.get(recipe, 10_000), rel=0.005)


@pytest.mark.long
def test_tune_prunes_on_the_return(tmp_path: Path, labwright: Callable[..., Any]) -> None:
    settings = ["--workers", 1, *PPO, *OFTEN, "device=cpu", "--json"]
    said = labwright(
        "tune", "rl/cartpole-ppo", "--trials", 3, "--pruner", "median", "--workers", 1, *settings, "--json"
    )
    assert said.code == 0, said.errors
    assert '"return"' in said.out or "return" in said.errors


def test_trials_are_not_fused_and_the_reason_is_said() -> None:
    assert "collects its own data" in why_not(lw.Experiment.from_recipe("rl/cartpole-ppo"))


BAD = {
    "an environment that isn't there": (["task.data.id=CartPol-v1"], "did you mean 'CartPole-v1'"),
    "an environment without an id": (["task.data.id="], "id"),
    "options it doesn't take": (["task.data.options.gravitation=1"], "gravitation"),
    "epochs": (["train.epochs=3", "train.steps="], "give train.steps"),
    "a batch of more than a round": (["train.batch_size=5000"], "more than the 1,024 steps of a round"),
    "no environments": (["task.environments=0"], "environments"),
    "a discount above 1": (["task.discount=1.5"], "discount"),
    "an objective that isn't there": (["task.objective=trpo"], "ppo"),
    "a model of another kind of actions": (["model=rl/q-network"], "it has no method both(observed)"),
    "a model of other inputs": (["model=vision/mlp"], "takes Image"),
    "a task without its data": (["task=rl/off-policy"], "task.data"),
    "a setting of another task": (["task.memory=5"], "memory"),
    "actions of a kind nobody takes": (["task.data.id=Several-v0"], "MultiDiscrete"),
    "a method that isn't there": (["method=nothing"], "nothing"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_clear_sentence(what: str, labwright: Callable[..., Any]) -> None:
    overrides, words = BAD[what]
    said = labwright("run", "rl/cartpole-ppo", *overrides)
    assert said.code == 2, said.out
    last = [line for line in said.errors.splitlines() if not line.startswith("note: ")]
    assert last[0].startswith("error: ") and words in said.errors
    assert "Traceback" not in said.errors and not Path("runs").exists()


@pytest.mark.parametrize(
    ("recipe", "override", "words"),
    [
        ("rl/pendulum-sac", "task.double=true", "a setting of DQN"),
        ("rl/cartpole-dqn", "task.target_entropy=-1", "a setting of SAC"),
        ("rl/pendulum-sac", "task.data.id=Unbounded-v0", "actions within bounds"),
        ("rl/pendulum-sac", "task.data.id=CartPole-v1", "rl/soft-actor-critic"),
        ("rl/cartpole-dqn", "train.batch_size=200000", "more than task.memory"),
    ],
)
def test_what_one_of_the_two_learners_does_not_take_is_refused(
    recipe: str, override: str, words: str, labwright: Callable[..., Any]
) -> None:
    said = labwright("run", recipe, override)
    assert said.code == 2 and words in said.errors and "Traceback" not in said.errors


@pytest.mark.long
def test_several_processes_are_refused_with_the_reason(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "labwright", "run", "rl/cartpole-ppo", "--processes", "2", *PPO]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "keeps a state of its own" in done.stderr


def test_a_network_for_pictures_learns_from_them(tmp_path: Path) -> None:
    overrides = ["task.data.id=Pictures-v0", *PPO, *OFTEN, "train.steps=8", "log=[]"]
    run = lw.Experiment.from_recipe("rl/cartpole-ppo", overrides).run(tmp_path / "run")
    assert run.step == 8
