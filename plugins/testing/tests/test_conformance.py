"""The conformance kit: it finds each of many planted faults, and nothing in sound components."""

from __future__ import annotations

import json
import os
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
from conftest import MENU, Site
from labwright import Component, LabwrightError, Plugins, hookimpl
from labwright_testing import (
    CHECKS,
    QUICK_CHECKS,
    Kit,
    NotApplicable,
    Subject,
    conformance,
    quick_findings,
)
from labwright_testing.pytest_cases import run

FAULTS = [  # kind, class, the check that finds it, what is said
    ("model", "Undocumented", "is-documented", "Undocumented has no docstring"),
    ("model", "Untold", "says-what-each-setting-is", "nothing is said of width"),
    ("model", "Unannotated", "has-settings-that-can-be-checked", "parameter 'width': it has no annotation"),
    ("model", "BadDefault", "has-settings-that-can-be-checked", "its default 1.5 isn't what its annotation allows"),
    ("model", "Dangling", "has-settings-that-can-be-checked", "rate counts where mode is .*, and there is no such"),
    ("loss", "Doubled", "has-settings-that-survive-toml-and-json", "rate: 0.5 is read again as 1.0"),
    ("model", "SearchedTooFar", "is-searched-among-valid-values", "rate is searched at 2.0, which isn't valid"),
    ("model", "Heads", "can-be-built-with-sampled-settings", "it can't be built: .*heads must divide width"),
    ("model", "NarrowFails", "works-at-the-ends-of-its-search", "with width=1 it fails: IndexError"),
    ("model", "LateBuffer", "starts-from-its-own-weights", "have no place in this model: 'seen'"),
    ("model", "Absent", "can-be-loaded", "can't be loaded from 'faults:Absent'"),
    ("model", "Squeezes", "answers-batches-of-one-and-three", r"a batch of 1 is answered with shape \(3,\)"),
    ("model", "LooksAtNeighbours", "answers-batches-of-one-and-three", "a row depends on its neighbours"),
    ("model", "Unused", "trains-every-parameter", "more.weight gets no gradient"),
    ("model", "Infinite", "trains-every-parameter", "the gradient of .* isn't finite"),
    ("model", "OtherDice", "gives-the-same-losses-for-the-same-seed", "the losses are"),
    ("model", "Forgetful", "keeps-everything-in-its-state", "it answers differently"),
    ("model", "AlwaysDrops", "changes-nothing-in-evaluation", "a second answer is another"),
    ("model", "Counts", "changes-nothing-in-evaluation", "evaluation changes calls"),
    ("model", "StaysBehind", "moves-whole", "mask is a tensor that stays behind"),
    ("model", "Mixes", "computes-in-bf16", "it can't be computed"),
    ("model", "Rounds", "computes-in-bf16", "instead of"),
    ("model", "Blind", "learns-one-batch-by-heart", "the loss goes from"),
    ("task", "Vector", "has-a-loss-that-is-pure-and-scalar", r"the loss has shape \(4,\)"),
    ("task", "Noisy", "has-a-loss-that-is-pure-and-scalar", "it draws from torch's generator"),
    ("task", "Scribbles", "has-a-loss-that-is-pure-and-scalar", "at first, then|the batch is changed"),
    ("task", "Tampers", "has-a-loss-that-is-pure-and-scalar", "at first, then|is changed"),
    ("task", "EvaluatesAtRandom", "evaluates-without-a-trace", "a second one is another"),
    ("task", "EvaluatesInTraining", "evaluates-without-a-trace", "it changes body.1"),
    ("task", "Goalless", "reports-its-goal", "the goal is 'f1', the metrics are accuracy, cross_entropy"),
    ("task", "SharedMetrics", "reports-its-goal", "gives the same 'accuracy' each time"),
    ("task", "MetricOfOne", "reports-its-goal", "doesn't take what evaluate returns"),
    ("task", "StartsOver", "begins-its-batches-anywhere", "the pass from batch 1 on has other batches"),
    ("task", "Shuffles", "begins-its-batches-anywhere", "a second pass with the same seed"),
    ("task", "DrawsFreely", "draws-from-the-generator-given", "it draws from torch's own generator"),
    ("task", "NoSuchPart", "trains-parts-that-are-there", "trains 'tail', which Net lacks"),
    ("task", "WeighsOnDevice", "weighs-a-batch-by-a-number", r"the weight of a batch of 4 is tensor\(4\)"),
    ("task", "CountsWhole", "cuts-its-batches-by-rows", "something isn't counted anew"),
    (
        "task",
        "Uncut",
        "cuts-its-batches-by-rows",
        "a batch's 'first' has no row for each .* method `rows`",
    ),
    ("task", "Repeats", "sees-each-sample-once-an-epoch", r"is in an epoch \d times"),
    ("task", "Skips", "sees-each-sample-once-an-epoch", "2 of 90 samples are in no batch"),
    ("task", "OneOrder", "orders-by-seed-and-epoch", "two epochs have one order"),
    ("task", "AnyOrder", "orders-by-seed-and-epoch", "the same seed and epoch have two orders"),
    ("task", "Oversized", "orders-by-seed-and-epoch", "asked for batches of 4, it gives one of 8"),
    ("task", "AnswersOnce", "answers-each-row-by-itself", "2 rows are given 1 answers"),
    ("task", "AnswersByRank", "answers-each-row-by-itself", "row [01] alone is answered {'rank': 0}, with another row"),
    ("task", "ForgetsOrigins", "answers-each-row-by-itself", "row 1 alone is answered {'line': .*}, with another row"),
    ("task", "AnswersInTensors", "answers-each-row-by-itself", "'logits' of an answer is .*no value for JSON"),
    ("task", "ReportsInTraining", "reports-without-a-trace", "it changes the model"),
    ("task", "ReportsAtRandom", "reports-without-a-trace", "it draws from a global generator"),
    ("task", "ReportsText", "reports-without-a-trace", "a str is no section"),
    ("task", "ReportsRagged", "reports-without-a-trace", "section 'Parts': a row has 1 cells for 2 columns"),
    ("task", "Encodes", "finds-a-model-for-its-contract", "no recipe has a model that fits Encoder"),
    (
        "task",
        "CallsOtherwise",
        "takes-the-losses-that-fit-its-contracts",
        "beside='cross-entropy' fits, but: Type",
    ),
    ("task", "FitsNobody", "takes-the-losses-that-fit-its-contracts", "beside: no installed loss fits Backwards"),
    ("task", "LosesState", "takes-up-the-state-it-gave", "after `load_state`, bank of its state is another"),
    ("task", "GrowingState", "takes-up-the-state-it-gave", "asked twice, `state` gives something else"),
    ("task", "EmptiesState", "takes-up-the-state-it-gave", "saved after every step, the losses of step 2 are others"),
    (
        "task",
        "UnwritableState",
        "takes-up-the-state-it-gave",
        "the state 'bank' of the task is a object that",
    ),
    ("stop", "LosesCount", "takes-up-the-state-it-gave", "after `load_state`, steps of its state is another"),
    ("method", "BeginsAnew", "takes-up-the-state-it-gave", r"after `load_state`, train\.0, .* of its state is another"),
    (
        "method",
        "BeginsAnew",
        "repeats-and-resumes-exactly",
        "gone on with after step 2, the losses of step 4",
    ),
    ("method", "RollsDice", "repeats-and-resumes-exactly", "trained again with the same seed, "),
    ("method", "Nameless", "leaves-gradients-and-gives-the-losses", "phase 'train': its losses are called loss"),
    ("method", "Gradientless", "leaves-gradients-and-gives-the-losses", "phase 'train': no parameter has a gradient"),
    ("method", "StepsItself", "leaves-gradients-and-gives-the-losses", "it moves parameters, which is the optimizer's"),
    ("loss", "Detached", "has-the-gradient-of-its-value", "the gradient's slope is"),
    ("loss", "Summed", "is-a-mean-that-uneven-batches-agree-on", "the mean of the parts"),
    ("schedule", "Counted", "is-a-function-of-the-step", "update 0 has the rate 0.01; asked before"),
    ("schedule", "WaitsAnew", "goes-on-from-what-it-has-heard", "after resuming, update 15 has another rate"),
    ("optimizer", "Ascends", "descends-a-quadratic", "what is left of the loss"),
    ("optimizer", "Forgets", "goes-on-from-its-state", "after resuming, weight is another"),
    ("optimizer", "Levels", "heeds-groups", "`bias` moves in spite of a factor of 0"),
    ("optimizer", "Overflows", "leaves-out-a-step-that-overflowed", "weight is changed"),
    ("metric", "ByBatch", "has-no-order-and-no-size-of-batches", "in one batch it is .*, in 2 batches"),
    ("metric", "KeepsOn", "begins-anew-after-reset", "at first, .* after a reset"),
    ("metric", "Rolls", "gives-numbers", "it draws from torch's generator"),
    ("device", "Nowhere", "brings-tensors-there-and-back", "can't be brought there and back"),
    ("device", "OnePrecision", "computes-in-the-precision-asked-for", "in bf16 there is no context"),
    ("data", "Unlicensed", "states-source-and-licence", "`licence` is ''"),
    ("data", "Leaks", "keeps-its-splits-apart", "90 of 90 samples of test are in train, too"),
    ("data", "AugmentsFreely", "gives-a-sample-by-its-index-alone", "it draws from torch's global generator"),
    (
        "data",
        "AugmentsByPlace",
        "gives-a-sample-by-its-index-alone",
        "sample 0 is another when asked for in another order",
    ),
    ("data", "SaysOtherwise", "gives-what-its-ports-say", "argument 0 is torch.float64, the port says torch.float32"),
    ("data", "LosesUnit", "reads-inputs-without-its-data", "is read as another input without the data"),
    ("data", "ReadsNoRow", "reads-inputs-without-its-data", "is read as arguments of 4 rows, not 1"),
    ("data", "LoadsNothing", "takes-up-what-it-kept", "the ports are"),
    (
        "data",
        "GivesAllParts",
        "measures-other-data-by-what-it-has-learned",
        "it has a split 'train' of its own; all is `test`",
    ),
    ("data", "NumbersTheUnknown", "measures-other-data-by-what-it-has-learned", "a label is 9; there are 3 classes"),
    ("data", "InOnePlace", "tells-apart-the-inputs-of-other-data", "two inputs stand at"),
    ("data", "ReadsAColumn", "tells-apart-the-inputs-of-other-data", "is read as arguments of several rows"),
]
SOUND = [
    ("task", "Sorting", "parts"),
    ("data", "Blobs", "parts"),
    ("model", "Net", "parts"),
    ("model", "HalfFrozen", "faults"),
    ("loss", "Compares", "faults"),
    ("optimizer", "Momentum", "faults"),
    ("schedule", "Waits", "faults"),
    ("model", "Searched", "faults"),
    ("task", "CountsFirst", "faulty_tasks"),
    ("task", "Answering", "faulty_tasks"),
    ("task", "Beside", "faulty_tasks"),
    ("task", "Banked", "faulty_tasks"),
    ("method", "Averaging", "faults"),
    ("data", "Lines", "faults"),
    ("data", "ReadsOthers", "faults"),
]


