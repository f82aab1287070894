"""Conversations of your own, of which the answers are learned. N conversations, B batch, T tokens."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from labwright import LEFT_OUT, Choice, Data, Finding, LabwrightError, LeftOut, Port, Tokens, listed
from labwright_tasks import other_data
from labwright_tasks.language_model import NextTokens, TokenBatch
from labwright_tasks.other_data import Facts, drift
from labwright_tasks.tables import JSON_LINES, Table, suffix_of
from pydantic import Field
from torch import Tensor

from labwright_nlp.chat_template import (
    END,
    ChatTemplate,
    Message,
    kept_template,
    plain_template,
    template_of,
)
from labwright_nlp.data import model_folder, noticing
from labwright_nlp.data.conversation_reading import (
    ENDINGS,
    Conversation,
    Keys,
    answered_at,
    conversation,
    published_conversations,
    rows_at,
    unanswered,
)
from labwright_nlp.data.odd_texts import odd_texts
from labwright_nlp.data.reading import check_typed, read_text
from labwright_nlp.data.texts import Share, chosen_rows
from labwright_nlp.tokenizing import Kind, Pieces, Pretrained, Tokenizer, Vocabulary, clean, kept, learned

_KEPT = "conversations.json"
_NAMED = 3  # columns that aren't read
_ENDS = (
    "<|im_end|>",
    "<|eot_id|>",
    "<|end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "</s>",
    "<eos>",
)  # the first there is
Name = Annotated[str, Field(min_length=1, description="what rows call it.")]


@dataclass(frozen=True)
class Encoded:
    """A conversation as tokens, and which of them are an answer's; the last one is."""

    ids: np.ndarray
    learned: np.ndarray
    whole: int  # how many there were before they were cut


