"""`labwright chat`, line by line and on a terminal: answers stream, commands are minded, slips are told."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import labwright as lw
import pytest
import torch
from labwright.cli import main
from labwright_nlp.data.instructions import Instructions
from labwright_nlp.talking import Talk, sampling
from labwright_tasks.language_model import LanguageModel
from labwright_tasks.next_token import Sampling
from torch import Tensor, nn

PAIRS = [{"prompt": f"say {word}", "response": f"{word} it is"} for word in ("pear", "plum", "fig", "nut")]
Said = tuple[int, str, str]


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learned to answer four prompts."""
    folder = tmp_path_factory.mktemp("answering")
    (folder / "pairs.jsonl").write_text("".join(f"{json.dumps(pair)}\n" for pair in PAIRS * 4))
    lw.Experiment.from_recipe(
        "nlp/instructions-gpt",
        [
            f"task.data.path={folder / 'pairs.jsonl'}", "task.data.valid=0.0", "task.data.tokenizer=word",
            "model.depth=1", "task.data.context=64", "model.width=32", "model.heads=2", "train.epochs=30",
            "train.batch_size=4", "optimizer.lr=1e-2", "task.length=20", "log=[]",
        ],
    ).run(folder / "run")  # fmt: skip
    return folder / "run"


@pytest.fixture
def chat(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    def said(lines: str, *args: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["labwright", "chat", *map(str, args)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.encode("utf-8", "surrogateescape"))))
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return said


