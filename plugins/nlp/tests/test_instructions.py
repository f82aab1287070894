"""Conversations whose answers are learned: which tokens those are, how they are written, and what is asked later."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import tokenizers
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from labwright import LEFT_OUT, LabwrightError
from labwright_nlp.chat_template import ChatTemplate, plain_template, template_of
from labwright_nlp.data.instructions import Instructions
from labwright_nlp.tokenizing import Bytes
from labwright_tasks.kneser_ney import running_text
from labwright_tasks.language_model import LanguageModel, TokenBatch
from labwright_tasks.losses import CrossEntropy
from torch import nn

# as SmolLM and Qwen write it
CHATML = (
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
PAIRS = [
    {"prompt": f"say {word} twice", "response": f"{word} {word}"} for word in ("pear", "plum", "fig", "nut", "oat")
]
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "One?"},
    {"role": "assistant", "content": "1"},
    {"role": "user", "content": "Two?"},
    {"role": "assistant", "content": "2, too"},
]


def rows(folder: Path, some: list[Any], name: str = "train.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(f"{json.dumps(row)}\n" for row in some), encoding="utf-8")
    return path


def pretrained(folder: Path, template: Any = CHATML, **more: Any) -> Path:
    """A folder as transformers saves a tokenizer: of bytes, with special tokens and maybe a chat template."""
    folder.mkdir()
    inner = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token=None))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = tokenizers.decoders.ByteLevel()
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|im_start|>", "<|im_end|>", "<pad>"],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    inner.train_from_iterator(["assistant user system say it twice"], trainer)
    inner.save(str(folder / "tokenizer.json"))
    config = {"eos_token": {"content": "<|im_end|>"}, **({"chat_template": template} if template else {}), **more}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def made(path: Path, **settings: Any) -> Instructions:
    data = Instructions(path=path, **{"valid": 0.0, "tokenizer": "char", "context": 200, **settings})
    data.prepare()
    return data


def learned_texts(data: Instructions, row: int = 0) -> str:
    """The tokens to be predicted of one conversation as text, those left out as dots."""
    split = data.split("train")
    assert split is not None
    (next_T,) = split.fetch(torch.tensor([row]), 0, 0).targets
    return "".join(
        "." if token == LEFT_OUT else data.show((next_T[None, at : at + 1], torch.tensor([1])))[0] or "$"
        for at, token in enumerate(next_T.tolist())
    )


def test_of_a_plain_conversation_the_answers_and_their_ends_are_learned(tmp_path: Path) -> None:
    data = made(rows(tmp_path, [{"messages": TALK}]))
    before = "Be brief.\n\n### Instruction:\nOne?\n\n### Response:\n"
    between = "\n\n### Instruction:\nTwo?\n\n### Response:\n"
    assert learned_texts(data) == "." * (len(before) - 1) + "1$" + "." * len(between) + "2, too$"
    assert data.ports()[1].end_id == data.end_id == data.tokens.size  # type: ignore[attr-defined, union-attr]
    assert data.remarks() == ["conversations are written after '### Instruction:' and '### Response:'."]


def test_a_conversation_by_a_folders_template_is_the_text_that_transformers_makes(tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    folder = pretrained(tmp_path / "folder")
    library = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), chat_template=CHATML)
    data = made(rows(tmp_path, [{"messages": TALK}]), tokenizer="pretrained", pretrained=folder)
    whole = library.apply_chat_template(TALK, tokenize=True, return_dict=False)
    (batch,) = [data.split("train").fetch(torch.tensor([0]), 0, 0)]  # type: ignore[union-attr]
    assert batch.inputs[0][0].tolist() == whole[: len(batch.inputs[0][0])]
    assert library.convert_tokens_to_ids("<|im_end|>") == data.end_id == int(batch.targets[0, -1])
    prompt = data.prompt({"messages": TALK})[0][0].tolist()
    assert prompt == library.apply_chat_template(
        TALK[:-1], tokenize=True, add_generation_prompt=True, return_dict=False
    )
    assert learned_texts(data).replace(".", "") == "1$2, too$"
    assert data.remarks() == ["conversations are written by the chat template of the pretrained folder."]


@settings(deadline=None, max_examples=20)
@given(st.lists(st.text("ab <>#\n\ue002", min_size=1, max_size=8).filter(str.strip), min_size=2, max_size=6))
def test_what_is_asked_is_token_by_token_what_was_learned_to_be_answered(texts: list[str]) -> None:
    messages = [
        {"role": "assistant" if at % 2 else "user", "content": text}
        for at, text in enumerate(texts[: len(texts) // 2 * 2])
    ]
    data = Instructions(path=Path("none"), tokenizer="byte", context=4000)
    data.tokens = Bytes()
    data.end_id = data.tokens.size
    for template in (plain_template(), ChatTemplate(CHATML, {"eos_token": "<|im_end|>"})):
        data.template = template
        ids, marks = data._ids(messages, asks=False)
        for count in range(1, len(messages), 2):
            asked, _ = data._ids(messages[:count], asks=True)
            assert ids[: len(asked)].tolist() == asked.tolist() and not marks[len(asked) - 1] and marks[len(asked)]
        assert sum(marks) >= len(messages) // 2


class Table(nn.Module):
    """The logits of the next token are a row of a table."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(size, size, generator=torch.Generator().manual_seed(0)))

    def forward(self, ids_BT: torch.Tensor, lengths_B: torch.Tensor) -> torch.Tensor:
        return self.table[ids_BT]