class Instructions(Data):
    """Conversations in files of yours, whose answers alone are learned: .jsonl, .json or .parquet, packed or not.

    A row has a prompt and a response, and perhaps a system message, or messages, a list of a role (system, user or
    assistant) and a content each. A folder has a file `train`, and perhaps `valid` and `test`; a part without a file is
    held out, equal prompts together. A conversation without an answer is left out and counted.

    Each is a window of its own, cut to its first `context` tokens; every token of its answers, and what ends one, is to
    be predicted, nothing else. What a model is asked by `predict` is written in the same way. A folder's chat template
    is chat_template.jinja, or in tokenizer_config.json. A learned tokenizer has one token more than `vocabulary`
    allows, which ends an answer.

    Args:
        path: a file of conversations, or a folder with one for each part.
        prompt: what rows call that which is asked.
        response: what rows call the answer to it.
        messages: what rows call the list of messages, where they have one.
        system: what rows call the message before a prompt that says how to answer; a row may have none.
        valid, test: share of the training conversations that is held out as this part, if it has no file; 0: there is
            no such part.
        template: how conversations are written: by the chat template of the pretrained folder, which has to have one
            (folder), or after "### Instruction:" and "### Response:" (plain; Taori et al. 2023). Left out, by the
            folder's if there is one.
    """

    item = Tokens
    target = NextTokens
    source = "files of yours"
    licence = "yours"
    line = "prompt"
    suffixes = (".txt",)

    def __init__(
        self,
        *,
        path: Path,
        prompt: Name = "prompt",
        response: Name = "response",
        messages: Name = "messages",
        system: Name = "system",
        valid: Share = 0.1,
        test: Share = 0.0,
        context: Annotated[
            int, Field(ge=2, description="most tokens of a conversation a model sees."), Choice(128, 256, 512)
        ] = 256,
        template: Literal["folder", "plain"] | None = None,
        tokenizer: Kind = "bpe",
        vocabulary: Vocabulary = 8192,
        pretrained: Pretrained = None,
    ) -> None:
        if template == "folder" and tokenizer != "pretrained":
            raise LabwrightError(
                f"task.data.template: a tokenizer of kind {tokenizer!r} has no folder with a chat template; leave it "
                'out, or set task.data.tokenizer="pretrained".'
            )
        self.path, self.keys = path, Keys(prompt, response, messages, system)
        self.prompt_keys = self.keys.all
        self.valid, self.test, self.context, self.chosen = valid, test, context, template
        self.tokenizer, self.vocabulary, self.pretrained = tokenizer, vocabulary, pretrained
        self.template = plain_template()
        self.tokens: Tokenizer | None = None
        self.end_id = 0
        self._start: Path | None = None
        self._conversations: dict[str, list[Conversation]] = {}
        self._splits: dict[str, Conversations] = {}
        self._left_out: list[LeftOut] = []
        self._remarks: list[str] = []
        self._longer: list[int] = []  # prompts that were asked, by their tokens
        self.facts: Facts = {}

    def starts_from(self, folder: Path) -> None:
        self._start = folder

    def prepare(self) -> None:
        unread: Counter[str] = Counter()
        parts, self._left_out = published_conversations(self.path, self.keys, unread)
        self._conversations = self._parted(parts)
        self.template = self._found_template()
        texts = (
            clean(self.template.rendered(one.messages, asks=False).replace(END, ""))
            for one in self._conversations["train"]
        )
        self.tokens = learned(
            self.tokenizer, texts, vocabulary=self.vocabulary, pretrained=self.pretrained, start=self._start
        )
        self.end_id = self._end()
        self._remarks = [
            "conversations are written after '### Instruction:' and '### Response:'"
            f"{'' if self.chosen or self.tokenizer != 'pretrained' else ': the tokenizer has no chat template'}."
            if self.template.plain
            else "conversations are written by the chat template of the pretrained folder."
        ]
        if unread:
            others = listed((f"{name!r} in {count:,}" for name, count in unread.items()), _NAMED)
            self._remarks.append(f"rows have other texts, which aren't read: {others}.")
        self._take_up()
        self.facts = self._facts(self._splits["train"])

    def _parted(self, parts: dict[str, list[Conversation]]) -> dict[str, list[Conversation]]:
        shares = {name: getattr(self, name) for name in ("test", "valid") if name not in parts and getattr(self, name)}
        train = parts["train"]
        keys = [one.asked for one in train]
        chosen = chosen_rows(Table(str(self.path), {"text": keys}, range(1, len(train) + 1)), shares, (), None, None)
        return parts | {name: [train[row] for row in rows.tolist()] for name, rows in chosen.items()}

    def _found_template(self) -> ChatTemplate:
        folder = self._folder
        if folder is None:
            return plain_template()
        # a run that is gone on with has what it began with in its own folder
        found = kept_template(folder) or template_of(folder)
        if found.plain and self.chosen == "folder":
            raise LabwrightError(
                f"task.data.template: {folder} has no chat template, neither chat_template.jinja nor a `chat_template` "
                'in tokenizer_config.json: it may be of a model that doesn\'t chat. "plain" needs none.'
            )
        return plain_template(found.special) if self.chosen == "plain" else found

    @property
    def _folder(self) -> Path | None:
        """What the tokenizer is of, unless it is learned."""
        if self.tokenizer != "pretrained":
            return None
        return self._start if self.pretrained is None else self.pretrained.expanduser()

    def _end(self) -> int:
        """The token that ends an answer: its template's, else the tokenizer's, or one behind all that were learned."""
        assert self.tokens is not None
        if self.tokenizer != "pretrained" or not isinstance(self.tokens, Pieces):
            return self.tokens.size
        ends = [
            self.tokens.inner.token_to_id(name) for name in (self.template.special.get("eos_token"), *_ENDS) if name
        ]
        behind = self._behind_answers(self.tokens)
        known = [*(token for token in ends[:1] if token in behind), *behind, *ends]
        found = next((token for token in known if token is not None), None)
        if found is None:
            raise LabwrightError(
                f"task.data.tokenizer: {self._folder} says nothing of a token that ends a text: an eos_token in "
                "tokenizer_config.json does."
            )
        return found

    def _behind_answers(self, tokens: Pieces) -> list[int]:
        """The tokens of special meaning that a folder's template writes behind an answer, such as <|im_end|>."""
        first = self._conversations["train"][0]
        answer = [one["content"] for one in first.messages if one["role"] == "assistant"][-1]
        try:
            text = self.template.segments(first.messages, asks=False)[-1].text
        except LabwrightError:  # it is told with its place when conversations are taken up
            return []
        _, found, behind = text.rpartition(answer.strip())
        if self.template.plain or not found:
            return []
        special = {token for token, added in tokens.inner.get_added_tokens_decoder().items() if added.special}
        return [token for token in self._of_text(behind).tolist() if token in special]

    def _take_up(self) -> None:
        self._splits = {}
        cut, lost, seen = 0, list[str](), 0
        for name, some in self._conversations.items():
            encoded, kept_ones = [], []
            for one in some:
                found = self._encoded(one)
                seen += 1
                cut += found.whole > self.context + 1
                if len(found.ids) > 1:
                    encoded.append(found)
                    kept_ones.append(one)
                else:
                    lost.append(one.where)
            if not encoded:
                raise LabwrightError(
                    f"task.data.context: none of the {len(some):,} conversations in {name!r} has a token of an answer "
                    f"among its first {self.context + 1}; give a larger one."
                )
            self._conversations[name] = kept_ones
            self._splits[name] = Conversations(encoded, self._pad())
        if cut:
            longest = max(int(split.whole.max()) for split in self._splits.values())
            gone = f", of which {len(lost):,} have no answer left and are left out, as {lost[0]}" if lost else ""
            self._remarks.append(
                f"{cut:,} of {seen:,} conversations are cut to their first task.data.context={self.context} tokens"
                f"{gone}; the longest kept has {longest:,}."
            )

    def _encoded(self, one: Conversation) -> Encoded:
        """A conversation up to the end of its last answer, or to where it is cut and, before that, an answer is."""
        try:
            ids, marks = self._ids(one.messages, asks=False)
        except LabwrightError as error:
            raise LabwrightError(f"{one.where}: {error}") from error
        answers = np.flatnonzero(marks[: self.context + 1])
        upto = int(answers[-1]) + 1 if len(answers) else 0
        return Encoded(ids[:upto].copy(), marks[:upto].copy(), len(ids))

    def _ids(self, messages: Sequence[Message], *, asks: bool) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of a conversation, and which of them are an answer's. Each segment is tokenized alone, so that
        what a model is asked is, token by token, what it learned to answer.
        """
        ids: list[np.ndarray] = []
        marks: list[np.ndarray] = []
        for segment in self.template.segments(messages, asks=asks):
            text, ended, behind = segment.text.partition(END)
            of_text = self._of_text(text)
            if segment.answer and (ended or self.end_id not in of_text):
                of_text = np.append(of_text, self.end_id)
            # what stands behind the end of an answer is the template's
            upto = int(np.flatnonzero(of_text == self.end_id)[-1]) + 1 if segment.answer else 0
            of_text = np.append(of_text, self._of_text(behind))
            ids.append(of_text)
            marks.append(np.arange(len(of_text)) < upto)
        return np.concatenate(ids), np.concatenate(marks)

    def _of_text(self, text: str) -> np.ndarray:
        assert self.tokens is not None
        text = clean(text)
        if not text:
            return np.zeros(0, dtype=np.int64)
        known = self.tokens
        (ids,) = known.encode([text], special=False) if isinstance(known, Pieces) else known.encode([text])
        return ids.astype(np.int64)

    def _pad(self) -> int:
        assert self.tokens is not None
        return self.tokens.pad_id

    def ports(self) -> tuple[Port, Port]:
        assert self.tokens is not None
        size = max(self.tokens.size, self.end_id + 1)
        inputs = model_folder.port(self.tokens, self.context, self.tokenizer, self._start)
        if size != self.tokens.size:
            inputs = Tokens(size, self.context, self.tokens.pad_id)
        return inputs, NextTokens(size, self.context, end_id=self.end_id)

    def split(self, name: str) -> Conversations | None:
        return self._splits.get(name)

    def on(self, path: Path) -> Self:
        """The conversations of a file that have an answer."""
        other, bare = copy(self), list[str]()
        other._conversations = {"test": [*answered_at(path, self.keys, bare, Counter())]}
        if not other._conversations["test"]:
            raise LabwrightError(f"{path}: no conversation with an answer.")
        other._left_out, other._remarks = unanswered(bare), []
        other._take_up()
        other._remarks += drift(other._facts(other._splits["test"]), self.facts, len(other._splits["test"]))
        return other

    def prompt(self, row: Mapping[str, Any]) -> tuple[Tensor, ...]:
        """What a model is asked by a row: all messages up to the last one that is no answer."""
        messages = [*conversation(row, self.keys, "the prompt").messages]
        while messages and messages[-1]["role"] == "assistant":
            messages.pop()
        if not any(one["role"] == "user" for one in messages):
            raise LabwrightError("no message of a user is there to be answered.")
        ids, _ = self._ids(messages, asks=True)
        if len(ids) > self.context:
            self._longer.append(len(ids))
        return torch.from_numpy(ids)[None], torch.tensor([len(ids)])

    def parse(self, line: str) -> tuple[Tensor, ...]:
        check_typed(line)
        return self.prompt({self.keys.prompt: line})

    def read(self, path: Path) -> tuple[Tensor, ...]:
        return self.parse(read_text(path))

    def inputs(self, path: Path) -> Iterable[tuple[str, Callable[[], tuple[Tensor, ...]]]] | None:
        """What is asked by each row of a file, answered or not."""
        if path.is_dir() or suffix_of(path) not in ENDINGS or suffix_of(path) in JSON_LINES:
            return None
        return ((where, partial(self.prompt, row)) for where, row in rows_at(path))

    def noticed(self) -> Sequence[str]:
        longer, self._longer = self._longer, []
        if not longer:
            return []
        return [
            f"{len(longer):,} of the prompts are longer than task.data.context={self.context} tokens, the longest has "
            f"{max(longer):,}: the model sees the last {self.context} alone."
        ]

    def show(self, inputs: tuple[Tensor, ...]) -> list[str]:
        assert self.tokens is not None
        size = self.tokens.size
        rows = zip(inputs[0].tolist(), inputs[1].tolist(), strict=True)
        return [self.tokens.decode([token for token in ids[:length] if token < size]) for ids, length in rows]

    def checks(self) -> list[Finding]:
        """What is odd about what is asked."""
        return odd_texts({part: [one.asked for one in some] for part, some in self._conversations.items()})

    def place(self, split: str, index: int) -> str:
        return self._conversations[split][index].where

    def left_out(self) -> Sequence[LeftOut]:
        return self._left_out

    def remarks(self) -> Sequence[str]:
        assert self.tokens is not None
        ids = {name: split.ids() for name, split in self._splits.items()}
        return [*self._remarks, *noticing.unknown(ids, self.tokens.unknown, self.tokenizer)]

    def identity(self, split: str) -> Iterable[str]:
        hashed = hashlib.sha256()
        for one in self._conversations[split]:
            hashed.update(json.dumps([[message["role"], message["content"]] for message in one.messages]).encode())
        return (hashed.hexdigest(),)

    def save(self, folder: Path) -> None:
        assert self.tokens is not None
        self.tokens.save(folder)
        self.template.save(folder)
        model_folder.keep(self._start, self.tokenizer, folder)
        (folder / _KEPT).write_text(json.dumps({"end_id": self.end_id}) + "\n", encoding="utf-8")
        other_data.keep(folder, self.facts)

    def load(self, folder: Path) -> None:
        self.tokens = kept(self.tokenizer, folder)
        self.template = kept_template(folder) or plain_template()
        self._start = model_folder.kept(folder) or self._start
        self.end_id = json.loads((folder / _KEPT).read_text(encoding="utf-8"))["end_id"]
        self.facts = other_data.kept(folder)

    def _facts(self, split: Conversations) -> Facts:
        return other_data.facts({"the tokens of a conversation": split.whole.double()})


class Conversations:
    """Conversations in memory, as windows of one each: `lengths` (N,) are their tokens but the last, `whole` all that
    there were before they were cut.
    """

    def __init__(self, encoded: Sequence[Encoded], pad_id: int) -> None:
        self.encoded, self.pad_id = encoded, pad_id
        self.lengths = torch.tensor([len(one.ids) - 1 for one in encoded])
        self.whole = torch.tensor([one.whole for one in encoded])

    def __len__(self) -> int:
        return len(self.encoded)

    def ids(self) -> np.ndarray:
        """All tokens, one conversation after another."""
        return np.concatenate([one.ids for one in self.encoded])

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> TokenBatch:  # noqa: ARG002 - nothing is augmented
        some = [self.encoded[row] for row in indices.tolist()]
        lengths_B = self.lengths[indices]
        longest = int(lengths_B.max())
        ids_BT = torch.full((len(some), longest), self.pad_id)
        next_BT = torch.full((len(some), longest), LEFT_OUT)
        for row, one in enumerate(some):
            count = len(one.ids) - 1
            ids_BT[row, :count] = torch.from_numpy(one.ids[:-1])
            next_BT[row, :count] = torch.from_numpy(np.where(one.learned[1:], one.ids[1:], LEFT_OUT))
        return TokenBatch((ids_BT, lengths_B), next_BT, int((next_BT != LEFT_OUT).sum()))
