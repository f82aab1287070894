"""What a command may import: nothing heavy to list things, nothing of other libraries to show them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Answer, Site

HEAVY = {"torch", "optuna", "numpy", "matplotlib"}
OTHERS = {"torchvision", "timm", "transformers", "torchmetrics", "optuna", "matplotlib", "torch._dynamo"}

Command = Callable[..., Answer]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--help"], 0, "Usage"),
        (["list"], 0, "adamw"),
        (["plugins"], 0, "builtin"),
        (["list", "modles"], 2, "error: there is no list of 'modles'; did you mean 'models'? There are recipes, "),
        (["run", "visoin/digits"], 2, "error: no recipe is called 'visoin/digits'"),
        (["compare", "x=visoin/digits", "visoin/digits"], 2, "error: no recipe is called 'visoin/digits'"),
        (["show", "visoin/digits"], 2, "error: no recipe is called 'visoin/digits'"),
        (["show", "adamw"], 2, "no recipe is called 'adamw'; it names an optimizer (`labwright show optimizer adamw`)"),
        (["show", "modle"], 2, "error: 'modle' is neither a recipe nor a kind; did you mean 'model'? Kinds are task, "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_listing_and_misspelt_names_import_neither_torch_nor_optuna(command: Command, arguments, code, said):
    answer = command(*arguments)
    assert answer.code == code, answer.err
    assert said in answer.out + answer.err
    assert answer.modules.isdisjoint(HEAVY)


def test_listing_does_not_even_parse_versions_or_draw_tables(command: Command):
    answer = command("list", "recipes")
    assert answer.modules.isdisjoint({"packaging.version", "packaging.requirements", "rich", "labwright.config"})


RECIPE = (
    'task = { name = "stars/task", data = "stars/data" }\nmodel = "stars/net"\nloss = "cross-entropy"\n'
    'optimizer = "adamw"\ntrain = { epochs = 1 }\n'
)


@pytest.fixture
def stars(site: Site) -> Site:
    """A plugin with a whole recipe, as anyone's."""
    lines = ["import labwright as lw", "from pathlib import Path", "@lw.hookimpl", "def labwright_components():"]
    for kind, name, target in (("task", "task", "Sorting"), ("data", "data", "Blobs"), ("model", "net", "Net")):
        lines.append(f"    yield lw.Component({kind!r}, 'stars/{name}', 'labwright_stars.parts:{target}', '')")
    lines += ["@lw.hookimpl", "def labwright_recipes():"]
    lines.append("    yield lw.Recipe('stars/sky', Path(__file__).with_name('sky.toml'), '')")
    parts = Path(__file__).with_name("parts.py").read_text(encoding="utf-8")
    site.install("stars", "\n".join(lines), parts=parts)
    (site.folder / "labwright_stars" / "sky.toml").write_text(RECIPE)
    return site


def test_showing_a_recipe_imports_only_what_it_names(command: Command, stars: Site, tmp_path):
    answer = command("show", "stars/sky", site=stars.folder, cwd=tmp_path)
    assert answer.code == 0, answer.err
    assert 'name = "stars/net"' in answer.out
    assert "torch" in answer.modules
    assert answer.modules.isdisjoint(OTHERS)


def test_a_wrong_field_imports_only_what_the_recipe_names(command: Command, stars: Site, tmp_path):
    answer = command("run", "stars/sky", "model.widht=3", site=stars.folder, cwd=tmp_path)
    assert answer.code == 2
    assert "error: model.widht: model 'stars/net' has no setting 'widht'; did you mean 'width'?" in answer.err
    assert answer.modules.isdisjoint(OTHERS)
    assert not (tmp_path / "runs").exists()
