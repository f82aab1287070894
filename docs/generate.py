"""The pages made when the site is built: verbs, interfaces, Python names, components, notebooks and benchmarks.

mkdocs calls `on_files` (see `hooks:` in mkdocs.yml). Nothing of these pages is written by hand, so that none of it can
differ from what the code does; docstrings are Markdown already. `python docs/generate.py` draws the figures of
explanation/architecture.md and how-to/check-a-plugin.md anew, which are pages that one reads in the repository too.
"""

from __future__ import annotations

import ast
import base64
import dataclasses
import inspect
import io
import json
import re
import textwrap
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import labwright as lw
import labwright_export
import labwright_testing
import typer.main
from labwright.base import search
from labwright.cli import EXIT_CODES, app
from labwright.cli.shared import Context
from labwright.config.signature import ARGUMENT, ARGUMENTS, Setting, signature
from labwright.data import ports
from labwright.plugin.registry import Plugins
from labwright.runs.start import Start
from labwright.train.settings import Train
from labwright_tasks.schedules import PLAIN, CosineRestarts, Polynomial, ReduceOnPlateau, Step
from matplotlib.figure import Figure
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

WIDTH = 88  # of a signature on the page
ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "RESULTS.md"
DRAWN = [ROOT / "docs" / page for page in ("explanation/architecture.md", "how-to/check-a-plugin.md")]
CORE = ROOT / "core" / "src" / "labwright"
DRAWN_STEPS = 280  # of the schedules that are drawn
GREY = "#808080"  # reads on light and on dark
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))

_LEADS = {
    "task": "What is learned: data in, objective, measure of success.",
    "data": "The datasets a task can be about.",
    "model": "Networks. The ports say which tasks a model goes with.",
    "loss": "What is minimised. A loss goes with the tasks whose call it understands.",
    "metric": "What is measured. A metric goes with the tasks whose results its `update` takes.",
    "method": "What a step is fed, and how that becomes gradients.",
    "optimizer": "Update rules. The schedule of the learning rate is part of each.",
    "schedule": "How the learning rate goes over a run, as shares of `optimizer.lr`.",
    "device": "Where and how it is computed. Nothing here changes what is computed, precision apart.",
    "logger": "What shows or stores a run's numbers, beside `metrics.jsonl`.",
    "stop": "Rules that end a run early.",
    "suggester": "What knows a kind of files, and a recipe for it.",
    "sampler": "How a study chooses the next settings to try.",
    "cluster": "Machines that a study's workers run on, if it isn't this one.",
    "pruner": "How a study finds trials that need not be trained to their end.",
}


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the generated pages to those that are written by hand."""
    for uri, content in (pages(Plugins.discover()) | pictures()).items():
        files.append(File.generated(config, uri, content=content))
    return files


def pages(plugins: Plugins) -> dict[str, str]:
    """Every generated page as Markdown, by its place below docs/."""
    written = {
        "reference/verbs.md": verbs(plugins),
        "reference/train.md": train(plugins),
        "reference/start.md": start(plugins),
        "reference/interfaces.md": interfaces_page(),
        "reference/ports.md": ports_page(),
        "reference/python.md": python(),
        "explanation/benchmarks.md": benchmarks(),
    }
    written |= {f"notebooks/{file.stem}.md": notebook(file) for file in NOTEBOOKS}
    return written | {
        f"reference/components/{plugins.heading(kind)}.md": components(plugins, kind)
        for kind in plugins.kinds
        if plugins.names(kind)
    }


# ------------------------------------------------------------------------------------------------------------ verbs


def verbs(plugins: Plugins) -> str:
    """The command line, from Typer's own commands; the verbs of every installed plugin."""
    group: Any = typer.main.get_command(app)
    context = group.context_class(group, obj=Context(()))
    parts = [
        "# Verbs",
        "`labwright VERB --help` shows the same. These options stand before the verb:",
        _options(group.params),
        f"{EXIT_CODES} [Messages and exit codes](messages.md) has more.",
    ]
    for name in plugins.names("verb"):
        (owner, _), *_ = plugins.owners("verb", name)
        _, command, _ = group.resolve_command(context, [name])
        arguments = [one for one in command.params if one.param_type_name == "argument"]
        options = [one for one in command.params if one.param_type_name == "option"]
        call = " ".join(["labwright", name, *(_metavar(one) for one in arguments)] + ["[OPTIONS]"] * bool(options))
        label, _, examples = command.epilog.partition(": ")
        parts += [f"## {name}", command.help, f"*From {owner.distribution}.*", f"```console\n$ {call}\n```"]
        parts += [_table(("argument", ""), [(_code(_metavar(one)), one.help or "") for one in arguments])]
        parts += [
            _options(options),
            f"{label}:",
            "```console\n" + "\n".join(f"$ {one}" for one in examples.split(" · ")) + "\n```",
        ]
    return _page(parts)


