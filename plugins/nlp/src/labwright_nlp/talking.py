"""A conversation with a language model: what was said so far, and what the model is given of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from labwright import LabwrightError, Task, Tokens, listed, nearest, sentence
from labwright_tasks.language_model import LanguageModel
from labwright_tasks.next_token import Sampling
from labwright_tasks.prompts import Prompting
from pydantic import ValidationError
from torch import nn

from labwright_nlp.chat_template import Message, plain_template
from labwright_nlp.data.instructions import Instructions
from labwright_nlp.data.reading import check_typed


class Talk:
    """What is said is written by the template of the data where that has conversations; else it is running text.

    Raises LabwrightError for a task that isn't a language model, and for a `system` message where there is no template.
    """

    def __init__(self, task: Task, model: nn.Module, system: str | None = None) -> None:
        if not isinstance(task, LanguageModel):
            raise LabwrightError(
                f"chat is for a language model, and this run is of task {type(task).__name__}: "
                "`labwright predict RUN` asks it."
            )
        self.task, self.model, self.how = task, model, task.how
        data = task.data
        self.prompting = data if isinstance(data, Prompting) else None
        self._key = data.keys.messages if isinstance(data, Instructions) else "messages"
        if system is not None and self.prompting is None:
            raise LabwrightError(
                f"--system: {type(data).__name__} has no conversations, so that there is no such message."
            )
        if system is not None and not system.strip():
            raise LabwrightError(f"--system: given {system!r}; a message has some text. Leave it out to have none.")
        self._system: list[Message] = [] if system is None else [{"role": "system", "content": system}]
        self.reset()
        self._turn, self._notes, self._told = 0, list[str](), False

    @property
    def about(self) -> str:
        """In one line, what becomes of what is said."""
        if self.prompting is None:
            return "the run knows no conversations: the model goes on with your text, and with what it wrote."
        template = self.prompting.template if isinstance(self.prompting, Instructions) else plain_template()
        if template.plain:
            return "you are answered by the plain template the run was trained with, '### Instruction:'."
        return "you are answered by the chat template of the pretrained folder the run began with."

    def reset(self) -> None:
        """Forget what was said."""
        self._messages: list[Message] = [*self._system]
        self._text = ""

    def answer(self, line: str) -> Iterator[str]:
        """What the model writes to that, piece by piece. What came of it is remembered even if nobody waits for all."""
        check_typed(line)
        said = f"{self._text}\n{line}" if self._text else line
        asked: list[Message] = [*self._messages, {"role": "user", "content": line}]
        ids = (self.task.data.parse(said) if self.prompting is None else self.prompting.prompt({self._key: asked}))[0]
        window = self.task.ports()[0]
        assert isinstance(window, Tokens)
        if ids.shape[1] > window.length and not self._told:
            self._told = True
            self._notes.append(
                f"note: what was said has {ids.shape[1]:,} tokens, more than the model's window: it sees the last "
                f"{window.length:,} alone. /reset begins anew."
            )
        self.task.data.noticed()  # which says the same
        written: list[str] = []
        (pieces,) = self.task.continuations(self.model, [ids[0].tolist()], [self.how], self._turn)
        self._turn += 1
        try:
            for piece in pieces:
                written.append(piece)
                yield piece
        finally:
            answer = "".join(written)
            self._text = f"{said}{answer}"
            if answer.strip():
                self._messages = [*asked, {"role": "assistant", "content": answer}]
            elif self.prompting is not None:  # a template may refuse an answer without any text
                self._notes.append("note: that has no answer, and isn't remembered.")

    def noticed(self) -> list[str]:
        """What there is to say, once."""
        notes, self._notes = self._notes, []
        return notes


def sampling(usual: Sampling, given: Sequence[str], known: Sequence[str] = tuple(Sampling.model_fields)) -> Sampling:
    """Settings with some changed, each NAME=VALUE; a search with beams has `known` ones alone.

    Raises LabwrightError for one that there isn't, or can't be used.
    """
    changed: dict[str, object] = {}
    for one in given:
        name, equals, text = one.partition("=")
        name = name.strip().removeprefix("task.")
        if not equals or name not in known:
            raise LabwrightError(
                f"--set {one}: no setting is called {name!r}{nearest(name, known)} There are {listed(known)}."
            )
        try:
            changed[name] = json.loads(text)
        except ValueError:
            changed[name] = text
        if name == "stop" and isinstance(changed[name], str):
            changed[name] = [changed[name]]
    try:
        return Sampling.model_validate({**usual.model_dump(), **changed})
    except ValidationError as error:
        fault = error.errors()[0]
        name = str(fault["loc"][0]) if fault["loc"] else "settings"
        raise LabwrightError(f"--set {name}: given {changed.get(name)!r}: {sentence(fault['msg'])}") from None