def test_the_loss_is_that_of_the_answers_tokens_by_hand(tmp_path: Path) -> None:
    data = made(rows(tmp_path, PAIRS[:3]))
    task, split = LanguageModel(data), data.split("train")
    assert split is not None and data.tokens is not None
    model = Table(data.tokens.size + 1)
    log_probs, nats = model.table.detach().log_softmax(-1), []
    for pair in PAIRS[:3]:
        asked = f"### Instruction:\n{pair['prompt']}\n\n### Response:\n"
        before = data.tokens.encode([asked + pair["response"]])[0].tolist()[len(asked) - 1 :]
        after = [*before[1:], data.end_id]
        nats += [-float(log_probs[a, b]) for a, b in zip(before, after, strict=True)]
    batch = split.fetch(torch.arange(3), 0, 0)
    assert isinstance(batch, TokenBatch) and task.weight(batch) == len(nats) == sum(
        len(one["response"]) + 1 for one in PAIRS[:3]
    )
    loss = task.loss(model, batch, CrossEntropy(), "train")
    assert float(loss.detach()) == pytest.approx(sum(nats) / len(nats), rel=1e-5)


@pytest.mark.parametrize("content", ["1, too", "  1, too\n"])
def test_an_answer_ends_where_its_template_ends_it_whatever_ends_a_text(content: str, tmp_path: Path) -> None:
    """Base models of Qwen and all of Gemma have an eos_token that their templates don't write."""
    trimmed = CHATML.replace("message['content']", "message['content'] | trim")
    folder = pretrained(tmp_path / "folder", trimmed, eos_token="<pad>")
    talk = [*TALK[:4], {"role": "assistant", "content": content}]
    data = made(rows(tmp_path, [{"messages": talk}]), tokenizer="pretrained", pretrained=folder)
    assert data.tokens.inner.id_to_token(data.end_id) == "<|im_end|>"  # type: ignore[union-attr]
    assert learned_texts(data).replace(".", "") == "1$1, too$"


def test_texts_of_rows_that_are_not_read_are_told(tmp_path: Path) -> None:
    """Alpaca's rows have an `input` beside the instruction, empty in most."""
    more: list[dict[str, Any]] = [{"input": "1, 2"}, {"input": ""}, {"source": "me", "number": 3}, {"input": "3"}, {}]
    data = made(rows(tmp_path, [pair | extra for pair, extra in zip(PAIRS, more, strict=True)]))
    assert data.remarks()[1:] == ["rows have other texts, which aren't read: 'input' in 2, 'source' in 1."]


def test_the_floor_of_conversations_is_counted_with_their_ends(tmp_path: Path) -> None:
    data = made(rows(tmp_path, PAIRS))
    part = data.split("train")
    assert part is not None
    whole = [token for one in part.encoded for token in one.ids.tolist()]
    assert running_text(part, 10_000).tolist() == whole and whole.count(data.end_id) == len(PAIRS)