def _options(options: Iterable[Any]) -> str:
    rows = []
    for one in options:
        value = "" if one.is_flag else f" {_metavar(one)}"
        default = "" if one.is_flag or one.default is None else _code(str(one.default))
        rows.append((", ".join(_code(opt + value) for opt in one.opts), one.help or "", default))
    return _table(("option", "", "default"), rows)


def _metavar(parameter: Any) -> str:
    if parameter.param_type_name == "option":
        return str(parameter.metavar or parameter.name.rpartition("_")[2].upper())
    name = str(parameter.metavar or parameter.name.upper())
    optional = not parameter.required and not name.startswith("[")
    return f"[{name}]" + "..." * (parameter.nargs == -1) if optional else name


# -------------------------------------------------------------------------------------------------------- notebooks


def notebook(file: Path) -> str:
    """A notebook as a page: its texts, code, and what came of it when it was run last."""
    first, *rest = json.loads(file.read_text(encoding="utf-8"))["cells"]
    parts = ["".join(first["source"]), f"*[The notebook itself]({file.name}), to be run.*"]
    for cell in rest:
        if cell["cell_type"] == "markdown":
            parts.append("".join(cell["source"]))
            continue
        parts.append("```python\n" + "".join(cell["source"]) + "\n```")
        for output in cell["outputs"]:
            shown = output.get("data", {})
            if "image/png" in shown:
                parts.append(f"![What is drawn]({_picture(file, cell)})")
            elif "text/html" in shown:
                html = "".join(shown["text/html"]).replace("\n", " ").replace(' border="1" class="dataframe"', "")
                parts.append(f"<div>{html}</div>")
            elif shown:
                parts.append("```text\n" + "".join(shown["text/plain"]) + "\n```")
            else:
                parts.append("```text\n" + "".join(output["text"]).rstrip() + "\n```")
    return _page(parts)


def pictures() -> dict[str, Any]:
    """The pictures of pages, by their place below docs/: PNG files of notebooks, and what is drawn here."""
    return {"how-to/schedules.svg": schedules_drawn()} | {
        f"notebooks/{_picture(file, cell)}": base64.b64decode(output["data"]["image/png"])
        for file in NOTEBOOKS
        for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    }


def schedules_drawn() -> bytes:
    """The share of the rate over a run by each schedule, as SVG that reads on light and dark."""
    shapes: dict[str, lw.LRSchedule] = {
        **{name: PLAIN[name]() for name in ("linear", "cosine", "exponential", "one-cycle")},
        "polynomial, power 3": Polynomial(power=3.0),
        "step, at 0.5 and 0.75": Step(at=[0.5, 0.75], factor=0.4),
        "cosine-restarts": CosineRestarts(),
        "reduce-on-plateau": (plateau := ReduceOnPlateau(factor=0.4, patience=2)),
    }
    plateau.begin(DRAWN_STEPS, lw.Goal("loss", "minimize"))
    for number in range(1, 11):
        plateau.evaluated(number * DRAWN_STEPS // 10, {"loss": max(1 - 0.2 * number, 0.3)})
    canvas = Figure(figsize=(9.0, 3.6), layout="constrained")
    for axes, (name, schedule) in zip(
        canvas.subplots(2, 4, sharex=True, sharey=True).flat, shapes.items(), strict=True
    ):
        steps = range(DRAWN_STEPS)
        axes.plot(
            [step / DRAWN_STEPS for step in steps], [schedule.factor(step, 0, len(steps), 0.01) for step in steps]
        )
        axes.set_title(name, fontsize=10, color=GREY)
        axes.tick_params(length=0, labelsize=8, labelcolor=GREY)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["bottom", "left"]].set_color(GREY)
    made = io.BytesIO()
    canvas.savefig(made, format="svg", transparent=True, metadata={"Date": None})
    return made.getvalue()


