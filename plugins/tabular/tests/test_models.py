"""Models: what their papers say of them, on rows made by chance."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from labwright import Classes, LabwrightError, Values
from labwright_tabular.models.encoding import Levels, Periodic, Piecewise
from labwright_tabular.models.ft_transformer import FTTransformer
from labwright_tabular.models.mlp import MLP
from labwright_tabular.models.resnet import ResNet
from labwright_tabular.models.wide_and_deep import WideAndDeep
from labwright_tabular.ports import Fields, Scaled
from torch import Tensor, nn

EDGES = ((-1.0, 0.0, 0.5, 2.0), (0.0, 1.0), (-3.0, -2.0, 0.0, 1.0, 4.0))
FIELDS = Fields(("a", "b", "c"), ("d", "e"), (4, 3), EDGES)
NUMBERS = Fields(("a", "b", "c"), values=EDGES)
CATEGORIES = Fields((), ("d", "e"), (4, 3))
MODELS = [MLP, ResNet, WideAndDeep, FTTransformer]
SCALED = Scaled(2, (10.0, -5.0), (3.0, 0.5))


def rows(count: int, fields: Fields = FIELDS) -> tuple[Tensor, ...]:
    return fields.example(count, torch.Generator().manual_seed(0))


def ple(x: float, edges: tuple[float, ...]) -> list[float]:
    """The code of a number as Gorishniy et al. 2022 write it, equation 1; the ends go on, as in their code."""
    code = []
    bins = len(edges) - 1
    for number, (low, high) in enumerate(pairwise(edges)):
        filled = (x - low) / (high - low)
        if filled < 0 and number > 0:
            filled = 0.0
        if filled > 1 and number < bins - 1:
            filled = 1.0
        code.append(filled)
    return code


def test_piecewise_is_linear_in_the_code_of_the_paper() -> None:
    torch.manual_seed(0)
    module = Piecewise(NUMBERS, bins=4, dim=5)
    x_BN = torch.cat([3 * torch.randn(50, 3), torch.tensor([[-1.0, 0.0, -3.0], [2.0, 1.0, 4.0], [0.5, 0.5, -2.0]])])
    given = module(x_BN)
    for row, values in zip(given, x_BN.tolist(), strict=True):
        for number, (value, edges) in enumerate(zip(values, EDGES, strict=True)):
            code = torch.tensor(ple(value, edges))
            expected = code @ module.weight_NTD[number, : len(code)] + module.bias_ND[number]
            torch.testing.assert_close(row[number], expected, rtol=1e-5, atol=1e-5)


def test_bins_are_cut_where_as_many_values_lie_between_and_never_empty() -> None:
    fields = Fields(("a", "b"), values=(tuple(map(float, range(9))), (0.0, 1e-6, 1.0)))
    module = Piecewise(fields, bins=4, dim=1)
    assert module.get_buffer("between_NT").tolist() == [[2.0, 4.0, 6.0], [float("inf")] * 3]
    assert module(torch.tensor([[4.0, 1e-6]])).isfinite().all()


def test_periodic_is_relu_of_a_layer_on_sines_and_cosines() -> None:
    torch.manual_seed(0)
    module, (x_BN, _) = Periodic(NUMBERS, dim=4, sigma=0.5), rows(7)
    assert module.frequency_NK.std().item() == pytest.approx(0.5, abs=0.1)
    for number in range(3):
        angles = 2 * torch.pi * x_BN[:, number, None] * module.frequency_NK[number]
        waves = torch.cat([angles.sin(), angles.cos()], dim=1)
        expected = (waves @ module.weight_NTD[number] + module.bias_ND[number]).relu()
        torch.testing.assert_close(module(x_BN)[:, number], expected)


def test_a_level_that_no_training_row_has_says_nothing() -> None:
    module = Levels(FIELDS, dim=3)
    assert not module(torch.zeros(1, 2, dtype=torch.int64)).any()
    vectors = module(torch.tensor([[1, 1], [3, 2]])).flatten(0, 1)
    assert len(vectors.unique(dim=0)) == 4  # each category has its own


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("fields", [FIELDS, NUMBERS, CATEGORIES], ids=["both", "numbers", "categories"])
def test_a_model_takes_numbers_categories_or_both(model: Any, fields: Fields) -> None:
    for numbers in ("plain", "piecewise", "periodic"):
        settings = (
            {} if model is WideAndDeep or (model is FTTransformer and numbers == "plain") else {"numbers": numbers}
        )
        built = model(fields, Classes(("x", "y", "z")), **settings).eval()
        assert built(*rows(5, fields)).shape == (5, 3)


@pytest.mark.parametrize("model", MODELS)
def test_numbers_are_answered_in_the_unit_of_the_table(model: Any) -> None:
    torch.manual_seed(0)
    scaled = model(FIELDS, SCALED).eval()
    torch.manual_seed(0)
    plain = model(FIELDS, Values(2)).eval()
    expected = plain(*rows(5)) * torch.tensor([3.0, 0.5]) + torch.tensor([10.0, -5.0])
    torch.testing.assert_close(scaled(*rows(5)), expected)
    assert scaled.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize("model", MODELS)
def test_a_model_learns_one_batch_by_heart(model: Any) -> None:
    torch.manual_seed(0)
    inputs, labels = rows(16), torch.arange(16) % 3
    settings = {"attention_dropout": 0.0, "dim": 16, "heads": 2} if model is FTTransformer else {}
    built = model(FIELDS, Classes(("x", "y", "z")), dropout=0.0, **settings)
    optimizer = torch.optim.Adam(built.parameters(), lr=1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(built(*inputs), labels)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    assert all(parameter.grad is not None for parameter in built.parameters())


def test_the_wide_part_is_added_and_begins_with_nothing() -> None:
    torch.manual_seed(0)
    model, inputs = WideAndDeep(FIELDS, SCALED).eval(), rows(5)
    torch.testing.assert_close(model(*inputs), model.deep(*inputs))
    assert model.of_levels is not None
    nn.init.constant_(model.of_levels.table.weight, 1.0)  # two categories, each adds a deviation
    torch.testing.assert_close(model(*inputs), model.deep(*inputs) + 2 * torch.tensor([3.0, 0.5]), rtol=1e-5, atol=1e-5)


def test_a_block_of_the_residual_network_is_the_papers() -> None:
    torch.manual_seed(0)
    model = ResNet(NUMBERS, Values(1), numbers="plain", width=6, depth=1, expansion=2.0).eval()
    norm, up, _, _, down, _ = model.blocks[0].change
    x_BF = model.first(rows(5, NUMBERS)[0])
    expected = model.head(model.norm(x_BF + down(up(norm(x_BF)).relu())).relu())
    torch.testing.assert_close(model(*rows(5, NUMBERS)), expected)


def test_the_transformer_has_no_order_of_columns_but_a_token_for_each() -> None:
    torch.manual_seed(0)
    model, (x_BN, codes_BC) = FTTransformer(FIELDS, Values(1), dim=8, heads=2).eval(), rows(4)
    expected = model(x_BN, codes_BC)
    assert model.numbers is not None
    with torch.no_grad():
        for parameter in model.numbers.parameters():
            parameter.copy_(parameter[[2, 0, 1]].clone())
    torch.testing.assert_close(model(x_BN[:, [2, 0, 1]], codes_BC), expected)
    with pytest.raises(LabwrightError, match=r"model.heads: 3 heads don't divide model.dim, 8"):
        FTTransformer(FIELDS, Values(1), dim=8, heads=3)


def test_the_bins_of_an_export_are_those_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    module, x_BN = Piecewise(NUMBERS, bins=4, dim=2), torch.cat([torch.randn(40, 3), torch.tensor(EDGES[0][:3])[None]])
    searched = module(x_BN)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    torch.testing.assert_close(module(x_BN), searched, rtol=0, atol=0)
