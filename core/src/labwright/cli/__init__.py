"""The command line: one file for each verb, which parses, calls and prints.

Only verbs that need torch import it. What exit codes mean is said in `EXIT_CODES`.
May import: base, data, interfaces, plugin, config, train, runs, report, builtin.
"""

from __future__ import annotations

import errno
import inspect
import sys
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from labwright.base import ranks
from labwright.base.errors import LabwrightError, RunFailed, words
from labwright.base.files import mute
from labwright.cli.shared import Context, results_apart, say
from labwright.plugin.hookspecs import Verb
from labwright.plugin.project_config import working_folder
from labwright.plugin.registry import Plugins

EXIT_CODES = "Exit codes: 0 done, 1 a run failed or a check found something, 2 mend the input, 130 interrupted."
GROUPS = ("Train", "Search and compare", "Look", "Make plugins")  # in this order; those of plugins follow
FIELDS = ("train.epochs", "train.steps", "train.batch_size", "train.seed", "optimizer.lr", "task.data")
WRITTEN = {field.partition(".")[2] or field: field for field in (*FIELDS, "model", "loss", "optimizer", "device")}
OTHERS = "From plugins"  # the heading of verbs that name none
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)  # of a stream that takes no more


class Verbs(TyperGroup):
    """The verbs that plugins bring, the core's own among them. To list them imports none; to use one imports it."""

    def list_commands(self, ctx: Any) -> list[str]:
        verbs = {verb.name: verb for plugin in _context(ctx).plugins.loaded for verb in plugin.verbs}
        order = {group: place for place, group in enumerate(GROUPS)}
        return sorted(verbs, key=lambda name: order.get(verbs[name].group, len(order)))

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand:
        """What stands for a verb in lists."""
        owners = _context(ctx).plugins.owners("verb", cmd_name)
        plugin, verb = owners[0]
        assert isinstance(verb, Verb)
        names = " and ".join(owner.name for owner, _ in owners)
        own = plugin.distribution == "labwright" and len(owners) == 1
        summary = verb.summary if own else f"{verb.summary} ({names})"
        return TyperCommand(cmd_name, callback=None, help=summary, rich_help_panel=verb.group or OTHERS)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The verb itself. Raises LabwrightError if there is none of that name, or its target can't be used."""
        if args[0].startswith("-"):
            return super().resolve_command(ctx, args)
        if "--json" in args:  # before any plugin is imported, which may print
            ctx.with_resource(results_apart())
        context = _context(ctx)
        verb = context.plugins.verb(args[0])
        context.announce(trains=verb.trains)
        command = verb_command(verb, context.plugins)
        _refuse_nowhere(args[1:], context.plugins.target(verb))
        if any(one.metavar == "[FIELD=VALUE]..." for one in command.params):
            _refuse_settings(args[1:], {flag for one in command.params for flag in one.opts})
        return verb.name, command, args[1:]


def _refuse_nowhere(words: list[str], function: Any) -> None:
    """Raises LabwrightError for an option that takes a path and is given none, which would be the working folder."""
    takes_path = (name for name, hint in get_type_hints(function).items() if Path in (hint, *get_args(hint)))
    options = {f"--{name.replace('_', '-')}" for name in takes_path}
    for word, after in zip(words, [*words, "VALUE"][1:], strict=True):
        if (word in options and not after) or (word.endswith("=") and word[:-1] in options):
            raise LabwrightError(f"{word.rstrip('=')}: given nothing; it takes a path. Is a shell's variable unset?")


def _refuse_settings(words: list[str], options: set[str]) -> None:
    """Raises LabwrightError for a setting that is written as an option."""
    for word, after in zip(words, [*words, "VALUE"][1:], strict=True):
        given, _, value = word.partition("=")
        field = given.lstrip("-").replace("-", "_")
        field = field if "." in field and field[0].isalpha() else WRITTEN.get(field, "")
        if given not in options and given.startswith("-") and field:
            raise LabwrightError(f"no option is called {given}; a setting is written as {field}={value or after}.")


def verb_command(verb: Verb, plugins: Plugins) -> Any:
    """A verb as the command line runs it; its target is imported here. Raises LabwrightError if it can't be used."""
    function = plugins.target(verb)
    text, gap, example = (inspect.getdoc(function) or "").rpartition("\n\nExample")
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    try:
        app.command(
            verb.name,
            help=text or example,
            epilog=f"Example{example}" if gap else "",
            context_settings=getattr(sys.modules[function.__module__], "SETTINGS", None),
        )(function)
        return typer.main.get_command(app)
    except Exception as error:
        owner = plugins.owners("verb", verb.name)[0][0]
        message = f"verb {verb.name!r} of plugin {owner.origin} can't be used as Typer takes functions: {words(error)}."
        raise LabwrightError(message) from error


def _context(ctx: Any) -> Context:
    """What the options before the verb said; made when the first asks, as lists are made while options are read."""
    if ctx.obj is None:
        given = ctx.params
        files = tuple(map(Path, given.get("_plugin") or ()))
        ctx.obj = Context(tuple(given.get("_no_plugin") or ()), files, given.get("_locked", False))
    context: Context = ctx.obj
    return context


app = typer.Typer(
    cls=Verbs,
    add_completion=False,  # `labwright completion` knows settings, too
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=f"Example: labwright run vision/digits train.epochs=2. {EXIT_CODES}",
)


def _say_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"labwright {version('labwright')}")
        raise typer.Exit


@app.callback()
def labwright(
    _no_plugin: Annotated[
        list[str] | None,
        typer.Option("--no-plugin", metavar="NAME", is_eager=True, help="Leave a plugin out; may be given repeatedly."),
    ] = None,
    _plugin: Annotated[
        list[Path] | None,
        typer.Option(
            "--plugin", metavar="FILE", is_eager=True, help="Use a Python file as a plugin; may be given repeatedly."
        ),
    ] = None,
    _locked: Annotated[bool, typer.Option("--locked", help="Refuse plugins that labwright.lock doesn't have.")] = False,
    _version: Annotated[bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Deep-learning research on PyTorch: plugins, exact runs, kind errors."""


def _fail(message: str) -> None:
    """Say why it ends; of several processes one does, and the others end with it."""
    if ranks.speaks(message):
        say(f"error: {message}", everywhere=True)


def main() -> None:
    """Run the command line; a user's slip is one message on stderr and exit code 2, a failed run exit code 1."""
    try:
        working_folder()  # libraries crash where there is none
        app()
    except LabwrightError as error:
        _fail(str(error))
        sys.exit(1 if isinstance(error, RunFailed) else 2)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        if error.filename is not None or error.errno not in FULL:  # a file or folder, where nobody said it better
            _fail(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
            sys.exit(2)
        mute(sys.stdout)
        _fail(f"the results can't be written: {error.strerror}.")
        sys.exit(1)
    except Exception as error:
        ranks.speaks(words(error))
        raise
    finally:
        ranks.leave()