class Planted:
    """A plugin with sound components and faulty ones."""

    @hookimpl
    def labwright_components(self) -> Iterator[Component]:
        for kind, name, module in SOUND:
            yield Component(kind, f"sound/{name.lower()}", f"{module}:{name}", "sound")
        for kind, name in dict.fromkeys(fault[:2] for fault in FAULTS):
            module = "faulty_tasks" if kind == "task" else "faults"
            yield Component(kind, f"faulty/{name.lower()}", f"{module}:{name}", "one fault")


def experiment(plugins: Plugins, kind: str, name: str) -> lw.Experiment:
    """Blobs sorted by a net, with one component in the place of the sound one."""
    chosen: dict[str, Any] = {
        "task": {"name": "sound/sorting", "data": "sound/blobs"},
        "model": "sound/net",
        "loss": "cross-entropy",
        "optimizer": {"name": "adamw", "lr": 0.01},
        "device": "cpu",
        "train": {"epochs": 1, "batch_size": 15},
    }
    if kind == "data":
        chosen["task"]["data"] = name
    elif kind == "task":
        chosen["task"] = {"name": name, "data": "sound/lines"}
    elif kind == "schedule":
        chosen["optimizer"]["schedule"] = name
    elif kind == "metric":
        goal = f"{name.rpartition('/')[2]}:maximize"
        chosen["task"] = {"name": "classification", "data": "sound/blobs", "metrics": [name], "goal": goal}
    else:
        chosen[kind] = [name] if kind == "stop" else name
    return lw.Experiment(**chosen, log=[], plugins=plugins)


