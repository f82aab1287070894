"""Each model against its formula computed another way, and what holds for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from labwright import Batch, LabwrightError, free_memory
from labwright_recsys.models.closed import EASE, ItemKNN, Popularity
from labwright_recsys.models.deepfm import DeepFM
from labwright_recsys.models.light_gcn import LightGCN
from labwright_recsys.models.matrix_factorization import MatrixFactorization
from labwright_recsys.models.neumf import NeuMF
from labwright_recsys.ports import Feedback, Preference, Side
from labwright_recsys.ranking import ScoresAll
from torch import Tensor, nn
from torch.nn import functional

USERS, ITEMS = 9, 14
OUT = Preference()


def port(seed: int = 0, density: float = 0.3) -> Feedback:
    had_UI = torch.rand(USERS, ITEMS, generator=torch.Generator().manual_seed(seed)) < density
    had_UI[:, ITEMS - 1] = False  # an item nobody has had
    had_UI[USERS - 1] = False  # a user who has had nothing
    genres = torch.tensor([[1, 2], [3, 0], [0, 0], [2, 0]] * 4)[:ITEMS]
    age = (torch.arange(USERS) % 3 + 1)[:, None]
    sides = (Side("age", ("10s", "20s", "30s"), age),), (Side("genres", ("a", "b", "c"), genres),)
    return Feedback(USERS, ITEMS, had_UI.nonzero().T.contiguous(), *sides)


class Given:
    """The port's pairs as training batches."""

    def __init__(self, inputs: Feedback, size: int = 5) -> None:
        self.parts = inputs.pairs.split(size, dim=1)

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[Batch]:
        return (Batch((users, items), torch.ones(len(users))) for users, items in self.parts)


BUILDS: dict[str, Callable[[Feedback], nn.Module]] = {
    "popularity": lambda inputs: Popularity(inputs, OUT),
    "item-knn": lambda inputs: ItemKNN(inputs, OUT, neighbours=3),
    "ease": lambda inputs: EASE(inputs, OUT, l2=0.5),
    "denoising ease": lambda inputs: EASE(inputs, OUT, l2=0.5, dropout=0.25),
    "balanced ease": lambda inputs: EASE(inputs, OUT, l2=0.5, balance=0.5),
    "bpr-mf": lambda inputs: MatrixFactorization(inputs, OUT, dim=8),
    "bpr-mf without bias": lambda inputs: MatrixFactorization(inputs, OUT, dim=8, bias=False),
    "neumf": lambda inputs: NeuMF(inputs, OUT, dim=4, width=8, depth=3, dropout=0.1),
    "light-gcn": lambda inputs: LightGCN(inputs, OUT, dim=8, depth=3),
    "deepfm": lambda inputs: DeepFM(inputs, OUT, dim=4, width=8),
    "factorisation machine": lambda inputs: DeepFM(inputs, OUT, dim=4, depth=0),
}
CLOSED = ("popularity", "item-knn", "ease", "denoising ease", "balanced ease")
every_model = pytest.mark.parametrize("name", BUILDS)
learned = pytest.mark.parametrize("name", [name for name in BUILDS if name not in CLOSED])


def built(name: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = BUILDS[name](port())
    if name in CLOSED:
        model.fit(Given(port()))
    else:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


def everyone() -> tuple[Tensor, Tensor]:
    return torch.arange(USERS).repeat_interleave(ITEMS), torch.arange(ITEMS).repeat(USERS)


@every_model
def test_a_pair_scores_the_same_alone_and_among_all_items(name: str) -> None:
    model = built(name)
    pairs = model(*everyone()).view(USERS, ITEMS)
    assert model(torch.tensor([3]), torch.tensor([5])).shape == (1,)
    torch.testing.assert_close(model(torch.tensor([3]), torch.tensor([5]))[0], pairs[3, 5])
    if isinstance(model, ScoresAll):
        users = torch.tensor([4, 0, 8])
        torch.testing.assert_close(model.scores(users), pairs[users], rtol=1e-5, atol=1e-5)
    else:
        assert isinstance(model, DeepFM)


@learned
def test_every_parameter_gets_a_gradient(name: str) -> None:
    model = built(name).train()
    model(*everyone()).square().sum().backward()
    without = [key for key, one in model.named_parameters() if one.grad is None or not one.grad.abs().sum() > 0]
    assert without == []


@learned
def test_one_batch_can_be_learned_by_heart(name: str) -> None:
    model = built(name)
    labels = torch.rand(USERS * ITEMS, generator=torch.Generator().manual_seed(1)).round()
    users, items = everyone()
    if "light-gcn" in name or "machine" in name or "deepfm" in name:  # ranks too low for all pairs: one of each row
        chosen = torch.arange(USERS) * ITEMS + torch.arange(USERS)
        users, items, labels = users[chosen], items[chosen], labels[chosen]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        loss = functional.binary_cross_entropy_with_logits(model(users, items), labels)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05


@every_model
def test_what_is_stored_brings_the_model_back_over_the_same_data(name: str) -> None:
    model = built(name)
    again = BUILDS[name](port())
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.eval()(*everyone()), model(*everyone()))
    assert not any("had" in key or "neighbours" in key or "codes" in key for key in model.state_dict())