def _picture(file: Path, cell: Mapping[str, Any]) -> str:
    return f"{file.stem}-{cell['id']}.png"


# --------------------------------------------------------------------------------------------------------- settings


def train(plugins: Plugins) -> str:
    """The settings of a recipe's `train` table."""
    return _page(["# Train settings", _without_settings(Train), settings_table(Train, plugins)])


def start(plugins: Plugins) -> str:
    """The settings of a recipe's `start` table."""
    return _page(["# What a run starts from", _without_settings(Start), settings_table(Start, plugins)])


def components(plugins: Plugins, kind: str) -> str:
    """Every installed component of a kind, with its settings."""
    parts = [
        f"# {plugins.heading(kind).capitalize()}",
        f"{_LEADS[kind]} Named by {plugins.kinds[kind].chosen}. These are the ones of the plugins this site was built "
        f"with; `labwright list {plugins.heading(kind)}` shows yours. The [rules for settings](../settings.md) hold "
        "for all of them.",
    ]
    for name in plugins.names(kind):
        (owner, component), *_ = plugins.owners(kind, name)
        parts += [f"## {name}"]
        if name.endswith("/*"):
            parts += [component.summary.capitalize() + f". *From {owner.distribution}.*"]
            parts += _family(plugins, kind, name)
        else:
            parts += _component(plugins.load(kind, name), owner.distribution, plugins)
    return _page(parts)


def _family(plugins: Plugins, kind: str, name: str) -> Iterator[str]:
    members: Mapping[str, Any] = plugins.target(plugins.find(kind, name))
    known = {name[:-1] + member: members[member] for member in sorted(members, key=str.lower)}
    first, target = next(iter(known.items()))
    yield ", ".join(_code(member) for member in known) + "."
    if all(signature(one).settings.keys() == signature(target).settings.keys() for one in known.values()):
        yield "All have the same settings:"
        yield settings_table(target, plugins)
    else:
        yield f"`labwright show {kind} {first}` shows the settings of one."


def _component(target: Any, distribution: str, plugins: Plugins) -> Iterator[str]:
    yield _without_settings(target)
    found = signature(target)
    facts = [f"From {distribution}."]
    for port, verb in (("inputs", "Takes"), ("outputs", "Returns")):
        if port in found.given:
            facts.append(f"{verb} " + " or ".join(_port(one) for one in found.given[port]) + ".")
    if inspect.isclass(target) and issubclass(target, lw.Data):
        facts.append(f"Offers {_port(target.item)} with targets {_port(target.target)}.")
        facts.append(f"Source: {target.source}. Licence: {target.licence}.")
    yield f"*{' '.join(facts)}*"
    yield settings_table(target, plugins) if found.settings else "It has no settings."


def settings_table(target: Any, plugins: Plugins) -> str:
    """The settings of a constructor: name, what it is, type and valid range, default, where a study looks."""
    rows = []
    for name, setting in signature(target).settings.items():
        schema = setting.adapter.json_schema()
        several = {list: "a list, each ", dict: "a table, each "}.get(setting.several, "")
        kind = several + _part(setting.part.kind, plugins) if setting.part else _type(schema, schema.get("$defs", {}))
        default = "required" if setting.required else _code(_shown(setting)) if setting.default is not None else ""
        valid = "" if setting.part else _range(schema)
        searched = _searched(setting.mark) if setting.mark else ""
        rows.append((_code(name), setting.description, ", ".join(filter(None, (kind, valid))), default, searched))
    return _table(("setting", "what it is", "type", "default", "searched"), rows)


def _part(kind: str, plugins: Plugins) -> str:
    heading = plugins.heading(kind)
    return f"a name or table of [{heading}]({heading}.md)"


def _shown(setting: Setting) -> str:
    return _toml(setting.default if setting.part else setting.written(setting.default))


