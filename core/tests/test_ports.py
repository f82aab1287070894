"""Ports: examples have the shapes and ranges their documentation promises."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
import torch
from labwright.data.ports import Audio, Classes, Features, Heads, Image, Interactions, Latent, Tokens, Values


def example(port, size=64):
    return port.example(size, torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("port", "shapes", "types"),
    [
        (Image(3, 8, 6), [(64, 3, 8, 6)], [torch.float32]),
        (Tokens(50, 12, 1), [(64, 12), (64,)], [torch.int64, torch.int64]),
        (Audio(8000, 40), [(64, 40), (64,)], [torch.float32, torch.int64]),
        (Features((4, 2)), [(64, 4, 2)], [torch.float32]),
        (Features(()), [(64,)], [torch.float32]),
        (Interactions(5, 7), [(64,), (64,)], [torch.int64, torch.int64]),
        (Latent(9), [(64, 9)], [torch.float32]),
        (Classes(("a", "b", "c")), [(64,)], [torch.int64]),
        (Values(2), [(64, 2)], [torch.float32]),
        (Heads({"a": Classes(("x", "y")), "b": Values(3)}), [(64,), (64, 3)], [torch.int64, torch.float32]),
    ],
)
def test_an_example_has_the_shapes_and_types_of_the_call(port, shapes, types):
    tensors = example(port)
    assert [tuple(one.shape) for one in tensors] == shapes
    assert [one.dtype for one in tensors] == types
    again = example(port)
    assert all(torch.equal(one, other) for one, other in zip(tensors, again, strict=True))


def test_tokens_are_within_the_vocabulary_and_padded_from_their_length_on():
    ids_BT, lengths_B = example(Tokens(50, 12, pad_id=7))
    assert ids_BT.min() >= 0
    assert ids_BT.max() < 50
    assert set(range(1, 13)) >= set(lengths_B.tolist())
    for row, length in zip(ids_BT, lengths_B, strict=True):
        assert (row[length:] == 7).all()


def test_audio_is_within_one_and_silent_from_its_length_on():
    x_BT, lengths_B = example(Audio(8000, 40))
    assert x_BT.abs().max() <= 1
    for row, length in zip(x_BT, lengths_B, strict=True):
        assert (row[length:] == 0).all()


def test_classes_users_and_items_are_counted_from_zero():
    assert set(example(Classes(("a", "b", "c")))[0].tolist()) == {0, 1, 2}
    users_B, items_B = example(Interactions(5, 7))
    assert (set(users_B.tolist()), set(items_B.tolist())) == (set(range(5)), set(range(7)))


def test_a_port_is_a_value():
    assert Image(1, 8, 8) == Image(1, 8, 8)
    with pytest.raises(FrozenInstanceError):
        Image(1, 8, 8).width = 9  # type: ignore[misc]