def subject(kind: str, name: str) -> Subject:
    plugins = Plugins.discover().extended([Planted()])
    component = plugins.find(kind, name)
    kit = Kit(plugins)
    found = Subject(kit, component)
    try:
        kit.recipes = {found.label: experiment(plugins, kind, name)}
    except LabwrightError:
        kit.recipes = {}  # it can't even be checked
    return found


@pytest.mark.parametrize(("kind", "name", "check", "said"), FAULTS, ids=[f"{one[1]}: {one[2]}" for one in FAULTS])
def test_a_planted_fault_is_found(kind: str, name: str, check: str, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        run(subject(kind, f"faulty/{name.lower()}"), CHECKS[check])


def checks_of(one: Subject) -> list[Any]:
    return [check for check in CHECKS.values() if check.applies(one)]


def test_every_check_has_a_planted_fault() -> None:
    elsewhere = {
        "can-be-read",
        "shows-its-help-at-once",
        "says-how-it-is-called",
        "gives-its-results-as-json",
        "is-declared-without-torch",
        "has-its-domain-and-a-summary",
        "says-what-it-goes-with",
        "repeats-itself",
    }
    assert {fault[2] for fault in FAULTS} | elsewhere == set(CHECKS)
    assert len(FAULTS) >= 30


def test_nothing_is_found_in_sound_components_and_every_check_of_their_kinds_has_one_to_look_at() -> None:
    applicable, looked_at = set(), set()
    for kind, name, _ in SOUND:
        one = subject(kind, f"sound/{name.lower()}")
        for each in checks_of(one):
            applicable.add(each.name)
            try:
                run_plainly(each, one)
            except NotApplicable:
                continue
            looked_at.add(each.name)
    # no plugin of this session is a file; models of a contract are those of labwright-tasks
    assert applicable - looked_at == {
        "is-declared-without-torch",
        "finds-a-model-for-its-contract",
        "is-a-mean-that-uneven-batches-agree-on",
    }


def run_plainly(each: Any, one: Subject) -> None:
    try:
        each.function(one)
    except (AssertionError, LabwrightError) as error:
        pytest.fail(f"{one.label}: {each.name}: {error}")


def test_a_task_may_say_that_it_draws_with_replacement() -> None:
    plugins = Plugins.discover().extended([Planted()])
    balanced = experiment(plugins, "task", "classification").varied({"task.sampling": "balanced"})
    one = Subject(Kit(plugins, {"task classification": balanced}), plugins.find("task", "classification"))
    CHECKS["orders-by-seed-and-epoch"].function(one)
    with pytest.raises(NotApplicable, match="it draws with replacement"):
        CHECKS["sees-each-sample-once-an-epoch"].function(one)
    one.task.replacement = False
    with pytest.raises(AssertionError, match=r"is in an epoch \d times"):
        CHECKS["sees-each-sample-once-an-epoch"].function(one)


def test_a_loss_is_cut_by_the_rows_of_a_batch_that_counts() -> None:
    plugins = Plugins.discover().extended([Planted()])
    kit = Kit(plugins, {"loss cross-entropy": experiment(plugins, "task", "sound/countsfirst")})
    CHECKS["is-a-mean-that-uneven-batches-agree-on"].function(Subject(kit, plugins.find("loss", "cross-entropy")))


def test_a_model_too_large_for_this_machine_is_said_and_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labwright_testing.every.LARGEST", 1000)  # bytes; a width of 64 takes 2,828
    one = subject("model", "sound/searched")
    CHECKS["works-at-the-ends-of-its-search"].function(one)
    assert one.notes == ["width=64 isn't tried: a model of 0.0 GB"]


def test_inputs_of_what_isnt_there_are_refused(stars: Site) -> None:
    with pytest.raises(LabwrightError, match="inputs: labwright-stars brings no 'task stars/net'; did you mean 'model"):
        conformance("labwright-stars", inputs={"task stars/net": ["1 2"]})


def test_a_loss_is_looked_at_with_a_model_part_of_which_is_frozen() -> None:
    one = subject("loss", "sound/compares")
    one.kit.recipes = {one.label: one.experiment.varied({"model": "sound/halffrozen"})}
    again = Subject(one.kit, one.declared)
    assert not all(parameter.requires_grad for parameter in again.built().model.parameters())
    CHECKS["has-the-gradient-of-its-value"].function(again)


def test_a_model_says_what_it_goes_with() -> None:
    one = subject("model", "sound/net")
    CHECKS["says-what-it-goes-with"].function(one)
    assert one.notes[0] == "torch.compile: yes" and re.match("torch.func: ", one.notes[1])


# ------------------------------------------------------------------------------------------- as an author has it


@pytest.mark.parametrize(
    ("plugin", "check", "said"),
    [
        ("import torch\n" + MENU, "is-declared-without-torch", "importing labwright_stars.plugin imports torch"),
        (MENU.replace("made by a test", ""), "has-its-domain-and-a-summary", "its summary is empty"),
        (MENU.replace("made by a test", "long " * 20), "has-its-domain-and-a-summary", "its summary is long"),
        (MENU.replace("{name!r}", "'net'"), "has-its-domain-and-a-summary", "'net' has no domain"),
    ],
)
def test_a_fault_of_a_declaration_is_found(site: Site, plugin: str, check: str, said: str) -> None:
    site.install("stars", plugin.format(kind="model", name="stars/net", target="parts:Net"))
    plugins = Plugins.discover()
    (mine,) = [one for one in plugins.plugins if one.name == "stars"]
    with pytest.raises(AssertionError, match=said):
        CHECKS[check].function(Subject(Kit(plugins), mine.components[0]))


def test_a_fault_of_a_recipe_is_found(site: Site) -> None:
    menu = """\
from pathlib import Path
import labwright as lw

@lw.hookimpl
def labwright_recipes():
    for name in ("gone", "misspelt"):
        yield lw.Recipe(f"stars/{name}", Path(__file__).parent / f"{name}.toml", "made by a test")
"""
    package = site.install("stars", menu)
    recipe = 'task = { name = "classification", dato = "toys/blobs" }\nmodel = "toys/net"\nloss = "cross-entropy"\n'
    (site.folder / package / "misspelt.toml").write_text(recipe)
    found = {one.label: one for one in Kit(Plugins.discover()).subjects("labwright-stars")}
    for name, said in (("gone", "has no file"), ("misspelt", "no setting 'dato'; did you mean 'data'")):
        with pytest.raises(AssertionError, match=said):
            run(found[f"recipe stars/{name}"], CHECKS["can-be-read"])


@pytest.mark.parametrize(
    ("target", "said"),
    [("parts:Nut", "can't be loaded from 'parts:Nut'"), ("stray:Net", "parameter 'width'")],
)
def test_what_cannot_stand_in_any_recipe_says_why_in_every_check(site: Site, target: str, said: str) -> None:
    site.install("stars", MENU.format(kind="model", name="stars/net", target=target))
    stray = "class Net:\n    '''A net.'''\n    def __init__(self, width=3): ...\n"
    (site.folder / "stray.py").write_text(stray)
    (one,) = Kit(Plugins.discover()).subjects("labwright-stars")
    checks = checks_of(one)
    quick = [each in QUICK_CHECKS for each in checks]
    assert quick == sorted(quick, reverse=True)
    for each in checks:
        if each not in QUICK_CHECKS:
            with pytest.raises(AssertionError, match=said):
                run(one, each)


@pytest.fixture
def stars(site: Site) -> Site:
    site.install("stars", MENU.format(kind="model", name="stars/net", target="parts:Net"))
    return site


def test_what_is_exempt_has_a_reason_and_is_there(stars: Site) -> None:
    for exempt, said in (
        ({"model stars/net: is-documentd": "no"}, "no check 'model stars/net: is-documentd'; did you mean"),
        ({"model stars/net: is-documented": " "}, "'model stars/net: is-documented' needs a reason"),
    ):
        with pytest.raises(LabwrightError, match=said):
            conformance("labwright-stars", exempt=exempt)
    with pytest.raises(LabwrightError, match="brings no 'model stars/nut'; did you mean 'model stars/net'"):
        conformance("labwright-stars", recipes={"model stars/nut": "vision/digits"})
    with pytest.raises(pytest.fail.Exception, match="no plugin is called 'labwright-star'; did you mean 'labwright-st"):
        conformance("labwright-star")


@pytest.mark.long
def test_in_pytest_an_exemption_that_holds_fails_and_notes_are_shown(
    stars: Site, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [str(stars.folder), str(Path(__file__).parents[3] / "core" / "tests"), *sys.path]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(folders))
    pytester.makepyfile(
        test_stars="""
        from labwright_testing import conformance

        test_conformance = conformance(
            "labwright-stars",
            exempt={
                "model stars/net: is-documented": "not so",
                "model stars/net: trains-every-parameter": "no recipe goes with it",
            },
        )
        """
    )
    ran = pytester.runpytest_subprocess("-k", "documented or every-parameter or loaded")
    ran.assert_outcomes(passed=1, failed=1, xfailed=1)
    ran.stdout.fnmatch_lines(["*XPASS(strict)*not so*"])


# --------------------------------------------------------------------------------------------- verbs, kinds, commands

VERBS = """\
import labwright as lw

@lw.hookimpl
def labwright_verbs():
    for name in ("sound", "heavy", "silent", "mute"):
        yield lw.Verb(name, f"labwright_moons.{name}:verb", "made by a test")

@lw.hookimpl
def labwright_kinds():
    yield lw.Kind("trick", "torch.nn:Modul", "tricks", "nowhere")
"""
SOUND_VERB = '''\
import typer
from labwright.cli.shared import Json

def verb(ctx: typer.Context, as_json: Json = False) -> None:
    """Do nothing.

    Example: labwright NAME
    """
'''


@pytest.fixture
def verbs(site: Site) -> Site:
    """A plugin with a sound verb and three with a fault each, and a kind whose base isn't there."""
    site.install(
        "moons",
        VERBS,
        sound=SOUND_VERB.replace("NAME", "sound"),
        heavy="import torchvision\n" + SOUND_VERB.replace("NAME", "heavy"),
        silent=SOUND_VERB.replace("NAME", "loud"),
        mute=SOUND_VERB.replace("NAME", "mute").replace("Json = False", "bool = False"),
    )
    return site


@pytest.mark.long
def test_the_faults_of_verbs_and_kinds_are_found_and_nothing_in_a_sound_one(verbs: Site) -> None:
    faults = {
        (finding.label, finding.check.name): finding.found.splitlines()[0]  # below it, pytest shows what was compared
        for finding in quick_findings(Plugins.discover(), "moons")
        if finding.found
    }
    assert faults == {
        ("verb heavy", "shows-its-help-at-once"): "its module imports torchvision",
        ("verb silent", "says-how-it-is-called"): "its last paragraph isn't `Example: labwright silent ...`",
        ("verb mute", "gives-its-results-as-json"): "it has no option --json",
        ("kind trick", "can-be-loaded"): faults["kind trick", "can-be-loaded"],
    }
    assert "can't be loaded from 'torch.nn:Modul': AttributeError" in faults["kind trick", "can-be-loaded"]


@pytest.mark.long
def test_the_commands_check_what_can_be_told_at_once_or_everything(
    stars: Site, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # where parts.py lies, too
    quick = command("check", "--quick", "labwright-stars", "--json", site=stars.folder, cwd=tmp_path)
    told = json.loads(quick.out)
    assert (quick.code, told["checks"], told["found"]) == (0, 8, [])
    everything = command("check", "stars", "--json", site=stars.folder, cwd=tmp_path)
    told = json.loads(everything.out)
    assert everything.code == 1 and told["checks"] > 14
    assert {tuple(one["components"]) for one in told["found"]} == {("model stars/net",)}
    assert any("no recipe can try it here" in one["found"] for one in told["found"])
    absent = command("check", "satrs", site=stars.folder, cwd=tmp_path)
    assert absent.code == 2 and "no plugin is called 'satrs'; did you mean 'stars'? Is it installed?" in absent.err


def test_the_kits_old_place_forwards_with_a_warning() -> None:
    from labwright import testing

    with pytest.warns(FutureWarning, match="labwright.testing is labwright_testing since 0.2, and will be gone in 0.3"):
        assert testing.conformance is conformance
    with warnings.catch_warnings(), pytest.raises(AttributeError):
        warnings.simplefilter("ignore")
        _ = testing.no_such_name


def test_without_the_kit_its_old_place_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from labwright import testing

    monkeypatch.setitem(sys.modules, "labwright_testing", None)
    with pytest.raises(LabwrightError, match=r"comes with labwright-testing: pip install labwright\[testing\]"):
        _ = testing.conformance
