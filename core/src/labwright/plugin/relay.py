"""The hook calls of one run, resolved once into tuples."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import pluggy

from labwright.base import ranks
from labwright.base.errors import LabwrightError, sentence, words
from labwright.plugin.discovery import implementations
from labwright.plugin.registry import Plugins
from labwright.plugin.tracing import traced


class Relay:
    """The hook calls of one run, resolved once: for each hook a tuple of calls, empty if nobody listens.

    The plugins are called first, then `listeners`, objects whose methods carry `hookimpl`, in the order given;
    `tryfirst` and `trylast` move a call to the front or the end. Where several processes train together those of the
    first are called, and on the others only implementations whose function says `every_process = True`.
    """

    def __init__(self, plugins: Plugins, listeners: Sequence[object] = ()) -> None:
        self._heard = [(plugin.origin, plugin.hooks) for plugin in plugins.loaded]
        self._heard += [(type(listener).__name__, check_listener(listener)) for listener in listeners]
        self.preflight = self._calls("labwright_preflight")
        self.run_started = self._calls("labwright_run_started")
        self.step_ended = self._calls("labwright_step_ended")
        self.logged = self._calls("labwright_logged")
        self.evaluated = self._calls("labwright_evaluated")
        self.run_ended = self._calls("labwright_run_ended")

    def _calls(self, hook: str) -> tuple[Callable[..., object], ...]:
        found = [
            (owner, implemented[hook])
            for owner, implemented in self._heard
            if hook in implemented and (ranks.first() or getattr(implemented[hook].function, "every_process", False))
        ]
        # in the order given, where pluggy would begin with the last
        found.sort(key=lambda pair: pair[1].trylast - pair[1].tryfirst)
        # a run that can't begin is refused; one that is under way isn't lost for a display
        begins = hook in ("labwright_preflight", "labwright_run_started")
        return tuple(
            traced(_taking(impl) if begins else _going_on(_taking(impl), hook, owner), hook, owner)
            for owner, impl in found
        )


def check_listener(thing: object) -> dict[str, pluggy.HookImpl]:
    """What an object implements, by hook. Raises LabwrightError for none, or one that isn't called as it asks."""
    try:
        return implementations(thing)
    except LabwrightError as error:
        raise LabwrightError(f"{thing!r} can't listen to a run: {sentence(str(error))}") from error


def _taking(impl: pluggy.HookImpl) -> Callable[..., object]:
    function, names = impl.function, impl.argnames
    return lambda **given: function(**{name: given[name] for name in names})


def _going_on(function: Callable[..., object], hook: str, owner: str) -> Callable[..., object]:
    """The function, without which a run goes on once it raises OSError: a display may lose its pipe or its disk."""
    lost = False

    def called(**given: object) -> object:
        nonlocal lost
        if lost:
            return None
        try:
            return function(**given)
        except OSError as error:
            lost = True
            logging.getLogger(__name__).warning("%s of %s isn't called any more: %s", hook, owner, words(error))
            return None

    return called