def test_what_is_cut_and_what_has_no_answer_is_counted(tmp_path: Path) -> None:
    some = [
        *PAIRS,
        {"prompt": "x" * 300, "response": "y"},
        {"prompt": "ok", "response": "z" * 300},
        {"prompt": "alone"},
    ]
    data = made(rows(tmp_path, some), context=80)
    split = data.split("train")
    assert split is not None and len(split) == 6
    (left_out,) = data.left_out()
    assert (left_out.count, left_out.why.partition(", as in ")[0]) == (1, "without an answer")
    (said,) = [one for one in data.remarks() if "are cut" in one]
    assert said.startswith(
        "2 of 7 conversations are cut to their first task.data.context=80 tokens, of which 1 have no"
    )
    batch = split.fetch(torch.arange(6), 0, 0)
    assert batch.inputs[0].shape[1] == 80 and int(batch.targets[5, -1]) != data.end_id


def test_a_run_learns_answers_and_gives_them_by_the_same_template(tmp_path: Path) -> None:
    folder = pretrained(tmp_path / "folder")
    run = lw.Experiment.from_recipe(
        "nlp/instructions-gpt",
        [
            f"task.data.path={rows(tmp_path, PAIRS * 4)}", "task.data.valid=0.0", "task.data.tokenizer=pretrained",
            f"task.data.pretrained={folder}", "task.data.context=48", "model.width=32", "model.depth=1",
            "model.heads=2", "train.epochs=20", "train.batch_size=4", "optimizer.lr=1e-2", "log=[]",
        ],
    ).run(tmp_path / "run")  # fmt: skip
    (tmp_path / "train.jsonl").unlink()
    loaded = lw.load(tmp_path / "run")
    (answer,) = loaded.task.predict(loaded.model, loaded.task.parse("say fig twice"), [None])
    assert "".join(answer["continuation"]) == "fig fig"
    asked = rows(tmp_path, [{"prompt": "say oat twice"}, {"messages": TALK[:2], "length": 1}], "asked.jsonl")
    first, second = [read() for _, read in loaded.task.inputs(asked) or ()]
    assert loaded.task.data.show(first) == ["user\nsay oat twice\nassistant\n"]
    assert second.origin.length == 1 and first[0].shape == second[0].shape  # type: ignore[attr-defined]
    texts, places = run.task.report(run.model, "train", run.device)
    assert "say" in texts.captions[0] and places.title == "Loss by place in the window"  # type: ignore[union-attr]
    assert run.task.floors("train")


@pytest.mark.long  # the library's models are imported
def test_a_pretrained_decoder_is_tuned_by_the_loss_that_transformers_gives_for_the_answers(tmp_path: Path) -> None:
    import transformers

    folder = pretrained(tmp_path / "folder")
    torch.manual_seed(0)
    size = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size()
    config = transformers.LlamaConfig(
        vocab_size=size,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        pad_token_id=2,
    )
    network = transformers.LlamaForCausalLM(config).eval()
    network.save_pretrained(folder)
    (tmp_path / "data").mkdir()
    path = rows(tmp_path / "data", [*PAIRS, {"messages": TALK}])
    rows(tmp_path / "data", [{"messages": TALK}, PAIRS[0]], "valid.jsonl")
    run = lw.Experiment.from_recipe(
        "nlp/instructions",
        [
            f"task.data.path={path.parent}",
            f"start.run={folder}",
            "task.data.context=128",
            "optimizer.lr=1e-12",
            "log=[]",
        ],
    ).run(tmp_path / "run")
    assert "conversations are written by the chat template of the pretrained folder." in run.notes
    split, nats, count = run.task.data.split("valid"), 0.0, 0
    for row in range(2):
        batch = split.fetch(torch.tensor([row]), 0, 0)  # type: ignore[union-attr]
        labels_T = torch.cat([batch.inputs[0][:, :1], batch.targets], 1)  # theirs are shifted by the library
        ids_T = torch.cat([batch.inputs[0], batch.targets[:, -1:]], 1)
        with torch.no_grad():
            mean = network(input_ids=ids_T, labels=labels_T.index_fill(1, torch.tensor([0]), LEFT_OUT)).loss
        nats, count = nats + float(mean) * batch.tokens, count + batch.tokens
    assert run.metrics["valid"]["cross_entropy"] == pytest.approx(nats / count, rel=1e-5)
    loaded = lw.load(tmp_path / "run")
    (answer,) = loaded.task.predict(loaded.model, loaded.task.parse("say fig twice"), [loaded.task.how])  # type: ignore[attr-defined]
    assert isinstance("".join(answer["continuation"]), str)


