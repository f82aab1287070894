"""How a conversation is written as one text: by the chat template of a pretrained folder, or a plain one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from labwright import LabwrightError, nearest

Message = Mapping[str, str]

END = "\ue002"  # of the private use area, where the plain template ends an answer; it becomes one token
_CONFIG, _TEMPLATE, _KEPT = "tokenizer_config.json", "chat_template.jinja", "chat_template.json"
_SPECIAL = ("bos_token", "eos_token", "unk_token", "pad_token")
_PLAIN = (
    "{% for message in messages %}"
    "{% if message.role == 'user' %}{{ '### Instruction:\n' }}"
    "{% elif message.role == 'assistant' %}{{ '### Response:\n' }}{% endif %}"
    f"{{{{ message.content }}}}{{% if message.role == 'assistant' %}}{END}{{% endif %}}{{{{ '\n\n' }}}}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '### Response:\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Segment:
    """A piece of a conversation's text; whether it is an answer, which a model is to write."""

    text: str
    answer: bool


@dataclass(frozen=True)
class ChatTemplate:
    """A template in Jinja, and the special tokens it may name, such as eos_token.

    It is rendered as transformers does it, in Jinja's sandbox: it can't reach files, or change what it is given.
    """

    source: str
    special: Mapping[str, str] = field(default_factory=dict)
    plain: bool = False

    def rendered(self, messages: Sequence[Message], *, asks: bool) -> str:
        """The text of some messages; if it `asks`, up to where the next answer begins.

        Raises LabwrightError where the template refuses them, or can't be rendered.
        """
        given = [{"role": one["role"], "content": one["content"].replace(END, "")} for one in messages]
        try:
            return str(
                self._library.apply_chat_template(
                    given, chat_template=self.source, tokenize=False, add_generation_prompt=asks
                )
            )
        except Exception as error:  # a template may go wrong in any way, and refuses by an error of Jinja's
            said = " ".join(str(error).split())[:200]
            raise LabwrightError(f"the chat template can't write this conversation: {said}") from error

    def segments(self, messages: Sequence[Message], *, asks: bool) -> list[Segment]:
        """A conversation as pieces, so that all up to an answer is what a model is given when it is asked for that.

        Of a template that writes earlier answers otherwise once another follows, such as without their reasoning, only
        answers behind the last change are told apart. Raises LabwrightError for one that begins an answer otherwise
        than it asks for one.
        """
        segments: list[Segment] = []
        done = ""
        ends = [place for place, one in enumerate(messages) if one["role"] == "assistant"]
        for place in ends:
            before, whole = self.rendered(messages[:place], asks=True), self.rendered(messages[: place + 1], asks=False)
            if not whole.startswith(before):
                raise LabwrightError(
                    "the chat template asks for an answer by other text than it begins one with: what is to be learned "
                    'can\'t be told apart. task.data.template="plain" is one that does without.'
                )
            segments = self._behind(segments, done, before)
            segments.append(Segment(whole[len(before) :], True))
            done = whole
        return self._behind(segments, done, self.rendered(messages, asks=True)) if asks else segments

    def save(self, folder: Path) -> None:
        about = {"source": self.source, "special": dict(self.special), "plain": self.plain}
        (folder / _KEPT).write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @staticmethod
    def _behind(segments: list[Segment], done: str, text: str) -> list[Segment]:
        if text.startswith(done):
            return [*segments, Segment(text[len(done) :], False)]
        return [Segment(text, False)]

    @cached_property
    def _library(self) -> Any:
        """A tokenizer of transformers, for its templates alone: it knows no token but the special ones."""
        import tokenizers
        import transformers

        return transformers.PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
            tokenizer_object=tokenizers.Tokenizer(tokenizers.models.BPE()), **self.special
        )


def plain_template(special: Mapping[str, str] | None = None) -> ChatTemplate:
    """The text "### Instruction:" before what is asked and "### Response:" before an answer (Taori et al. 2023)."""
    return ChatTemplate(_PLAIN, special or {}, plain=True)


def kept_template(folder: Path) -> ChatTemplate | None:
    """The template that `save` left in a folder, if any."""
    if not (folder / _KEPT).is_file():
        return None
    about = json.loads((folder / _KEPT).read_text(encoding="utf-8"))
    return ChatTemplate(about["source"], about["special"], about["plain"])


def template_of(folder: Path) -> ChatTemplate:
    """The chat template of a pretrained folder: chat_template.jinja, or in tokenizer_config.json; else the plain one.

    Its special tokens are the folder's either way. Of several it is the one called default. Raises LabwrightError for a
    file that can't be read.
    """
    if not folder.is_dir():
        raise LabwrightError(
            f"there is no folder {folder} with a tokenizer{nearest(str(folder), map(str, folder.parent.glob('*')))}"
        )
    config = _config(folder)
    special = {name: text for name in _SPECIAL if (text := _token(config.get(name)))}
    source = config.get("chat_template")
    if (folder / _TEMPLATE).is_file():
        source = (folder / _TEMPLATE).read_text(encoding="utf-8")
    if isinstance(source, list):
        named = {one.get("name"): one.get("template") for one in source if isinstance(one, dict)}
        source = named.get("default")
        if source is None:
            raise LabwrightError(
                f"{folder / _CONFIG} has chat templates {sorted(map(str, named))}, none called default."
            )
    if source is not None and not isinstance(source, str):
        raise LabwrightError(f"{folder / _CONFIG}: chat_template is a {type(source).__name__}, not a text of Jinja's.")
    return plain_template(special) if source is None else ChatTemplate(source, special)


def _config(folder: Path) -> dict[str, Any]:
    path = folder / _CONFIG
    if not path.is_file():
        return {}
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise LabwrightError(f"{path} can't be read as JSON: {error}.") from error
    if not isinstance(config, dict):
        raise LabwrightError(f"{path} holds a {type(config).__name__}, not an object of settings.")
    return config


def _token(value: Any) -> str | None:
    """A special token's text, which may stand in an object that says more of it."""
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) and text else None