def _searched(mark: search.Mark) -> str:
    if isinstance(mark, search.Choice):
        return ", ".join(_code(_toml(option)) for option in mark.options)
    words = f"{_number(mark.low)} to {_number(mark.high)}"
    if mark.step not in (None, 1):
        words += f" in steps of {mark.step:g}"
    return words + ", by orders of magnitude" * mark.log


def _type(schema: Mapping[str, Any], named: Mapping[str, Any]) -> str:
    """A JSON schema's type in words a recipe's reader knows."""
    if "$ref" in schema:
        properties = named[schema["$ref"].rpartition("/")[2]]["properties"]
        return "table of " + ", ".join(_code(key) for key in properties)
    if "enum" in schema or "const" in schema:
        *most, last = (_code(_toml(one)) for one in schema.get("enum", [schema.get("const")]))
        return ", ".join(most) + " or " * bool(most) + last
    if "anyOf" in schema:
        return " or ".join(_type(one, named) for one in schema["anyOf"] if one != {"type": "null"})
    if schema.get("type") == "array":
        several = schema.get("prefixItems", [])
        kind = _type(schema.get("items") or next(iter(several), {}), named)
        return f"list of {len(several) or ''} {kind}s".replace("  ", " ")
    if schema.get("type") == "object":
        below = schema.get("additionalProperties")
        return "table" + (f", each a {_type(below, named)}" if isinstance(below, dict) and below else "")
    if schema.get("format") == "path":
        return "path"
    words = {"integer": "whole number", "number": "number", "string": "text", "boolean": "`true` or `false`"}
    return words.get(str(schema.get("type")), "any")


def _toml(value: Any) -> str:
    return json.dumps(value) if isinstance(value, str | bool) else _number(value)


def _number(value: Any) -> str:
    """A number as people write it: 1e-5, 2^63."""
    return "2^63" if value == 2**63 else str(value).replace("e-0", "e-").removesuffix(".0")


def _range(schema: Mapping[str, Any]) -> str:
    """The limits a JSON schema states: `0 ≤ x < 1`, a multiple. Of a pattern the description says what fits."""
    for option in schema.get("anyOf", ()):
        if found := _range(option):
            return found
    words = []
    for key, text in (
        ("minimum", "≥ {}"),
        ("exclusiveMinimum", "> {}"),
        ("maximum", "≤ {}"),
        ("exclusiveMaximum", "< {}"),
        ("multipleOf", "a multiple of {}"),
        ("minLength", "at least {} characters"),
    ):
        if key in schema:
            words.append(text.format(_number(schema[key])))
    return ", ".join(words)


# ------------------------------------------------------------------------------------------------------- Python names


INTERFACES = ("Task", "Data", "Split", "Batch", "Loss", "Optimizer", "Device", "Goal", "Phase", "Group", "Metric")
GROUPS = {
    "Experiments and runs": (
        *("Experiment", "Train", "Start", "Run", "Outcome", "load", "Loaded", "Evaluation", "evaluate", "evaluating"),
        "Attachment",
    ),
    "Studies and comparisons": ("tune", "Study", "compare", "Comparison"),
    "What plugins bring": ("hookimpl", "Component", "Recipe", "Kind", "Verb", "Plugins", "Part", "fitting_names"),
    "Trying what plugins bring": ("signature", "Setting", "Prepared", "Built"),
    "Stretches of training": ("Stretch", "in_steps"),
    "Data": ("TensorSplit", "Labelled", "Sharded", "IndexedBatches", "Workers", "LeftOut"),
    "Models, losses, optimizers": ("ClosedForm", "LEFT_OUT", "separable", "LRSchedule", "Schedule", "AdamW", "Family"),
    "Metrics": ("Accuracy", "LogLoss", "Mean", "Perplexity", "Of", "headlines", "interval_of"),
    "Logs": ("read_log",),
    "Sections of a report": ("Section", "Figure", "Table", "Pictures", "Sounds", "Text"),
    "Random numbers and memory": ("derived_seed", "generator", "epoch_order", "draws", "isolated", "free_memory"),
    "Several processes": ("ranks",),
    "Errors, and words for messages": (
        *("LabwrightError", "RunFailed", "Diverged", "StopRun"),
        *("listed", "nearest", "sentence", "located"),
    ),
}