def history(inputs: Feedback) -> np.ndarray:
    x_UI = np.zeros((USERS, ITEMS))
    x_UI[tuple(inputs.pairs.numpy())] = 1
    return x_UI


def test_ease_solves_each_columns_ridge_regression_on_the_others() -> None:
    """Column j minimises |x_j - X b|^2 + l2 |b|^2 over b with b_j = 0: a ridge regression without item j."""
    x_UI, l2 = history(port()), 0.5
    expected = np.zeros((ITEMS, ITEMS))
    for j in range(ITEMS):
        others = np.arange(ITEMS) != j
        rest = x_UI[:, others]
        stacked = np.vstack([rest, np.sqrt(l2) * np.eye(ITEMS - 1)])
        expected[others, j] = np.linalg.lstsq(stacked, np.r_[x_UI[:, j], np.zeros(ITEMS - 1)], rcond=None)[0]
    model = built("ease")
    np.testing.assert_allclose(model.weights_II.numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(model.scores(torch.arange(USERS)).numpy(), x_UI @ expected, atol=1e-5)


def test_a_denoising_ease_is_the_mean_over_hidden_histories() -> None:
    """EDLAE (Steck 2020, eq. 4): the ridge penalty of item i is l2 + p / (1 - p) |x_i|^2."""
    x_UI, l2, dropout = history(port()), 0.5, 0.25
    model = built("denoising ease")
    penalty_I = l2 + dropout / (1 - dropout) * np.square(x_UI).sum(0)
    for j in range(ITEMS):
        others = np.arange(ITEMS) != j
        rest = x_UI[:, others]
        expected = np.linalg.solve(rest.T @ rest + np.diag(penalty_I[others]), rest.T @ x_UI[:, j])
        np.testing.assert_allclose(model.weights_II.numpy()[others, j], expected, atol=1e-6)


def test_balance_weighs_users_by_the_length_of_their_history() -> None:
    """The same weights as plain EASE on rows times the root of (mean length / length)^balance."""
    x_UI = history(port())
    lengths_U = x_UI.sum(1)
    present = lengths_U > 0
    weight_U = (lengths_U[present].mean() / lengths_U[present]) ** 0.5
    rows = x_UI[present] * np.sqrt(weight_U)[:, None]
    model = built("balanced ease")
    inverse = np.linalg.inv(rows.T @ rows + 0.5 * np.eye(ITEMS))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0.0)
    np.testing.assert_allclose(model.weights_II.numpy(), expected, atol=1e-6)


def dense_neighbours(x_UI: np.ndarray, neighbours: int, shrink: float = 0.0) -> np.ndarray:
    """Each item's weights from all others, (I, I), in full: the cosines of the largest, of equal ones the first."""
    x_UI = x_UI.astype(np.float32)
    together_II = x_UI.T @ x_UI
    lengths_I = np.sqrt(np.diag(together_II))
    cosines_II = together_II / np.maximum(lengths_I[:, None] * lengths_I + np.float32(shrink), 1e-12)
    np.fill_diagonal(cosines_II, 0.0)
    order_II = np.argsort(-cosines_II, axis=1, kind="stable")[:, :neighbours]
    weights_II = np.zeros_like(cosines_II)
    np.put_along_axis(weights_II, order_II, np.take_along_axis(cosines_II, order_II, axis=1), axis=1)
    return weights_II


def spread_out(model: ItemKNN) -> np.ndarray:
    """What a model has kept, as a matrix of all items by all items."""
    weights_II = torch.zeros(model.items, model.items)
    return weights_II.scatter_add(1, model.nearest_IK, model.weights_IK).numpy()


def test_neighbours_are_the_most_similar_by_the_cosine() -> None:
    from sklearn.metrics.pairwise import cosine_similarity

    x_UI = history(port())
    cosines = cosine_similarity(x_UI.T) * (1 - np.eye(ITEMS))
    model = built("item-knn")
    found = spread_out(model)
    assert model.nearest_IK.shape == model.weights_IK.shape == (ITEMS, 3)
    np.testing.assert_allclose(model.weights_IK.numpy(), -np.sort(-cosines, axis=1)[:, :3], atol=1e-6)
    np.testing.assert_allclose(found[found > 0], cosines[found > 0], atol=1e-6)
    np.testing.assert_allclose(model.scores(torch.arange(USERS)).numpy(), x_UI @ found.T, atol=1e-5)


