"""Documents in one window are what each is alone: logits, gradients, and what is written after them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from labwright import LEFT_OUT, Experiment, IndexedBatches, LabwrightError, Tokens
from labwright_nlp.data.plain_text import PlainText
from labwright_nlp.models.gpt import GPT
from labwright_nlp.ports import DocumentTokens
from labwright_tasks.language_model import NextTokens
from torch import Tensor, nn
from torch.nn import functional

BETWEEN, LENGTH = 39, 20
INPUTS, NEXT = DocumentTokens(40, LENGTH, 0, between=BETWEEN), NextTokens(40, LENGTH)
KINDS: dict[str, dict[str, Any]] = {
    "learned": {},
    "rotary": {"positions": "rotary", "norm": "rms", "activation": "swiglu", "key_heads": 1},
    "n-grams": {"ngrams": 4, "buckets": 97},
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
# two windows of documents; the first of the second window began before it
LENGTHS = ((5, 9, 6), (3, 1, 7, 9))


def made(kind: dict[str, Any], documents: str = "apart") -> GPT:
    torch.manual_seed(0)
    model = GPT(INPUTS, NEXT, width=16, depth=2, heads=2, documents=documents, **kind).double()  # type: ignore[arg-type]
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model


def windows() -> tuple[Tensor, list[Tensor]]:
    """The windows (2, T), and their documents one by one."""
    ids_BT = torch.randint(1, 39, (2, LENGTH), generator=torch.Generator().manual_seed(2))
    for row, lengths in enumerate(LENGTHS):
        assert sum(lengths) == LENGTH
        ids_BT[row, torch.tensor(lengths).cumsum(0)[:-1]] = BETWEEN
    return ids_BT, [part for row, lengths in zip(ids_BT, LENGTHS, strict=True) for part in row.split(lengths)]


def nats(model: GPT, ids_BT: Tensor, next_BT: Tensor) -> Tensor:
    logits_BTV = model(ids_BT, torch.full((len(ids_BT),), ids_BT.shape[1]))
    return functional.cross_entropy(logits_BTV.flatten(0, 1), next_BT.flatten(), ignore_index=LEFT_OUT, reduction="sum")


@every_kind
def test_a_window_of_documents_gives_the_logits_and_the_gradients_of_each_by_itself(kind: dict[str, Any]) -> None:
    model, (ids_BT, documents) = made(kind), windows()
    together = model(ids_BT, torch.tensor([LENGTH] * 2)).flatten(0, 1)
    alone = torch.cat([model(ids_T[None], torch.tensor([len(ids_T)]))[0] for ids_T in documents])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-10)
    targets_BT = torch.randint(1, 39, ids_BT.shape, generator=torch.Generator().manual_seed(3))
    packed = torch.autograd.grad(nats(model, ids_BT, targets_BT), list(model.parameters()))
    rows = zip(documents, targets_BT.flatten().split([len(ids_T) for ids_T in documents]), strict=True)
    total = torch.stack([nats(model, ids_T[None], next_T[None]) for ids_T, next_T in rows]).sum()
    single = torch.autograd.grad(total, list(model.parameters()))
    for one, other in zip(packed, single, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


@every_kind
def test_no_token_moves_what_is_said_in_another_document(kind: dict[str, Any]) -> None:
    ids_BT, _ = windows()
    changed_BT, lengths_B = ids_BT.clone(), torch.tensor([LENGTH] * 2)
    changed_BT[0, 3] = ids_BT[0, 3] % 38 + 1  # in the first document, which ends before place 5
    for documents, same in (("apart", True), ("crossed", False)):
        model = made(kind, documents)
        before, after = model(ids_BT, lengths_B)[0], model(changed_BT, lengths_B)[0]
        assert not torch.equal(before[3:5], after[3:5]) and torch.equal(before[5:], after[5:]) == same


@every_kind
@torch.no_grad()
def test_token_by_token_documents_stay_apart_too(kind: dict[str, Any]) -> None:
    model, (ids_BT, _) = made(kind).eval(), windows()
    whole_BTV = model(ids_BT, torch.tensor([LENGTH] * 2))
    lengths_B, rows = torch.tensor([7, 4]), torch.arange(2)
    logits_BV, state = model.begin(ids_BT[:, :9], lengths_B)
    for step in range(11):
        torch.testing.assert_close(logits_BV, whole_BTV[rows, lengths_B + step - 1], rtol=0, atol=1e-10)
        logits_BV, state = model.extend(state, ids_BT[rows, lengths_B + step])


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # those of PyTorch's exporter
def test_documents_stay_apart_in_onnx_too(tmp_path: Path) -> None:
    onnxruntime, _ = pytest.importorskip("onnxruntime"), pytest.importorskip("onnxscript")
    model, (ids_BT, _) = made(KINDS["rotary"]).float().eval(), windows()
    given = ids_BT, torch.tensor([LENGTH] * 2)
    torch.onnx.export(model, given, tmp_path / "model.onnx", input_names=["ids", "lengths"], dynamo=True, verbose=False)
    (told,) = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(
        None, dict(zip(["ids", "lengths"], map(Tensor.numpy, given), strict=True))
    )
    torch.testing.assert_close(torch.from_numpy(told), model(*given).detach(), rtol=1e-4, atol=1e-3)


def test_documents_that_no_token_stands_between_are_not_kept_apart() -> None:
    with pytest.raises(LabwrightError, match=r'model\.documents: "apart" needs a token .* task\.data\.between="token"'):
        GPT(Tokens(40, LENGTH), NEXT, documents="apart")


# ------------------------------------------------------------------------------------------------------------- data

TEXTS = [f"{number} bottles of Größe, {'and so on ' * (number % 4)}" for number in range(40)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documents")
    for number, text in enumerate(TEXTS):
        (folder / f"{number:02d}.txt").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("kind", ["char", "byte", "bpe"])
def test_a_token_between_documents_stands_for_the_blank_line(folder: Path, kind: Any) -> None:
    joined, marked = (
        PlainText(path=folder, context=16, valid=0.3, tokenizer=kind, vocabulary=300, between=between)  # type: ignore[arg-type]
        for between in ("blank-line", "token")
    )
    wholes, characters = [], []
    for data in (joined, marked):
        data.prepare()
        split = data.split("valid")
        assert split is not None
        wholes.append(data.show((split.ids_N[None], torch.tensor([len(split.ids_N)])))[0])
        characters.append(sum(batch.characters for batch in IndexedBatches.in_order(split, 3)))  # type: ignore[attr-defined]
    assert wholes[0] == wholes[1] and wholes[0].count("\n\n") > 5 and {*wholes[0].split("\n\n")} < {*TEXTS}
    assert characters == [len(wholes[0]) - 1] * 2
    (inputs, outputs), (plain, _) = marked.ports(), joined.ports()
    assert isinstance(inputs, DocumentTokens) and isinstance(plain, Tokens) and isinstance(outputs, NextTokens)
    assert inputs.between == plain.vocab_size and inputs.vocab_size == outputs.vocab_size == plain.vocab_size + 1
    assert joined.identity("valid") == marked.identity("valid")
    other = marked.on(folder).split("test")
    assert other is not None and int((other.ids_N == inputs.between).sum()) == len(TEXTS) - 1


def test_the_topics_of_python_are_documents_that_a_run_keeps_apart(tmp_path: Path) -> None:
    overrides = [
        "train.steps=2", "train.evaluate_every=2 steps", "log=[]", "model.width=16", "model.depth=1",
        "task.data.between=token", "model.documents=apart", "task.length=5",
    ]  # fmt: skip
    run = Experiment.from_recipe("nlp/pydoc", overrides).run(tmp_path / "run")
    assert isinstance(run.model, GPT) and run.model.between is not None
    (said,) = run.task.predict(run.model, run.task.parse("The for"), [None])
    assert "".join(said["continuation"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda folder: PlainText(path=folder / "00.txt", between="token").prepare(),
            r"and .*00\.txt is one; give a folder",
        ),
        (lambda folder: PlainText(path=folder, between="token").hides(), r"where tokens are hidden, leave it out"),
    ],
)
def test_a_token_between_documents_is_refused_where_it_can_mean_nothing(folder: Path, make: Any, message: str) -> None:
    with pytest.raises(LabwrightError, match=message):
        make(folder)