def interfaces_page() -> str:
    """The interfaces and what stands beside them, as signatures with their docstrings."""
    lead = [
        "# Interfaces",
        "Five things make an experiment: a task, a model, a loss, an optimizer and a device. A model is any "
        "`torch.nn.Module`; what it takes and returns are its [ports](ports.md). The others derive from the classes "
        "here. A method that a class of yours must have says so; every other has a default. Shapes: B is the batch.",
    ]
    return _page([*lead, *(part for name in INTERFACES for part in _class(getattr(lw, name), f"lw.{name}"))])


def ports_page() -> str:
    """Every port of the core, and the marks beside a setting."""
    found = [one for one in vars(ports).values() if inspect.isclass(one) and issubclass(one, ports.Port)]
    lead = ["# Ports and marks", _docstring(ports), "Ports are frozen dataclasses; all are names of `labwright`."]
    marks = [
        "## Search marks",
        _docstring(search),
        *(part for one in _MARKS for part in _class(one, f"lw.{one.__name__}", level=3)),
    ]
    return _page([*lead, *(part for one in found for part in _class(one, f"lw.{one.__name__}")), *marks])


_MARKS = (*search.Mark.__args__, search.PerTrial, search.When)


def python() -> str:
    """The names of `import labwright as lw` that no other page explains."""
    elsewhere = {*INTERFACES, *(name for name in lw.__all__ if issubclass(_kind(name), ports.Port))}
    elsewhere |= {mark.__name__ for mark in _MARKS}
    grouped = {name for names in GROUPS.values() for name in names}
    groups = GROUPS | {"More": tuple(name for name in lw.__all__ if name not in grouped | elsewhere)}
    parts = [
        "# Python names",
        "`import labwright as lw` gives these names, those of the [interfaces](interfaces.md) and the "
        "[ports and marks](ports.md). Names that need torch are imported on first use. Below are those of two "
        "distributions beside the core.",
    ]
    for heading, names in groups.items():
        there = [name for name in names if name in lw.__all__]
        parts += [f"## {heading}"] * bool(there)
        parts += [part for name in there for part in _named(lw, f"lw.{name}")]
    for package in (labwright_testing, labwright_export):
        parts += [f"## Names of {package.__name__}"]
        parts += [part for name in package.__all__ for part in _named(package, f"{package.__name__}.{name}")]
    return _page(parts)


def _kind(name: str) -> type:
    thing = getattr(lw, name)
    return thing if inspect.isclass(thing) else type(thing)


def _named(package: ModuleType, label: str) -> Iterator[str]:
    """A public name: a class with its methods, a module with its functions, a function, or a value and what is said."""
    name = label.rpartition(".")[2]
    thing = inspect.unwrap(getattr(package, name))  # from a cache
    if inspect.isclass(thing):
        yield from _class(thing, label, level=3)
        return
    yield f"### {label}"
    if inspect.isfunction(thing):
        yield _call(label, thing, leave_out=0)
        yield _docstring(thing)
    elif inspect.ismodule(thing):
        yield _docstring(thing)
        for function in thing.__all__:
            yield f"#### `{name}.{function}`"
            yield _call(f"{label}.{function}", getattr(thing, function), leave_out=0)
            yield _docstring(getattr(thing, function))
    else:
        assigned, said = _assigned(name, Path(str(package.__file__)).parent)
        yield f"```python\n{assigned}\n```"
        yield said


def _assigned(name: str, package: Path) -> tuple[str, str]:
    """The statement that makes a value, and the text below it."""
    for file in sorted(package.rglob("*.py")):
        body = ast.parse(file.read_text(encoding="utf-8")).body
        for statement, below in pairwise(body):
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name:
                assert isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant), f"{name} in {file}: say"
                return ast.unparse(statement), inspect.cleandoc(str(below.value.value))
    raise LookupError(name)


