"""`labwright suggest`: what data is, and a recipe for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from labwright import LabwrightError, nearest
from labwright.cli.shared import Json, echo, print_json, say

if TYPE_CHECKING:
    from labwright import Plugins

    from labwright_tasks.suggesting.suggestion import Suggestion


def verb(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="FOLDER_OR_FILE", help="Pictures, recordings, a table, a text.")],
    out: Annotated[Path, typer.Option(help="The recipe to write, a file that ends in .toml.")] = Path("suggested.toml"),
    what: Annotated[
        str | None, typer.Option("--as", metavar="SUGGESTER", help="Which of `labwright list suggesters` to follow.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Look at data, say what it is, and write a recipe for it with the reasons as comments.

    Nothing is decided for good: the recipe is a file to read and change, `labwright show` shows all of it, and `run`
    overrides any of it.

    Example: labwright suggest photos --out photos.toml
    """
    if not path.exists():
        raise LabwrightError(f"there is no file or folder {str(path)!r}.")
    if out.suffix != ".toml":
        raise LabwrightError(f"--out: given {str(out)!r}; a recipe's file ends in .toml.")
    if out.exists():
        raise LabwrightError(f"{out} is there already; give another file with --out, or take it away.")
    name, chosen, others = _chosen(path.expanduser().absolute(), what, ctx.obj.plugins)
    try:
        out.write_text(chosen.toml(), encoding="utf-8")
    except OSError as error:
        raise LabwrightError(f"can't write {out}: {error.strerror}. Give another file with --out.") from error
    ctx.obj.experiment(str(out))  # that it is a recipe, before anybody is told that it is
    if as_json:
        facts = {"what": chosen.what, "suggester": name, "recipe": chosen.recipe, "oddities": chosen.oddities}
        print_json(facts | {"file": out, "others": {other: one.what for other, one in others.items()}})
        return
    echo(f"{path}: {chosen.what}")
    for oddity in chosen.oddities:
        echo(f"  {oddity}")
    for other, one in others.items():
        say(f"note: it may also be {one.what}: --as {other}.")
    echo(f"{out} is a recipe for it. Next: labwright check-data {out}, then labwright run {out}")


def _chosen(path: Path, what: str | None, plugins: Plugins) -> tuple[str, Suggestion, dict[str, Suggestion]]:
    """The suggestion that fits best, its suggester, and the others. Raises LabwrightError if there is none."""
    known = plugins.names("suggester")
    if what is not None and what not in known:
        raise LabwrightError(f"--as: no suggester is called {what!r}{nearest(what, known)}")
    suggestions: dict[str, Suggestion] = {}
    faults = {}
    for name in known if what is None else [what]:
        try:
            suggestion = plugins.load("suggester", name)(path)
        except LabwrightError as error:
            faults[name] = str(error)
            continue
        if suggestion is not None:
            suggestions[name] = suggestion
    if not suggestions:
        if faults:
            by_fault: dict[str, list[str]] = {}
            for name, fault in faults.items():
                by_fault.setdefault(fault, []).append(name)
            raise LabwrightError("\n".join(f"as {' or '.join(names)}: {fault}" for fault, names in by_fault.items()))
        looked = ", ".join(known) or "none is installed; labwright-vision and others bring some"
        raise LabwrightError(f"{path}: nothing here knows what that is (looked for: {looked}).")
    best = max(suggestions, key=lambda name: suggestions[name].fit)
    return best, suggestions.pop(best), suggestions
