"""Hooks: each is documented, has a user in the tree and is called as it says."""

from __future__ import annotations

import ast
import inspect
import re
import types
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
from labwright.base.errors import LabwrightError
from labwright.plugin import hookspecs
from labwright.plugin.discovery import HOOKS, implementations
from labwright.plugin.registry import Plugins
from labwright.plugin.relay import Relay, check_listener
from parts import duel, sorting

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "hooks.md").read_text(encoding="utf-8")
SOURCES = sorted(
    file
    for folder in ("core/src", "tasks/src", "plugins/*/src")
    for top in ROOT.glob(folder)
    for file in top.rglob("*.py")
)
TESTS = sorted(file for file in ROOT.glob("**/tests/test_*.py") if ".venv" not in file.parts)


def section(hook: str) -> str:
    """The text below a hook's heading, up to the next heading."""
    found = re.search(rf"^### `{hook}\(.*?(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return found[0] if found else ""


def code(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_documentation_describes_exactly_these_hooks():
    assert re.findall(r"^### `(labwright_\w+)", PAGE, re.MULTILINE) == list(HOOKS)
    assert list(HOOKS) == [name for name in vars(hookspecs) if name.startswith("labwright_")]


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_is_documented_under_its_exact_signature(hook):
    signature = str(inspect.signature(getattr(hookspecs, hook))).replace("'", "")
    assert section(hook).startswith(f"### `{hook}{signature}`\n")
    assert inspect.getdoc(getattr(hookspecs, hook))


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hooks_examples_one_simple_and_one_realistic_implement_it(hook):
    examples = code(section(hook))
    assert len(examples) == 2
    for example in examples:
        scope: dict[str, Any] = {}
        exec(code(PAGE)[0], scope)
        before = set(scope)
        exec(example, scope)
        made = {name: thing for name, thing in scope.items() if name not in before}
        things = [thing for thing in made.values() if inspect.isclass(thing)] or [types.SimpleNamespace(**made)]
        (thing,) = things
        found = implementations(object.__new__(thing) if inspect.isclass(thing) else thing)
        assert set(found) == {hook}


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_has_a_user_in_the_tree(hook):
    assert [file for file in SOURCES if hook in implemented_in(file)]


@cache
def implemented_in(file: Path) -> frozenset[str]:
    functions = [one for one in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(one, ast.FunctionDef)]
    return frozenset(one.name for one in functions if any("hookimpl" in ast.unparse(by) for by in one.decorator_list))


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_is_named_in_a_test(hook):
    assert [file for file in TESTS if re.search(rf"\b{hook}\b", file.read_text(encoding="utf-8"))]


# -------------------------------------------------------------------------------------------------- as a run calls them


class Recorder:
    """Everything a run says, in order."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.stop_after = stop_after

    def of(self, hook: str) -> list[dict[str, Any]]:
        return [given for name, given in self.calls if name == hook]

    @lw.hookimpl
    def labwright_preflight(self, experiment, built, folder):
        given = {"experiment": experiment, "built": built, "folder": folder, "there": folder and folder.exists()}
        self.calls.append(("labwright_preflight", given))

    @lw.hookimpl
    def labwright_run_started(self, run):
        self.calls.append(("labwright_run_started", {"run": run, "done": run.step}))

    @lw.hookimpl
    def labwright_step_ended(self, run, step, losses):
        self.calls.append(("labwright_step_ended", {"run": run, "step": step, "losses": losses}))
        if step == self.stop_after:
            raise lw.StopRun("enough")

    @lw.hookimpl
    def labwright_logged(self, run, step, values):
        self.calls.append(("labwright_logged", {"run": run, "step": step, "values": dict(values)}))

    @lw.hookimpl
    def labwright_evaluated(self, run, step, split, metrics):
        given = {"run": run, "step": step, "split": split, "metrics": metrics, "kept": run.metrics[split]}
        self.calls.append(("labwright_evaluated", given))

    @lw.hookimpl
    def labwright_run_ended(self, run, outcome):
        self.calls.append(("labwright_run_ended", {"run": run, "outcome": outcome}))


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    """What a run of two epochs of six steps says, logging every four."""
    recorder = Recorder()
    train = {"epochs": 2, "batch_size": 15, "log_every": 4}
    sorting(train=train).run(tmp_path_factory.mktemp("heard") / "run", listeners=[recorder])
    return recorder


def test_labwright_preflight_is_called_first_and_before_there_is_a_folder(heard: Recorder):
    assert heard.calls[0][0] == "labwright_preflight"
    (given,) = heard.of("labwright_preflight")
    assert given["folder"].name == "run" and not given["there"]
    assert set(given["built"].metrics) == {"valid", "test"} and given["experiment"].train.epochs == 2


def test_labwright_run_started_is_called_once_before_anything_else_of_a_run(heard: Recorder):
    assert heard.calls[1][0] == "labwright_run_started"
    assert [given["done"] for given in heard.of("labwright_run_started")] == [0]


def test_labwright_step_ended_is_called_after_each_step_with_its_loss(heard: Recorder):
    given = heard.of("labwright_step_ended")
    assert [one["step"] for one in given] == list(range(1, 13))
    assert all(list(one["losses"]) == ["train"] and one["losses"]["train"].shape == () for one in given)


def test_labwright_step_ended_has_the_phases_that_were_due(tmp_path):
    recorder = Recorder(stop_after=6)
    duel().run(tmp_path / "run", listeners=[recorder])
    phases = [list(one["losses"]) for one in recorder.of("labwright_step_ended")]
    assert phases == [["critic"], ["critic"], ["critic", "generator"]] * 2  # the generator is due every third step


def test_labwright_logged_is_called_every_so_many_steps_with_numbers_of_the_host(heard: Recorder):
    given = heard.of("labwright_logged")
    assert [one["step"] for one in given] == [4, 8, 12]
    losses = [float(one["losses"]["train"]) for one in heard.of("labwright_step_ended")]
    for number, one in enumerate(given):
        assert one["values"]["loss"] == pytest.approx(sum(losses[4 * number : 4 * number + 4]) / 4)
        assert {type(value) for value in one["values"].values()} == {float}
        assert set(one["values"]) == {"loss", "lr", "steps_per_second"}


def test_labwright_evaluated_is_called_with_the_metrics_just_written(heard: Recorder):
    given = heard.of("labwright_evaluated")
    assert [(one["split"], one["step"]) for one in given] == [("valid", 6), ("valid", 12), ("test", 12)]
    assert all(one["metrics"] == one["kept"] for one in given)


@pytest.mark.parametrize(("stop_after", "status", "steps"), [(None, "finished", 6), (2, "stopped", 2)])
def test_labwright_run_ended_is_called_once_and_last_with_how_it_ended(tmp_path, stop_after, status, steps):
    recorder = Recorder(stop_after)
    run = sorting(train={"epochs": 1, "batch_size": 15}).run(tmp_path / "run", listeners=[recorder])
    (given,) = recorder.of("labwright_run_ended")
    assert recorder.calls[-1][0] == "labwright_run_ended"
    assert (given["outcome"].status, given["outcome"].step) == (status, steps)
    assert given["outcome"] == run.outcome
    assert "labwright_run_ended" not in [name for name, _ in recorder.calls[:-1]]


def test_what_a_plugin_brings_is_asked_for_when_plugins_are_found():
    """By labwright_components, labwright_recipes, labwright_kinds and labwright_verbs, once each."""
    called = []

    class Bringing:
        @lw.hookimpl
        def labwright_components(self):
            called.append("components")
            return [lw.Component("trick", "a/b", "torch.nn:Identity", "")]

        @lw.hookimpl
        def labwright_recipes(self):
            called.append("recipes")
            return [lw.Recipe("a/b", Path("b.toml"), "")]

        @lw.hookimpl
        def labwright_kinds(self):
            called.append("kinds")
            return [lw.Kind("trick", "torch.nn:Module", "tricks", "nowhere")]

        @lw.hookimpl
        def labwright_verbs(self):
            called.append("verbs")
            return [lw.Verb("juggle", "a.b:verb", "")]

    plugins = Plugins([]).extended([Bringing()])
    assert sorted(called) == ["components", "kinds", "recipes", "verbs"]
    assert [plugins.names(kind) for kind in ("trick", "recipe", "verb")] == [["a/b"], ["a/b"], ["juggle"]]
    assert plugins.base("trick").__name__ == "Module"


# ------------------------------------------------------------------------------------------------------------ the relay


def listening(name: str, said: list[str], **mark: bool) -> Any:
    class Listening:
        @lw.hookimpl(**mark)
        def labwright_evaluated(self, step):
            said.append(f"{name} {step}")

    return Listening()


def test_the_plugins_are_called_first_then_the_listeners_in_their_order():
    said: list[str] = []
    plugins = Plugins([]).extended([listening("p1", said), listening("p2", said)])
    relay = Relay(plugins, [listening("l1", said), listening("l2", said)])
    for call in relay.evaluated:
        call(run=None, step=3, split="valid", metrics={})
    assert said == ["p1 3", "p2 3", "l1 3", "l2 3"]


def test_a_call_may_ask_to_be_first_or_last():
    said: list[str] = []
    plugins = Plugins([]).extended([listening("plugin", said), listening("late", said, trylast=True)])
    relay = Relay(plugins, [listening("listener", said), listening("early", said, tryfirst=True)])
    for call in relay.evaluated:
        call(run=None, step=3, split="valid", metrics={})
    assert [one.split()[0] for one in said] == ["early", "plugin", "listener", "late"]


def test_nothing_is_called_when_nobody_listens():
    relay = Relay(Plugins.discover())
    hooks = (relay.run_started, relay.step_ended, relay.logged, relay.evaluated, relay.run_ended)
    assert hooks == ((), (), (), (), ())


def test_an_implementation_takes_the_arguments_it_names_by_whatever_kind_of_parameter():
    given = []

    class Choosy:
        @lw.hookimpl
        def labwright_evaluated(self, metrics, step, also=7):
            given.append((metrics, step, also))

        @lw.hookimpl
        def labwright_logged(self, **everything):
            given.append(everything)

    relay = Relay(Plugins([]), [Choosy()])
    relay.evaluated[0](run=None, step=3, split="valid", metrics={"a": 1.0})
    relay.logged[0](run=None, step=3, values={})
    assert given == [({"a": 1.0}, 3, 7), {}]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def labwright_evaluted(self): ...", "unknown hook 'labwright_evaluted'; did you mean 'labwright_evaluated'?"),
        (
            "def labwright_evaluated(self, metric): ...",
            "labwright_evaluated gives run, step, split, metrics; here it asks for 'metric'; did you mean 'metrics'?",
        ),
        ("def other(self): ...", "unknown hook 'other'."),
    ],
)
def test_a_listener_that_cannot_be_called_is_refused(source, said):
    scope: dict[str, Any] = {"lw": lw}
    exec(f"class Listener:\n    def __repr__(self): return 'mine'\n    @lw.hookimpl\n    {source}", scope)
    with pytest.raises(LabwrightError) as caught:
        check_listener(scope["Listener"]())
    assert str(caught.value) == f"mine can't listen to a run: {said}"


def test_a_listener_without_hooks_or_without_the_mark_is_refused():
    class Silent: ...

    class Unmarked:
        def labwright_evaluated(self): ...

    with pytest.raises(LabwrightError, match="implements none of labwright's hooks"):
        check_listener(Silent())
    with pytest.raises(LabwrightError, match=r"labwright_evaluated isn't marked with labwright\.hookimpl"):
        check_listener(Unmarked())


def test_a_hook_or_an_argument_on_its_way_out_warns_whoever_asks_for_it(monkeypatch: pytest.MonkeyPatch):
    """As pluggy does where specifications are registered: its `warn_on_impl` and `warn_on_impl_args`."""
    later = FutureWarning("labwright_logged is labwright_measured since 0.2 and will be gone in 0.3")
    spec = vars(hookspecs.labwright_logged)["labwright_spec"]
    monkeypatch.setitem(spec, "warn_on_impl_args", {"values": FutureWarning("values are called numbers since 0.2")})

    class Steps:
        @lw.hookimpl
        def labwright_logged(self, step):
            pass

    class Values:
        @lw.hookimpl
        def labwright_logged(self, values):
            pass

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(implementations(Steps())) == {"labwright_logged"}
    with pytest.warns(FutureWarning, match="values are called numbers since 0.2") as caught:
        implementations(Values())
    assert caught[0].filename == __file__
    monkeypatch.setitem(spec, "warn_on_impl", later)
    with pytest.warns(FutureWarning, match="labwright_measured since 0.2"):
        implementations(Steps())
