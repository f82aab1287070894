"""The tenth rule for settings (docs/reference/settings.md): a message gives the line of the recipe that it is about."""

from __future__ import annotations

import pytest
from conftest import toys
from labwright.base.errors import LabwrightError
from labwright.config.recipe import read_recipe
from labwright.runs.experiment import Experiment

PLUGINS = toys()
RECIPE = """\
task = { name = "sorting", data = { name = "toys/blobs", size = 60 } }
model = "toys/net"
loss = "cross-entropy"

[optimizer]
name = "adamw"
lr = 0.01  # the rate

[train]
epochs = 2
"""


@pytest.mark.parametrize(
    ("before", "after", "place"),
    [
        ("lr = 0.01", 'lr = "fast"', ":7: optimizer.lr: given 'fast'; it should be a number (optimizer 'adamw')."),
        ("lr = 0.01", "rate = 0.01", ":7: optimizer.rate: optimizer 'adamw' has no setting 'rate'"),
        ('"adamw"', '"adamx"', ":6: optimizer.name: no optimizer is called 'adamx'; did you mean 'adam"),
        ("size = 60", "size = 6.5", ":1: task.data.size: given 6.5; it should be a whole number (data 'toys/blobs')."),
        ("toys/blobs", "toys/blob", ":1: task.data.name: no data is called 'toys/blob'; did you mean 'toys/blobs'?"),
        ("toys/net", "toys/nt", ":2: model: no model is called 'toys/nt'; did you mean 'toys/net'?"),
        ("epochs = 2", "epochs = 2\nsteps = 3", ":9: train: given both of epochs and steps; a run has one of them."),
        (
            ', data = { name = "toys/blobs", size = 60 }',
            "",
            ":1: task.data: task 'sorting' needs this setting: a data, ",
        ),
        ('loss = "cross-entropy"', "", ": loss: task 'sorting' needs a loss"),
    ],
)
def test_rule_10_a_message_gives_the_line_of_the_file_where_the_key_can_be_found_in_it(tmp_path, before, after, place):
    file = tmp_path / "recipe.toml"
    assert before in RECIPE
    file.write_text(RECIPE.replace(before, after))
    with pytest.raises(LabwrightError) as caught:
        Experiment.from_recipe(file, plugins=PLUGINS)
    assert str(caught.value).startswith(f"{file}{place}")


def test_rule_10_a_value_from_the_command_line_has_no_line(tmp_path):
    file = tmp_path / "recipe.toml"
    file.write_text(RECIPE)
    with pytest.raises(LabwrightError, match=r"^optimizer\.lr: given 0; it should be greater than 0 "):
        Experiment.from_recipe(file, ["optimizer.lr=0"], plugins=PLUGINS)


def test_rule_10_lines_are_found_through_every_way_toml_has_to_write_a_key(tmp_path):
    file = tmp_path / "recipe.toml"
    file.write_text(
        '# a comment: model = 3\nmodel.name = "m"\nmodel . "wide" = 3\n\n[optimizer.groups."*.bias"]\nlr_factor = 1\n'
        'text = """\nlr = 3\n"""\n[[stop]]\nname = "early"\n[[stop]]\nname = "seconds"\nlimit = 3\n'
        "[task]\nsizes = [\n  1,\n  { deep = 2 },\n]\ndata = { name = 'd', more = { x = 1 } }\n[train]\n"
    )
    _, source = read_recipe(file)
    lines = {
        ("model",): 2,
        ("model", "name"): 2,
        ("model", "wide"): 3,
        ("model", "absent"): 2,
        ("optimizer",): 5,
        ("optimizer", "groups", "*.bias", "lr_factor"): 6,
        ("optimizer", "groups", "*.bias", "text"): 7,
        ("stop",): 10,
        ("stop", "limit"): 14,
        ("task", "sizes"): 16,
        ("task", "sizes", "[1]"): 16,
        ("task", "sizes", "deep"): 18,
        ("task", "data", "more", "x"): 20,
        ("train",): 21,
    }
    assert {path: source.place(path) for path in lines} == {path: f"{file}:{line}: " for path, line in lines.items()}
    assert source.place(("loss",)) == f"{file}: "
