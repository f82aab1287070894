"""Inputs with an origin, answered in batches: order, faults, and what a server hands over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
import torch
from labwright.runs.load import predictions
from labwright.train.built import Built
from parts import Blobs, Net, Sorting, sorting
from torch import Tensor, nn


class Measured(Blobs):
    """Points in files of four numbers; the origin is its number of bytes. Three numbers make a shorter row."""

    suffixes = (".txt",)

    def read(self, path: Path) -> tuple[Tensor, ...]:
        text = path.read_text(encoding="utf-8")
        row = torch.tensor([[float(word) for word in text.split()]])
        return lw.Input((row,), origin=len(text))

    def parse(self, line: str) -> tuple[Tensor, ...]:
        return (torch.tensor([[float(word) for word in line.split()]]),)


class Scaled(Sorting):
    """The sum of a row times its origin, and how many rows were asked for together."""

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:
        del model
        (x_BD,) = inputs
        if bool((x_BD == 13).any()):
            raise lw.LabwrightError("thirteen can't be answered.")
        sums = x_BD.sum(1).tolist()
        return [
            {"answer": total * (origin or 1), "together": len(sums)}
            for total, origin in zip(sums, origins, strict=True)
        ]


@pytest.fixture(scope="module")
def built() -> Built:
    return sorting(task=Scaled(Measured())).build()


def asked(built: Built, files: Sequence[Path], at_once: int) -> list[tuple[str, Any]]:
    readers: list[tuple[str, Callable[[], Any]]] = [(path.name, partial(built.task.data.read, path)) for path in files]
    return list(predictions(built, readers, at_once=at_once))


def test_inputs_of_like_shapes_are_answered_together_in_their_order(built: Built, tmp_path: Path) -> None:
    rows = ["1 2 3 4", "1 2 3", "10 20 30 40", "oops", "5 6 7", "1 1 1 1"]
    files = []
    for number, row in enumerate(rows):
        files.append(tmp_path / f"{number}.txt")
        files[-1].write_text(row)
    alone, together = asked(built, files, 1), asked(built, files, 64)
    assert [name for name, _ in together] == [path.name for path in files]
    for (_, one), (_, other), row in zip(alone, together, rows, strict=True):
        if row == "oops":
            assert type(one) is type(other) is ValueError
            continue
        expected = sum(map(float, row.split())) * len(row)  # an input's own origin goes with it
        assert one["answer"] == other["answer"] == expected
        assert one["together"] == 1
        assert other["together"] == (3 if len(row.split()) == 4 else 2)


def test_what_cannot_be_answered_spoils_no_other_answer(built: Built, tmp_path: Path) -> None:
    for number, row in enumerate(["1 2 3 4", "13 0 0 0", "5 6 7 8"]):
        (tmp_path / f"{number}.txt").write_text(row)
    first, second, third = (answer for _, answer in asked(built, sorted(tmp_path.iterdir()), 64))
    assert (first["answer"], third["answer"]) == (10 * 7, 26 * 7)
    assert str(second) == "thirteen can't be answered."


class Hungry(Scaled):
    """More than `most` rows take more memory than any machine has, or than a GPU says it has."""

    def __init__(self, data: lw.Data, most: int, *, on_gpu: bool) -> None:
        super().__init__(data)
        self.most, self.on_gpu, self.sizes = most, on_gpu, []

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:
        self.sizes.append(len(inputs[0]))
        if len(inputs[0]) > self.most:
            if self.on_gpu:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
            torch.empty(2**58, dtype=torch.uint8)
        return super().predict(model, inputs, origins)


@pytest.mark.parametrize("on_gpu", [False, True])
@pytest.mark.parametrize("most", [1, 3, 10])
def test_fewer_inputs_are_answered_at_once_where_memory_is_short(most: int, on_gpu: bool) -> None:
    built = sorting(task=Hungry(Measured(), most, on_gpu=on_gpu)).build()
    readers = [(str(number), partial(built.task.parse, f"{number} 1 1 1")) for number in range(14, 34)]
    answers = list(predictions(built, readers, at_once=10))
    assert [answer["answer"] for _, answer in answers] == [number + 3 for number in range(14, 34)]
    assert isinstance(built.task, Hungry) and max(answer["together"] for _, answer in answers) <= most
    halved = {1: [5, 3, 2, 1, 1, 1, 2, 1, 1] * 2, 3: [5, 3, 2] * 2, 10: []}[most]
    assert built.task.sizes == [10, *halved] * 2
    note = "inputs take more memory together than there is, so that fewer were answered at once."
    assert built.notes == ([] if most == 10 else [note])


def test_an_input_that_alone_takes_too_much_memory_is_told_and_the_others_are_answered() -> None:
    built = sorting(task=Hungry(Measured(), 0, on_gpu=True)).build()
    answers = [
        answer for _, answer in predictions(built, [("one", partial(built.task.parse, "1 1 1 1"))] * 2, at_once=2)
    ]
    assert [str(answer) for answer in answers] == [
        "it takes more memory than there is: CUDA out of memory. Tried to allocate 20.00 GiB."
    ] * 2

    class Broken(Scaled):
        def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> Any:
            raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        list(predictions(sorting(task=Broken(Measured())).build(), [("one", partial(built.task.parse, "1 1 1 1"))]))


def test_inputs_are_read_no_further_than_asked(built: Built) -> None:
    read = []

    def reader(number: int) -> tuple[Tensor, ...]:
        read.append(number)
        return (torch.ones(1, 4),)

    answers = predictions(built, [(str(number), partial(reader, number)) for number in range(10)], at_once=4)
    next(answers)
    assert read == [0, 1, 2, 3]
    assert len(list(answers)) == 9


def test_bytes_are_read_as_their_file_would_be(built: Built, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1 2 3 4")
    from_file = built.task.data.read(tmp_path / "a.txt")
    from_bytes = built.task.data.decode(b"1 2 3 4", ".txt")
    assert isinstance(from_bytes, lw.Input)
    assert torch.equal(from_bytes[0], from_file[0])
    assert from_bytes.origin == 7


@pytest.mark.parametrize("suffix", [".png", "", "/../../etc/passwd", ".t/xt", "txt"])
def test_bytes_with_another_ending_are_refused(built: Built, suffix: str) -> None:
    with pytest.raises(lw.LabwrightError, match=r"Measured can't read .*; it reads \.txt"):
        built.task.data.decode(b"1 2 3 4", suffix)


# -------------------------------------------------------------------------------------------------------- contracts


class Encoding(Sorting):
    """A task that calls two methods of a model."""

    class Model:
        def encode(self, x: Tensor) -> Tensor: ...

        def decode(self, codes: Tensor, length: int) -> Tensor: ...

    model_contract = Model


class Coder(Net):
    def encode(self, x: Tensor) -> Tensor: ...

    def decode(self, codes: Tensor, length: int) -> Tensor: ...


class Turned(Coder):
    def decode(self, length: int, codes: Tensor) -> Tensor: ...  # type: ignore[override]


def test_a_model_is_held_to_what_the_task_calls() -> None:
    sorting(task=Encoding(Blobs()), model=Coder)
    with pytest.raises(lw.LabwrightError, match=r"it has no method decode\(codes, length\)"):
        sorting(task=Encoding(Blobs()), model=Net)
    fault = r"the task calls model\.decode\(codes, length\), it takes \(length, codes\)"
    with pytest.raises(lw.LabwrightError, match=fault):
        sorting(task=Encoding(Blobs()), model=Turned)


@pytest.mark.parametrize(
    ("port", "output", "message"),
    [
        (lw.Classes(("a", "b", "c")), torch.zeros(5, 2), r"returned shape \(5, 2\); Classes stands for \(5, 3\)"),
        (lw.Classes(("a", "b", "c")), {"logits": torch.zeros(5, 3)}, "returned a dict; Classes stands for"),
        (lw.Values(2), torch.zeros(5), r"returned shape \(5,\); Values stands for \(5, 2\), 2 values for each sample"),
    ],
)
def test_a_port_says_what_came_instead(port: lw.Port, output: Any, message: str) -> None:
    (target,) = port.example(5, lw.generator(0))
    with pytest.raises(lw.LabwrightError, match=message):
        port.check(output, target)


def test_a_port_takes_what_it_stands_for() -> None:
    lw.Classes(("a", "b")).check(torch.zeros(5, 2), torch.zeros(5, dtype=torch.int64))
    lw.Classes(("a", "b")).check(torch.zeros(5, 7, 2), torch.zeros(5, 7, dtype=torch.int64))  # a label per position
    lw.Values(1).check(torch.zeros(5, 1), torch.zeros(5, 1))
    lw.Features((3,)).check(None, torch.zeros(5))  # other ports look at nothing