@pytest.mark.parametrize("shrink", [0.0, 7.5])
@pytest.mark.parametrize("neighbours", [1, 40, 5000])
def test_neighbours_kept_sparsely_are_those_of_the_dense_formula(neighbours: int, shrink: float) -> None:
    """Over more than one block of items, many of them equally similar."""
    users, items = 200, 2_100
    x_UI = np.random.default_rng(3).random((users, items)) < np.linspace(0.05, 0.001, items)
    pairs = torch.from_numpy(np.stack(np.nonzero(x_UI)))
    inputs = Feedback(users, items, pairs)
    model = ItemKNN(inputs, OUT, neighbours=neighbours, shrink=shrink)
    model.fit(Given(inputs, 10_000))
    np.testing.assert_array_equal(spread_out(model), dense_neighbours(x_UI, neighbours, shrink))


def test_neighbours_take_twelve_bytes_each_however_many_items_there_are() -> None:
    few, many = (ItemKNN(Feedback(5, items), OUT, neighbours=10) for items in (1_000, 100_000))
    sizes = [sum(one.nbytes for one in model.state_dict().values()) for model in (few, many)]
    assert sizes == [12 * 10 * 1_000, 12 * 10 * 100_000]
    assert many.cost()["fit_memory_bytes"] < 1e9  # all pairs of them are 80 GB


def test_ease_says_what_it_needs_and_refuses_what_the_machine_has_not() -> None:
    needed = EASE(Feedback(5, 1_000), OUT).cost()["fit_memory_bytes"]
    assert 12 * 1_000**2 <= needed < 50 * 1_000**2
    with pytest.raises(LabwrightError, match=r"2,000,000 items, 4 bytes .* needs 16,000\.0 GB .*'recsys/item-knn'"):
        EASE(Feedback(5, 2_000_000), OUT)
    there = free_memory()
    if there is None:
        pytest.skip("this system doesn't say how much memory is free")
    model = EASE(Feedback(5, int((there / 8) ** 0.5)), OUT)  # can be kept, and takes no memory yet
    for refused in (model.cost, lambda: model.fit(Given(port()))):
        with pytest.raises(
            LabwrightError, match=r"12 bytes for each pair of them to be computed, needs .* GB are free"
        ):
            refused()


def test_popularity_is_a_count() -> None:
    model = built("popularity")
    np.testing.assert_array_equal(model.scores(torch.tensor([0, 5])), np.stack([history(port()).sum(0)] * 2))


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_light_gcn_smooths_by_the_normalised_adjacency_matrix(depth: int) -> None:
    """Against dense products with D^-1/2 A D^-1/2 (He et al. 2020, eq. 7 and 8), gradients included."""
    torch.manual_seed(0)
    inputs = port()
    model = LightGCN(inputs, OUT, dim=8, depth=depth)
    a_NN = torch.zeros(USERS + ITEMS, USERS + ITEMS)
    a_NN[:USERS, USERS:] = torch.from_numpy(history(inputs)).float()
    a_NN = a_NN + a_NN.T
    scale_N = a_NN.sum(0).clamp(min=1).rsqrt()
    smooth_NN = scale_N[:, None] * a_NN * scale_N
    nodes = model.nodes.detach().clone().requires_grad_()
    layers = [nodes]
    for _ in range(depth):
        layers.append(smooth_NN @ layers[-1])
    final = torch.stack(layers).mean(0)
    users, items = everyone()
    expected = (final[:USERS][users] * final[USERS:][items]).sum(1)
    weights = torch.randn(len(users), generator=torch.Generator().manual_seed(2))
    found = model(users, items)
    torch.testing.assert_close(found, expected)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(model.nodes.grad, nodes.grad)


def test_a_factorisation_machine_is_the_sum_over_all_pairs_of_fields() -> None:
    model = built("factorisation machine")
    users, items = torch.tensor([0, 4, 8]), torch.tensor([0, 2, 13])
    own_user, of_user = model.of_user(users)
    own_item, of_item = model.of_item(items)
    fields = [*of_user.unbind(1), *of_item.unbind(1)]
    pairs = sum((fields[i] * fields[j]).sum(1) for i in range(len(fields)) for j in range(i))
    torch.testing.assert_close(model(users, items), model.bias + own_user + own_item + pairs)


def test_a_field_of_several_values_is_their_mean_and_of_none_is_nothing() -> None:
    model = built("factorisation machine")
    table = model.of_item.tables[1].weight
    with torch.no_grad():
        table[0] = 0.0  # what padding_idx keeps there in training
    _, vectors = model.of_item(torch.tensor([0, 1, 2]))
    torch.testing.assert_close(vectors[:, 1], torch.stack([(table[1] + table[2]) / 2, table[3], table[0]])[:, 1:])


def test_neumf_without_its_hidden_half_is_a_weighted_product() -> None:
    model = built("neumf")
    with torch.no_grad():
        model.head.weight[0, model.dim :] = 0.0
    users, items = torch.tensor([2, 7]), torch.tensor([1, 1])
    product = model.users(users)[:, :4] * model.items(items)[:, :4]
    expected = product @ model.head.weight[0, :4] + model.head.bias + model.bias[items]
    torch.testing.assert_close(model(users, items), expected)