def test_of_a_template_that_rewrites_earlier_answers_the_last_is_learned(tmp_path: Path) -> None:
    forgetting = (
        "{% for message in messages %}{% if message.role == 'user' %}U{{ message.content }}{% elif loop.last %}"
        "A{{ message.content }}<|im_end|>{% else %}a{% endif %}{% endfor %}{% if add_generation_prompt %}A{% endif %}"
    )
    folder = pretrained(tmp_path / "folder", forgetting)
    data = made(rows(tmp_path, [{"messages": TALK[1:]}]), tokenizer="pretrained", pretrained=folder)
    assert learned_texts(data).replace(".", "") == "2, too$"


def test_a_template_in_a_file_of_its_own_goes_before_and_no_template_is_plain(tmp_path: Path) -> None:
    folder = pretrained(tmp_path / "folder", [{"name": "tool", "template": "t"}, {"name": "default", "template": "d"}])
    assert template_of(folder).source == "d"
    (folder / "chat_template.jinja").write_text(CHATML)
    assert template_of(folder) == ChatTemplate(CHATML, {"eos_token": "<|im_end|>"})
    bare = template_of(pretrained(tmp_path / "bare", None))
    assert bare.plain and bare.special == {"eos_token": "<|im_end|>"}


def test_half_a_surrogate_pair_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"say {n} \ud83d", "response": "\ude00"}) + "\n" for n in range(30)))
    data = made(path, tokenizer="word", valid=0.1)
    assert data._conversations["train"][0].messages[1]["content"] == "\ufffd"
    assert {name: len(split) for name, split in data._splits.items()} == {"train": 27, "valid": 3}


def test_a_response_of_blanks_is_none_and_counted(tmp_path: Path) -> None:
    some = [*PAIRS, {"prompt": "say it", "response": " \n"}, {"prompt": "say it", "response": ""}]
    (left,) = made(rows(tmp_path, some)).left_out()
    assert left.count == 2 and "without an answer, as in" in left.why and "line 6" in left.why


BAD: list[tuple[str, str]] = [
    (
        '{"messages": [{"role": "asistant", "content": "x"}]}',
        "line 1: no message has the role 'asistant'; did you mean 'assistant'",
    ),
    ('{"messages": [{"role": "user"}]}', "line 1: given \"{'role': 'user'}\"; a message has a role and a content"),
    ('{"messages": "hello"}', "line 1: 'messages' is to be a list such as"),
    ('{"prompt": "x"}', "no conversation with an answer, which is what is learned"),
    ('{"prompt": 3, "response": "x"}', "line 1: the prompt is to be a text, given '3'"),
    ('{"instruction": "x", "output": "y"}', "it has instruction, output. task.data.prompt and task.data.response"),
    ('{"prompt": "x", "response": "y"', "line 1: no JSON: "),
    ("[1]", "line 1: given '[1]'; a conversation is an object"),
    (json.dumps({"prompt": "x" * 10_000_000, "response": "y"}), "task.data.context: none of the 1 conversations in"),
]


@pytest.mark.parametrize(("line", "said"), BAD, ids=range(len(BAD)))
def test_a_row_that_is_no_conversation_is_told(line: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(f"{line}\n")
    with pytest.raises(LabwrightError) as told:
        made(path)
    assert said in str(told.value) and len(str(told.value)) < 600


@pytest.mark.parametrize(
    ("template", "more", "said"),
    [
        (None, {"template": "folder"}, "has no chat template, neither chat_template.jinja nor"),
        ("{{ messages[0].content.__class__.__mro__[1].__subclasses__() }}", {}, "is unsafe"),
        (
            "{{ raise_exception('roles must alternate') }}",
            {},
            "line 1: the chat template can't write this conversation: roles",
        ),
        ("{% for", {}, "the chat template can't write this conversation"),
        (
            "{% if add_generation_prompt %}A{% else %}B{% endif %}",
            {},
            "asks for an answer by other text than it begins one",
        ),
        (7, {}, "chat_template is a int, not a text of Jinja's"),
        ([{"name": "tool", "template": "x"}], {}, "none called default"),
    ],
    ids=["missing", "unsafe", "refuses", "broken", "other-text", "no-text", "no-default"],
)
def test_a_template_that_can_not_be_used_is_told(
    template: Any, more: dict[str, Any], said: str, tmp_path: Path
) -> None:
    folder = pretrained(tmp_path / "folder", template)
    with pytest.raises(LabwrightError, match=r"(?s).") as told:
        made(rows(tmp_path, PAIRS), tokenizer="pretrained", pretrained=folder, **more)
    assert said in str(told.value)