def _class(thing: type, label: str, level: int = 2) -> Iterator[str]:
    yield f"{'#' * level} {label}"
    ours = [one for one in thing.__mro__ if one.__module__.startswith("labwright") and one.__name__ not in lw.__all__]
    members = {name: member for one in (*reversed(ours), thing) for name, member in vars(one).items()}
    own = members.get("__init__")
    if own is not None and not getattr(thing, "_is_protocol", False):
        yield _call(label, own, leave_out=1)
    yield _docstring(thing)
    values = {} if dataclasses.is_dataclass(thing) else inspect.get_annotations(thing)
    if values:
        yield "Class attributes: " + ", ".join(_code(f"{name}: {_bare(one)}") for name, one in values.items()) + "."
    for name, member in members.items():
        function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        public = not name.startswith("_") or (getattr(thing, "_is_protocol", False) and name == "__len__")
        inherited = not function.__doc__ and any(hasattr(base, name) for base in thing.__bases__)
        if public and inspect.isfunction(function) and not inherited:
            yield f"{'#' * (level + 1)} `{label.rpartition('.')[2]}.{name}`"
            yield _call(name, function, leave_out=0 if isinstance(member, staticmethod) else 1)
            yield _docstring(function)
            if getattr(function, "__isabstractmethod__", False):
                yield "A class of yours must have it."


def _call(name: str, function: Callable[..., Any], leave_out: int) -> str:
    """A signature as the code has it, without limits and marks, broken into lines where it is long."""
    called = inspect.signature(function)
    words = []
    keyword = False
    for one in list(called.parameters.values())[leave_out:]:
        if one.kind is one.KEYWORD_ONLY and not keyword:
            keyword = True
            words.append("*")
        stars = "*" * (one.kind is one.VAR_POSITIONAL) + "**" * (one.kind is one.VAR_KEYWORD)
        word = f"{stars}{one.name}: {_bare(one.annotation)}"
        if one.default is not one.empty:
            word += " = " + ("..." if repr(one.default).startswith("<") else repr(one.default))
        words.append(word)
    returned = _bare(called.return_annotation)
    arrow = "" if returned == "None" else f" -> {returned}"
    line = f"{name}({', '.join(words)}){arrow}"
    if len(line) > WIDTH:
        inner = "".join(f"    {word},\n" for word in words)
        line = f"{name}(\n{inner}){arrow}"
    return f"```python\n{line}\n```"


class _Bared(ast.NodeTransformer):
    """`Annotated[T, ...]`, `ClassVar[T]` and `InitVar[T]` as T."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.value, ast.Name) and node.value.id == "Annotated" and isinstance(node.slice, ast.Tuple):
            return node.slice.elts[0]
        return node.slice if isinstance(node.value, ast.Name) and node.value.id in ("ClassVar", "InitVar") else node


def _bare(annotation: Any) -> str:
    if annotation is inspect.Parameter.empty:
        return "None"
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return ast.unparse(_Bared().visit(ast.parse(text, mode="eval"))).replace("'", '"')


def benchmarks() -> str:
    """The last full run of the benchmarks, or how to make one."""
    if RESULTS.is_file():
        return RESULTS.read_text(encoding="utf-8")
    return "# Benchmarks\n\nThere is no full run yet. `make bench` does one and writes `benchmarks/RESULTS.md`.\n"


# -------------------------------------------------------------------------------------------- pages with drawn figures

_FIGURE = re.compile(r"(<!-- docs/generate.py draws (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_ROOMS = list(CORE.glob("*/__init__.py"))
_IMPORTED = re.compile(r"^ *(?:from|import) labwright\.(\w+)", re.MULTILINE)


def drawn(page: str) -> str:
    """A page with its figures as they are to be drawn today."""
    figures = {"rooms": rooms, "arrows": arrows, "distributions": distributions, "checks": checks}
    return _FIGURE.sub(lambda found: f"{found[1]}\n{figures[found[2]]()}\n\n{found[3]}", page)


def rooms_from_the_ground_up() -> list[str]:
    """The core's rooms; the more of them one may import, the higher it stands."""
    below = {file.parent.name: _module_docstring(file).rpartition("May import: ")[2] for file in _ROOMS}
    return sorted(below, key=lambda room: (below[room] != "no other room.", below[room].count(",")))