def test_a_search_in_place_of_drawing_is_no_other_recipe(
    answering: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The temperature of the recipe counts no longer with it, which the person has asked for."""
    monkeypatch.setattr(
        sys, "argv", ["labwright", "predict", str(answering), "--prompt", "say nut", "--set", "task.beams=2"]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (0, "say nut\tnut it is\n")
    assert "isn't the one" not in err, err


def test_each_line_is_answered_until_quit(answering: Path, chat: Callable[..., Said]) -> None:
    code, out, err = chat("say fig\n\n/reset\nsay nut\n/quit\nsay plum\n", answering)
    loaded = lw.load(answering)
    asked = [loaded.task.predict(loaded.model, loaded.task.parse(line), [None])[0] for line in ("say fig", "say nut")]
    assert (code, out.splitlines()) == (0, ["".join(answer["continuation"]) for answer in asked])
    assert out.endswith("nut it is\n")
    assert "you are answered by the plain template the run was trained with" in err and "begun anew." in err


def test_json_is_a_line_for_each_and_what_went_wrong_is_one_of_them(answering: Path, chat: Callable[..., Said]) -> None:
    code, out, err = chat("/rest\nsay pear\n\udcff\n", answering, "--json", "--set", "length=2")
    first, second = map(json.loads, out.splitlines())
    assert first["input"] == "say pear" and first["answer"].count(" ") == 1
    assert code == 2 and "no UTF-8" in second["error"] and "error: " in err
    assert "there is no command '/rest'; did you mean '/reset'" in err


def test_the_conversation_so_far_is_what_the_model_is_given_until_it_begins_anew(answering: Path) -> None:
    loaded = lw.load(answering)
    talk = Talk(loaded.task, loaded.model, "be brief")
    alone = list(talk.answer("say fig"))
    given = [one["role"] for one in talk._messages]
    assert given == ["system", "user", "assistant"] and talk._messages[-1]["content"] == "".join(alone)
    for _ in range(6):
        "".join(talk.answer("say fig"))
    (note,) = talk.noticed()
    assert "more than the model's window: it sees the last 64 alone" in note
    talk.reset()
    assert len(talk._messages) == 1 and talk.noticed() == []


def test_an_answer_that_is_stopped_is_remembered_as_far_as_it_came(answering: Path) -> None:
    loaded = lw.load(answering)
    talk = Talk(loaded.task, loaded.model)
    pieces = talk.answer("say fig")
    begun = next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert talk._messages[-1] == {"role": "assistant", "content": begun}


@pytest.mark.timing
@pytest.mark.long
def test_on_a_terminal_there_is_a_prompt_and_the_end_of_input_ends_it(answering: Path) -> None:
    pty = pytest.importorskip("pty")
    child, terminal = pty.fork()
    if not child:
        os.execv(sys.executable, [sys.executable, "-m", "labwright", "chat", str(answering)])
    seen = b""

    def until(text: bytes) -> None:
        nonlocal seen
        while text not in seen:
            seen += os.read(terminal, 4096)

    until(b"> ")
    os.write(terminal, b"say fig\n")
    until(b"> say fig")
    seen = seen.partition(b"> say fig")[2]
    until(b"> ")
    os.write(terminal, b"\x04")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--set", "temprature=1"], "no setting is called 'temprature'; did you mean 'temperature'"),
        (["--set", "top_p=0"], "--set top_p: given 0: Input should be greater than 0."),
        (["--set", "stop="], "--set stop: given ['']: String should have at least 1 character."),
        (["--set", "length"], "--set length: no setting is called"),
        (["--system", " "], "--system: given ' '; a message has some text."),
    ],
)
def test_a_setting_that_can_not_be_used_is_told(
    given: list[str], said: str, answering: Path, chat: Callable[..., Said]
) -> None:
    code, _, err = chat("", answering, *given)
    assert code == 2 and said in err


def test_a_search_has_no_settings_of_what_is_drawn() -> None:
    known = LanguageModel(Instructions(path=Path("none")), beams=2).settable
    assert sampling(Sampling(), ["length=3", 'stop=["a", "b"]'], known) == Sampling(length=3, stop=("a", "b"))
    with pytest.raises(lw.LabwrightError, match=r"no setting is called 'temperature'. There are length, stop"):
        sampling(Sampling(), ["temperature=0"], known)


def test_a_conversation_goes_by_the_name_that_rows_have_for_messages(tmp_path: Path) -> None:
    rows = [{"talk": [{"role": "user", "content": one}, {"role": "assistant", "content": one}]} for one in "abcd"]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = Instructions(path=tmp_path / "rows.jsonl", messages="talk", tokenizer="char", valid=0.0)
    data.prepare()
    size = data.ports()[1].vocab_size  # type: ignore[attr-defined]
    talk = Talk(LanguageModel(data, length=3), Constant(size, 5))
    assert len("".join(talk.answer("a"))) == 3 and not talk.noticed()
    talk.model = Constant(size, data.end_id)
    assert not "".join(talk.answer("b")) and talk.noticed() == ["note: that has no answer, and isn't remembered."]
    assert [one["role"] for one in talk._messages] == ["user", "assistant"] and talk._messages[0]["content"] == "a"


class Constant(nn.Module):
    """Always the same token."""

    def __init__(self, size: int, token: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(100.0 * (torch.arange(size) == token))

    def forward(self, ids_BT: Tensor, lengths_B: Tensor) -> Tensor:
        return self.logits.expand(*ids_BT.shape, -1)


def test_settings_are_read_as_numbers_and_texts() -> None:
    assert sampling(Sampling(), ["top_k=3", "stop=\n\n", "task.temperature=0"]) == Sampling(
        top_k=3, stop=("\n\n",), temperature=0
    )


def test_running_text_is_gone_on_with_and_other_tasks_are_refused(
    fruits: Path, tmp_path: Path, chat: Callable[..., Said]
) -> None:
    quick = ["train.steps=1", "log=[]"]
    lw.Experiment.from_recipe("nlp/polarity-bag", [f"task.data.path={fruits}", "train.epochs=1", "log=[]"]).run(
        tmp_path / "classes"
    )
    code, _, err = chat("", tmp_path / "classes")
    assert code == 2 and "chat is for a language model, and this run is of task Classification" in err
    (tmp_path / "text.txt").write_text("abcdefgh\n" * 60)
    lw.Experiment.from_recipe(
        "nlp/shakespeare",
        [f"task.data.path={tmp_path / 'text.txt'}", "task.data.context=16", "model.width=16", "model.depth=1", *quick],
    ).run(tmp_path / "text")
    code, out, err = chat("abc\n", tmp_path / "text", "--set", "length=5")
    assert code == 0 and len(out) >= 6
    assert "the run knows no conversations: the model goes on with your text" in err
    code, _, err = chat("", tmp_path / "text", "--system", "be brief")
    assert code == 2 and "--system: PlainText has no conversations" in err
