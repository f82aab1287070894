"""Marks say where to look; what is valid is said elsewhere."""

from __future__ import annotations

from typing import Annotated

import pytest
from labwright import builtin
from labwright.base.search import Choice, Integers, Uniform
from labwright.config.resolve import Where, resolve
from labwright.config.signature import signature
from labwright.plugin.registry import Plugins
from parts import sorting
from pydantic import Field
from torch import nn


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Uniform(1.0, 1.0), "low must lie below high, given 1.0 and 1.0"),
        (lambda: Uniform(0.0, 1.0, log=True), "log=True needs a low above 0, given 0.0"),
        (lambda: Uniform(1.0, 2.0, log=True, step=0.1), "exclude each other"),
        (lambda: Uniform(1.0, 2.0, step=0.0), "the step must be above 0"),
        (lambda: Integers(5, 4), "low must lie below high, given 5 and 4"),
        (lambda: Integers(0, 4, log=True), "log=True needs a low above 0"),
        (lambda: Integers(1, 4, log=True, step=2), "exclude each other"),
        (lambda: Integers(1, 4, step=0), "the step must be above 0"),
        (lambda: Choice("one"), "two options or more"),
        (lambda: Choice(0.5, 0.5), "0.5 stands there twice"),
        (lambda: Choice(1, 0.5, 1.0), "1.0 stands there twice"),  # one value, kept as one
        (lambda: Choice(True, 1), "1 stands there twice"),
    ],
)
def test_a_range_that_is_none_is_refused_where_it_is_written(make, said):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize(
    ("mark", "words"),
    [
        (Uniform(1e-5, 0.1, log=True), "1e-05 to 0.1, log"),
        (Uniform(0.0, 0.5, step=0.25), "0 to 0.5, in steps of 0.25"),
        (Integers(16, 64), "16 to 64"),
        (Integers(64, 512, step=64), "64 to 512, in steps of 64"),
        (Choice(64, "a", True, None), "64 | a | True | none"),
    ],
)
def test_a_mark_in_words(mark, words):
    assert str(mark) == words


def test_a_mark_is_found_where_none_is_allowed_too():
    class Net(nn.Module):
        def __init__(
            self,
            *,
            inside: Annotated[float | None, Field(gt=0), Uniform(0.1, 1.0)] = None,
            beside: Annotated[int, Field(ge=1), Integers(1, 4)] | None = None,
            without: int = 3,
        ) -> None: ...

    marks = {name: setting.mark for name, setting in signature(Net).settings.items()}
    assert marks == {"inside": Uniform(0.1, 1.0), "beside": Integers(1, 4), "without": None}
    assert resolve("model", Net, Plugins([]).extended([builtin]), Where()).marks() == {
        "inside": Uniform(0.1, 1.0),
        "beside": Integers(1, 4),
    }


def test_a_mark_limits_nothing():
    class Net(nn.Module):
        def __init__(self, *, width: Annotated[int, Integers(16, 64)] = 32) -> None: ...

    assert resolve("model", {"name": Net, "width": 3}, Plugins([]).extended([builtin]), Where()).settings == {
        "width": 3
    }


def test_the_space_of_an_experiment_is_what_its_components_declare_by_dotted_path():
    space = sorting(loss="cross-entropy").marks()
    assert space["optimizer.lr"] == Uniform(1e-5, 1e-1, log=True)
    assert space["loss.label_smoothing"] == Uniform(0.0, 0.3)
    assert space["train.batch_size"] == Choice(32, 64, 128, 256)
    assert "model.width" not in space  # the toy net marks nothing
