"""Texts that a model goes on with, side by side. R texts, B of them at once, T tokens, W of a window, V vocabulary."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Generator, Tensor, nn

from labwright_tasks.beam_search import beam_search
from labwright_tasks.next_token import Sampling, next_tokens

Show = Callable[[Sequence[int]], str]

_UNFINISHED = "\ufffd"  # what a decoder gives for a character some of whose bytes are still to come
_LONGEST = 4  # bytes of a character
_CELLS = 50_000_000  # logits that are computed together where all of a window's are
_NO_TOKEN = -1


@runtime_checkable
class Continuing(Protocol):
    """What a model may have beside `forward`, so that writing takes one token at a time instead of all again.

    `begin` reads texts, ids (B, T) of which each row has the first `lengths` (B,), and gives logits (B, V) of the token
    after each. The state is tensors with a row for each text, such as the keys and values of its tokens, so that rows
    can be left out, repeated and put into another order. `extend` adds one token to each text, `tokens` (B,), and gives
    the logits of what follows it and the state with it. Neither changes what it was given. No text becomes longer than
    the length of the model's `Tokens`.
    """

    def begin(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]: ...

    def extend(self, state: tuple[Tensor, ...], tokens: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]: ...


class Beginnings:
    """Beginnings of texts, of any length, and the logits (R, V) of the token after each.

    A model that can (`Continuing`) keeps what it made of a text as long as that fits in its window. From then on the
    window slides, every place in it is another, and all of it is computed again for each token; so it is from the
    first token on where a model has its forward alone. The model sees no more than the last window of a text.
    """

    def __init__(self, model: nn.Module, texts: Sequence[Sequence[int]], *, window: int, device: torch.device) -> None:
        self.model, self.window, self.device = model, window, device
        self.texts = [[*text] for text in texts]
        self._state: tuple[Tensor, ...] = ()
        self._kept: list[int] = []  # whose tokens are in the state, in its order
        self._at_once = 1  # windows that are computed as a whole together, until it is known how large logits are
        if isinstance(model, Continuing):
            self._kept = [row for row, text in enumerate(self.texts) if len(text) < window]
        with torch.no_grad():
            self.logits_RV = self._joined(*self._begun())

    def extend(self, tokens: Sequence[int]) -> None:
        """Every text goes on with its token."""
        for text, token in zip(self.texts, tokens, strict=True):
            text.append(token)
        if full := [place for place, row in enumerate(self._kept) if len(self.texts[row]) > self.window]:
            self._keep_state([place for place in range(len(self._kept)) if place not in full])
        logits = None
        with torch.no_grad():
            if self._kept:
                last_B = torch.tensor([self.texts[row][-1] for row in self._kept], device=self.device)
                logits, self._state = self.model.extend(self._state, last_B)  # type: ignore[operator]
            self.logits_RV = self._joined(logits, self._whole(self._others()))

    def take(self, rows: Sequence[int]) -> None:
        """Go on with these texts, each any number of times."""
        places = {row: place for place, row in enumerate(self._kept)}
        kept = [row for row in rows if row in places]
        self._state = tuple(part[[places[row] for row in kept]] for part in self._state) if kept else ()
        self._kept = [place for place, row in enumerate(rows) if row in places]
        self.texts = [[*self.texts[row]] for row in rows]
        self.logits_RV = self.logits_RV[[*rows]]

    def _keep_state(self, places: Sequence[int]) -> None:
        self._state = tuple(part[[*places]] for part in self._state) if places else ()
        self._kept = [self._kept[place] for place in places]

    def _others(self) -> list[int]:
        kept = set(self._kept)
        return [row for row in range(len(self.texts)) if row not in kept]

    def _begun(self) -> tuple[Tensor | None, Tensor | None]:
        logits = None
        if self._kept:
            padded = self._padded([self.texts[row] for row in self._kept])
            logits, self._state = self.model.begin(*padded)  # type: ignore[operator]
        return logits, self._whole(self._others())

    def _joined(self, of_kept: Tensor | None, of_others: Tensor | None) -> Tensor:
        if of_kept is None or of_others is None:
            only = of_kept if of_others is None else of_others
            assert only is not None
            return only
        logits_RV = of_kept.new_empty(len(self.texts), of_kept.shape[1])
        logits_RV[self._kept], logits_RV[self._others()] = of_kept, of_others.to(of_kept.dtype)
        return logits_RV

    def _whole(self, rows: Sequence[int]) -> Tensor | None:
        """The logits of texts whose last window is computed as a whole, some at once."""
        texts = [self.texts[row][-self.window :] for row in rows]
        found: list[Tensor] = []
        while texts:
            some, texts = texts[: self._at_once], texts[self._at_once :]
            ids_BT, lengths_B = self._padded(some)
            logits_BTV = self.model(ids_BT, lengths_B)
            found.append(logits_BTV[torch.arange(len(some), device=self.device), lengths_B - 1])
            self._at_once = max(1, _CELLS // (self.window * logits_BTV.shape[-1]))
        return torch.cat(found) if len(found) > 1 else found[0] if found else None

    def _padded(self, texts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        longest = max(map(len, texts))
        ids_BT = torch.tensor([[*text, *[0] * (longest - len(text))] for text in texts], device=self.device)
        return ids_BT, torch.tensor([len(text) for text in texts], device=self.device)


class Continuations:
    """What a model writes after each of some beginnings, all at once, and piece by piece as it is asked for.

    What is drawn for a text follows from its own settings and `draws` alone, whatever is written beside it. A text ends
    after `length` tokens, with `end_id`, which isn't shown, or where it has a stop text, of which nothing is shown.
    What is written `apart` from its beginning is shown as if nothing stood before it, without a space that parts them.
    """

    def __init__(
        self,
        beginnings: Beginnings,
        hows: Sequence[Sampling],
        draws: Sequence[Generator],
        show: Show,
        *,
        end_id: int | None = None,
        apart: bool = False,
    ) -> None:
        self.beginnings, self.end_id = beginnings, end_id
        self.hows, self.draws = [*hows], [*draws]
        before = [[] if apart else text[-1:] for text in beginnings.texts]
        self.spelled = [_Spelled(ids, how.stop, show) for ids, how in zip(before, hows, strict=True)]
        self.left = [how.length for how in hows]
        self._going = list(range(len(hows)))  # in the order of the beginnings

    def pieces(self, row: int) -> Iterator[str]:
        """The pieces of one text; where they have to be waited for, all texts go on."""
        spelled = self.spelled[row]
        while spelled.pieces or not spelled.ended:
            if not spelled.pieces:
                self._step()
                continue
            yield spelled.pieces.popleft()

    def _step(self) -> None:
        going, of = self._going, self.beginnings
        tokens = next_tokens(
            of.logits_RV, of.texts, [self.hows[row] for row in going], [self.draws[row] for row in going]
        )
        on = []
        for place, (row, token) in enumerate(zip(going, tokens, strict=True)):
            spelled = self.spelled[row]
            self.left[row] -= 1
            if token == self.end_id:
                spelled.end()
                continue
            spelled.add(token)
            if not self.left[row]:
                spelled.end()
            if not spelled.ended:
                on.append(place)
        if len(on) < len(going):
            self.beginnings.take(on) if on else None
            self._going = [going[place] for place in on]
        if on:
            self.beginnings.extend([tokens[place] for place in on])


class _Spelled:
    """Tokens put together to pieces of text: whole characters, and nothing of a stop text or what is behind it."""

    def __init__(self, before: Sequence[int], stops: Sequence[str], show: Show) -> None:
        self.pieces: deque[str] = deque()
        self.ended = False
        self._show, self._stops = show, stops
        self._pending = [*before]  # with the token before it, a piece has the space that parts it from that one
        self._before = show(self._pending)
        self._held = ""  # may be the beginning of a stop text

    def add(self, token: int) -> None:
        self._pending.append(token)
        text = self._show(self._pending)
        if text.endswith(_UNFINISHED) and len(self._pending) <= _LONGEST:
            return
        self._tell(text[len(self._before) :])
        self._pending = [token]
        self._before = self._show(self._pending)

    def end(self) -> None:
        """Nothing comes any more."""
        if not self.ended:
            self._tell(self._show(self._pending)[len(self._before) :])
        if not self.ended and self._held:
            self.pieces.append(self._held)
        self.ended = True

    def _tell(self, piece: str) -> None:
        if not self._stops:
            self.pieces.append(piece)
            return
        text = self._held + piece
        if found := [place for stop in self._stops if (place := text.find(stop)) >= 0]:
            self.pieces.append(text[: min(found)])
            self._held, self.ended = "", True
            return
        held = max(_begun(text, stop) for stop in self._stops)
        self.pieces.append(text[: len(text) - held])
        self._held = text[len(text) - held :]


def _begun(text: str, stop: str) -> int:
    """How many letters at the end of a text are the first ones of a stop text."""
    most = min(len(text), len(stop) - 1)
    return next((count for count in range(most, 0, -1) if text.endswith(stop[:count])), 0)


def best_continuations(
    beginnings: Beginnings, *, beams: int, penalty: float, longest: int, end_id: int | None = None
) -> list[list[int]]:
    """Of each text the most probable tokens that go on with it, found by a search with so many beams."""
    rows = len(beginnings.texts)
    beginnings.take([row for row in range(rows) for _ in range(beams)])

    def next_logits(ids_NT: Tensor, grown_N: Tensor) -> Tensor:
        if ids_NT.shape[1] > 1:  # more than the begin that the search knows of, for which the prompt stands
            beginnings.take(grown_N.tolist())
            beginnings.extend(ids_NT[:, -1].tolist())
        return beginnings.logits_RV

    return beam_search(
        next_logits,
        rows,
        beams=beams,
        begin_id=_NO_TOKEN,
        end_id=_NO_TOKEN if end_id is None else end_id,
        longest=longest,
        penalty=penalty,
        device=beginnings.device,
    )


def shown(tokens: Sequence[int], before: Sequence[int], stops: Sequence[str], show: Show) -> str:
    """Tokens that were written after others as one text, up to a stop text."""
    spelled = _Spelled(before[-1:], stops, show)
    for token in tokens:
        if not spelled.ended:
            spelled.add(token)
    spelled.end()
    return "".join(spelled.pieces)