def rooms() -> str:
    """The rooms as storeys, with what lives in each and its files."""
    above = [file for file in sorted(CORE.glob("*.py")) if file.stem != "__main__"]
    storeys = [("labwright", "Above all rooms: what others may import.", above)]
    for room in reversed(rooms_from_the_ground_up()):
        files = [file for file in sorted((CORE / room).glob("*.py")) if file.stem != "__init__"]
        storeys.append((room, _module_docstring(CORE / room / "__init__.py").partition("\n")[0], files))
    lines = []
    for name, what, files in storeys:
        lines.append(f"{'├' if lines else '┌'}─ {name} ".ljust(WIDTH - 1, "─") + ("┤" if lines else "┐"))
        for text in (what, "  ".join(file.name for file in files)):
            lines += [f"│ {line}".ljust(WIDTH - 1) + "│" for line in textwrap.wrap(text, WIDTH - 4)]
    return "\n".join(["```text", *lines, "└" + "─" * (WIDTH - 2) + "┘", "```"])


def arrows() -> str:
    """Which room imports which: a row's marks, all of them left of the room itself."""
    names = rooms_from_the_ground_up()
    lines = [" " * 11 + " ".join(names)]
    for room in names:
        text = "\n".join(file.read_text(encoding="utf-8") for file in sorted((CORE / room).rglob("*.py")))
        imported = set(_IMPORTED.findall(text))
        marks = ["╲" if other == room else "●" if other in imported else " " for other in names]
        cells = " ".join(mark.center(len(other)) for mark, other in zip(marks, names, strict=True))
        lines.append(f"{room:<11}{cells}".rstrip())
    return "\n".join(["```text", *lines, "```"])


def distributions() -> str:
    """Every distribution: where it is, what it is, what of ours it needs."""
    rows = []
    for file in (*sorted(ROOT.glob("*/pyproject.toml")), *sorted(ROOT.glob("plugins/*/pyproject.toml"))):
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        needs = [line for line in project["dependencies"] if line.startswith("labwright")]
        needed = ", ".join(re.split(r"[^\w-]", line)[0] for line in needs)
        rows.append((_code(f"{file.parent.relative_to(ROOT)}/"), project["name"], project["description"], needed))
    return _table(("folder", "distribution", "what it is", "needs"), rows)


def checks() -> str:
    """Every check of the conformance kit: its name, the kinds it is for, and what must hold."""
    known = labwright_testing.CHECKS.values()
    rows = [(_code(check.name), ", ".join(check.kinds), check.mend.partition("\n")[0]) for check in known]
    return _table(("check", "of", "what must hold"), rows)


def _module_docstring(file: Path) -> str:
    return ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""


# --------------------------------------------------------------------------------------------------------- Markdown


def _docstring(thing: Any) -> str:
    own = getattr(thing, "__doc__", None) or ""
    if dataclasses.is_dataclass(thing) and own.startswith(f"{getattr(thing, '__name__', '')}("):
        return ""  # the one that dataclass writes itself
    return ARGUMENTS.sub(lambda found: _arguments(found[1]), inspect.cleandoc(own))


def _arguments(text: str) -> str:
    """What `Args:` says, as a list."""
    entries = [(names.replace(", ", "`, `"), " ".join(said.split())) for names, said in ARGUMENT.findall(text)]
    return "\n".join([*(f"- `{names}`: {said}" for names, said in entries), "", ""])


def _without_settings(thing: Any) -> str:
    """A docstring whose settings stand in a table."""
    own = inspect.cleandoc(getattr(thing, "__doc__", None) or "")
    return _docstring(thing) and ARGUMENTS.sub("", own).strip()


def _port(port: type) -> str:
    name = port.__name__
    return f"[{name}](../ports.md#lw{name.lower()})" if port.__module__ == ports.__name__ else name


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    kept = [column for column in range(len(head)) if any(row[column] for row in rows)]
    lines = [
        [head[column] for column in kept],
        ["---"] * len(kept),
        *([row[column] for column in kept] for row in rows),
    ]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)


def _code(text: str) -> str:
    return f"`{text}`"


def _page(parts: Iterable[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


if __name__ == "__main__":
    for page in DRAWN:
        page.write_text(drawn(page.read_text(encoding="utf-8")), encoding="utf-8")
